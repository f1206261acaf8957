"""The progress of a run: where it is, which way it goes, what is to come, what to do."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field

from training_monitor.foresight.beside import compare_runs
from training_monitor.foresight.course import Course
from training_monitor.foresight.evenly import evenly
from training_monitor.foresight.phases import phases_of
from training_monitor.foresight.words import eta_text, final_text, stop_text
from training_monitor.found import read_phases
from training_monitor.predict.wording import duration, number
from training_monitor.report.trend import Trend, trend_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from training_monitor.foresight.recorded import Recorded
    from training_monitor.found import PhaseChange
    from training_monitor.judge.prospect import Prospect
    from training_monitor.machine import Finding
    from training_monitor.predict.baseline import Comparison
    from training_monitor.predict.cost import Cost
    from training_monitor.predict.eta import Eta
    from training_monitor.predict.total import Total
    from training_monitor.query import RunView

__all__ = ["Progress", "progress_of"]

_SEVERITIES = ("critical", "warning", "info")
_MOST_POINTS = 4000
# Kinds in the order in which people ask for them; of each the metric that says most.
_TOLD = ("loss", "score", "error", "reward", "mfu", "throughput", "step_time", "lr", "grad_norm")
_WITH_TREND = ("loss", "score", "error", "reward", "mfu", "throughput", "step_time")
_COMPARED = frozenset(("loss", "score", "error", "reward"))
_MOST_FINDINGS = 10
_MOST_JUDGED = 1_000_000
_OF_PHASE = {
    "PLATEAU": "The run is on a plateau: lower the learning rate, or stop if the rest of the "
    "schedule will not help.",
    "OVERFITTING_RISK": "Keep the best checkpoint, and stop soon or regularise more.",
    "DIVERGING": "Stop, and go back to the best checkpoint with a lower learning rate.",
}


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run.

    Attributes:
        run: Its name.
        dir: Its directory.
        state: As recording or ended.
        time: When this was worked out.
        step: The last step; None: there is none.
        total: The step at which it ends; None: nobody knows.
        phase: The last change of the phase; None: there was none.
        values: The last value of the metrics that people ask for first.
        trends: Which way they go.
        eta: How long it still takes; None: it is over, or not known.
        prospect: How the headline will end; None: too little is known.
        cost: GPU hours and money.
        findings: Those that stand, the worst first.
        past: Those that are over, or that nobody saw again, the newest first.
        comparisons: The run beside the baseline.
        baseline: The name of that; empty: there is none.
    """

    run: str
    dir: str
    state: str
    time: float
    step: int | None
    total: Total | None
    phase: PhaseChange | None
    values: dict[str, float]
    trends: list[Trend]
    eta: Eta | None
    prospect: Prospect | None
    cost: Cost
    has_gpus: bool = False
    findings: list[Finding] = field(default_factory=list)
    past: list[Finding] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    baseline: str = ""

    @property
    def is_live(self) -> bool:
        """Whether it goes on."""
        return self.state == "recording"

    def sections(self) -> dict[str, list[str]]:
        """Return the report in sentences, by heading."""
        found = {
            "Current Status": self._status(),
            "Trends": [f"{trend}" for trend in self.trends] or ["Too few points for a trend."],
            "Estimates": self._estimates(),
        }
        if self.baseline:
            found[f"Compared with {self.baseline}"] = [
                one.text[:1].upper() + one.text[1:] for one in self.comparisons
            ] or ["They have no metric with a step in common."]
        found["Issues Detected"] = self._issues()
        found["Recommendations"] = self._recommendations()
        return found

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return asdict(self) | {"sections": self.sections()}

    def _status(self) -> list[str]:
        done = "-" if self.step is None else f"{self.step:,}"
        if self.total is not None and self.step is not None:
            share = min(self.step / self.total.steps, 1.0)
            done += f" / {self.total.steps:,.0f} ({share:.1%}; {self.total.where})"
        lines = [f"State: {self.state}", f"Step: {done}"]
        if self.phase is not None:
            since = "" if self.phase.step is None else f" since step {self.phase.step:,}"
            lines.append(f"Phase: {self.phase.after}{since}. {self.phase.reason}")
        lines += [f"{name}: {number(value, 4)}" for name, value in self.values.items()]
        if self.prospect is not None and self.prospect.advice is not None:
            best = self.prospect.advice
            where = f"{number(best.best_value, 4)} at step {best.best_step:,.0f}"
            lines.append(f"Best {self.prospect.metric}: {where}")
        return lines

    def _estimates(self) -> list[str]:
        lines = []
        if self.eta is not None:
            at = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.time + self.eta.seconds))
            lines.append(f"Time remaining: {eta_text(self.eta)}, so it ends at {at}")
        elif self.is_live and self.total is None:
            lines.append("Time remaining: unknown, as nobody says at which step the run ends")
        if self.prospect is not None and self.prospect.forecast is not None and not self._is_done:
            had = "Estimated final value" if self.is_live else "Final value, had it gone on"
            lines.append(f"{had}: {final_text(self.prospect)}")
        if self.prospect is not None and self.prospect.advice is not None and self.is_live:
            chance = self.prospect.advice
            lines.append(
                f"Chance that {self.prospect.metric} still gains more than "
                f"{100 * chance.gain:.3g}%: {chance.p_gain:.0%}"
            )
        if self.cost.spent is not None or self.has_gpus:
            lines.append(f"Cost: {self.cost}")
        return lines or ["None: the run is over." if not self.is_live else "None yet."]

    @property
    def _is_done(self) -> bool:
        reached = self.total is not None and (self.step or 0) >= self.total.steps - 1
        return not self.is_live and (reached or self.total is None)

    def _issues(self) -> list[str]:
        lines = [f"{one.severity}: {one.text}" for one in self.findings[:_MOST_FINDINGS]]
        if len(self.findings) > _MOST_FINDINGS:
            lines.append(f"and {len(self.findings) - _MOST_FINDINGS} more")
        lines += [f"earlier: {one.text}" for one in self.past[:_MOST_FINDINGS]]
        if len(self.past) > _MOST_FINDINGS:
            lines.append(f"and {len(self.past) - _MOST_FINDINGS} earlier ones")
        return lines or ["None"]

    def _recommendations(self) -> list[str]:
        lines = []
        if self.is_live and self.prospect is not None and self.prospect.stop:
            saved = "" if self.eta is None else f" That saves {duration(self.eta.seconds)}."
            lines.append(_sentence(stop_text(self.prospect)) + saved)
        lines += [one.advice for one in self.findings if one.advice and one.severity != "info"]
        if self.phase is not None and self.is_live and self.phase.after in _OF_PHASE:
            lines.append(_OF_PHASE[self.phase.after])
        if not lines and any(one.severity != "info" for one in self.findings):
            lines = ["Look at the issues above: what to do depends on what is behind them."]
        elif not lines:
            goes = "The training goes normally" if self.is_live else "Nothing serious stands"
            lines = [f"{goes}: no intervention is needed."]
        return list(dict.fromkeys(lines))[:_MOST_FINDINGS]


def progress_of(
    run: RunView,
    *,
    state: str,
    baseline: RunView | None = None,
    cost_per_gpu_hour: float | None = None,
    now: float | None = None,
) -> Progress:
    """Work out the progress of a run.

    Args:
        run: The run.
        state: As recording or ended.
        baseline: Compare with this run.
        cost_per_gpu_hour: The price; None: as the environment says, or as recorded.
        now: Wall clock; None means that of this moment.
    """
    course = Course(run, now=now)
    changes = phases_of(run)
    names = _told(course)
    standing, past = _findings(run)
    is_live = state == "recording"
    return Progress(
        run=run.name,
        dir=run.dir,
        state=state,
        time=course.now,
        step=course.last_step,
        total=course.total(),
        phase=changes[-1] if changes else None,
        values=_last_values(run, names),
        trends=_trends(run, [name for name, kind in names.items() if kind in _WITH_TREND]),
        eta=course.eta() if is_live else None,
        prospect=course.prospect(),
        cost=course.cost(cost_per_gpu_hour),
        has_gpus=course.has_gpus(),
        findings=standing,
        past=past,
        comparisons=_compared(run, baseline, names, cost_per_gpu_hour),
        baseline="" if baseline is None else baseline.name,
    )


def _told(course: Course) -> dict[str, str]:
    """Return the metrics that people ask for first, with their kinds: the headline before all."""
    names = {course.headline: ""} if course.headline else {}
    for kind in _TOLD:
        name = course.of_kind(kind)
        if name is not None:
            names[name] = ""
    return {name: course.meanings[name].kind for name in names if name}


def _compared(
    run: RunView, baseline: RunView | None, names: dict[str, str], cost: float | None
) -> list[Comparison]:
    """Compare by the first of these metrics that both runs have."""
    theirs = set() if baseline is None else {one.name for one in baseline.metrics()}
    common = (name for name, kind in names.items() if kind in _COMPARED and name in theirs)
    metric = next(common, None)
    if baseline is None or metric is None:
        return []
    return compare_runs(run, baseline, metric=metric, cost=cost)


def _last_values(run: Recorded, names: dict[str, str]) -> dict[str, float]:
    known = {one.name: one.last_value for one in run.metrics()}
    return {
        name: float(value)
        for name in names
        if isinstance(value := known.get(name), (int, float)) and not isinstance(value, bool)
    }


def _trends(run: Recorded, names: list[str]) -> list[Trend]:
    found = [trend_of(name, *evenly(run, name, _MOST_POINTS)) for name in names]
    return [one for one in found if one is not None]


def _findings(run: RunView) -> tuple[list[Finding], list[Finding]]:
    """Return the findings that stand, the worst first, and those that are over."""
    found = run.findings()
    judged = any(one.by == "detector" for one in found) or bool(read_phases(run._reader))
    # Nobody has looked at it: that is made good for where it does not take minutes.
    if not judged and run._reader.counts()["points"] <= _MOST_JUDGED:
        found += run.replay().findings
    standing = [one for one in found if one.stands]
    past = [one for one in found if one.by == "detector" and not one.stands and not one.over]
    order = {severity: at for at, severity in enumerate(_SEVERITIES)}
    standing.sort(key=lambda one: (order.get(one.severity, 1), -one.time))
    return standing, sorted(past, key=lambda one: -one.time)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
