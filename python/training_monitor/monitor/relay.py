"""The relay of a node: hands what is logged there to the monitor, which is on another node."""

from __future__ import annotations

import os
import time

from training_monitor import _core
from training_monitor.errors import RunDirError, SettingError
from training_monitor.monitor.dealer import Dealer
from training_monitor.monitor.endpoint import candidates, works_here
from training_monitor.monitor.grace import grace_secs, is_recorded
from training_monitor.monitor.journal import Journal
from training_monitor.monitor.keys import keys_of, read_key
from training_monitor.monitor.lock import RunLock
from training_monitor.monitor.oom import volunteer
from training_monitor.monitor.poller import Child
from training_monitor.monitor.search import Search
from training_monitor.monitor.wakeup import Wakeup
from training_monitor.settings import TABLE
from training_monitor.spawn import node_log, relay_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from training_monitor.monitor.keys import Keys

__all__ = ["Relay", "serve_relay"]

_BUSY_SECS = 0.015
_IDLE_SECS = 0.2
# For so long after the last bytes; where only little came, a ring has room for much longer.
_BUSY_FOR_SECS = 1.0
_CALM_FOR_SECS = 0.05
_MUCH_BYTES = 64 * 2**10
# Nothing was logged for a while: a look costs as much as a sample of the machine.
_QUIET_AFTER_SECS = 10.0
_QUIET_SECS = 0.5
_REPORT_SECS = 1.0
# With nobody left to serve and nothing moving, what remains waits for the next relay.
_STUCK_SECS = 600.0
_SHORTEST_PAUSE_SECS = 0.2
_LONGEST_PAUSE_SECS = 2.0
_YOUNG_SECS = 30.0


def serve_relay(run_dir: str, run: str, *, respawned: int = 0, foreground: bool = False) -> int:
    """Relay what is logged into a run directory of this node until its producers came and went.

    Args:
        run_dir: The run directory; it exists.
        run: The name that the run was started with.
        respawned: How many relays of this node died young before this one.
        foreground: Started by hand: speak to the terminal, and stop at Ctrl-C.

    Returns:
        The exit status; 1 when something could not be brought home.
    """
    volunteer()
    wakeup = Wakeup(interruptible=foreground)
    while True:
        lock = RunLock.take(run_dir, relay_lock(run_dir))
        if lock is None:
            if foreground:
                raise RunDirError("a relay of this node is already at work on this run: its log is "
                                  f"{node_log(run_dir, run)}")  # fmt: skip
            return 0
        journal = Journal(node_log(run_dir, run), echo=foreground)
        poller = Child(run_dir, respawned=respawned, relay=run)
        try:
            relay = Relay(run_dir, run, journal, wakeup, poller, foreground=foreground)
            status = relay.serve()
        except BaseException:
            poller.take_over()
            raise
        finally:
            lock.release()
        poller.leave()
        # A trainer that came while we left has found the lock taken: it counts on us.
        is_done = foreground or status or wakeup.stopping or works_here(run_dir)
        if is_done or not is_recorded(run_dir):
            return status


class Relay:
    """One relay at work, with its lock held by the caller."""

    def __init__(
        self,
        run_dir: str,
        run: str,
        journal: Journal,
        wakeup: Wakeup,
        poller: Child,
        *,
        foreground: bool = False,
    ) -> None:
        self._run_dir = run_dir
        self._journal = journal
        self._wakeup = wakeup
        self._poller = poller
        self._foreground = foreground
        self._limit_bytes = TABLE["node_limit"].from_environment()
        self._core = _core.Relay(
            run_dir, run=run, node_limit_bytes=self._limit_bytes, by_name=foreground
        )
        self._dealer: Dealer | None = None
        self._secret = ""
        self._keys: Keys | None = None
        self._waiting: bytes | None = None
        self._address: tuple[str, int] | None = None
        self._pause_secs = _SHORTEST_PAUSE_SECS
        self._retry_at = 0.0
        self._search = Search()
        self._was_up = False
        self._started = time.monotonic()
        self._told: dict[str, object] = {}
        self._moved = (time.monotonic(), -1)
        self._rate = (time.monotonic(), 0, 0.0)
        # Before a monitor can be expected nobody is told that it is missing.
        self._room_at = time.monotonic() + _YOUNG_SECS - _ROOM_EVERY_SECS
        self._idle_since: float | None = None
        self._served = not foreground

    def serve(self) -> int:
        """Work until it is time to leave; return the exit status."""
        self._journal.info(
            f"relay {os.getpid()} of {self._run_dir}: training_monitor {_core.__version__}"
        )
        self._poller.start()
        reported, busy_until, moved = 0.0, 0.0, 0
        while not self._wakeup.stopping:
            now = time.monotonic()
            self._connect(now)
            # The next is read while the library sends what was read before.
            is_reading = moved and self._waiting is None
            self._wait(0.0 if is_reading else _patience(now - busy_until))
            if moved := self._carry():
                busy_for = _BUSY_FOR_SECS if moved >= _MUCH_BYTES else _CALM_FOR_SECS
                busy_until = max(busy_until, time.monotonic() + busy_for)
            if now - reported >= _REPORT_SECS:
                reported = now
                self._poller.restart_if_dead()
                if self._dealer is None and works_here(self._run_dir):
                    self._journal.info("a monitor on this node reads these lanes itself")
                    break
                if self._may_leave(now):
                    break
        return self._leave()

    def _carry(self) -> int:
        """Read the lanes, and exchange messages; return the bytes that were read."""
        if lines := self._poller.lines():
            self._core.add_samples(lines)
        self._receive()
        moved = self._core.turn()
        self._send()
        if self._dealer is not None and not self._was_up:
            self._was_up = bool(self._core.report()["connected"])
        if self._dealer is not None and (self._dealer.ended or self._core.is_broken()):
            self._disconnect(self._dealer.ended)
        return moved

    def _connect(self, now: float) -> None:
        """Look for the monitor where it may listen, and connect to whoever answers."""
        if self._dealer is not None or now < self._retry_at:
            return
        if not self._search.is_on:
            self._look(now)
            return
        ended, place = self._search.take()
        if place is not None:
            self._open(place)
        elif ended:
            self._say_once("search", f"the monitor is not found: {self._search.said}")
            self._pause(now)

    def _look(self, now: float) -> None:
        """Begin a round over the places that are known; without any, or the key, say so."""
        try:
            secret, places = read_key(self._run_dir), candidates(self._run_dir, os.environ)
        except (SettingError, OSError) as error:
            self._say_once("missing", str(error))
            self._pause(now)
            return
        if secret is None or not places:
            what = "key" if places else "address"
            self._say_once("missing", f"the monitor's {what} is not known here: {_HELP[what]}")
            self._pause(now)
            return
        if secret != self._secret:
            self._secret, self._keys = secret, keys_of(secret)
        if self._address in places:
            # Where it was before.
            places.remove(self._address)
            places.insert(0, self._address)
        self._search.begin(places)

    def _open(self, place: tuple[str, int]) -> None:
        assert self._keys is not None  # noqa: S101 -- made before the search
        self._dealer, self._address = Dealer(place, self._keys), place
        self._was_up = False
        self._core.connected()

    def _disconnect(self, why: str) -> None:
        report = self._core.report()
        if self._dealer is not None:
            self._dealer.close()
        self._dealer, self._waiting = None, None
        self._core.disconnected()
        host, port = self._address or ("", 0)
        if report["refused"]:
            self._say_once("refused", f"{host}:{port} does not take us: {report['refused']}")
        elif not self._was_up:
            key = "is TM_RELAY_KEY the same there?"
            reason = why or "no answer"
            self._say_once("refused", f"{host}:{port} is not our monitor ({reason}): {key}")
        if self._was_up:
            # It worked a moment ago: the same address first, and soon.
            self._search.restart()
            self._pause_secs = _SHORTEST_PAUSE_SECS
        self._pause(time.monotonic())

    def _pause(self, now: float) -> None:
        self._retry_at = now + self._pause_secs
        is_young = now - self._started < _YOUNG_SECS
        most = _LONGEST_PAUSE_SECS / 4 if is_young else _LONGEST_PAUSE_SECS
        self._pause_secs = min(self._pause_secs * 2, most)

    def _wait(self, secs: float) -> None:
        """Wait for a message, a signal or the end of `secs`."""
        if self._dealer is None:
            self._wakeup.wait(secs)
        else:
            self._dealer.wait(secs, self._wakeup.fileno(), to_send=self._waiting is not None)
            self._wakeup.wait(0.0)

    def _receive(self) -> None:
        while self._dealer is not None and (message := self._dealer.receive()) is not None:
            self._core.receive(message)

    def _send(self) -> None:
        """Send what there is, as long as the library takes it."""
        while self._dealer is not None:
            message = self._waiting or self._core.next_message()
            if message is None or not self._dealer.send(message):
                self._waiting = message
                break
            self._waiting = None

    def _may_leave(self, now: float) -> bool:
        """Report, and return whether all ended and all is home, or nothing moves any more."""
        report = self._core.report()
        self._tell(report, now)
        if report["connected"]:
            self._pause_secs = _SHORTEST_PAUSE_SECS
        if report["producers"]:
            self._served = True
        if report["producers_alive"] or report["backlog_bytes"] != self._moved[1]:
            self._moved = (now, report["backlog_bytes"])
        if report["producers"] or not self._served:
            self._idle_since = None
            stuck = not report["producers_alive"] and now - self._moved[0] > _STUCK_SECS
            return self._served and stuck
        if self._foreground:
            return True
        self._idle_since = now if self._idle_since is None else self._idle_since
        return now - self._idle_since >= grace_secs()

    def _tell(self, report: dict[str, Any], now: float) -> None:
        """Write a line when something changed, and how long the room lasts while cut off."""
        since, written, rate = self._rate
        if now > since:
            fresh = max(report["written_bytes"] - written, 0) / (now - since)
            self._rate = (now, report["written_bytes"], 0.9 * rate + 0.1 * fresh)
        if report["connected"]:
            address = "{}:{}".format(*(self._address or ("", 0)))
            offset = -(report["clock_offset_s"] or 0.0)
            clock = f"; the clock of this node is {offset:+.1f} s off" if abs(offset) > 0.5 else ""
            self._say_once("state", f"connected to {address}, run {report['run']!r}{clock}")
            self._told = {"state": self._told["state"]}
            self._room_at = now
        elif now - self._room_at > _ROOM_EVERY_SECS:
            self._room_at = now
            self._say_once("state", "the monitor is out of reach: what is logged waits here")
            self._journal.warn(self._room(report, rate))
        if trouble := self._core.take_trouble():
            self._say_once("trouble", trouble)

    def _room(self, report: dict[str, Any], rate: float) -> str:
        left = max(self._limit_bytes - report["backlog_bytes"], 0)
        waits = f"{report['backlog_bytes'] / 2**20:.1f} MiB wait here"
        if rate < 1000.0 or not report["producers_alive"]:
            return f"{waits}, room for {left / 2**30:.1f} GiB more"
        return f"{waits}, room for {left / rate / 3600:.1f} hours at this rate"

    def _say_once(self, about: str, text: str) -> None:
        if self._told.get(about) != text:
            self._told[about] = text
            (self._journal.info if about == "state" else self._journal.warn)(text)

    def _leave(self) -> int:
        """Say goodbye; return 1 when something stays here."""
        report = self._core.report()
        if self._dealer is not None:
            if report["connected"]:
                self._dealer.send(self._core.bye())
            self._dealer.close(linger_ms=500)
        if works_here(self._run_dir):
            return 0
        left = report["backlog_bytes"]
        if report["producers"] and left:
            self._journal.warn(
                f"left with {left} bytes that the monitor does not have: they stay in "
                f"{self._run_dir}, and `training-monitor relay` brings them home"
            )
            return 1
        self._journal.info("left: everything is with the monitor")
        return 0


def _patience(idle_secs: float) -> float:
    """Return how long to wait for something to do, `idle_secs` after the last work."""
    if idle_secs < 0.0:
        return _BUSY_SECS
    return _IDLE_SECS if idle_secs < _QUIET_AFTER_SECS else _QUIET_SECS


_ROOM_EVERY_SECS = 60.0
_HELP = {
    "key": "share the run directory, or set TM_RELAY_KEY to the same secret on every node",
    "address": "share the run directory, or set TM_MONITOR_ADDRESS or MASTER_ADDR",
}
