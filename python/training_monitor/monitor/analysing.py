"""When the run is analysed: on time, when forced, and when something critical was found."""

from __future__ import annotations

import os
import queue
import threading
import time
from math import inf

from training_monitor.errors import SettingError
from training_monitor.monitor.inbox import hand_in
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
        self._last = max(last, began)
        self._forced = False
        self._critical = False
        self._step: int | None = None

    def force(self) -> None:
        """The script has asked for one."""
        self._forced = True

    def alarm(self) -> None:
        """Something critical was found."""
        self._critical = True

    def due(self, now: float, *, step: int | None, logged_at: float) -> str | None:
        """Return why an analysis is due: forced, finding or interval; None: it is not."""
        if self._forced:
            return "forced"
        since = now - self._last
        # The wall clock may be set back.
        if self._critical and not 0.0 <= since < _BETWEEN_SECS:
            return "finding"
        is_idle = now - logged_at > self._idle_secs
        is_new = step is not None and step != self._step
        return "interval" if since >= self._interval_secs and is_new and not is_idle else None

    def begun(self, now: float, step: int | None) -> None:
        """One is being made."""
        self._forced = self._critical = False
        self._last, self._step = now, step


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
        self._forced_seen = max((one.time for one in made if one.trigger == "forced"), default=-inf)
        idle_min = settings.idle_timeout_min
        self._schedule = Schedule(
            interval_secs=60.0 * settings.analysis_interval_min,
            idle_secs=inf if idle_min is None else 60.0 * idle_min,
            last=max((one.time for one in made if one.rung != "rules"), default=-inf),
            began=now,
        )
        self._forced_due = 0.0
        self._thread: threading.Thread | None = None
        self._done: queue.SimpleQueue[Analysis | str] = queue.SimpleQueue()

    def note(self, findings: Iterable[Finding]) -> None:
        """Take note of what was found."""
        if any(one.severity == "critical" and not one.over for one in findings):
            self._schedule.alarm()

    def look(self, now: float, *, step: int | None, logged_at: float) -> None:
        """Tell what is done, and begin what is due."""
        while not self._done.empty():
            self._tell(self._done.get())
        if self._thread is not None and self._thread.is_alive():
            return
        self._look_for_force(now)
        trigger = self._schedule.due(now, step=step, logged_at=logged_at)
        if trigger is None:
            return
        self._schedule.begun(now, step)
        self._thread = threading.Thread(target=self._work, args=(trigger,), daemon=True)
        self._thread.start()

    def close(self, within_secs: float = _CLOSE_SECS) -> bool:
        """Wait for the analysis that is being made; return whether there is something to tell."""
        if self._thread is not None:
            self._thread.join(within_secs)
        has_more = not self._done.empty()
        while not self._done.empty():
            self._tell(self._done.get())
        return has_more

    def _look_for_force(self, now: float) -> None:
        """See whether the script asked for an analysis; the step it asked at is durable then."""
        if abs(now - self._forced_due) < _FORCED_SECS:
            return
        self._forced_due = now
        asked = max((at for at, _ in self._reader.events("force_analysis")), default=-inf)
        if asked > self._forced_seen:
            self._forced_seen = asked
            self._schedule.force()

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
        write_down(self._run_dir, made)
        hand_in(self._run_dir, analysis_line(made))
        return [made, *analyst.notices()]


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
