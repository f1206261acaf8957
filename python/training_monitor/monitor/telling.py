"""What of that which the brain finds is told, and how: the desk, if it can be opened."""

from __future__ import annotations

import os
from math import isfinite
from typing import TYPE_CHECKING

from training_monitor.notify.notices import PhaseChange, Remaining, StopAdvice, of_phase, of_stop
from training_monitor.notify.opening import open_desk
from training_monitor.settings import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

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
    """Hands findings, phases and advice to the desk.

    Args:
        desk: None: nothing can be told, and the log says why.
        journal: The log.
    """

    def __init__(self, desk: Desk | None, journal: Journal) -> None:
        self._desk = desk
        self._journal = journal
        self._notices: list[Notice] = []
        self._advised = False
        self._troubles: list[str] = []

    @classmethod
    def open(cls, run_dir: str, journal: Journal) -> Telling:
        """Open the desk of a run; a desk that cannot be opened keeps nobody from judging."""
        name = os.path.basename(run_dir)
        try:
            desk = open_desk(run_dir, name, resolve({"experiment_name": name}))
        except Exception as error:  # noqa: BLE001 -- an odd setting or file must not end the brain
            journal.error(f"alerts are not told: {error}")
            return cls(None, journal)
        return cls(desk, journal)

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
        self._notices = []
        if self._desk is None:
            return []
        alerts = self._desk.take(findings, notices, now=now)
        if self._desk.troubles != self._troubles:
            self._troubles = list(self._desk.troubles)
            for trouble in self._troubles:
                self._journal.warn(trouble)
        return [alert.to_json() for alert in alerts]

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

    def close(self) -> None:
        """Deliver what is due, for a few seconds at most."""
        if self._desk is not None:
            self._desk.close(within_secs=_CLOSE_SECS)


def _phase_notice(transition: Transition, judge: Judge, now: float) -> Notice:
    step = int(transition.step) if isfinite(transition.step) else None
    eta = judge.eta(now=now)
    return of_phase(
        PhaseChange(
            old=transition.before.value,
            new=transition.after.value,
            reason=transition.reason,
            time=transition.time if isfinite(transition.time) else now,
            step=step,
            remaining=None if eta is None else _remaining(eta),
            advice=_ADVICE.get(transition.after.value, ""),
        )
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
