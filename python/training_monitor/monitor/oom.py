"""Who dies first when memory runs out: we, not the training."""

from __future__ import annotations

import contextlib

__all__ = ["volunteer"]

_PATH = "/proc/self/oom_score_adj"


def volunteer() -> None:
    """Raise the out-of-memory score of this process above that of the training."""
    with contextlib.suppress(OSError, ValueError):
        with open(_PATH, encoding="ascii") as file:
            score = int(file.read())
        with open(_PATH, "w", encoding="ascii") as file:
            file.write(str(min(score + 300, 1000)))
