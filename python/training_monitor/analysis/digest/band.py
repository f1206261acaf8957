"""A metric over the steps: its ranks as a band, thinned so that extremes stay."""

from __future__ import annotations

from dataclasses import dataclass

from training_monitor import _core
from training_monitor.analysis.digest.figures import kept, span
from training_monitor.answers import boxed, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from training_monitor.query import RunView

__all__ = ["Band", "band_of"]

# A series up to this long is read whole; of a longer one the reader thins already.
_READ_POINTS = 500_000
_THINNED_POINTS = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Points of one metric, one for each step, as arrays of one length.

    Attributes:
        step: Steps, ascending.
        low: The least value of all ranks; NaN: none has a number.
        high: The greatest.
        holes: Whether some rank has no number there.
        count: How many steps there were before the band was thinned.
        ranks: How many ranks there are.
        whole: Whether every step was read, not only what the reader kept of a very long series.
    """

    step: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    holes: NDArray[np.bool_]
    count: int
    ranks: int
    whole: bool

    def __len__(self) -> int:
        return len(self.step)

    def thinned(self, most: int) -> Band:
        """Return so many points at most; first, last and extremes stay."""
        chosen = kept(self.low, self.high, most)
        return Band(self.step[chosen], self.low[chosen], self.high[chosen], self.holes[chosen],
                     self.count, self.ranks, self.whole)  # fmt: skip

    def cell(self, at: int, sig_figs: int) -> str:
        """Return the value of one point."""
        low, high = float(self.low[at]), float(self.high[at])
        return span(low, high, sig_figs, holes=bool(self.holes[at]))

    def lowest(self) -> int | None:
        """Return where the least finite value is; None: there is none."""
        return _first(self.low, least=True)

    def highest(self) -> int | None:
        """Return where the greatest finite value is."""
        return _first(self.high, least=False)


def band_of(
    run: RunView,
    key: str,
    *,
    points: int,
    rank: int | None = None,
    since: int | None = None,
    until: int | None = None,
) -> Band:
    """Return the band of a metric, not thinned further than reading it needs.

    Args:
        run: The run.
        key: The name of the metric.
        points: How many points it has.
        rank: Only of this rank.
        since: Only from this step on.
        until: Only up to this step.

    Raises:
        KeyError: There is no metric of that name.
    """
    if until is not None and points > _READ_POINTS:
        found = _window(run, key, since, until)
        if found is not None:
            step, value, ranks = found
            here = step <= until if rank is None else (step <= until) & (ranks == rank)
            return _folded(step[here], value[here], ranks[here], whole=True)
    whole = points <= _READ_POINTS
    most = None if whole else _THINNED_POINTS
    series = run.series(key, since=since, rank=rank, max_points=most)
    step, value, ranks = series.step, numbers(series.value), series.rank
    if until is not None:
        here = step <= until
        step, value, ranks = step[here], value[here], ranks[here]
    return _folded(step, value, ranks, whole=whole)


def _window(
    run: RunView, key: str, since: int | None, until: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint32]] | None:
    """Return the points of a window of a long series; None: it has too many as well."""
    import numpy as np

    parts, count = [], 0
    for _, columns, _ in _core.PointStream(run.database, keys=[key], since=since):
        step = np.frombuffer(columns[0], np.int64)
        raw = columns[2]
        value = numbers(boxed(raw)) if isinstance(raw, list) else np.frombuffer(raw, np.float64)
        parts.append((step, value, np.frombuffer(columns[3], np.uint32)))
        count += len(step)
        # Chunks come in the order of their steps.
        if step[0] > until:
            break
        if count > _READ_POINTS:
            return None
    steps, values, ranks = (
        np.concatenate([part[at] for part in parts] or [np.empty(0, kind)])
        for at, kind in enumerate((np.int64, np.float64, np.uint32))
    )
    return steps, values, ranks


def _folded(
    step: NDArray[np.int64], value: NDArray[np.float64], ranks: NDArray[np.uint32], *, whole: bool
) -> Band:
    """Put the ranks of each step side by side."""
    import numpy as np

    begins = np.flatnonzero(np.diff(step, prepend=step[:1] - 1)) if len(step) else np.arange(0)
    nan = np.isnan(value)
    return Band(
        step=step[begins],
        low=np.fmin.reduceat(value, begins) if len(begins) else value,
        high=np.fmax.reduceat(value, begins) if len(begins) else value,
        holes=np.logical_or.reduceat(nan, begins) if len(begins) else nan,
        count=len(begins),
        ranks=len(np.unique(ranks)),
        whole=whole,
    )


def _first(values: NDArray[np.float64], *, least: bool) -> int | None:
    import numpy as np

    places = np.flatnonzero(np.isfinite(values))
    if not len(places):
        return None
    found = values[places].argmin() if least else values[places].argmax()
    return int(places[found])
