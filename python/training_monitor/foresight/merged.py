"""The points of several metrics in the order in which they were logged, in slices."""

from __future__ import annotations

import numpy as np

from training_monitor import _core
from training_monitor.answers import boxed, numbers
from training_monitor.judge.news import News

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Chunk = tuple[NDArray[np.int64], Floats, Floats, NDArray[np.uint32]]

__all__ = ["chunks_of", "slices"]

# The brain looks once in so many seconds: what comes within them is judged together.
_LOOK_SECS = 1.0
# And together are at most so many points of a metric.
_MOST_POINTS = 2048


def slices(
    read: Callable[[str], Iterator[Chunk]],
    metrics: Iterable[str],
    *,
    attempt: int,
    cut_at: Iterable[str] = (),
) -> Iterator[tuple[float, list[News]]]:
    """Yield the points of an attempt in slices of time: the end of each, and what is in it.

    Memory is that of a chunk of some 65,000 points of each metric.

    Args:
        read: Gives the points of a metric: steps, times, values and ranks, chunk by chunk.
        metrics: Their names.
        attempt: The number of the attempt that they are of.
        cut_at: At points of these metrics a slice ends: what is compared with others.
    """
    chosen = set(cut_at)
    feeds = [_Feed(name, read(name), attempt, cuts=name in chosen) for name in metrics]
    while True:
        for feed in feeds:
            feed.fill()
        feeds = [feed for feed in feeds if len(feed.clock)]
        if not feeds:
            return
        # Behind it some metric may have points that are not read yet.
        horizon = min(float(feed.clock[-1]) for feed in feeds)
        for end in _ends(feeds, horizon):
            news = [one for feed in feeds for one in feed.take(end)]
            if news:
                yield end, news


def _ends(feeds: list[_Feed], horizon: float) -> list[float]:
    """Return where slices end, up to the horizon."""
    cuts = [feed.clock[feed.clock < horizon] for feed in feeds if feed.cuts]
    busiest = max((feed.clock[feed.clock < horizon] for feed in feeds), key=len)
    ends = np.unique(np.concatenate([*cuts, busiest[_MOST_POINTS::_MOST_POINTS]]))
    looks = np.floor(ends / _LOOK_SECS)
    # The last point of each look: all of it has come then.
    last = np.diff(looks, append=np.inf) != 0
    apart = np.isin(ends, busiest[_MOST_POINTS::_MOST_POINTS])
    return [*ends[last | apart].tolist(), horizon]


class _Feed:
    """The points of one metric of one attempt, chunk by chunk.

    Attributes:
        clock: The time of each point in hand, or of the newest before it: it never goes back.
        cuts: Whether a slice ends at its points.
    """

    def __init__(self, name: str, chunks: Iterator[Chunk], attempt: int, *, cuts: bool) -> None:
        self.cuts = cuts
        self.clock: Floats = np.empty(0)
        self._name = name
        self._attempt = attempt
        self._chunks = chunks
        self._chunk: Chunk | None = None
        self._at = -np.inf

    def fill(self) -> None:
        """Read the next chunk, if nothing is in hand."""
        while not len(self.clock):
            self._chunk = next(self._chunks, None)
            if self._chunk is None:
                return
            self.clock = np.maximum.accumulate(np.maximum(self._chunk[1], self._at))
            if len(self.clock):
                self._at = float(self.clock[-1])

    def take(self, end: float) -> Iterator[News]:
        """Yield what came up to a time, rank by rank."""
        count = int(np.searchsorted(self.clock, end, side="right"))
        if not count or self._chunk is None:
            return
        steps, times, values, ranks = self._chunk
        self._chunk = (steps[count:], times[count:], values[count:], ranks[count:])
        self.clock = self.clock[count:]
        for rank in np.unique(ranks[:count]).tolist():
            mine = np.flatnonzero(ranks[:count] == rank)
            yield News(self._name, rank, self._attempt, steps[mine], times[mine], values[mine])


def chunks_of(path: str, attempt: int, name: str) -> Iterator[Chunk]:
    """Yield the points of a metric of one attempt of a run, everything that was logged."""
    for _, (steps, times, values, ranks, attempts), _ in _core.PointStream(
        path, keys=[name], raw=True
    ):
        mine = np.frombuffer(attempts, np.uint32) == attempt
        if isinstance(values, list):
            column = numbers(boxed(values))
        else:
            column = np.frombuffer(values, np.float64)
        yield (
            np.frombuffer(steps, np.int64)[mine],
            np.frombuffer(times, np.float64)[mine],
            column[mine],
            np.frombuffer(ranks, np.uint32)[mine],
        )
