"""The brain: a child of the monitor that judges the points of a run as they come, and tells.

It reads the database as any reader does and writes into it through the monitor, by lines in a
pipe. Nothing of the recording depends on it: whatever ends it, another one takes up what is stored
of the last minutes.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
import traceback

from training_monitor.errors import StoreError
from training_monitor.monitor.journal import Journal
from training_monitor.monitor.oom import volunteer
from training_monitor.monitor.poller import LEAVE
from training_monitor.spawn import monitor_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.monitor.thinking import Thinking

__all__ = ["think"]

_TICK_SECS = 1.0
_BUSY_SECS = 0.05
# Of a core: looks are further apart where one costs more, and a backlog may cost more for a while.
_SHARE = 0.05
_BUSY_SHARE = 0.5
_LONGEST_SECS = 10.0
_LAST_SECS = 3.0
_RETRY_SECS = 5.0


def think(run_dir: str, pipe: int, lines: int) -> int:
    """Judge a run until the monitor ends; return the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for end in (pipe, lines):
        os.set_inheritable(end, False)
    volunteer()
    # One core is the trainer's: numpy starts a thread per core unless told otherwise.
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with contextlib.suppress(OSError):
        os.nice(5)
    brain = Brain(run_dir, lines, Journal(monitor_log(run_dir), echo=False))
    wait_secs = 0.0
    try:
        while not select.select([pipe], [], [], wait_secs)[0]:
            _, wait_secs = brain.look()
    except BrokenPipeError:
        return 0
    except Exception:  # noqa: BLE001 -- the monitor starts another one, and the log says why
        brain.tell_failure()
        return 1
    # A monitor that died says nothing: the next brain looks at what this one has not.
    if os.read(pipe, 1) == LEAVE:
        brain.finish()
    return 0


class Brain:
    """One brain at work.

    Args:
        run_dir: The run directory.
        lines: The pipe to the monitor.
        journal: The log.
    """

    def __init__(self, run_dir: str, lines: int, journal: Journal) -> None:
        self._run_dir = run_dir
        self._lines = lines
        self._journal = journal
        self._thinking: Thinking | None = None
        self._said = ""

    def look(self) -> tuple[bool, float]:
        """Judge what is new; return whether there is more, and how long to wait before it."""
        try:
            if self._thinking is None:
                self._thinking = self._begin()
            began = time.thread_time()
            more = self._thinking.look(time.time())
        except StoreError as error:
            # It is being made or moved, or it is damaged and the monitor takes care of it.
            if str(error) != self._said:
                self._journal.warn(f"the brain cannot read the run: {error}; trying again")
            self._said = str(error)
            return False, _RETRY_SECS
        self._said = ""
        used = time.thread_time() - began
        if more:
            return True, max(_BUSY_SECS, used / _BUSY_SHARE - used)
        return False, min(max(_TICK_SECS, used / _SHARE), _LONGEST_SECS)

    def _begin(self) -> Thinking:
        """Open the run; numpy is loaded here, and in no other process of ours."""
        from training_monitor.monitor.thinking import Thinking

        return Thinking(self._run_dir, self._lines, self._journal)

    def tell_failure(self) -> None:
        """Write into the log what went wrong."""
        for line in traceback.format_exc().splitlines():
            self._journal.error(f"brain: {line}")

    def finish(self) -> None:
        """Look at the last points, and deliver what is due, for a few seconds at most."""
        deadline = time.monotonic() + _LAST_SECS
        try:
            while self.look()[0] and time.monotonic() < deadline:
                pass
            if self._thinking is not None:
                self._thinking.flush(time.time())
        except Exception:  # noqa: BLE001 -- it ends anyway; the log says why
            self.tell_failure()
        # The monitor waits for the end of this pipe, and not for the deliveries.
        os.close(self._lines)
        if self._thinking is not None:
            self._thinking.close()
