"""A recorded run of several ranks, without a training script and a monitor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.processes import PATIENCE_SECS
from training_monitor import _core
from training_monitor.query import RunView

Call = tuple[int, Mapping[str, Any]]


def record(
    run_dir: Path,
    calls: Sequence[Call] | Callable[[int], Sequence[Call]],
    *,
    ranks: int = 1,
    config: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    samples: Sequence[Mapping[str, Any]] = (),
) -> RunView:
    """Record (step, metrics) in a directory and open the run.

    Args:
        run_dir: Where; it is made.
        calls: What is logged, by all ranks or as a function of the rank.
        ranks: How many ranks there are.
        config: The hyperparameters.
        settings: The settings as init() records them.
        samples: Looks at the machine, as the poller sends them.
    """
    run_dir.mkdir(parents=True)
    facts = {"config": dict(config or {}), "settings": dict(settings or {})}
    for rank in range(ranks):
        _core.open_producer(
            run_dir=str(run_dir),
            job_key="test",
            rank=rank,
            local_rank=rank,
            world=ranks,
            local_world=ranks,
            strict=True,
            device_tensors="sync",
            node_limit_bytes=1 << 30,
            config_json=json.dumps(facts),
        )
        for step, metrics in calls(rank) if callable(calls) else calls:
            _core.log(metrics, step)
        _core.close_producer(0.0)
    ingest = _core.Ingest(str(run_dir))
    for sample in samples:
        assert ingest.add_system(json.dumps(sample).encode() + b"\n")
    status = ingest.finish(PATIENCE_SECS)
    assert status["gaps"] == 0, status
    return RunView(str(run_dir))
