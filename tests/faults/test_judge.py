"""The judge itself: it has to notice what it is there to notice."""

from typing import Any

import numpy as np
import pytest

from faults import kill_judge
from faults import kill_trainer as trainer

SEED, CALLS = 11, 1001


class Series:
    """What open_run().series() returns, made by hand."""

    def __init__(self, step: Any, value: Any) -> None:
        self.step, self.value = np.asarray(step), value


def honest_evidence(number: int = 2) -> kill_judge.Evidence:
    evidence = object.__new__(kill_judge.Evidence)
    evidence.run_dir = "made by hand"  # type: ignore[assignment]
    evidence.series = {}
    table = trainer.table(SEED)
    for key in [*trainer.WIDE, "index", *trainer.ODD]:
        indices = kill_judge.calls_with(key, CALLS)
        if key in trainer.ODD:
            values: Any = [trainer.odd_values(int(index))[key] for index in indices]
        elif key == "index":
            values = indices.astype(float)
        else:
            values = np.array([table[i % trainer.ROWS][trainer.WIDE.index(key)] for i in indices])
        steps = indices + number * trainer.STRIDE
        evidence.series[key] = Series(steps, values)  # type: ignore[assignment]
    return evidence


def judge(evidence: kill_judge.Evidence, accepted: int, *, was_killed: bool = True) -> bool:
    return evidence.judge(2, SEED, accepted=accepted, was_killed=was_killed)


def test_exact_count_is_right() -> None:
    assert judge(honest_evidence(), CALLS) is False


def test_one_frame_more_is_right_only_after_a_kill() -> None:
    assert judge(honest_evidence(), CALLS - 1) is True
    with pytest.raises(kill_judge.WrongError, match="never accepted"):
        judge(honest_evidence(), CALLS - 1, was_killed=False)
    with pytest.raises(kill_judge.WrongError, match="never accepted"):
        judge(honest_evidence(), CALLS - 2)


def test_lost_call_is_noticed() -> None:
    with pytest.raises(kill_judge.WrongError, match=r"1 of .* lost"):
        judge(honest_evidence(), CALLS + 1)


def test_point_that_is_there_twice_is_noticed() -> None:
    evidence = honest_evidence()
    series = evidence.series["index"]
    evidence.series["index"] = Series(  # type: ignore[assignment]
        np.append(series.step, series.step[0]), np.append(series.value, series.value[0])
    )
    with pytest.raises(kill_judge.WrongError, match="1 points twice"):
        judge(evidence, CALLS)


@pytest.mark.parametrize("key", [trainer.WIDE[3], "index", "big"])
def test_wrong_value_is_noticed(key: str) -> None:
    evidence = honest_evidence()
    evidence.series[key].value[5] += 1
    with pytest.raises(kill_judge.WrongError, match=key):
        judge(evidence, CALLS)


def test_torn_frame_is_noticed() -> None:
    evidence = honest_evidence()
    series = evidence.series[trainer.WIDE[0]]
    evidence.series[trainer.WIDE[0]] = Series(series.step[:-1], series.value[:-1])  # type: ignore[assignment]
    with pytest.raises(kill_judge.WrongError, match="torn"):
        judge(evidence, CALLS - 1)


def test_points_are_counted_as_they_are_logged() -> None:
    keys = [*trainer.WIDE, "index", *trainer.ODD]
    for calls in [0, 1, 7, 8, 16, 1000]:
        counted = sum(len(kill_judge.calls_with(key, calls)) for key in keys)
        assert kill_judge.points_of(calls) == counted
