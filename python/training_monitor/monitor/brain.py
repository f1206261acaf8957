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

from training_monitor import _core
from training_monitor.errors import StoreError
from training_monitor.monitor.journal import Journal
from training_monitor.monitor.oom import volunteer
from training_monitor.spawn import monitor_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.monitor.thinking import Thinking

__all__ = ["think"]

_TICK_SECS = 1.0
_BUSY_SECS = 0.05
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
    journal = Journal(monitor_log(run_dir), echo=False)
    thinking = None
    wait_secs = 0.0
    said = ""
    while not select.select([pipe], [], [], wait_secs)[0]:
        try:
            if thinking is None:
                thinking = _begin(run_dir, lines, journal)
            wait_secs = _BUSY_SECS if thinking.look(time.time()) else _TICK_SECS
            said = ""
        except StoreError as error:
            # It is being made, moved, or it is damaged and the monitor takes care of it.
            if str(error) != said:
                journal.warn(f"the brain cannot read the run: {error}; trying again")
            said, wait_secs = str(error), _RETRY_SECS
        except BrokenPipeError:
            return 0
        except Exception:  # noqa: BLE001 -- a fault of a detector must not end the others for good
            for line in traceback.format_exc().splitlines():
                journal.error(f"brain: {line}")
            return 1
    if thinking is not None:
        thinking.close()
    return 0


def _begin(run_dir: str, lines: int, journal: Journal) -> Thinking:
    """Open the run; numpy is loaded here, and only in this process."""
    if _core.find_database(run_dir)[0] is None:
        raise StoreError("there is no database yet")
    from training_monitor.monitor.thinking import Thinking

    return Thinking(run_dir, lines, journal)
