"""The ranks of a run beside each other: who is slow, late or silent, who has the extremes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import median

from training_monitor.answers import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from training_monitor.answers import Series

__all__ = ["AcrossRanks", "Rank", "made_across", "made_ranks"]

# A rank is silent when the newest point on its host is so many of its longest pauses, and so many
# seconds, ahead.
_SILENT_PAUSES = 5
_SILENT_SECS = 60.0


@dataclass(frozen=True, slots=True)
class Rank:
    """One rank of the newest attempt.

    Attributes:
        rank: Its number.
        local_rank: Its number on its host.
        host: Where it runs.
        pid: Its process id there.
        processes: How many processes logged for it, forked ones too.
        points: Points in the database.
        started: Wall clock of its start, in seconds since 1970.
        ended: Wall clock of its end; None as long as it logs.
        ended_how: closed or died; None as long as it logs.
        last_step: Its highest step; None without a metric.
        last_time: Wall clock of its newest point; None without a metric.
        steps_behind: Steps behind the rank that is furthest; None without a metric.
        step_secs: From one step to the next, the median of the last 64; None when not known.
        straggler: step_secs divided by the median of the other ranks; None when not known.
        lag_secs: Behind the first rank at the same step, the median of the last 64. Ranks that wait
            for each other have the same step time: the one that the others wait for is late here.
            Between hosts it is as good as their clocks agree. None when not known.
        end: How it ended, for people; None when it closed, and as long as it logs.
        signal: The signal that killed it, as SIGKILL; None when none is known.
        exit_code: Its exit code, when it ended without close(); None when that is not known.
        oom_kills: Processes that the kernel killed for want of memory in its cgroup, within seconds
            of its end; None when not known.
        exception: The last exception that nobody caught, or that ended a `with` block, with its
            message; None without one.
        traceback: Where that came from; None without one.
        silent: It goes on, others on its host log, and it has logged nothing for five of its
            longest pauses among the last 64 steps, and for a minute. A rank that has logged fewer
            than ten steps is never silent: many runs log on rank 0 alone.
    """

    rank: int
    local_rank: int
    host: str
    pid: int
    processes: int
    points: int
    started: float
    ended: float | None
    ended_how: str | None
    last_step: int | None
    last_time: float | None
    steps_behind: int | None
    step_secs: float | None
    straggler: float | None
    lag_secs: float | None
    end: str | None
    signal: str | None
    exit_code: int | None
    oom_kills: int | None
    exception: str | None
    traceback: str | None
    silent: bool


def made_ranks(rows: list[dict[str, Any]]) -> list[Rank]:
    """Compare the ranks that the reader lists."""
    furthest = max((row["last_step"] for row in rows if row["last_step"] is not None), default=0)
    names = set(Rank.__dataclass_fields__)
    return [
        Rank(
            **{name: value for name, value in (row | _end(row)).items() if name in names},
            steps_behind=None if row["last_step"] is None else furthest - row["last_step"],
            straggler=_straggler(row, rows),
            silent=_is_silent(row, rows),
        )
        for row in rows
    ]


def _end(row: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of the end of a rank: what the kernel said, and what nobody caught."""
    last = json.loads(row["exit"] or "{}")
    raised = json.loads(row["exception"] or "{}")
    exception = None
    if raised:
        exception = ": ".join(part for part in (raised["type"], raised["message"]) if part)
    return {
        "end": last.get("text"),
        "signal": last.get("signal"),
        "exit_code": last.get("exit_code"),
        "oom_kills": last.get("oom_kills"),
        "exception": exception,
        "traceback": raised.get("traceback"),
    }


def _straggler(row: dict[str, Any], rows: list[dict[str, Any]]) -> float | None:
    others = [peer["step_secs"] for peer in rows if peer is not row and peer["step_secs"]]
    if not others or not row["step_secs"]:
        return None
    return float(row["step_secs"] / median(others))


def _is_silent(row: dict[str, Any], rows: list[dict[str, Any]]) -> bool:
    if row["ended"] is not None or row["last_time"] is None or row["longest_secs"] is None:
        return False
    newest = max(peer["last_time"] or 0.0 for peer in rows if peer["host"] == row["host"])
    patience = max(_SILENT_SECS, _SILENT_PAUSES * row["longest_secs"])
    return bool(newest - row["last_time"] > patience)


@dataclass(frozen=True, slots=True, eq=False)
class AcrossRanks:
    """One metric over all ranks, step by step; arrays of one length.

    What is not finite is counted and left out of the rest, which is NaN (and rank -1) where nothing
    is left.

    Attributes:
        step: Steps, ascending.
        count: How many ranks logged it.
        non_finite: How many of those values are NaN or infinite, or no numbers.
        mean: The mean of the others.
        min: The least.
        min_rank: The rank that has it, the lowest of several.
        max: The greatest.
        max_rank: The rank that has it, the lowest of several.
    """

    step: NDArray[np.int64]
    count: NDArray[np.int64]
    non_finite: NDArray[np.int64]
    mean: NDArray[np.float64]
    min: NDArray[np.float64]
    min_rank: NDArray[np.int64]
    max: NDArray[np.float64]
    max_rank: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.step)


def made_across(series: Series) -> AcrossRanks:
    """Sum up a merged series of all ranks by step."""
    import numpy as np

    values = numbers(series.value)
    steps, at = np.unique(series.step, return_inverse=True)
    finite = np.isfinite(values)
    count = np.bincount(at, minlength=len(steps))
    left = np.bincount(at[finite], minlength=len(steps))
    sums = np.bincount(at[finite], weights=values[finite], minlength=len(steps))
    with np.errstate(invalid="ignore"):
        mean = np.where(left > 0, sums / left, np.nan)
    least, least_rank = _extremes(at[finite], values[finite], series.rank[finite], len(steps))
    most, most_rank = _extremes(at[finite], -values[finite], series.rank[finite], len(steps))
    return AcrossRanks(
        step=steps,
        count=count,
        non_finite=count - left,
        mean=mean,
        min=least,
        min_rank=least_rank,
        max=-most,
        max_rank=most_rank,
    )


def _extremes(
    at: NDArray[np.intp], values: NDArray[np.float64], ranks: NDArray[np.uint32], length: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the least value at each place and the lowest rank that has it."""
    import numpy as np

    order = np.lexsort((ranks, values, at))
    places, first = np.unique(at[order], return_index=True)
    least, rank = np.full(length, np.nan), np.full(length, -1, np.int64)
    least[places] = values[order][first]
    rank[places] = ranks[order][first]
    return least, rank
