"""What a run is, how it goes and when it ends: fed with its points as they come."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, replace
from math import inf, isfinite, nan

import numpy as np

from training_monitor.detect.column import Column
from training_monitor.detect.thresholds import Thresholds
from training_monitor.detect.watch import Watch
from training_monitor.judge.news import Judged, halved
from training_monitor.judge.parts import parts
from training_monitor.judge.stalls import Stalls
from training_monitor.predict.eta import GENERATING, EtaEstimator
from training_monitor.predict.phase import Phase, PhaseRules, Phases
from training_monitor.predict.total import total_steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from numpy.typing import NDArray

    from training_monitor.detect.definition import Definition
    from training_monitor.detect.finding import Finding
    from training_monitor.judge.news import News
    from training_monitor.predict.eta import Eta
    from training_monitor.predict.phase import Transition
    from training_monitor.predict.total import Total

    Points = tuple[NDArray[np.float64], NDArray[np.float64]]
    Key = tuple[str, str, int]

__all__ = ["Judge", "key_of"]

_JUDGED = ("reward", "score", "error", "loss")
_GENERATED = frozenset(("kl", "length"))
# Points kept of a metric that tells how far the run is.
_MOST_KEPT = 512
# Phases in which another metric may still take over.
_YOUNG = (Phase.INITIALIZING, Phase.WARMUP)
_MOST_FLAGS = 1000
_FLAGS = frozenset(("divergence", "non_finite", "overfitting"))


class Judge:
    """Judges one run. Memory is bounded however long the run is.

    Args:
        config: The configuration of the run, for its end.
        definitions: What the user has said of metrics.
        thresholds: When something is said; None means the defaults.
        total: The step at which the run ends, where the user has said it.

    Attributes:
        watch: The detectors.
        standing: The findings that are not over, by `key_of`.
        step: The last step that was seen; None: none was.
    """

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        definitions: Iterable[Definition] = (),
        thresholds: Thresholds | None = None,
        total: float | None = None,
    ) -> None:
        self.watch = Watch(thresholds=thresholds, definitions=definitions)
        self._rules = PhaseRules(**asdict((thresholds or Thresholds()).phase))
        self.standing: dict[Key, Finding] = {}
        self.step: int | None = None
        self._config = dict(config or {})
        self._given = total
        self._ranks: set[int] = set()
        self._phases: Phases | None = None
        self._leading = ""
        self._last_times: dict[str, float] = {}
        self._seen: dict[str, int] = {}
        # Findings that decide the phase, and what stands of their kind since.
        self._flags: deque[tuple[Finding, str | None]] = deque(maxlen=_MOST_FLAGS)
        self._eta = EtaEstimator()
        self._clock = ""
        self._stalls = Stalls()
        self._attempt = 0
        self._far: dict[str, Points] = {}

    @property
    def phase(self) -> Phase:
        """The phase that the run is in."""
        return Phase.INITIALIZING if self._phases is None else self._phases.phase

    @property
    def leading(self) -> str:
        """The metric by which the phase is told; empty: there is none yet."""
        return self._leading

    def configure(self, config: Mapping[str, Any]) -> None:
        """Take the configuration of the run, which may come after its first points."""
        self._config = dict(config)

    def resume(self, phase: Phase) -> None:
        """Go on in this phase: the run was judged before, by one who has seen more of it."""
        if self._phases is not None:
            self._phases.phase = phase

    def adopt(self, finding: Finding) -> None:
        """Take over what stands, though it was not found here."""
        self.standing[key_of(finding)] = finding
        if finding.kind in _FLAGS and self._phases is not None:
            self._phases.flag(finding.kind, finding.text, time=finding.time)

    def points(self, metric: str) -> int | None:
        """Return how many points of a metric were seen; None: it is no metric that is watched."""
        return self._seen.get(metric)

    def feed(self, news: Iterable[News]) -> Judged:
        """Look at new points."""
        judged = Judged()
        fed = list(news)
        self.watch.knows(dict.fromkeys(one.metric for one in fed))
        self._ranks.update(one.rank for one in fed)
        for one in fed:
            self._seen[one.metric] = self._seen.get(one.metric, 0) + len(one.steps)
        held_out = self.watch.held_out
        for part in parts(fed, held_out):
            # Training metrics first, as what is held out is judged beside them, and before all how
            # long steps wait for data, as they may be slow because of that.
            part.sort(key=lambda one: (one.metric in held_out, self._is_no_wait(one)))
            for one in part:
                if one.rank == 0 and not self._is_no_wait(one):
                    self._stalls.take(one)
                found = self.watch.feed(one.metric, one.steps, one.values, one.times, one.rank)
                self._note(found, judged)
                self._note(self._stalls.look(found), judged)
            for one in part:
                if one.rank == 0:
                    self._follow(one, judged)
            self._flag_phase(judged, inf)
        self._progress(judged)
        return judged

    def _is_no_wait(self, news: News) -> bool:
        return self.watch.meanings[news.metric].kind != "data_time"

    def tick(self, now: float) -> Judged:
        """Look at what time alone tells."""
        judged = Judged()
        self._note(self.watch.tick(now), judged)
        self._flag_phase(judged, inf)
        return judged

    def note(self, findings: Iterable[Finding]) -> Judged:
        """Take findings of others, as those about the machine."""
        judged = Judged()
        self._note(findings, judged)
        self._flag_phase(judged, inf)
        return judged

    def total(self) -> Total | None:
        """Return the step at which the run ends; None: nobody knows."""
        return total_steps(
            self._config,
            given=self._given,
            step=self.step,
            epoch=self._far.get("epoch"),
            progress=self._far.get("progress"),
        )

    def eta(self, *, now: float | None = None) -> Eta | None:
        """Return how long the run still takes; None: its end, or its pace, is not known."""
        total = self.total()
        return None if total is None else self._eta.estimate(total.steps, now=now)

    def _note(self, findings: Iterable[Finding], judged: Judged) -> None:
        for one in findings:
            finding = self._with_rank(one)
            judged.findings.append(finding)
            key = key_of(finding)
            if finding.over:
                self.standing.pop(key, None)
            else:
                self.standing[key] = finding
            if finding.kind in _FLAGS:
                others = [
                    one for (kind, _, _), one in self.standing.items() if kind == finding.kind
                ]
                self._flags.append((finding, others[-1].text if others else None))

    def _flag_phase(self, judged: Judged, until: float) -> None:
        """Hand findings that decide the phase on to it, as far as its points have come.

        A backlog comes in large columns: what was found at their end is not to be known before.
        """
        if self._phases is None:
            return
        while self._flags and not self._flags[0][0].time > until:
            finding, text = self._flags.popleft()
            step = nan if finding.step is None else finding.step
            change = self._phases.flag(finding.kind, text, step=step, time=finding.time)
            self._add(judged, change)

    def _with_rank(self, finding: Finding) -> Finding:
        """Return the finding as one of the run, where it has no other ranks.

        What stands already keeps the rank it was told with, though ranks have come since: a run
        that was one process, and then several, has one series of its first rank.
        """
        if finding.rank != 0:
            return finding
        stood = self.standing.get(key_of(finding))
        is_alone = not self._ranks - {0} if stood is None else stood.rank is None
        return replace(finding, rank=None) if is_alone else finding

    def _follow(self, news: News, judged: Judged) -> None:
        """Let the phase, the pace and the end follow the first rank."""
        meaning = self.watch.meanings[news.metric]
        self.step = max(int(news.steps.max()), -1 if self.step is None else self.step)
        self._pace(news)
        if meaning.kind in ("epoch", "progress"):
            self._keep(meaning.kind, news)
        leads = self._leads(news.metric)
        if self._phases is None or not (leads or meaning.kind == "lr"):
            return
        column, total = Column(news.steps, news.values, news.times), self.total()
        for at in column.thinned(self._last_times.get(news.metric, nan), self.watch.a_second):
            point = float(news.steps[at]), float(news.values[at]), float(news.times[at])
            self._flag_phase(judged, point[2])
            if total is not None and total.steps > 0:
                # How far the run was then, and not where a backlog ends.
                self._add(judged, self._phases.progress(point[0] / total.steps, step=point[0]))
            push = self._phases.push if leads else self._phases.push_lr
            self._add(judged, push(*point))
        self._last_times[news.metric] = column.last_time()

    def _leads(self, metric: str) -> bool:
        """Return whether the phase is told by this metric, which it may only now begin to be."""
        if metric == self._leading:
            return True
        meaning = self.watch.meanings[metric]
        can = meaning.goal is not None and meaning.kind in _JUDGED and not meaning.minor
        is_first = self._phases is None or (metric == self.watch.headline and self.phase in _YOUNG)
        if not (can and is_first):
            return False
        self._leading = metric
        self._phases = Phases(metric, goal=meaning.goal or "min", rules=self._rules)
        return True

    def _pace(self, news: News) -> None:
        """Learn the pace from the metric that came first, as long as it comes."""
        if news.attempt != self._attempt:
            if self._attempt:
                self._eta.resumed()
            self._attempt, self._clock = news.attempt, ""
        meaning = self.watch.meanings[news.metric]
        if meaning.held_out:
            self._eta.evaluated(news.steps[-64:])
        elif self._clock in ("", news.metric):
            if not self._clock and meaning.kind in _GENERATED:
                self._eta = EtaEstimator(GENERATING)
            self._clock = news.metric
            self._eta.push_many(news.steps, news.times)

    def _keep(self, kind: str, news: News) -> None:
        steps, values = self._far.get(kind, (np.empty(0), np.empty(0)))
        steps = np.concatenate((steps, news.steps.astype(np.float64)))
        values = np.concatenate((values, news.values))
        self._far[kind] = halved(steps, values, _MOST_KEPT)

    def _progress(self, judged: Judged) -> None:
        total = self.total()
        self.watch.set_end(None if total is None else int(total.steps))
        if self._phases is None or total is None or self.step is None:
            return
        done = self.step / total.steps if total.steps > 0 else nan
        if isfinite(done):
            self._add(judged, self._phases.progress(done, step=float(self.step)))

    @staticmethod
    def _add(judged: Judged, transition: Transition | None) -> None:
        if transition is not None:
            judged.transitions.append(transition)


def key_of(finding: Finding) -> Key:
    """Return what a finding is about. A run without ranks has one, which is the first."""
    return finding.kind, finding.metric, finding.rank or 0
