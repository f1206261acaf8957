"""What a run costs, from GPU hours, a price and the time that is left."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np
import pytest

from training_monitor.predict.cost import cost_of
from training_monitor.predict.eta import Eta, eta
from training_monitor.predict.wording import duration, money, number, step


def half_done() -> Eta:
    told = eta(range(101), 60.0 * np.arange(101) ** 1.01, total=200)
    assert told is not None
    return told


def test_money_is_gpus_times_hours_times_price() -> None:
    left = half_done()
    cost = cost_of(5400.0, gpus=8, cost_per_gpu_hour=2.5, eta=left)
    assert cost.gpu_hours == pytest.approx(12.0)
    assert cost.spent == pytest.approx(30.0)
    assert cost.to_finish == pytest.approx(left.seconds / 3600 * 20.0)
    assert cost.low[90] == pytest.approx(left.low[90] / 3600 * 20.0)
    assert cost.low[90] < cost.to_finish < cost.high[90]
    assert cost.total == pytest.approx(30.0 + cost.to_finish)
    assert "$30 so far" in str(cost)
    assert "to finish" in str(cost)


def test_without_a_price_hours_are_told() -> None:
    cost = cost_of(3600.0, gpus=4, eta=half_done())
    assert (cost.spent, cost.to_finish, cost.total, cost.low) == (None, None, None, {})
    assert str(cost).startswith("4.0 GPU hours so far, about ")


def test_without_an_end_what_was_spent_is_told() -> None:
    cost = cost_of(3600.0, gpus=1, cost_per_gpu_hour=0.5, currency="EUR ")
    assert cost.gpu_hours_left is None
    assert str(cost) == "EUR 0.50 so far"


@pytest.mark.parametrize(
    "wrong", [{"seconds": -1.0}, {"seconds": nan}, {"gpus": -1}, {"cost_per_gpu_hour": inf}]
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    given = {"seconds": 1.0, "gpus": 1, "cost_per_gpu_hour": 1.0} | wrong
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*not negative"):
        cost_of(given.pop("seconds"), **given)


def test_durations_and_numbers_read_well() -> None:
    said = [duration(secs) for secs in (0.4, 59.6, 61, 700, 3599.9, 4800, 86_400, 273_600, inf)]
    assert said == ["0s", "1m", "1m 1s", "11m", "1h", "1h 20m", "1d", "3d 4h", "unknown"]
    assert [money(one) for one in (0.4167, 35.2, 12_400.0)] == ["$0.42", "$35", "$12,400"]
    assert [number(one) for one in (2.1234, 0.00312, 1234.5, 3e-9, 0.0, nan)] == [
        "2.12",
        "0.00312",
        "1,234",
        "3e-09",
        "0",
        "nan",
    ]
    assert [step(one) for one in (12_000.0, 2.5)] == ["12,000", "2.5"]
