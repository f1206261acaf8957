"""Statistics of a metric, and a metric as few stretches instead of all points."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Statistics", "Zoom", "made_statistics", "made_zoom"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Everything that is kept of a metric, over all that was stored.

    Repeated steps count each time, and so does what a later attempt has replaced. What has no
    finite number (NaN, infinities, None) is counted in `non_finite` and in no other number;
    text is left out. A number is None when there is no finite value.

    Attributes:
        count: Values, those without a finite number too; of text how many there are.
        non_finite: Values without a finite number.
        first_step: The step of the oldest value.
        last_step: The step of the newest value.
        last: The newest value: in a summary as it was logged, else as a number.
        min: The least value.
        max: The greatest value.
        mean: Their mean.
        std: Their standard deviation as a whole (divided by their count).
        ema_short: The moving average that weighs a new value by `ema_alpha_short`; over several
            ranks the mean of theirs, by their counts.
        ema_long: The same with `ema_alpha_long`.
        p1: The value below which one percent of the values lie; the next ones likewise.
        quantile_error: How far p1 to p99 may be from a value of their rank, as a share of it.
    """

    count: int
    non_finite: int
    first_step: int | None
    last_step: int | None
    last: object
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    ema_short: float | None
    ema_long: float | None
    p1: float | None
    p5: float | None
    p25: float | None
    p50: float | None
    p75: float | None
    p95: float | None
    p99: float | None
    quantile_error: float


@dataclass(frozen=True, slots=True, eq=False)
class Zoom:
    """A metric in stretches of about equally many points, as arrays of one length.

    Attributes:
        first_step: The lowest step of each stretch.
        last_step: The highest step.
        count: Points, those without a finite value too.
        non_finite: Points without a finite value.
        min: The least finite value; NaN when there is none.
        max: The greatest finite value; NaN when there is none.
        mean: The mean of the finite values; NaN when there are none.
        first: The first value; NaN when it is no number.
        last: The last value; NaN when it is no number.
    """

    first_step: NDArray[np.int64]
    last_step: NDArray[np.int64]
    count: NDArray[np.int64]
    non_finite: NDArray[np.int64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    mean: NDArray[np.float64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.count)


_COUNTS = ("first_step", "last_step", "count", "non_finite")


def made_statistics(row: Mapping[str, Any]) -> Statistics:
    """Return the statistics of a row, which may have more and, of text, less."""
    missing = {"count": 0, "non_finite": 0, "quantile_error": 0.0}
    names = Statistics.__dataclass_fields__
    return Statistics(**{name: row.get(name, missing.get(name)) for name in names})


def made_zoom(rows: Iterable[Mapping[str, Any]]) -> Zoom:
    """Return stretches as columns."""
    import numpy as np

    rows = list(rows)
    nan = float("nan")
    columns: dict[str, Any] = {
        name: np.array([row[name] for row in rows], np.int64)
        if name in _COUNTS
        else np.array([nan if row[name] is None else row[name] for row in rows], np.float64)
        for name in Zoom.__dataclass_fields__
    }
    return Zoom(**columns)
