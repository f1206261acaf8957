"""What the brain does each second: read what is new, judge it, hand on what was found."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from math import inf

import numpy as np

from training_monitor import _core
from training_monitor.detect.column import A_SECOND
from training_monitor.detect.definition import read_definition
from training_monitor.detect.finding import Finding
from training_monitor.detect.straggler import Stragglers
from training_monitor.detect.watch import is_zero_spread
from training_monitor.errors import StoreError
from training_monitor.judge.judge import Judge
from training_monitor.judge.machine import MachineWatch
from training_monitor.judge.news import Judged, News
from training_monitor.judge.notes import alert_line, finding_line, phase_line
from training_monitor.judge.prospect import Prospects
from training_monitor.machine import latest
from training_monitor.monitor.analysing import open_analysing
from training_monitor.monitor.inbox import hand_in
from training_monitor.monitor.known import Known
from training_monitor.monitor.reported import Reported
from training_monitor.monitor.telling import Telling
from training_monitor.predict.phase import Phase
from training_monitor.ranks import made_ranks
from training_monitor.settings import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from training_monitor.judge.prospect import Prospect
    from training_monitor.monitor.journal import Journal
    from training_monitor.predict.phase import Transition

__all__ = ["Thinking"]

# Points taken at once; the rest of a backlog comes with the next look.
_MOST_POINTS = 100_000
# Of what is stored, so many points are judged anew; of more the last ones, and of those before them
# so many, evenly in time: what the detectors know of the run is bounded in what it costs.
# The variable is for tests.
_ALL, _LAST, _THINNED = map(int, os.environ.get("TM_BRAIN_PAST", "3000000 500000 1000000").split())
# A past that was thinned further teaches nothing about what is sudden: that is for what comes.
_LEAST_A_SECOND = 0.5
_BEFORE_SECS = 60.0
# Metrics whose points are looked at: in all, and until then of those that could be anything.
_MOST_WANTED = 512
_MOST_UNKNOWN = 64
_MOST_NAMES = 4096
_MACHINE_SECS = 5.0
_DEFINITIONS_SECS = 10.0
# Of metrics that are not watched so many are told when they are not finite, each once.
_MOST_ODD = 100
_RANKS_SECS = 10.0
_REPORTED_SECS = 2.0
_FORECAST_SECS = 30.0
_SLOW = frozenset(("data_stall", "mfu_drop", "slowdown", "throughput_drop"))
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
        self._lines = lines
        self._journal = journal
        self._reader = _core.RunReader(run_dir)
        self._telling = Telling(run_dir, journal)
        self._known = Known(self._reader, until=self._telling.position)
        # What was not judged yet is not thinned, nor what leads to it.
        since = max(self._known.until - _BEFORE_SECS, 0.0)
        self._follower = _core.Follower(
            run_dir, thinning=(_ALL, _LAST, _THINNED), since=since or None
        )
        self._names: dict[int, str] = {}
        self._known_keys: set[int] = set()
        self._odd_told: set[int] = set()
        # Until all that is stored was seen.
        self._is_past = True
        self._judge = Judge(total=TABLE["total_steps"].from_environment())
        self._machine = MachineWatch()
        self._stragglers = Stragglers()
        self._prospects = Prospects(self._reader)
        self._definitions = 0
        self._config: str | None = None
        self._due = dict.fromkeys(("definitions", "machine", "ranks", "forecast", "reported"), 0.0)
        self._logged_at = 0.0
        self._failed = ""
        self._phase = self._known.phase or Phase.INITIALIZING
        self._change: Transition | None = None
        self._run_dir = run_dir
        self._reported = Reported(self._reader, since=self._known.until)
        self._analysing = open_analysing(
            run_dir, journal, self._reader, tell=self._telling.explain, now=time.time()
        )

    def look(self, now: float) -> bool:
        """Read and judge what is new; return whether there is more at once."""
        self._learn()
        rows, odd, more = self._follower.poll(_MOST_POINTS)
        if any(row[0] not in self._names for row in (*rows, *odd)):
            # They were named between the two questions.
            self._learn()
        news = [
            News(self._names.get(key, ""), rank, attempt, np.asarray(steps), np.asarray(times),
                 np.asarray(values))
            for key, rank, attempt, steps, times, values in rows
            if key in self._known_keys
        ]  # fmt: skip
        if self._is_past and self._follower.thinned is not None:
            spacing_secs, until = self._follower.thinned
            watch = self._judge.watch
            watch.a_second = min(max(1.0 / spacing_secs, _LEAST_A_SECOND), A_SECOND)
            watch.thinned_until = until
        judged = self._judge.feed(news)
        if news:
            self._logged_at = max(float(one.times[-1]) for one in news if len(one.times))
        judged.add(self._judge.note(self._odd(odd)))
        if not more:
            judged.add(self._judge.tick(now))
            if self._is_past:
                judged.add(self._judge.note(self._machine.recall(self._reader)))
            else:
                judged.add(self._judge.note(self._known.over(self._judge, now)))
            self._look_around(now, judged)
        self._hand_on(judged, now, more=more)
        self._is_past = self._is_past and more
        if self._analysing is not None and not more:
            self._analysing.look(now, step=self._judge.step, logged_at=self._logged_at)
        return more

    def flush(self, now: float) -> None:
        """Tell what waits for others of its kind: there will be none."""
        lines = [alert_line(alert, time=now) for alert in self._telling.flush(now)]
        _write(self._lines, b"".join(lines))

    def close(self) -> None:
        """Wait for an analysis that is being made, and deliver what is due."""
        if self._analysing is not None and self._analysing.close():
            now = time.time()
            alerts = [*self._telling.take((), (), self._judge, now), *self._telling.flush(now)]
            lines = b"".join(alert_line(alert, time=now) for alert in alerts)
            try:
                if lines:
                    hand_in(self._run_dir, lines)
            except (OSError, StoreError, ValueError) as error:
                self._journal.error(f"brain: the last alerts are not in the database: {error}")
        self._telling.close()

    def _learn(self) -> None:
        """Learn of new metrics, definitions and the configuration."""
        new = self._follower.new_keys()
        if new:
            self._judge.watch.knows(name for _, name in new[:_MOST_NAMES])
        for key, name in new:
            self._names[key] = name
            if self._is_wanted(name):
                self._known_keys.add(key)
                self._follower.want(key)
        config = self._reader.config() if self._config is None or new else self._config
        if config is not None and config != self._config:
            self._config = config
            facts = json.loads(config)
            parameters = facts.get("config") if isinstance(facts, dict) else None
            self._judge.configure(parameters if isinstance(parameters, dict) else {})
        if new or self._is_due("definitions", time.time(), _DEFINITIONS_SECS):
            definitions = self._reader.events("definition")
            for _, detail in definitions[self._definitions :]:
                self._judge.watch.define(read_definition(json.loads(detail)))
            self._definitions = len(definitions)

    def _is_wanted(self, name: str) -> bool:
        """Return whether the points of a metric are looked at here, one by one.

        Of the others what is not finite is seen where the points are read.
        """
        meaning = self._judge.watch.meanings.get(name)
        is_known = meaning is not None and (meaning.kind != "other" or is_zero_spread(name))
        return len(self._known_keys) < (_MOST_WANTED if is_known else _MOST_UNKNOWN)

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
            self._machine.is_slow = any(kind in _SLOW for kind, _, _ in self._judge.standing)
            self._machine.seconds_left = inf if eta is None else eta.seconds
            is_training = now - self._logged_at < _PAUSE_SECS
            found = self._machine.look(latest(self._reader), step=step, is_training=is_training)
            judged.add(self._judge.note(found))
        if self._is_due("ranks", now, _RANKS_SECS) and step is not None:
            judged.add(self._judge.note(self._look_at_ranks(step, now)))
        if self._is_due("forecast", now, _FORECAST_SECS) and step is not None:
            prospect = self._foresee()
            if prospect is not None and prospect.advice is not None:
                watch = self._judge.watch
                found = watch.set_gain(prospect.metric, step, prospect.advice.p_gain, now)
                judged.add(self._judge.note(found))
                self._telling.advise(prospect, self._judge, now)

    def _foresee(self) -> Prospect | None:
        """Return how the run will end; what fails there costs this word only."""
        try:
            return self._prospects.look(self._judge)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 -- odd numbers must not end the detection
            if repr(error) != self._failed:
                self._journal.error(f"brain: no forecast: {error!r}")
            self._failed = repr(error)
            return None

    def _look_at_ranks(self, step: int, now: float) -> list[Finding]:
        ranks = made_ranks(self._reader.ranks())
        secs = {rank.rank: rank.step_secs for rank in ranks if rank.step_secs}
        return self._stragglers.push(step, secs, now) if len(secs) > 1 else []

    def _odd(self, points: Iterable[tuple[int, int, int, float, float]]) -> Iterator[Finding]:
        """Yield what is to be said of metrics that are not watched otherwise, of each once."""
        for key, rank, step, at, value in points:
            name = self._names.get(key)
            if name is None or key in self._odd_told or len(self._odd_told) >= _MOST_ODD:
                continue
            self._odd_told.add(key)
            text = f"{name} is {value} at step {step:,}"
            yield Finding("non_finite", "warning", name, step, at, text, rank=rank, value=value)

    def _hand_on(self, judged: Judged, now: float, *, more: bool) -> None:
        """Give what is new to the database and to those who are told."""
        admitted = (self._known.admit(one, is_past=self._is_past) for one in judged.findings)
        new = [finding for finding in admitted if finding is not None]
        reported = (
            list(self._reported.findings()) if self._is_due("reported", now, _REPORTED_SECS) else []
        )
        self._telling.hand_on(self._reported.alerts())
        if self._analysing is not None:
            self._analysing.note((*new, *reported))
        lines = [finding_line(finding) for finding in new]
        changes = self._taken_over(judged.transitions, now, more=more)
        transitions = [one for one in map(self._changed, changes) if one is not None]
        lines += [phase_line(transition) for transition in transitions]
        self._telling.judged(self._logged_at, now)
        alerts = self._telling.take([*new, *reported], transitions, self._judge, now)
        lines += [alert_line(alert, time=now) for alert in alerts]
        _write(self._lines, b"".join(lines))

    def _taken_over(
        self, transitions: list[Transition], now: float, *, more: bool
    ) -> list[Transition]:
        """Return the changes of the phase that are news.

        A brain that starts anew goes through all phases again that it finds in what is stored. What
        counts is where that ends: in the phase that was told last, unless there was a change since.
        """
        if not self._is_past:
            return transitions
        if not more:
            self._known.adopt(self._judge, now)
        if self._known.phase is None:
            return transitions
        new = [one for one in transitions if not self._known.has_told(one)]
        self._change = new[-1] if new else self._change
        if more:
            return []
        if self._change is not None and self._change.after is self._judge.phase:
            return [self._change]
        self._judge.resume(self._phase)
        return []

    def _changed(self, transition: Transition) -> Transition | None:
        """Return a change of the phase from the one that was told last; None: there is none."""
        if transition.after is self._phase:
            return None
        before, self._phase = self._phase, transition.after
        return replace(transition, before=before)


def _write(pipe: int, lines: bytes) -> None:
    """Write all of it; a monitor that is gone is a BrokenPipeError."""
    while lines:
        lines = lines[os.write(pipe, lines) :]
