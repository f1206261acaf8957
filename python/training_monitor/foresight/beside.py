"""A run beside another one, at the same step, after the same time, for the same money."""

from __future__ import annotations

import os

from training_monitor.catalog import find_run
from training_monitor.errors import SettingError
from training_monitor.foresight.course import Course
from training_monitor.foresight.evenly import evenly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from training_monitor.foresight.recorded import Recorded
    from training_monitor.predict.baseline import Comparison, Curve

__all__ = ["compare_runs", "opened"]

_MOST_POINTS = 4000


def compare_runs(
    run: Recorded, other: Recorded, *, metric: str | None = None, cost: float | None = None
) -> list[Comparison]:
    """Compare a run with another one on each axis that both have: step, time and cost.

    Args:
        run: The run.
        other: The baseline.
        metric: Which metric; None means the headline of the run.
        cost: The price of a GPU hour; None: as recorded for each.

    Raises:
        KeyError: One of them has no such metric.
        SettingError: Nobody knows which way of it is better.
    """
    from training_monitor.predict.baseline import AXES, compare

    mine, theirs = Course(run), Course(other)
    name = mine.headline if metric is None else metric
    if name is None:
        return []
    for course, one in ((mine, run), (theirs, other)):
        if name not in course.meanings:
            raise KeyError(f"no metric {name!r} in run {one.name!r}")
    goal = mine.meanings[name].goal
    if goal is None:
        raise SettingError(
            f"{name!r} was taken for {mine.meanings[name]}: nobody knows which way is better; "
            f"say it with define_metric({name!r}, goal='min')"
        )
    curves = [_curve(course, one, name, cost) for course, one in ((mine, run), (theirs, other))]
    found = (
        compare(*curves, goal=goal, axis=axis, name=f"this {name}")
        for axis in AXES
        if axis != "cost" or all(curve.cost_per_second for curve in curves)
    )
    return [one for one in found if one is not None]


def opened(run: Recorded, other: str | os.PathLike[str]) -> Recorded:
    """Open another run by name or path; a name is looked for beside this run first."""
    near = os.path.join(os.path.dirname(run.dir), other)
    kind: Any = type(run)
    found: Recorded = kind(find_run(near if os.path.isdir(near) else other))
    return found


def _curve(course: Course, run: Recorded, name: str, cost: float | None) -> Curve:
    """Return a metric over steps and over seconds of training, pauses between attempts left out."""
    import numpy as np

    from training_monitor.predict.baseline import Curve

    points = run.series(name, max_points=_MOST_POINTS)
    chosen = points.rank == points.rank.min(initial=2**32 - 1)
    times, attempts = points.time[chosen], points.attempt[chosen]
    seconds, before = np.full(len(times), np.nan), 0.0
    for number, (begin, end) in course.spans().items():
        here = attempts == number
        seconds[here] = before + times[here] - begin
        before += end - begin
    price = course.price(cost)
    steps, values = evenly(run, name, _MOST_POINTS)
    return Curve(
        steps=steps,
        values=values,
        seconds=np.interp(steps, points.step[chosen], seconds) if len(steps) else seconds,
        cost_per_second=None if price is None else price * course.gpu_count() / 3600.0,
    )
