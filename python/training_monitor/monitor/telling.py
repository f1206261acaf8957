"""What of that which the brain finds is told, and how: the desk, if it can be opened."""

from __future__ import annotations

import os
import time
from collections import deque
from math import inf, isfinite
from typing import TYPE_CHECKING

from training_monitor.notify.notices import (
    PhaseNotice,
    Remaining,
    StopAdvice,
    of_analysis,
    of_model,
    of_phase,
    of_stop,
)
from training_monitor.notify.opening import open_desk
from training_monitor.settings import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from training_monitor.analyses import Analysis
    from training_monitor.detect.finding import Finding
    from training_monitor.judge.judge import Judge
    from training_monitor.judge.prospect import Prospect
    from training_monitor.monitor.journal import Journal
    from training_monitor.notify.alert import Notice
    from training_monitor.notify.desk import Desk
    from training_monitor.predict.eta import Eta
    from training_monitor.predict.phase import Transition

__all__ = ["Telling"]

_CLOSE_SECS = 5.0
_RETRY_SECS = 5.0
# No incident waits longer for others.
_WAITS_SECS = 15.0
# What was found so long ago is in the database; so often it is written down how far that is.
_DURABLE_SECS = 15.0
_POSITION_SECS = 60.0
_MOST_WAITING = 1000
# A stop that saves less, of the run and of time, is not worth a word.
_LEAST_LEFT = 0.05
_LEAST_SAVED_SECS = 60.0
# Phases that people want to hear of; of the others the log and the database know.
_TOLD = frozenset(("PLATEAU", "OVERFITTING_RISK", "DIVERGING", "CONVERGED"))
_ADVICE = {
    "PLATEAU": "Lower the learning rate, stop early if the validation is flat too, or more data.",
    "OVERFITTING_RISK": "Keep the best checkpoint; stop soon, or regularise more.",
    "DIVERGING": "Stop, and go back to the best checkpoint with a lower learning rate.",
}


class Telling:
    """Hands findings, phases and advice to the desk of a run.

    A desk that cannot be opened keeps nobody from judging: the log says why, and it is tried again,
    as a brain that was killed may hold it for a moment.

    Args:
        run_dir: The run directory.
        journal: The log.
    """

    def __init__(self, run_dir: str, journal: Journal) -> None:
        self._run_dir = run_dir
        self._journal = journal
        self._desk: Desk | None = None
        self._notices: list[Notice] = []
        self._waiting: list[Finding] = []
        self._advised = False
        self._troubles: list[str] = []
        self._said = ""
        self._retry_at = 0.0
        # When it was so, and up to which time of its points the run was judged.
        self._judged: deque[tuple[float, float]] = deque()
        self._until: float | None = None
        self._position_at = -inf

    @property
    def position(self) -> float | None:
        """How far the run was judged and told before, in seconds; None: nobody knows."""
        desk = self._open()
        return None if desk is None or desk.position is None else desk.position / 1e3

    def judged(self, until: float, now: float) -> None:
        """Take note of how far the run was judged, to say so when all of that is surely stored."""
        if not self._judged or until > self._judged[-1][1]:
            self._judged.append((now, until))

    def _durable(self, now: float, *, has_news: bool) -> int | None:
        """Return how far all was judged and is stored, where that is to be written down."""
        until = None
        while self._judged and not 0 <= now - self._judged[0][0] < _DURABLE_SECS:
            until = self._judged.popleft()[1]
        if until is not None:
            self._until = until
        is_due = has_news or not 0 <= now - self._position_at < _POSITION_SECS
        if self._until is None or not is_due:
            return None
        self._position_at = now
        return int(self._until * 1e3)

    def _open(self) -> Desk | None:
        """Open the desk, unless that has just failed."""
        if self._desk is not None or time.monotonic() < self._retry_at:
            return self._desk
        name = os.path.basename(self._run_dir)
        try:
            settings = resolve({"experiment_name": name})
            self._desk = open_desk(self._run_dir, name, settings)
        except Exception as error:  # noqa: BLE001 -- an odd setting or file must not end the brain
            self._retry_at = time.monotonic() + _RETRY_SECS
            if str(error) != self._said:
                self._journal.error(f"alerts are not told: {error}; trying again")
            self._said = str(error)
        return self._desk

    def take(
        self,
        findings: Iterable[Finding],
        transitions: Iterable[Transition],
        judge: Judge,
        now: float,
    ) -> list[dict[str, Any]]:
        """Tell what is due; return the new alerts as JSON has them."""
        notices = [*self._notices, *(_phase_notice(one, judge, now) for one in transitions
                                     if one.after.value in _TOLD)]  # fmt: skip
        waiting = [*self._waiting, *findings]
        desk = self._open()
        if desk is None:
            self._waiting, self._notices = waiting[-_MOST_WAITING:], notices[-_MOST_WAITING:]
            return []
        self._waiting, self._notices = [], []
        position = self._durable(now, has_news=bool(waiting or notices))
        alerts = desk.take(waiting, notices, now=now, position=position)
        if desk.troubles != self._troubles:
            self._troubles = list(desk.troubles)
            for trouble in self._troubles:
                self._journal.warn(trouble)
        return [alert.to_json() for alert in alerts]

    def flush(self, now: float) -> list[dict[str, Any]]:
        """Tell what waits to be told together with others; return the new alerts."""
        if self._desk is None:
            return []
        return [alert.to_json() for alert in self._desk.take((), now=now + _WAITS_SECS)]

    def advise(self, prospect: Prospect, judge: Judge, now: float) -> None:
        """Tell that it is better to stop, once until going on is worth it again."""
        if not prospect.stop:
            self._advised = False
            return
        eta = judge.eta(now=now)
        if self._advised or not _is_worth_it(prospect, eta):
            return
        self._advised = True
        self._notices.append(_stop_notice(prospect, eta, now))

    def hand_on(self, notices: Iterable[Notice]) -> None:
        """Tell what the script itself has to say."""
        self._notices += notices

    def explain(self, said: Analysis | str) -> None:
        """Tell what an analysis says, where something is wrong, or what is wrong with the model."""
        if isinstance(said, str):
            self._journal.warn(said)
            self._notices.append(of_model(said, time=time.time()))
            return
        self._journal.info(f"analysis ({said.trigger}, {said.rung}): {said.status}")
        if said.status != "ok" and said.rung != "rules":
            self._notices.append(_analysis_notice(said))

    def close(self) -> None:
        """Deliver what is due, for a few seconds at most."""
        if self._desk is not None:
            self._desk.close(within_secs=_CLOSE_SECS)


def _phase_notice(transition: Transition, judge: Judge, now: float) -> Notice:
    step = int(transition.step) if isfinite(transition.step) else None
    eta = judge.eta(now=now)
    return of_phase(
        PhaseNotice(
            old=transition.before.value,
            new=transition.after.value,
            reason=transition.reason,
            time=transition.time if isfinite(transition.time) else now,
            step=step,
            remaining=None if eta is None else _remaining(eta),
            advice=_ADVICE.get(transition.after.value, ""),
        )
    )


def _analysis_notice(said: Analysis) -> Notice:
    from training_monitor.analysis.wording import long_text, short_text

    return of_analysis(
        said.status,
        short=short_text(said, said.checks),
        text=long_text(said, said.checks),
        time=said.time,
        step=said.step,
    )


def _is_worth_it(prospect: Prospect, eta: Eta | None) -> bool:
    """Return whether a stop saves enough to be worth a word."""
    advice = prospect.advice
    if advice is None or not advice.end_known or advice.left < _LEAST_LEFT:
        return False
    return eta is None or eta.seconds >= _LEAST_SAVED_SECS


def _remaining(eta: Eta) -> Remaining:
    return Remaining(eta.seconds, eta.low[80], eta.high[80], trust=eta.confidence)


def _stop_notice(prospect: Prospect, eta: Eta | None, now: float) -> Notice:
    advice = prospect.advice
    assert advice is not None  # noqa: S101 -- there is no word to stop without it
    return of_stop(
        StopAdvice(
            metric=prospect.metric,
            time=now,
            step=prospect.step,
            p_gain=advice.p_gain,
            gain=advice.gain,
            best=advice.best_value,
            best_at=f"step {advice.best_step:,.0f}",
            current=prospect.value,
            current_at=f"step {prospect.step:,}",
            since=f"{prospect.step - advice.best_step:,.0f} steps",
            saves_secs=None if eta is None else eta.seconds,
            checkpoint=f"that of step {advice.best_step:,.0f}",
        )
    )
