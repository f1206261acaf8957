"""Judging a recorded run anew, with these thresholds or others."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from math import inf, isfinite, nan

import numpy as np

from training_monitor.detect.headline import choose
from training_monitor.detect.named import named_thresholds
from training_monitor.detect.thresholds import Thresholds
from training_monitor.detect.watch import Watch
from training_monitor.foresight.course import Course
from training_monitor.foresight.merged import chunks_of, slices
from training_monitor.found import PhaseChange
from training_monitor.judge.judge import Judge
from training_monitor.judge.news import halved
from training_monitor.judge.prospect import prospect_of
from training_monitor.machine import Finding
from training_monitor.predict.advice import Stopper
from training_monitor.predict.learning_rate import LearningRate
from training_monitor.predict.phase import Phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from training_monitor.detect.finding import Finding as Detected
    from training_monitor.foresight.recorded import Recorded
    from training_monitor.judge.news import Judged, News
    from training_monitor.predict.phase import Transition

    Points = tuple[NDArray[np.int64], NDArray[np.float64]]

__all__ = ["Replay", "replay_run"]

# Metrics that are judged together; further ones say nothing of each other, and come later.
_TOGETHER = 128
_PROSPECT_KINDS = frozenset(("loss", "score", "error", "reward"))
_LOOK_SECS = 30.0
# A new look at the end is worth its while when there is so much more to see.
_LOOK_SHARE = 1.02
_LEAST_POINTS = 5
_MOST_KEPT = 8000


@dataclass(frozen=True, slots=True)
class Replay:
    """What would have been found.

    Attributes:
        findings: The oldest first.
        phases: The changes of the phase, the oldest first.
    """

    findings: list[Finding]
    phases: list[PhaseChange]

    def __len__(self) -> int:
        return len(self.findings) + len(self.phases)

    def __iter__(self) -> Iterator[Finding | PhaseChange]:
        """Yield all of it in the order of time."""
        both: list[Finding | PhaseChange] = [*self.findings, *self.phases]
        yield from sorted(both, key=lambda one: one.time if isfinite(one.time) else -inf)


def replay_run(
    run: Recorded,
    thresholds: Thresholds | Mapping[str, float | None] | None = None,
    *,
    metrics: Iterable[str] | None = None,
) -> Replay:
    """Judge the stored points of a run anew, in the order in which they were logged.

    Args:
        run: The run.
        thresholds: When something is said; None means the defaults.
        metrics: Only findings about these; None means all.
    """
    if thresholds is not None and not isinstance(thresholds, Thresholds):
        thresholds = named_thresholds(thresholds)
    course = Course(run)
    names = [one.name for one in run.metrics() if one.kind not in ("text", "none")]
    telling = {name for name, one in course.meanings.items() if one.kind != "other"}
    ordered = sorted(names, key=lambda name: name not in telling)
    wanted = None if metrics is None else set(metrics)
    findings, transitions = _judge(course, run, thresholds, ordered)
    for at in range(_TOGETHER, len(ordered), _TOGETHER):
        rest = [name for name in ordered[at : at + _TOGETHER] if wanted is None or name in wanted]
        findings += _watch(course, run, thresholds, rest)
    if wanted is not None:
        findings = [one for one in findings if one.metric in wanted]
    return Replay(_made(findings), sorted(map(_change, transitions), key=lambda one: one.time))


def _judge(
    course: Course, run: Recorded, thresholds: Thresholds | None, names: list[str]
) -> tuple[list[Detected], list[Transition]]:
    """Judge the metrics that say most, together, as the brain does."""
    said = course.settings.get("total_steps")
    judge = Judge(
        config=run.config,
        definitions=run.definitions(),
        thresholds=thresholds,
        total=float(said) if isinstance(said, (int, float)) else None,
    )
    judge.watch.knows(names)
    ahead = _Ahead(judge)
    findings: list[Detected] = []
    transitions: list[Transition] = []

    def take(judged: Judged) -> None:
        findings.extend(judged.findings)
        transitions.extend(judged.transitions)

    together = names[:_TOGETHER]
    held_out = [name for name in together if judge.watch.meanings[name].held_out]
    for attempt in course.attempts:
        read = partial(chunks_of, run._path, attempt.number)
        for end, news in slices(read, together, attempt=attempt.number, cut_at=held_out):
            take(judge.feed(news))
            take(judge.tick(end))
            ahead.take(news)
            take(judge.note(ahead.look(end)))
    return findings, transitions


def _watch(
    course: Course, run: Recorded, thresholds: Thresholds | None, names: list[str]
) -> list[Detected]:
    """Look at metrics of which each speaks for itself alone."""
    watch = Watch(thresholds=thresholds, definitions=run.definitions())
    watch.knows(names)
    return [
        finding
        for attempt in course.attempts
        for _, news in slices(
            partial(chunks_of, run._path, attempt.number), names, attempt=attempt.number
        )
        for one in news
        for finding in watch.feed(one.metric, one.steps, one.values, one.times, one.rank)
    ]


class _Ahead:
    """Looks ahead for the headline while its points come, in bounded memory."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._metric = judge.watch.headline
        self._rate = choose(judge.watch.meanings, "lr")
        self._points: dict[str, Points] = {}
        self._stopper = Stopper()
        self._due, self._enough = -np.inf, float(_LEAST_POINTS)
        self._count = 0

    def take(self, news: Iterable[News]) -> None:
        """Keep the points that matter."""
        for one in news:
            if one.rank == 0 and one.metric in (self._metric, self._rate):
                self._count += len(one.steps) if one.metric == self._metric else 0
                self._keep(one.metric, one.steps, one.values)

    def _keep(self, name: str, new_steps: NDArray[np.int64], new: NDArray[np.float64]) -> None:
        steps, values = self._points.get(name, (np.empty(0, np.int64), np.empty(0)))
        # A restart replaces what it does again.
        before = int(np.searchsorted(steps, int(new_steps.min())))
        steps = np.concatenate((steps[:before], new_steps))
        values = np.concatenate((values[:before], new))
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
        self._points[name] = halved(steps, values, _MOST_KEPT)

    def look(self, now: float) -> list[Detected]:
        """Say how probable a further gain is, when it is time."""
        metric = self._metric
        if metric is None or metric not in self._points or now < self._due:
            return []
        meaning = self._judge.watch.meanings[metric]
        judged = meaning.kind in _PROSPECT_KINDS and meaning.goal is not None
        if not judged or self._count < self._enough:
            return []
        self._due, self._enough = now + _LOOK_SECS, _LOOK_SHARE * self._count
        total = self._judge.total()
        found = prospect_of(
            metric,
            meaning,
            self._points[metric],
            end=None if total is None else float(total.steps),
            lr=self._learning_rate(),
            stopper=self._stopper,
            diverges=self._judge.phase is Phase.DIVERGING,
        )
        if found.advice is None:
            return []
        return self._judge.watch.set_gain(metric, found.step, found.advice.p_gain, now)

    def _learning_rate(self) -> LearningRate | None:
        steps, values = self._points.get(self._rate or "", (np.empty(0), np.empty(0)))
        return LearningRate(steps, values) if len(steps) > 1 else None


def _made(found: Iterable[Detected]) -> list[Finding]:
    """Return findings as a reader sees them."""
    made = []
    for one in sorted(found, key=lambda one: one.time if isfinite(one.time) else -np.inf):
        facts = asdict(one)
        facts["name"], facts["source"] = facts.pop("kind"), facts.pop("metric")
        made.append(Finding(host="", by="detector", **facts))
    last = {(one.name, one.source, one.rank or 0): at for at, one in enumerate(made)}
    standing = {at for at in last.values() if not made[at].over}
    return [replace(one, stands=at in standing) for at, one in enumerate(made)]


def _change(transition: Transition) -> PhaseChange:
    return PhaseChange(
        time=transition.time if isfinite(transition.time) else nan,
        step=int(transition.step) if isfinite(transition.step) else None,
        before=transition.before.value,
        after=transition.after.value,
        reason=transition.reason,
    )
