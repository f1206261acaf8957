"""The poller: a child of the monitor that outlives it just long enough to start the next one.

It will sample the devices; calls into their drivers can hang for ever, so they are made here.
From the start it is the monitor's watcher: its pipe to the monitor ends with the monitor's life.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

from training_monitor import _core
from training_monitor.monitor.journal import Journal
from training_monitor.monitor.oom import volunteer
from training_monitor.spawn import monitor_argv, monitor_env, monitor_log

__all__ = ["Child", "watch"]

_LEAVE = b"q"
_CRASHED = b"c"
_SHORT_LIFE_SECS = 5.0
_LONGEST_PAUSE_SECS = 60.0


class Child:
    """The poller, as the monitor sees it.

    Attributes:
        trouble: Why the last start failed; None when it did not.
    """

    __slots__ = ("_pid", "_pipe", "_respawned", "_run_dir", "_started", "trouble")

    def __init__(self, run_dir: str, *, respawned: int) -> None:
        self._run_dir = run_dir
        self._respawned = respawned
        self._pid = 0
        self._pipe = -1
        self._started = 0.0
        self.trouble: str | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 when it is not running."""
        return self._pid

    def start(self) -> bool:
        """Start the process; return whether it runs, since the monitor works without it too."""
        self._started = time.monotonic()
        try:
            self._pid, self._pipe = self._spawn()
        except OSError as error:
            self.trouble = str(error)
            return False
        self.trouble = None
        return True

    def _spawn(self) -> tuple[int, int]:
        """Start the process; it holds the reading end of a pipe that only we can write."""
        read_end, write_end = os.pipe()
        try:
            os.set_inheritable(read_end, True)
            argv = [*monitor_argv(self._run_dir), "--pipe", str(read_end)]
            argv += ["--respawned", str(self._respawned)]
            return _spawn(argv), write_end
        except OSError:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)

    def restart_if_dead(self) -> bool:
        """Reap the process when it ended and start another; return whether one was started."""
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                    return False
            self._pid = 0
            os.close(self._pipe)
        if time.monotonic() - self._started < 1.0:
            return False  # one that dies at once is not started in a circle
        return self.start()

    def leave(self) -> None:
        """Tell the process that this monitor ends as it should."""
        self._say(_LEAVE)

    def take_over(self) -> None:
        """Tell the process that this monitor ends by an error of its own."""
        self._say(_CRASHED)

    def _say(self, word: bytes) -> None:
        if not self._pid:
            return
        with contextlib.suppress(OSError):
            os.write(self._pipe, word)
        os.close(self._pipe)
        self._pid = 0


def _spawn(argv: list[str]) -> int:
    """Start a process in a session of its own.

    Who kills the process group of the monitor then leaves one of the two.
    """
    no_input = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    try:
        return os.posix_spawn(argv[0], argv, os.environ, file_actions=no_input, setsid=True)
    except NotImplementedError:
        return os.posix_spawn(argv[0], argv, os.environ, file_actions=no_input, setpgroup=0)


def watch(run_dir: str, pipe: int, respawned: int) -> int:
    """Wait for the end of the monitor; start another one when it did not say that it leaves."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.set_inheritable(pipe, False)
    volunteer()
    Journal(monitor_log(run_dir), echo=False)  # takes over stdout and stderr: never a terminal
    started = time.monotonic()
    while not select.select([pipe], [], [], 60.0)[0]:
        pass
    last_word = os.read(pipe, 1)
    if last_word == _LEAVE:
        return 0
    lived = time.monotonic() - started
    respawned = 0 if lived > _SHORT_LIFE_SECS else respawned + 1
    time.sleep(_pause_secs(respawned, crashed=last_word == _CRASHED))
    journal = Journal(monitor_log(run_dir), echo=False)
    argv = [*monitor_argv(run_dir), "--respawned", str(respawned)]
    pid = _core.spawn_detached(argv, monitor_env(), monitor_log(run_dir))
    journal.warn(f"the monitor died after {lived:.0f} s: started another one, pid {pid}")
    return 0 if pid else 1


def _pause_secs(respawned: int, *, crashed: bool) -> float:
    """Return how long to wait before the next start.

    A monitor that was killed is back at once, however often that happens, or it would not keep
    its promise; one that fails by itself gets more and more time.
    """
    if crashed:
        return min(2.0**respawned, _LONGEST_PAUSE_SECS)
    return 0.0 if respawned <= 10 else 1.0
