"""When monitor and relay leave: nobody logs, and how long they wait for somebody who might."""

from __future__ import annotations

import os

from training_monitor import _core

__all__ = ["grace_secs", "is_recorded"]

_GRACE_SECS = 10.0
# The relay of a node that was cut off may not have been heard of yet.
_NODES_GRACE_SECS = 30.0
_LONGEST_GRACE_SECS = 1e6


def grace_secs(*, is_on_one_node: bool = True) -> float:
    """Return how long to wait for a new attempt; a text that is no number counts as not set."""
    usual = _GRACE_SECS if is_on_one_node else _NODES_GRACE_SECS
    try:
        secs = float(os.environ.get("TM_GRACE_SECS") or usual)
    except ValueError:
        return usual
    return secs if 0.0 <= secs <= _LONGEST_GRACE_SECS else usual


def is_recorded(run_dir: str) -> bool:
    """Return whether a process that can be seen from here logs into the run."""
    return any(producer["life"] == "alive" for producer in _core.producers(run_dir))
