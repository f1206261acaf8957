"""A metric over the steps, its ranks side by side, thinned so that extremes stay."""

from __future__ import annotations

from dataclasses import dataclass

from training_monitor.analysis.figures import kept, span
from training_monitor.answers import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from training_monitor.query import RunView

__all__ = ["Curve", "curve_of"]

# A series up to this long is read whole; of a longer one the reader thins already.
_READ_POINTS = 2_000_000
_THINNED_POINTS = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points of one metric, one for each step, as arrays of one length.

    Attributes:
        step: Steps, ascending.
        low: The least value of all ranks; NaN: none has a number.
        high: The greatest.
        holes: Whether some rank has no number there.
        count: How many steps there were before the curve was thinned.
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

    def thinned(self, most: int) -> Curve:
        """Return so many points at most; first, last and extremes stay."""
        chosen = kept(self.low, self.high, most)
        return Curve(self.step[chosen], self.low[chosen], self.high[chosen], self.holes[chosen],
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


def curve_of(
    run: RunView,
    key: str,
    *,
    points: int,
    rank: int | None = None,
    since: int | None = None,
    until: int | None = None,
) -> Curve:
    """Return the curve of a metric, not thinned further than reading it needs.

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
    whole = points <= _READ_POINTS
    most = None if whole else _THINNED_POINTS
    series = run.series(key, since=since, rank=rank, max_points=most)
    step, value, ranks = series.step, numbers(series.value), series.rank
    if until is not None:
        here = step <= until
        step, value, ranks = step[here], value[here], ranks[here]
    return _folded(step, value, ranks, whole=whole)


def _folded(
    step: NDArray[np.int64], value: NDArray[np.float64], ranks: NDArray[np.uint32], *, whole: bool
) -> Curve:
    """Put the ranks of each step side by side."""
    import numpy as np

    begins = np.flatnonzero(np.diff(step, prepend=step[:1] - 1)) if len(step) else np.arange(0)
    nan = np.isnan(value)
    return Curve(
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
