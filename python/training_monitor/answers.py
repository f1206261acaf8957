"""What a run answers: metrics, series, steps, attempts, alerts and gaps, as values."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Alert", "Attempt", "Copy", "Gap", "Metric", "Series", "Step", "boxed", "numbers"]


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a database that is written on a local disk, as a run on a network file system has.

    Attributes:
        host: The machine of the live database.
        dir: Its directory there.
        age_secs: How long ago the copy was made, by the clocks of this machine and the file server.
    """

    host: str
    dir: str
    age_secs: float

    def __str__(self) -> str:
        """Return what people should know before they believe the last values."""
        return (
            f"a copy, {self.age_secs:.0f} s old; the live database is on {self.host}, in {self.dir}"
        )


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, in a few numbers.

    Attributes:
        name: The name under which it was logged.
        kind: What its values are: float, int, bool, text, none.
        count: How many points there are.
        first_step: The lowest step.
        last_step: The step of the last value.
        last_value: The last value.
        min: The least finite value stored; None when there is none.
        max: The greatest finite value stored; None when there is none.
    """

    name: str
    kind: str
    count: int
    first_step: int | None
    last_step: int | None
    last_value: object
    min: float | None
    max: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The points of one metric, as arrays of one length.

    Attributes:
        step: Steps, ascending; with raw=True in the order of arrival.
        value: Values: float64, or objects when some are int, bool, None or text.
        time: Wall clock, in seconds since 1970.
        rank: Which rank logged the point.
        attempt: In which attempt.
    """

    step: NDArray[np.int64]
    value: NDArray[Any]
    time: NDArray[np.float64]
    rank: NDArray[np.uint32]
    attempt: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.step)

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame with a row per point; pandas must be installed."""
        from training_monitor.frames import to_pandas

        return to_pandas({name: getattr(self, name) for name in self.__dataclass_fields__})

    def to_polars(self) -> Any:
        """Return a polars.DataFrame with a row per point; polars must be installed."""
        from training_monitor.frames import to_polars

        return to_polars({name: getattr(self, name) for name in self.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Step:
    """All metrics that one rank logged at one step, merged."""

    step: int
    rank: int
    attempt: int
    time: float
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Attempt:
    """The run as one job saw it; `ended` is None as long as it records."""

    number: int
    job_key: str
    started: float
    ended: float | None
    producers: int
    points: int
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that was told: by the user's code, or by the monitor of what it found.

    Attributes:
        time: Wall clock, in seconds since 1970.
        step: Where it began; None: it belongs to no step.
        rank: Of one rank; None: it belongs to none, or to several.
        attempt: In which attempt.
        level: INFO, WARN or ERROR.
        title: One line.
        text: The whole.
        by: "user": an alert of the training script; "monitor": of findings, phases and advice.
        kind: What was found, as spike; of the monitor alone, as the next ones.
        metric: The metric or the source that it is about.
        advice: What to do.
        state: new, worse, cause, again, over, or notice.
    """

    time: float
    step: int | None
    rank: int | None
    attempt: int
    level: str
    title: str
    text: str
    by: str = "user"
    kind: str = ""
    metric: str = ""
    advice: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing, and why; `frames_lost` is None when nobody can know."""

    producer: str | None
    lane: int | None
    first_lsn: int | None
    last_lsn: int | None
    frames_lost: int | None
    reason: str
    noticed: float
    detail: str | None


def numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return values as numbers for a curve; what is none becomes a hole."""
    import numpy as np

    if values.dtype != object:
        return values
    return np.fromiter(map(_number, values), np.float64, len(values))


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, (int, float)) else float("nan")
    except OverflowError:
        return float("inf") if isinstance(value, int) and value > 0 else float("-inf")


def boxed(values: list[object]) -> NDArray[Any]:
    """Return an array that holds the objects as they are."""
    import numpy as np

    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
