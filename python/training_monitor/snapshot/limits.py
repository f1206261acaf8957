"""How much code is taken, and what is told of that which was not."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Budget", "Limits", "Notes", "Skipped", "Spent"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one snapshot.

    Attributes:
        most_files: Files at most; those far from the script are left out.
        most_file_bytes: A larger file is left out.
        most_bytes: Bytes of all files together.
        most_entries: Names that are looked at in directories.
        deepest: Directories below the one where a walk begins.
        most_diff_bytes: Bytes of the difference to the commit.
        within_secs: What was taken after so long is the snapshot.
    """

    most_files: int = 2_000
    most_file_bytes: int = 2**20
    most_bytes: int = 32 * 2**20
    most_entries: int = 100_000
    deepest: int = 24
    most_diff_bytes: int = 256 * 2**10
    within_secs: float = 30.0


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not taken, and why."""

    path: str
    why: str


class Spent(Exception):  # noqa: N818 -- no error: the end of a budget, always caught in this room
    """There is no budget left; the text says of what."""


class Budget:
    """What may still be spent on looking.

    Args:
        limits: The bounds.
        clock: Seconds that only grow; for tests.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._end = clock() + limits.within_secs
        self._entries = 0

    @property
    def left_secs(self) -> float:
        """How much time is left."""
        return max(0.0, self._end - self._clock())

    def spend(self) -> None:
        """Count one name that is looked at.

        Raises:
            Spent: Nothing is left.
        """
        self._entries += 1
        if self._entries > self.limits.most_entries:
            raise Spent(f"more than {self.limits.most_entries:,} names were looked at")
        self.check_time()

    def check_time(self) -> None:
        """Raise Spent when the time is over."""
        if self._clock() > self._end:
            raise Spent(f"not done within {self.limits.within_secs:g} seconds")


_NAMED_PER_REASON = 50
_NAMED = 500


@dataclass(slots=True)
class Notes:
    """What was not taken: all of it counted by reason, the first of each reason named."""

    named: list[Skipped] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def skip(self, path: str, why: str) -> None:
        """Note one thing that is not taken."""
        count = self.counts[why] = self.counts.get(why, 0) + 1
        if count <= _NAMED_PER_REASON and len(self.named) < _NAMED:
            self.named.append(Skipped(printable(path), why))


def printable(path: str) -> str:
    """Return a path fit for a line of text; what cannot be printed is an escape."""
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in path[:400]
    )
    return shown if len(path) <= 400 else f"{shown}..."
