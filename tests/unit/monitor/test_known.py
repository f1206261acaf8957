"""What earlier brains have told is told once, goes on standing, and ends."""

import json
from typing import Any, cast

import numpy as np

from training_monitor import _core
from training_monitor.detect.finding import Finding
from training_monitor.judge.judge import Judge
from training_monitor.judge.news import News
from training_monitor.judge.notes import finding_line, phase_line
from training_monitor.monitor.known import Known
from training_monitor.predict.phase import Phase, Transition

PLATEAU = Finding("plateau", "warning", "val/loss", 100, 1000.0, "It is flat.", since=80)


class Stored:
    """A run of which this was told."""

    def __init__(self, *findings: Finding, phases: tuple[Transition, ...] = ()) -> None:
        self._events: dict[str, list[tuple[float, str]]] = {"detected": [], "phase": []}
        for finding in findings:
            self._add("detected", finding.time, finding_line(finding))
        for phase in phases:
            self._add("phase", phase.time, phase_line(phase))

    def _add(self, kind: str, time: float, line: bytes) -> None:
        self._events[kind].append((time, json.dumps(json.loads(line)["note"])))

    def events(self, kind: str) -> list[tuple[float, str]]:
        return self._events[kind]

    def attempts(self) -> list[dict[str, Any]]:
        return [{"started": 500.0}]


def known(stored: Stored, *, until: float | None = None) -> Known:
    return Known(cast("_core.RunReader", stored), until=until)


def at(time: float, finding: Finding = PLATEAU, **changes: Any) -> Finding:
    facts = {name: getattr(finding, name) for name in finding.__slots__}
    return Finding(**(facts | {"time": time} | changes))


def points(judge: Judge, count: int, *, start: int = 0) -> None:
    steps = np.arange(start, start + count)
    values = 2.0 + np.random.default_rng(1).normal(0.0, 0.02, count)
    judge.feed([News("val/loss", 0, 1, steps, 1e3 + steps.astype(np.float64), values)])


def test_what_stands_is_not_told_anew_though_it_is_found_later() -> None:
    before = known(Stored(PLATEAU))
    assert before.admit(PLATEAU, is_past=True) is None
    assert before.admit(at(1003.0, since=85), is_past=True) is None


def test_what_gets_worse_or_ends_goes_on_from_where_it_began() -> None:
    before = known(Stored(PLATEAU))
    worse = before.admit(at(1200.0, severity="critical", since=99), is_past=True)
    assert worse is not None
    assert worse.since == 80
    over = before.admit(at(1300.0, severity="info", since=99, over=True), is_past=False)
    assert over is not None
    assert over.since == 80
    assert not before.standing


def test_what_was_judged_for_sure_is_not_judged_anew() -> None:
    before = known(Stored(PLATEAU), until=2000.0)
    spike = Finding("spike", "warning", "loss", 7, 1500.0, "It jumped.", since=7)
    assert before.admit(spike, is_past=True) is None
    later = at(2001.0, spike)
    assert before.admit(later, is_past=True) == later


def test_what_nobody_has_judged_is_all_new() -> None:
    before = known(Stored())
    assert before.admit(PLATEAU, is_past=True) == PLATEAU
    assert before.phase is None


def test_what_an_earlier_attempt_left_open_does_not_stand() -> None:
    assert not known(Stored(at(400.0))).standing


def test_the_rank_0_of_a_run_without_ranks_is_that_run() -> None:
    before = known(Stored(PLATEAU))
    over = before.admit(at(1300.0, severity="info", rank=0, over=True), is_past=False)
    assert over is not None
    assert over.rank is None


def test_what_is_not_found_any_more_ends_once_when_enough_was_seen() -> None:
    before, judge = known(Stored(PLATEAU)), Judge()
    points(judge, 100)
    before.adopt(judge, 5000.0)
    points(judge, 50, start=100)
    assert list(before.over(judge, 6000.0)) == [], "few points"
    points(judge, 500, start=150)
    assert list(before.over(judge, 5010.0)) == [], "little time"
    (over,) = before.over(judge, 6000.0)
    assert (over.kind, over.over, over.since) == ("plateau", True, 80)
    assert before.admit(over, is_past=False) == over
    judge.note([over])
    assert not before.standing
    assert not judge.standing
    assert list(before.over(judge, 9000.0)) == []


def test_what_is_found_again_is_no_orphan() -> None:
    before, judge = known(Stored(PLATEAU)), Judge()
    points(judge, 100)
    before.adopt(judge, 5000.0)
    assert before.admit(at(5100.0), is_past=False) is None
    points(judge, 500, start=100)
    assert list(before.over(judge, 9000.0)) == []
    assert before.standing


def test_the_phase_is_that_which_was_told_last() -> None:
    change = Transition(90.0, 1500.0, Phase.LEARNING_FAST, Phase.PLATEAU, "It stayed.")
    before = known(Stored(PLATEAU, phases=(change,)), until=1400.0)
    assert before.phase is Phase.PLATEAU
    assert before.has_told(change)
    later = Transition(95.0, 1600.0, Phase.PLATEAU, Phase.DIVERGING, "It left.")
    assert not before.has_told(later)
