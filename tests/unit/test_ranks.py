"""Ranks beside each other: what is computed from what the reader lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training_monitor.answers import Series
from training_monitor.ranks import made_across, made_ranks


def row(rank: int, **facts: Any) -> dict[str, Any]:
    """Return a row of the reader: a rank that reached step 100 after a thousand seconds."""
    return {
        "rank": rank,
        "local_rank": rank,
        "host": "a",
        "pid": 100 + rank,
        "processes": 1,
        "points": 100,
        "started": 0.0,
        "ended": None,
        "ended_how": None,
        "last_step": 100,
        "last_time": 1000.0,
        "step_secs": 1.0,
        "lag_secs": 0.0,
        "longest_secs": 2.0,
        "exit": None,
        "exception": None,
        **facts,
    }


def test_a_straggler_is_measured_against_the_median_of_the_others() -> None:
    ranks = made_ranks([row(0), row(1, step_secs=3.0), row(2, step_secs=1.5), row(3)])
    assert [rank.straggler for rank in ranks] == [1 / 1.5, 3.0, 1.5, 1 / 1.5]
    assert made_ranks([row(0)])[0].straggler is None
    assert [rank.straggler for rank in made_ranks([row(0), row(1, step_secs=None)])] == [None, None]


def test_steps_behind_are_those_to_the_furthest_rank() -> None:
    ranks = made_ranks([row(0), row(1, last_step=90), row(2, last_step=None, last_time=None)])
    assert [rank.steps_behind for rank in ranks] == [0, 10, None]


@pytest.mark.parametrize(
    ("facts", "silent"),
    [
        ({"last_time": 941.0}, False),
        ({"last_time": 939.0}, True),
        ({"last_time": 939.0, "longest_secs": 20.0}, False),
        ({"last_time": 899.0, "longest_secs": 20.0}, True),
        ({"last_time": 500.0, "longest_secs": None}, False),
        ({"last_time": 500.0, "host": "b"}, False),
        ({"last_time": 500.0, "ended": 986.0, "ended_how": "died"}, False),
        ({"last_time": None, "last_step": None, "step_secs": None, "longest_secs": None}, False),
    ],
)
def test_silence_is_a_minute_and_five_of_the_longest_pauses_while_others_log(
    facts: dict[str, Any], silent: bool
) -> None:
    assert [rank.silent for rank in made_ranks([row(0), row(1, **facts)])] == [False, silent]


def test_across_ranks_sums_up_each_step() -> None:
    points = [
        (0, 0, 1.0), (0, 1, 3.0), (0, 2, 2.0),
        (1, 0, float("nan")), (1, 2, -1.0),
        (2, 1, float("inf")),
        (5, 0, 7.0), (5, 1, 7.0),
    ]  # fmt: skip
    steps, ranks, values = (np.array(column) for column in zip(*points, strict=True))
    across = made_across(
        Series(
            step=steps,
            value=values,
            time=np.zeros(len(points)),
            rank=ranks.astype(np.uint32),
            attempt=np.ones(len(points), np.uint32),
        )
    )
    nan = float("nan")
    np.testing.assert_array_equal(across.step, [0, 1, 2, 5])
    np.testing.assert_array_equal(across.count, [3, 2, 1, 2])
    np.testing.assert_array_equal(across.non_finite, [0, 1, 1, 0])
    np.testing.assert_array_equal(across.mean, [2.0, -1.0, nan, 7.0])
    np.testing.assert_array_equal(across.min, [1.0, -1.0, nan, 7.0])
    np.testing.assert_array_equal(across.min_rank, [0, 2, -1, 0])
    np.testing.assert_array_equal(across.max, [3.0, -1.0, nan, 7.0])
    np.testing.assert_array_equal(across.max_rank, [1, 2, -1, 0])


def test_across_ranks_of_what_is_no_number_is_counted_alone() -> None:
    across = made_across(
        Series(
            step=np.array([3, 3]),
            value=np.array(["a", None], dtype=object),
            time=np.zeros(2),
            rank=np.array([0, 1], np.uint32),
            attempt=np.ones(2, np.uint32),
        )
    )
    assert (len(across), across.count[0], across.non_finite[0]) == (1, 2, 2)
    assert np.isnan(across.mean[0])
