"""One run judged: ranks, phases, and what was found before."""

import numpy as np
import pytest

from training_monitor.detect.finding import Finding
from training_monitor.judge.judge import Judge, key_of
from training_monitor.judge.news import News
from training_monitor.predict.phase import Phase


def news(values: list[float], *, metric: str = "train/loss", rank: int = 0, start: int = 0) -> News:
    steps = np.arange(start, start + len(values))
    return News(metric, rank, 1, steps, 1e9 + steps.astype(np.float64), np.array(values))


def falling(count: int, *, seed: int = 1) -> list[float]:
    noise = np.random.default_rng(seed).normal(0.0, 0.02, count)
    values: list[float] = (2.0 + 3.0 * np.exp(-np.arange(count) / 200) + noise).tolist()
    return values


def test_a_run_that_gets_ranks_has_one_series_of_its_first() -> None:
    judge = Judge()
    healthy = falling(400)
    judge.feed([news(healthy)])
    (began,) = judge.feed([news([float("nan")], start=400)]).findings
    assert began.rank is None
    # Launched anew, by torchrun: rank 0 of two.
    again = judge.feed([news(healthy, rank=1), news(healthy[-50:], start=401)]).findings
    (over,) = (one for one in again if one.over)
    assert (over.kind, over.rank) == ("non_finite", None)
    assert not judge.standing


def test_a_series_of_rank_0_that_ends_alone_ends_as_rank_0() -> None:
    judge = Judge()
    healthy = falling(400)
    judge.adopt(Finding("non_finite", "critical", "train/loss", 3, 1e9, "NaN", rank=0))
    judge.feed([news([*healthy, float("nan")])])
    (over,) = judge.feed([news(healthy[-50:], start=401)]).findings
    assert (over.over, over.rank) == (True, 0)
    assert not judge.standing


@pytest.mark.parametrize("at_once", [10_000, 50])
def test_a_backlog_has_the_phases_of_a_run_that_is_followed(at_once: int) -> None:
    judge = Judge()
    values = falling(900)
    values[400:500] = [value + 6.0 for value in values[400:500]]
    phases = []
    for start in range(0, len(values), at_once):
        judged = judge.feed([news(values[start : start + at_once], start=start)])
        phases += [one.after for one in judged.transitions]
    diverged = phases.index(Phase.DIVERGING)
    assert diverged > 0, "something was learned before"
    assert diverged < len(phases) - 1, "and afterwards"


def test_what_was_found_before_keeps_the_phase_until_it_is_over() -> None:
    judge = Judge()
    judge.feed([news(falling(400))])
    before = Finding("divergence", "critical", "train/loss", 300, 1e9, "It left its best.")
    judge.adopt(before)
    judge.resume(Phase.DIVERGING)
    assert judge.feed([news(falling(450)[400:], start=400)]).transitions == []
    assert key_of(before) in judge.standing
    over = Finding("divergence", "info", "train/loss", 450, 1e9 + 450, "Over.", over=True)
    (transition,) = judge.note([over]).transitions
    assert transition.before is Phase.DIVERGING
