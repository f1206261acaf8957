"""The active run: what init() returns, and the functions that act on it."""

from __future__ import annotations

import math
import os
import time

from training_monitor import _core
from training_monitor.errors import RejectedError, SettingError, shown, told, warned
from training_monitor.spawn import relay_lock
from training_monitor.stackfile import withdraw
from training_monitor.texts import quoted
from training_monitor.uncaught import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any, Protocol

    from typing_extensions import Self

    from training_monitor.capture import Capture
    from training_monitor.vitals import Health

    class Log(Protocol):
        """The signature of `training_monitor.log`."""

        def __call__(
            self, metrics: Mapping[str, Any], step: Any = None, *, force_analysis: bool = False
        ) -> None: ...


__all__ = ["Run", "activate", "active_run", "alert", "close", "define_metric", "finish"]

_CLOSE_SECS = 5.0
_LEVELS = ("INFO", "WARN", "ERROR")
_TITLE_CHARS = 250
_TEXT_CHARS = 20_000

_MOST_DEFINITIONS = 10_000
_WAIT_SECS = 60.0
_LONGEST_WAIT_SECS = 1e9

_active: Run | None = None
# The run that the counters of the core are about: the last one that was active.
_latest: Run | None = None
_told_of_wait_duration = False


class Run:
    """One run, as the process that records it sees it.

    Attributes:
        name: The name, which is also that of the directory.
        dir: The absolute path of the run directory; empty with mode="disabled".
        log: The same function as `training_monitor.log` as long as the run is active; then one
            that records nothing, counts, and warns once.
    """

    __slots__ = (
        "_alerted_at",
        "_capture",
        "_defined",
        "_last_facts",
        "_refused",
        "_strict",
        "dir",
        "log",
        "name",
    )

    log: Log

    def __init__(
        self, name: str, run_dir: str, *, strict: bool = False, capture: Capture | None = None
    ) -> None:
        self.name = name
        self.dir = run_dir
        self._strict = strict
        # Keeps what is printed, where that was asked for.
        self._capture = capture
        self._alerted_at: dict[str, float] = {}
        # What was defined, so that the same words in every epoch are stored once.
        self._defined: dict[str, str] = {}
        # What the core told at the end of this run; None before it, and without one.
        self._last_facts: dict[str, Any] | None = None
        self._refused = 0
        self.log = self._refuse

    @property
    def closed(self) -> bool:
        """Whether this run no longer records in this process."""
        return _active is not self

    @property
    def stop_reason(self) -> str | None:
        """Why training should stop; None as long as it should not."""
        return None if self.closed else _core.stop_reason()

    def should_stop(self) -> bool:
        """Return whether somebody asked this run to stop."""
        return not self.closed and _core.should_stop()

    def health(self) -> Health:
        """Tell what was accepted, rejected and made durable; of a closed run, at its end."""
        from training_monitor.vitals import made_health

        facts = _core.health() if self is _latest else self._last_facts
        return made_health(facts, refused_after=self._refused)

    def _refuse(
        self,
        metrics: object,  # noqa: ARG002 -- the signature is that of log()
        step: object = None,  # noqa: ARG002
        *,
        force_analysis: bool = False,  # noqa: ARG002
    ) -> None:
        """Stand in for log() where this run does not record: another one may, and is not meant."""
        if not self.dir:
            return
        self._refused += 1
        text = f"log(): run {self.name!r} is closed; nothing is recorded"
        if self._strict:
            raise RejectedError(text)
        if self._refused == 1:
            warned(f"{text} (told once; counted in its health())", stacklevel=2)

    def alert(
        self, title: str, text: str = "", level: str = "WARN", wait_duration: float = 60
    ) -> bool:
        """Record an alert, unless the same title was told a moment ago.

        Args:
            title: One line that says what happened.
            text: What else the reader should know.
            level: "INFO", "WARN" or "ERROR".
            wait_duration: For so many seconds a further alert of this title is left out.

        Returns:
            Whether the alert was recorded.
        """
        level, seconds = self._level(level), self._seconds(wait_duration)
        title, text = _text(title), _text(text)
        now = time.monotonic()
        last = self._alerted_at.get(title)
        if self.closed or not self.dir or (last is not None and now - last < seconds):
            return False
        if len(self._alerted_at) > 1000:
            self._alerted_at.clear()
        self._alerted_at[title] = now
        fields = {
            "title": title[:_TITLE_CHARS],
            "text": text[:_TEXT_CHARS],
            "level": level,
            "wait_duration": seconds,
        }
        _core.append_alert(_core.to_json(fields))
        return True

    def define_metric(
        self,
        name: str,
        *,
        kind: str | None = None,
        goal: str | None = None,
        step_metric: str | None = None,
        **foreign: object,
    ) -> None:
        """Say what a metric is, where its name does not say it or says another thing.

        Args:
            name: Its name; a `*` at the end stands for any ending.
            kind: What it is: "loss", "score", "error", "reward", "lr", "step_time" and so on.
            goal: "min" or "max": which way is better. The run is judged by a metric that has one.
            step_metric: The metric that is its axis.
            foreign: Keywords of wandb's define_metric(); they are ignored, with one warning.

        Raises:
            SettingError: A value is not valid; the message says what is allowed.
        """
        self._define(name, foreign, kind=kind, goal=goal, step_metric=step_metric)

    def _define(self, name: str, foreign: Mapping[str, object], **said: str | None) -> None:
        from training_monitor.definitions import event_of, warn_of_loss

        event = event_of(name, foreign, **said)
        if not self.dir:
            return
        if self.closed:
            warn_of_loss(f"run {self.name!r} is closed")
        elif self._defined.get(name) != event and len(self._defined) < _MOST_DEFINITIONS:
            self._defined[name] = event
            _core.append_event(event)

    def close(self) -> None:
        """End the recording; wait at most 5 seconds for the database, never raise for it."""
        global _active
        if self.closed:
            return
        _active = None
        self.log = self._refuse
        if not self.dir:
            return
        withdraw()
        if self._capture is not None:
            self._capture.stop()
        try:
            outcome = _core.close_producer(_CLOSE_SECS)
            self._last_facts = _core.health()
        except KeyboardInterrupt:
            self._last_facts = _core.health()
            told(
                "close() was interrupted; the monitor, if there is one, brings home what is left, "
                f"or: {self._recovery()}",
                quiet=False,
            )
            raise
        points_left = outcome["points_left"]
        if points_left and not outcome["durable"]:
            how = f"the next start brings them home, or: {self._recovery()}"
            told(
                f"{points_left:,} points are in the spool and not yet in the database; {how}",
                quiet=False,
            )

    def _recovery(self) -> str:
        """Return the command that brings home what is left."""
        if os.path.exists(relay_lock(self.dir)):
            return f"training-monitor relay {quoted(self.dir)} --connect HOST"
        if os.path.isdir(os.path.join(self.dir, ".spool")):
            return f"training-monitor recover {quoted(self.dir)}"
        return f"training-monitor recover RUN, where RUN is what {quoted(self.dir)} is called now"

    finish = close

    def _level(self, level: object) -> str:
        word = _text(_member(level)).upper()
        word = "WARN" if word == "WARNING" else word
        if word in _LEVELS:
            return word
        if self._strict:
            raise SettingError(
                f"level={shown(level)} is not valid: expected 'INFO', 'WARN' or 'ERROR'"
            )
        return "WARN"

    def _seconds(self, wait_duration: object) -> float:
        """Return a number, or a timedelta as wandb takes it, as seconds; the usual for others."""
        global _told_of_wait_duration
        try:
            # Any class may have a method of this name; what it does is not ours.
            number: Any = getattr(wait_duration, "total_seconds", lambda: wait_duration)()
            seconds = float(number)
        except Exception:  # noqa: BLE001
            seconds = math.nan
        if not math.isnan(seconds):
            return min(max(seconds, 0.0), _LONGEST_WAIT_SECS)
        reason = f"wait_duration={shown(wait_duration)} is not valid: expected seconds"
        if self._strict:
            raise SettingError(reason)
        if not _told_of_wait_duration:
            _told_of_wait_duration = True
            told(f"{reason}; taken as {_WAIT_SECS:g}", quiet=False)
        return _WAIT_SECS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The run is over before the interpreter tells anybody.
        try:
            if kind is not None and not issubclass(kind, SystemExit) and not self.closed:
                record(kind, error, traceback)
        finally:
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "active"
        return f"<Run {self.name!r} in {self.dir!r}, {state}>"

    def _repr_html_(self) -> str:
        from training_monitor.notebook import card_html

        facts: list[tuple[str, object]] = [
            ("directory", self.dir or "none: nothing is recorded"),
            ("state", "closed" if self.closed else "recording"),
        ]
        if not self.closed and self.dir:
            health = self.health()
            facts += [
                ("accepted points", f"{health.accepted:,}"),
                ("durable points", f"{health.durable:,}"),
                ("rejected", f"{health.rejected:,}"),
            ]
        return card_html(f"run {self.name}", facts)

    def __reduce__(self) -> tuple[Callable[..., Run], tuple[Any, ...]]:
        # A worker gets a name and a place, never the right to write there as this process.
        return Run, (self.name, self.dir)

    def __copy__(self) -> Run:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Run:
        return self


def _text(value: object) -> str:
    """Return `str(value)`, or what can be said of an object whose own text fails."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 -- an alert must not end the training it warns of
        return shown(value)


def _member(level: object) -> object:
    """Return what a member of an enum stands for; anything else as it is."""
    try:
        return getattr(level, "value", level)
    except Exception:  # noqa: BLE001 -- as above
        return level


def activate(run: Run) -> Run:
    """Make `run` the one that log() and the functions of this module act on."""
    global _active, _latest
    _active = _latest = run
    run.log = _core.log
    return run


def active_run() -> Run | None:
    """Return the active run; None before init() and after close()."""
    return _active


def close() -> None:
    """End the active run; wait at most 5 seconds for the database. Harmless when there is none."""
    if _active is not None:
        _active.close()


finish = close


def alert(title: str, text: str = "", level: str = "WARN", wait_duration: float = 60) -> bool:
    """Record an alert in the active run, unless the same title was told a moment ago.

    Args:
        title: One line that says what happened.
        text: What else the reader should know.
        level: "INFO", "WARN" or "ERROR".
        wait_duration: For so many seconds a further alert of this title is left out.

    Returns:
        Whether the alert was recorded.
    """
    return _active is not None and _active.alert(title, text, level, wait_duration)


def define_metric(
    name: str,
    *,
    kind: str | None = None,
    goal: str | None = None,
    step_metric: str | None = None,
    **foreign: object,
) -> None:
    """Say what a metric of the active run is; see `Run.define_metric`.

    Raises:
        SettingError: A value is not valid; the message says what is allowed.
    """
    if _active is None:
        from training_monitor.definitions import warn_of_loss

        warn_of_loss("no run is active", stacklevel=2)
    else:
        _active._define(name, foreign, kind=kind, goal=goal, step_metric=step_metric)
