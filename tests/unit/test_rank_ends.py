"""A run whose trainer died is not shown as one that is done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from training_monitor.cli.ranks import end_lines
from training_monitor.ranks import Rank

UNKNOWN = "rank 0 (pid 7 on h) ended without close(); how is not known; its last step was 9"
RANK = Rank(
    rank=0, local_rank=0, host="h", pid=7, processes=1, points=10, started=0.0, ended=9.0,
    ended_how="died", last_step=9, last_time=9.0, steps_behind=0, step_secs=1.0, straggler=None,
    lag_secs=None, end=UNKNOWN, signal=None, exit_code=None, oom_kills=None, exception=None,
    traceback=None, silent=False,
)  # fmt: skip


def test_an_end_that_nobody_saw_is_shown() -> None:
    assert end_lines([RANK], [("host", "CPU 1 %")]) == [("rank0/end", UNKNOWN)]


def test_an_end_that_is_a_finding_is_shown_once() -> None:
    assert end_lines([RANK], [("rank0/end", "was killed by SIGKILL")]) == []


@pytest.mark.parametrize(
    "ranks",
    [[], [replace(RANK, end=None)], [replace(RANK, exit_code=0)], [RANK, replace(RANK, rank=1)]],
)
def test_of_a_rank_that_is_well_and_of_several_nothing_is_said_here(ranks: list[Rank]) -> None:
    assert end_lines(ranks, []) == []
