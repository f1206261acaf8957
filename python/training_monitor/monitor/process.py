"""The monitor: brings home what the ranks append, and leaves when everything is durable."""

from __future__ import annotations

import os
import time
import traceback

from training_monitor import _core
from training_monitor.catalog import DATABASE_NAME
from training_monitor.errors import SettingError, StoreError
from training_monitor.monitor.account import Account
from training_monitor.monitor.elsewhere import open_elsewhere
from training_monitor.monitor.endpoint import LOOPBACK
from training_monitor.monitor.grace import grace_secs, is_recorded
from training_monitor.monitor.inbox import Inbox
from training_monitor.monitor.journal import Journal
from training_monitor.monitor.lock import RunLock, holder, monitor_text
from training_monitor.monitor.mind import Mind
from training_monitor.monitor.oom import volunteer
from training_monitor.monitor.poller import Child
from training_monitor.monitor.receiver import Receiver
from training_monitor.monitor.snapshotting import Snapshotting
from training_monitor.monitor.stuck import Stuck
from training_monitor.monitor.wakeup import Wakeup
from training_monitor.settings import TABLE
from training_monitor.spawn import monitor_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Monitor", "serve"]

_TICK_SECS = 1.0
# At first more often: a training may last no longer than a second.
_FIRST_TICK_SECS = 0.1
_FIRST_SECS = 3.0
_RETRY_SECS = 5.0
# With nobody left to serve and nothing moving, what remains waits for `recover`.
_STUCK_SECS = 600.0
# After a restart, for so long.
_UNHEARD_SECS = 600.0
_FINISH_SECS = 20.0


def serve(run_dir: str, *, respawned: int = 0, foreground: bool = False) -> int:
    """Monitor a run until its producers came and went, or until a signal ends it.

    Args:
        run_dir: The run directory; it exists.
        respawned: How many monitors of this run died young before this one.
        foreground: Started by hand: speak to the terminal, stop at Ctrl-C, and wait for the
            first producer as long as it takes.

    Returns:
        The exit status.
    """
    volunteer()
    journal = Journal(monitor_log(run_dir), echo=foreground)
    wakeup = Wakeup(interruptible=foreground)
    while True:
        try:
            lock = RunLock.take(run_dir)
        except OSError as error:
            journal.error(f"cannot lock the run: {error}")
            return 1
        if lock is None:
            if foreground and (pid := holder(run_dir)) is not None:
                journal.info(f"{monitor_text(pid)} is already at work on {run_dir}")
            return 0
        try:
            poller = Child(run_dir, respawned=respawned)
            monitor = Monitor(run_dir, lock, journal, wakeup, poller, foreground=foreground)
            status = monitor.run()
        finally:
            lock.release()
        if monitor.moved_to and not status and not wakeup.stopping:
            run_dir = monitor.moved_to
            journal = Journal(monitor_log(run_dir), echo=foreground)
            continue
        # A trainer that came while we left has found the lock taken: it counts on us, also when
        # it has died by now.
        if status or wakeup.stopping or not (monitor.is_behind or is_recorded(run_dir)):
            return status


def _is_awaited(run_dir: str) -> bool:
    """Return whether ranks of other hosts have not ended: their relays may yet find us."""
    try:
        reader = _core.RunReader(run_dir)
        newest = max((row["id"] for row in reader.attempts()), default=0)
        return any(row["attempt"] == newest for row in open_elsewhere(reader))
    except (StoreError, OSError):
        return False


class Monitor:
    """One monitor at work on one run, with its lock held by the caller.

    Attributes:
        moved_to: Where the run directory is now, when it was renamed under us.
        is_behind: Whether somebody logged while we left, and it is not in the database.
    """

    def __init__(
        self,
        run_dir: str,
        lock: RunLock,
        journal: Journal,
        wakeup: Wakeup,
        poller: Child,
        *,
        foreground: bool = False,
        open_store: Callable[..., _core.Ingest] = _core.Ingest,
    ) -> None:
        self.moved_to: str | None = None
        self.is_behind = False
        self._run_dir = run_dir
        self._lock = lock
        self._journal = journal
        self._wakeup = wakeup
        self._poller = poller
        self._stuck = Stuck(run_dir, journal)
        self._mind = Mind(run_dir, journal)
        self._inbox = Inbox(run_dir, journal.error)
        self._snapshotting = Snapshotting(run_dir, journal)
        self._foreground = foreground
        self._open_store = open_store
        self._host: str = self._setting("zmq_host") or LOOPBACK
        self._grace_secs = grace_secs(is_on_one_node=self._host == LOOPBACK)
        self._account = Account(journal)
        self._poller_trouble: str | None = None
        self._bad_line = False
        self._left_behind = sum(
            producer["life"] in ("closed", "dead") for producer in _core.producers(run_dir)
        )
        self._served = not foreground
        self._durable = -1
        self._started = self._moved_at = time.monotonic()
        self._idle_since: float | None = None
        self._is_stuck = False

    def run(self) -> int:
        """Work until it is time to leave; return the exit status."""
        self._journal.info(
            f"monitor {os.getpid()} of {self._run_dir}: training_monitor {_core.__version__}, "
            f"SQLite {_core.sqlite_version}"
        )
        poller = self._poller
        poller.start()
        self._report_poller(poller)
        try:
            is_first = not os.path.exists(os.path.join(self._run_dir, DATABASE_NAME))
            ingest = self._start(poller)
            if ingest is not None:
                self._report_place()
                receiver = self._listen(ingest)
                try:
                    if not is_first:
                        self._recover()
                    self._loop(ingest, poller)
                finally:
                    receiver.stop()
                    self._mind.leave(ingest)
                    self._snapshotting.leave(ingest)
                self._take_samples(ingest, poller)
                if self._is_moved():
                    # Dropped as it is: every path that we know is wrong. The lanes have the rest.
                    self._journal.warn(f"the run directory is now {self.moved_to}: following it")
                elif self._is_replaced(alive=0):
                    # Dropped as it is: what has the name now is not ours to write to.
                    self._journal.warn("the run directory was replaced: left it alone")
                else:
                    self._finish(ingest)
        except Exception:  # noqa: BLE001 -- the poller starts the next monitor, the log says why
            for line in traceback.format_exc().splitlines():
                self._journal.error(line)
            poller.take_over()
            return 1
        poller.leave()
        return 0

    def _start(self, poller: Child) -> _core.Ingest | None:
        """Open the store; keep trying while it cannot be, and return None when told to stop."""
        while not self._wakeup.stopping:
            try:
                return self._open_store(
                    self._run_dir,
                    node_limit_bytes=self._setting("node_limit"),
                    ema_alpha_short=self._setting("ema_alpha_short"),
                    ema_alpha_long=self._setting("ema_alpha_long"),
                    recovery_max_age_secs=60.0 * self._setting("recovery_max_age_min"),
                )
            except (StoreError, OSError) as error:
                self._account.cannot_open(error)
            if not is_recorded(self._run_dir) and not self._foreground:
                self._journal.error("nobody is recording: what is left waits for `recover`")
                return None
            if not self._wait_to_retry():
                return None
            self._watch_poller(poller)
        return None

    def _wait_to_retry(self) -> bool:
        """Wait; return False when another process took the run over meanwhile."""
        if _core.find_database(self._run_dir)[1] is None:
            self._wakeup.wait(_RETRY_SECS)
            return True
        # The machine that has the live database needs the lock to bring it home.
        self._lock.pause()
        self._wakeup.wait(_RETRY_SECS)
        return self._lock.resume()

    def _report_place(self) -> None:
        """Say where the database is, when the run directory is no good place for it."""
        file_system, is_good = _core.file_system(self._run_dir)
        database = _core.find_database(self._run_dir)[0]
        if os.path.dirname(database) != self._run_dir.rstrip("/"):
            self._journal.info(
                f"{file_system} cannot hold a live database: it is {database} until the run ends, "
                "and copies of it come here"
            )
        elif not is_good:
            self._journal.warn(
                f"the database is on {file_system}, and no local directory can hold it: read this "
                "run on this machine only, or set TMPDIR to a directory on a local disk"
            )

    def _listen(self, ingest: _core.Ingest) -> Receiver:
        """Open the door for relays of other nodes."""
        port = self._setting("zmq_port")
        receiver = Receiver(self._run_dir, self._journal, host=self._host, port=port)
        receiver.start(ingest)
        return receiver

    def _recover(self) -> None:
        """Take up what happened before this monitor started."""
        from training_monitor.monitor.recovery import recover

        try:
            recover(self._run_dir, self._journal, max_age_min=self._setting("recovery_max_age_min"))
        except Exception as error:  # noqa: BLE001 -- what is old must not end the recording
            self._journal.error(f"cannot take up what happened lately: {error!r}")

    def _setting(self, name: str) -> Any:
        """Return a setting from the environment; what is wrong there is told and not used."""
        row = TABLE[name]
        try:
            return row.from_environment()
        except SettingError as error:
            self._journal.error(str(error))
            return row.default

    def _loop(self, ingest: _core.Ingest, poller: Child) -> None:
        while not self._wakeup.stopping:
            status = ingest.status()
            self._write_configs(ingest)
            self._take_samples(ingest, poller)
            self._served = self._served or status["producers"] > self._left_behind
            self._account.report(status, is_served=self._served)
            self._stuck.look(status, ingest)
            self._mind.look(status, ingest)
            self._inbox.take(ingest)
            self._snapshotting.look(ingest)
            if status["ended"]:
                raise RuntimeError(f"the ingest thread has ended: {status['last_error']}")
            if self._is_moved():
                return
            if self._is_replaced(status["producers_alive"]) or self._may_leave(status):
                return
            self._wakeup.wait(self._tick_secs())
            self._watch_poller(poller)

    def _take_samples(self, ingest: _core.Ingest, poller: Child) -> None:
        """Hand what the poller saw to the database; a line that is none is told once."""
        lines = poller.lines()
        if lines and not ingest.add_system(lines) and not self._bad_line:
            self._bad_line = True
            self._journal.error("the poller sent what is no sample: left it out")

    def _watch_poller(self, poller: Child) -> None:
        """Start another poller when there is none; without one, only respawning is lost."""
        if poller.restart_if_dead():
            how = "could not start" if self._poller_trouble else "died"
            self._journal.warn(f"the poller {how}: started another one, pid {poller.pid}")
        self._report_poller(poller)

    def _report_poller(self, poller: Child) -> None:
        if poller.trouble and poller.trouble != self._poller_trouble:
            self._journal.error(f"cannot start the poller: {poller.trouble}; trying again")
        self._poller_trouble = poller.trouble

    def _is_moved(self) -> bool:
        """Return whether the run directory has another name now, and remember which."""
        self.moved_to = self._lock.moved_to(self._run_dir)
        return self.moved_to is not None

    def _is_replaced(self, alive: int) -> bool:
        """Return whether our directory is gone or replaced, and nobody needs us there."""
        if self._lock.is_in_place(self._run_dir):
            return False
        if not alive:
            return True
        # Lanes that somebody deleted can still be read by us, and by nobody after us.
        return os.path.isdir(self._run_dir) and not self._lock.take_again(self._run_dir)

    def _tick_secs(self) -> float:
        is_young = time.monotonic() - self._started < _FIRST_SECS
        return min(_FIRST_TICK_SECS if is_young else _TICK_SECS, self._grace_secs or _TICK_SECS)

    def _finish(self, ingest: _core.Ingest) -> None:
        self._write_configs(ingest)
        self._inbox.take(ingest)
        status = ingest.finish(_FINISH_SECS)
        if status["last_error"] is None:
            self._inbox.close()
        self._write_last_config()
        self.is_behind = bool(status["backlog_bytes"]) and not self._is_stuck
        # What somebody handed in meanwhile is for another look.
        self.is_behind |= self._inbox.has_more
        self._journal.info(
            f"left: {status['durable_points']} points durable, "
            f"{status['backlog_bytes']} bytes not brought home"
        )

    def _write_configs(self, ingest: _core.Ingest) -> None:
        configs = ingest.configs()
        if not configs:
            return
        from training_monitor.monitor.manifest import write_manifest
        from training_monitor.monitor.retention import enforce_launched

        try:
            for attempt, text in configs:
                if write_manifest(self._run_dir, attempt, text):
                    self._journal.info(f"attempt {attempt}: wrote config.json")
            self._snapshotting.launched(configs)
            enforce_launched(self._run_dir, configs[-1][1], self._journal)
        except Exception as error:  # noqa: BLE001 -- an odd config must not end the recording
            self._journal.error(f"cannot write config.json: {error!r}")

    def _write_last_config(self) -> None:
        """Write config.json for what only the end of the ingest made known."""
        from training_monitor.monitor.manifest import write_last_manifest

        try:
            attempt = write_last_manifest(self._run_dir)
        except (OSError, ValueError, StoreError) as error:
            self._journal.error(f"cannot write config.json: {error}")
            return
        if attempt is not None:
            self._journal.info(f"attempt {attempt}: wrote config.json")

    def _may_leave(self, status: dict[str, Any]) -> bool:
        """Return whether all ended, all is durable, and the grace for a new attempt is over."""
        now = time.monotonic()
        if status["durable_points"] != self._durable or status["producers_alive"]:
            self._durable, self._moved_at = status["durable_points"], now
        if status["producers_alive"] or not self._served:
            self._idle_since = None
            return False
        if status["backlog_bytes"] or not status["idle"]:
            self._idle_since = None
            if now - self._moved_at > _STUCK_SECS:
                self._journal.error("stuck with nobody recording: the rest waits for `recover`")
                self._is_stuck = True
                return True
            return False
        if self._idle_since is None:
            self._idle_since = now
        rested = now - self._idle_since >= self._grace_secs
        return rested and (now - self._started > _UNHEARD_SECS or not _is_awaited(self._run_dir))
