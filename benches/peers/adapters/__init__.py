"""One file per tracker, in the order of the table."""

from __future__ import annotations

from importlib import import_module

from peers.adapter import Adapter

EMPTY = "empty"
FLOOR = "floor"
OURS = "training_monitor"
PLAIN = "jsonl"
NAMES = [
    EMPTY, FLOOR, OURS, PLAIN, "sqlite3", "trackio", "wandb", "tensorboardx", "swanlab",
    "neptune_scale", "aim", "mlflow",
]  # fmt: skip


def adapter(name: str) -> Adapter:
    """Return the adapter of a tracker; its library is not imported yet."""
    tracker = import_module(f"peers.adapters.{name}").Tracker()
    assert isinstance(tracker, Adapter)
    return tracker
