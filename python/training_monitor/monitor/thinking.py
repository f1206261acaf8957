"""What the brain does each second: read what is new, judge it, hand on what was found."""

from __future__ import annotations

import json
import os
from math import isfinite

import numpy as np

from training_monitor import _core
from training_monitor.detect.definition import read_definition
from training_monitor.detect.finding import Finding
from training_monitor.detect.straggler import Stragglers
from training_monitor.judge.judge import Judge
from training_monitor.judge.machine import MachineWatch
from training_monitor.judge.news import Judged, News
from training_monitor.judge.notes import alert_line, finding_line, finding_of, phase_line
from training_monitor.judge.prospect import Prospects
from training_monitor.machine import latest
from training_monitor.monitor.telling import Telling
from training_monitor.ranks import made_ranks
from training_monitor.settings import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.monitor.journal import Journal

__all__ = ["Thinking"]

# Points taken at once; the rest of a backlog comes with the next look.
_MOST_POINTS = 200_000
_MACHINE_SECS = 5.0
_RANKS_SECS = 10.0
_FORECAST_SECS = 30.0
# Nothing was logged for so long: a GPU may idle.
_PAUSE_SECS = 30.0


class Thinking:
    """Judges one run.

    Args:
        run_dir: The run directory.
        lines: The pipe to the monitor.
        journal: The log.
    """

    def __init__(self, run_dir: str, lines: int, journal: Journal) -> None:
        recovery_min = TABLE["recovery_max_age_min"].from_environment()
        self._lines = lines
        self._journal = journal
        self._reader = _core.RunReader(run_dir)
        self._follower = _core.Follower(run_dir, since_secs=60.0 * recovery_min)
        self._names: dict[int, str] = {}
        self._judge = Judge(total=TABLE["total_steps"].from_environment())
        self._machine = MachineWatch()
        self._stragglers = Stragglers()
        self._prospects = Prospects(self._reader)
        self._known = _told(self._reader)
        self._definitions = 0
        self._config: str | None = None
        self._due = {"machine": 0.0, "ranks": 0.0, "forecast": 0.0}
        self._logged_at = 0.0
        self._telling = Telling.open(run_dir, journal)

    def look(self, now: float) -> bool:
        """Read and judge what is new; return whether there is more at once."""
        self._learn()
        rows, odd, more = self._follower.poll(_MOST_POINTS)
        news = [
            News(self._names.get(key, ""), rank, attempt, np.asarray(steps), np.asarray(times),
                 np.asarray(values))
            for key, rank, attempt, steps, times, values in rows
        ]  # fmt: skip
        judged = self._judge.feed(news)
        if news:
            self._logged_at = max(float(one.times[-1]) for one in news if len(one.times))
        _add(judged, self._judge.note(self._odd(one) for one in odd))
        if not more:
            _add(judged, self._judge.tick(now))
            self._look_around(now, judged)
        self._hand_on(judged, now)
        return more

    def close(self) -> None:
        """Deliver what is due, for a few seconds at most."""
        self._telling.close()

    def _learn(self) -> None:
        """Learn of new metrics, definitions and the configuration."""
        new = self._follower.new_keys()
        for key, name in new:
            self._names[key] = name
            self._follower.want(key)
        if new:
            self._judge.watch.knows(name for _, name in new)
        config = self._reader.config() if self._config is None or new else self._config
        if config is not None and config != self._config:
            self._config = config
            facts = json.loads(config)
            self._judge.configure(facts if isinstance(facts, dict) else {})
        definitions = self._reader.events("definition")
        for _, detail in definitions[self._definitions :]:
            self._judge.watch.define(read_definition(json.loads(detail)))
        self._definitions = len(definitions)

    def _is_due(self, what: str, now: float, every_secs: float) -> bool:
        # The wall clock may be set back.
        is_due = now >= self._due[what] or now < self._due[what] - 10.0 * every_secs
        if is_due:
            self._due[what] = now + every_secs
        return is_due

    def _look_around(self, now: float, judged: Judged) -> None:
        """Look at the machine, the ranks and the future, each now and then."""
        step = self._judge.step
        if self._is_due("machine", now, _MACHINE_SECS):
            eta = self._judge.eta(now=now)
            self._machine.seconds_left = float("inf") if eta is None else eta.seconds
            is_training = now - self._logged_at < _PAUSE_SECS
            found = self._machine.look(latest(self._reader), step=step, is_training=is_training)
            _add(judged, self._judge.note(found))
        if self._is_due("ranks", now, _RANKS_SECS) and step is not None:
            _add(judged, self._judge.note(self._look_at_ranks(step, now)))
        if self._is_due("forecast", now, _FORECAST_SECS) and step is not None:
            prospect = self._prospects.look(self._judge)
            if prospect is not None and prospect.advice is not None:
                watch = self._judge.watch
                found = watch.set_gain(prospect.metric, step, prospect.advice.p_gain, now)
                _add(judged, self._judge.note(found))
                self._telling.advise(prospect, self._judge, now)

    def _look_at_ranks(self, step: int, now: float) -> list[Finding]:
        ranks = made_ranks(self._reader.ranks())
        secs = {rank.rank: rank.step_secs for rank in ranks if rank.step_secs}
        return self._stragglers.push(step, secs, now) if len(secs) > 1 else []

    def _odd(self, point: tuple[int, int, int, float, float]) -> Finding:
        """Return what is to be said of a value of a metric that is not watched otherwise."""
        key, rank, step, at, value = point
        name = self._names.get(key, "")
        text = f"{name} is {value} at step {step:,}"
        return Finding("non_finite", "warning", name, step, at, text, rank=rank, value=value)

    def _hand_on(self, judged: Judged, now: float) -> None:
        """Give what is new to the database and to those who are told."""
        new = [finding for finding in judged.findings if self._is_new(finding)]
        lines = [finding_line(finding) for finding in new]
        lines += [phase_line(transition) for transition in judged.transitions]
        alerts = self._telling.take(new, judged.transitions, self._judge, now)
        lines += [alert_line(alert, time=now) for alert in alerts]
        _write(self._lines, b"".join(lines))

    def _is_new(self, finding: Finding) -> bool:
        """Return whether no brain before this one has told it, or something after it."""
        told = self._known.get((finding.kind, finding.metric, finding.rank))
        return told is None or not (isfinite(finding.time) and finding.time <= told)


def _told(reader: _core.RunReader) -> dict[tuple[str, str, int | None], float]:
    """Return when the last finding of each kind, metric and rank was made."""
    found = (finding_of(json.loads(detail)) for _, detail in reader.events("detected"))
    return {(one.kind, one.metric, one.rank): one.time for one in found if isfinite(one.time)}


def _add(judged: Judged, further: Judged) -> None:
    judged.findings += further.findings
    judged.transitions += further.transitions


def _write(pipe: int, lines: bytes) -> None:
    """Write all of it; a monitor that is gone is a BrokenPipeError."""
    while lines:
        lines = lines[os.write(pipe, lines) :]
