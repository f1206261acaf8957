"""mlflow, on SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peers.adapter import Adapter, Log, Metrics
from sample import KEYS


class Tracker(Adapter):
    """A transaction per call on the calling thread."""

    requirements = ("mlflow==3.17.2",)
    packages = ("mlflow",)
    variables = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    note = "SQLite store, log_metrics synchronous, as by default"
    library: Any

    def load(self) -> None:
        """Import mlflow."""
        import mlflow

        self.library = mlflow

    def open(self, directory: Path) -> Log:
        """Make the database and start the run."""
        library = self.library
        library.set_tracking_uri(store(directory))
        library.set_experiment("bench")
        library.start_run()

        def log(metrics: Metrics, step: int) -> None:
            library.log_metrics(metrics, step=step)

        return log

    def close(self) -> None:
        """End the run."""
        self.library.end_run()

    def readable(self, directory: Path) -> int:
        """Count with mlflow's client."""
        import mlflow

        client = mlflow.MlflowClient(store(directory))
        return sum(
            len(client.get_metric_history(run.info.run_id, key))
            for experiment in client.search_experiments()
            for run in client.search_runs([experiment.experiment_id])
            for key in KEYS
        )


def store(directory: Path) -> str:
    """Return the address of the database."""
    return f"sqlite:///{directory / 'mlflow.db'}"
