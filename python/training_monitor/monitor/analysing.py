"""When the run is analysed: on time, when forced, and when something critical was found."""

from __future__ import annotations

import os
import queue
import threading
import time
from math import inf

from training_monitor.errors import SettingError
from training_monitor.monitor.inbox import hand_in
from training_monitor.monitor.lock import UNKNOWN_PID, holder
from training_monitor.settings import resolve, secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from training_monitor import _core
    from training_monitor.analyses import Analysis
    from training_monitor.detect.finding import Finding
    from training_monitor.monitor.journal import Journal
    from training_monitor.settings import Settings

__all__ = ["Analysing", "Schedule", "open_analysing"]

_FORCED_SECS = 2.0
# Several things that go wrong at once are one matter.
_BETWEEN_SECS = 60.0
# A loop may force one at every step.
_BETWEEN_FORCED_SECS = 20.0
# After the training has ended, an analysis that was asked for may take so long.
_CLOSE_SECS = 180.0


class Schedule:
    """Says when the next analysis is due, and why.

    Args:
        interval_secs: Between two analyses.
        idle_secs: No analysis on time after so long without metrics; inf: that does not matter.
        last: When the last analysis was made; -inf: there was none.
        began: When the run, or this process, began.
    """

    def __init__(
        self, *, interval_secs: float, idle_secs: float, last: float, began: float
    ) -> None:
        self._interval_secs = interval_secs
        self._idle_secs = idle_secs
        self._last = last
        self._interval_from = max(last, began)
        self._forced = False
        self._critical = False
        self._step: int | None = None

    def force(self) -> None:
        """The script has asked for one."""
        self._forced = True

    def alarm(self) -> None:
        """Something critical was found."""
        self._critical = True

    @property
    def pending(self) -> str | None:
        """What was asked for and not made: forced or finding; None: nothing."""
        return "forced" if self._forced else "finding" if self._critical else None

    def due(self, now: float, *, step: int | None, logged_at: float) -> str | None:
        """Return why an analysis is due: forced, finding or interval; None: it is not."""
        # The wall clock may be set back.
        self._last = -inf if self._last > now else self._last
        self._interval_from = min(self._interval_from, now)
        since = now - self._last
        if self._forced and since >= _BETWEEN_FORCED_SECS:
            return "forced"
        if self._critical and since >= _BETWEEN_SECS:
            return "finding"
        is_idle = now - logged_at > self._idle_secs
        is_new = step is not None and step != self._step
        is_time = now - self._interval_from >= self._interval_secs
        return "interval" if is_time and is_new and not is_idle else None

    def begun(self, now: float, step: int | None) -> None:
        """One is being made."""
        self._forced = self._critical = False
        self._last = self._interval_from = now
        self._step = step


class Analysing:
    """Makes the analyses of a run in a thread, one at a time.

    Args:
        run_dir: The run directory.
        journal: The log.
        settings: The settings of the run.
        tell: Takes what people should know: a finished analysis, or a trouble as text.
        now: Wall clock.
        reader: Reads the run; used in the thread of the caller alone.
    """

    def __init__(
        self,
        run_dir: str,
        journal: Journal,
        settings: Settings,
        *,
        tell: Callable[[Analysis | str], None],
        now: float,
        reader: _core.RunReader,
    ) -> None:
        from training_monitor.analyses import read_analyses

        self._run_dir = run_dir
        self._journal = journal
        self._settings = settings
        self._tell = tell
        self._reader = reader
        made = read_analyses(reader)
        last = max((one.time for one in made), default=-inf)
        forced = max((one.time for one in made if one.trigger == "forced"), default=-inf)
        attempt = max((one["started"] for one in reader.attempts()), default=-inf)
        # What was asked for before was answered, or belongs to another attempt.
        self._forced = sum(at <= max(forced, attempt) for at, _ in reader.events("force_analysis"))
        self._last_finding = last
        self._said = made[-1] if made else None
        self._monitor = os.getppid()
        idle_min = settings.idle_timeout_min
        self._schedule = Schedule(
            interval_secs=60.0 * settings.analysis_interval_min,
            idle_secs=inf if idle_min is None else 60.0 * idle_min,
            last=last,
            began=now,
        )
        self._forced_due = 0.0
        self._thread: threading.Thread | None = None
        self._done: queue.SimpleQueue[Analysis | str] = queue.SimpleQueue()

    def note(self, findings: Iterable[Finding]) -> None:
        """Take note of what was found since the last analysis."""
        news = (one for one in findings if not one.over and one.time > self._last_finding)
        if any(one.severity == "critical" for one in news):
            self._schedule.alarm()

    def look(self, now: float, *, step: int | None, logged_at: float) -> None:
        """Tell what is done, and begin what is due."""
        while not self._done.empty():
            self._tell(self._done.get())
        if self._is_at_work:
            return
        self._look_for_force(now)
        trigger = self._schedule.due(now, step=step, logged_at=logged_at)
        if trigger is not None:
            self._begin(trigger, now, step)

    def close(self, within_secs: float = _CLOSE_SECS) -> bool:
        """Make what was asked for, and wait for it; return whether there is something to tell."""
        deadline = time.monotonic() + within_secs
        self._wait(deadline)
        self._forced_due = -inf
        self._look_for_force(time.time())
        if self._schedule.pending is not None and not self._is_at_work:
            self._begin(self._schedule.pending, time.time(), None)
            self._wait(deadline)
        has_more = not self._done.empty()
        while not self._done.empty():
            self._tell(self._done.get())
        return has_more

    @property
    def _is_at_work(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _wait(self, deadline: float) -> None:
        """Wait for the analysis that is being made, unless another monitor takes the run up."""
        while self._thread is not None and self._is_at_work and time.monotonic() < deadline:
            if holder(self._run_dir) not in (None, UNKNOWN_PID, self._monitor):
                return
            self._thread.join(0.5)

    def _begin(self, trigger: str, now: float, step: int | None) -> None:
        self._schedule.begun(now, step)
        self._last_finding = now
        thread = threading.Thread(target=self._work, args=(trigger,), daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._journal.error(f"no analysis: {error}")
            return
        self._thread = thread

    def _look_for_force(self, now: float) -> None:
        """See whether the script asked for an analysis; the step it asked at is durable then."""
        if abs(now - self._forced_due) < _FORCED_SECS:
            return
        self._forced_due = now
        asked = len(self._reader.events("force_analysis"))
        if asked > self._forced:
            self._schedule.force()
        self._forced = asked

    def _work(self, trigger: str) -> None:
        """Make one analysis; what fails is told, and nothing else depends on it."""
        try:
            for said in self._analyse(trigger):
                self._done.put(said)
        except Exception as error:  # noqa: BLE001 -- whatever it is, judging and recording go on
            self._journal.error(f"brain: no analysis: {error!r}")

    def _analyse(self, trigger: str) -> list[Analysis | str]:
        from training_monitor.analyses import analysis_line, write_down
        from training_monitor.analysis.analyst import Analyst

        analyst = Analyst(self._run_dir, self._settings)
        made = analyst.analyse(trigger, now=time.time())
        before, self._said = self._said, made
        if made.rung == "rules" and before is not None and _is_same(made, before):
            # The model is still not to be had: that was said.
            return [*analyst.notices()]
        write_down(self._run_dir, made)
        hand_in(self._run_dir, analysis_line(made))
        return [made, *analyst.notices()]


def _is_same(made: Analysis, before: Analysis) -> bool:
    said = (made.rung, made.status, made.trouble)
    return said == (before.rung, before.status, before.trouble)


def open_analysing(
    run_dir: str,
    journal: Journal,
    reader: _core.RunReader,
    *,
    tell: Callable[[Analysis | str], None],
    now: float,
) -> Analysing | None:
    """Return what makes the analyses; None where no model is to be asked, or none can be."""
    from training_monitor.analysis.model.privacy import allows

    try:
        settings = resolve({"experiment_name": os.path.basename(run_dir)})
    except SettingError as error:
        journal.error(f"no analyses: {error}")
        return None
    base_url = settings.openai_base_url or os.environ.get("OPENAI_BASE_URL")
    is_wanted = settings.mode == "online" and allows(settings.privacy, "request")
    if not is_wanted or not (base_url or secret("openai_api_key")):
        return None
    return Analysing(run_dir, journal, settings, tell=tell, now=now, reader=reader)
