"""The points of a metric at even distances: what is thinned for a picture has its extremes only."""

from __future__ import annotations

from training_monitor.answers import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from training_monitor.foresight.recorded import Recorded

    Points = tuple[NDArray[np.int64], NDArray[np.float64]]

__all__ = ["evenly"]


def evenly(run: Recorded, name: str, most: int) -> Points:
    """Return steps and values of a metric, of about `most` points; of its first rank alone.

    Where there are more, each stands for as many others. A series that is thinned keeps the least
    and the greatest value of each stretch, so that its median and its noise are not those of the
    metric.
    """
    points = run.series(name, max_points=most)
    rank = int(points.rank.min(initial=2**32 - 1))
    if len(points.step) <= most // 2:
        first = points.rank == rank
        return points.step[first], numbers(points.value)[first]
    import numpy as np

    found = run.zoom(name, buckets=most, rank=rank)
    # The first point of each stretch, and the last one of all: that is where the run is.
    last = slice(-1, None) if found.count[-1] > 1 else slice(0, 0)
    steps = np.concatenate((found.first_step, found.last_step[last]))
    return steps, np.concatenate((found.first, found.last[last]))
