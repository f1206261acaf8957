"""The poller: a child of the monitor that outlives it just long enough to start the next one.

It samples the machine: calls into drivers can hang for ever, so they are made here, in threads.
From the start it is the monitor's watcher: its pipe to the monitor ends with the monitor's life.
What it samples goes through another pipe to the monitor, which writes it into the database.
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
from training_monitor.spawn import monitor_argv, monitor_env, node_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from training_monitor.monitor.sampling import Sampling

__all__ = ["LEAVE", "Child", "watch"]

LEAVE = b"q"
_CRASHED = b"c"
_SHORT_LIFE_SECS = 5.0
_LONGEST_PAUSE_SECS = 60.0
_WATCH_SECS = 60.0


class Child:
    """The poller, the brain, or what takes the code, as the monitor sees it.

    Args:
        run_dir: The run directory.
        respawned: How many monitors of this run died young before this one.
        relay: The name of the run, when it is a relay that this process belongs to.
        thinks: Whether it is the brain.
        takes_code: Whether it is what takes the code of an attempt.
        spawn: Starts a command and returns its process id; None means in a session of its own.

    Attributes:
        trouble: Why the last start failed; None when it did not.
    """

    __slots__ = ("_half", "_pid", "_pipe", "_relay", "_respawned", "_run_dir", "_samples",
                 "_spawn_command", "_started", "_takes_code", "_thinks", "trouble")  # fmt: skip

    def __init__(
        self,
        run_dir: str,
        *,
        respawned: int = 0,
        relay: str | None = None,
        thinks: bool = False,
        takes_code: bool = False,
        spawn: Callable[[list[str]], int] | None = None,
    ) -> None:
        self._run_dir = run_dir
        self._respawned = respawned
        self._relay = relay
        self._thinks = thinks
        self._takes_code = takes_code
        self._spawn_command = _spawn if spawn is None else spawn
        self._pid = 0
        self._pipe = -1
        self._samples = -1
        self._half = b""
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
            self._pid, self._pipe, self._samples = self._spawn()
        except OSError as error:
            self.trouble = str(error)
            return False
        self.trouble = None
        return True

    def _spawn(self) -> tuple[int, int, int]:
        """Start the process.

        It holds the reading end of a pipe that only we can write, and the writing end of another
        one for its samples.
        """
        read_end, write_end = os.pipe()
        try:
            samples, samples_end = os.pipe()
        except OSError:
            os.close(read_end)
            os.close(write_end)
            raise
        try:
            os.set_blocking(samples, False)
            for end in (read_end, samples_end):
                os.set_inheritable(end, True)
            argv = [*monitor_argv(self._run_dir, self._relay), "--pipe", str(read_end)]
            if self._thinks:
                argv += ["--brain", str(samples_end)]
            elif self._takes_code:
                argv += ["--code", str(samples_end)]
            else:
                argv += ["--samples", str(samples_end), "--respawned", str(self._respawned)]
            return self._spawn_command(argv), write_end, samples
        except OSError:
            os.close(write_end)
            os.close(samples)
            raise
        finally:
            os.close(read_end)
            os.close(samples_end)

    def lines(self) -> bytes:
        """Return the whole lines that it has sent since the last call."""
        if not self._pid:
            return b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._samples, 2**16):
                self._half += piece
        lines, end, self._half = self._half.rpartition(b"\n")
        return lines + end

    def reap(self) -> bool:
        """Reap the process if it has ended; return whether it had."""
        if not self._pid:
            return False
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                return False
        self._forget()
        return True

    def restart_if_dead(self) -> bool:
        """Reap the process when it ended and start another; return whether one was started."""
        if self._pid and not self.reap():
            return False
        if time.monotonic() - self._started < 1.0:
            return False  # one that dies at once is not started in a circle
        return self.start()

    def finish(self, within_secs: float) -> bytes:
        """Tell the process that this monitor ends as it should; return its last lines.

        Args:
            within_secs: It is waited for so long at most, until it has closed the pipe.
        """
        if not self._pid:
            return b""
        with contextlib.suppress(OSError):
            os.write(self._pipe, LEAVE)
        deadline, is_open = time.monotonic() + within_secs, True
        while is_open and (left := deadline - time.monotonic()) > 0:
            if select.select([self._samples], [], [], left)[0]:
                piece = os.read(self._samples, 2**16)
                self._half += piece
                is_open = bool(piece)
        lines, end, _ = self._half.rpartition(b"\n")
        self._forget()
        return lines + end

    def say(self, words: bytes) -> None:
        """Hand a few words to the process."""
        with contextlib.suppress(OSError):
            os.write(self._pipe, words)

    def wait(self, within_secs: float) -> None:
        """Wait until it says something or ends, for so long at most."""
        select.select([self._samples], [], [], within_secs)

    def give_up(self) -> None:
        """End the process, and do not wait: it may be in a call that never returns."""
        if self._pid:
            with contextlib.suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)
            self._forget()

    def leave(self) -> None:
        """Tell the process that this monitor ends as it should."""
        self._say(LEAVE)

    def take_over(self) -> None:
        """Tell the process that this monitor ends by an error of its own."""
        self._say(_CRASHED)

    def _say(self, word: bytes) -> None:
        if not self._pid:
            return
        with contextlib.suppress(OSError):
            os.write(self._pipe, word)
        self._forget()

    def _forget(self) -> None:
        os.close(self._pipe)
        os.close(self._samples)
        self._pid, self._half = 0, b""


def _spawn(argv: list[str]) -> int:
    """Start a process in a session of its own.

    Who kills the process group of the monitor then leaves one of the two.
    """
    no_input = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    try:
        return os.posix_spawn(argv[0], argv, os.environ, file_actions=no_input, setsid=True)
    except NotImplementedError:
        return os.posix_spawn(argv[0], argv, os.environ, file_actions=no_input, setpgroup=0)


def watch(
    run_dir: str, pipe: int, samples: int, respawned: int, *, relay: str | None = None
) -> int:
    """Sample until the monitor ends; start another one when it did not say that it leaves."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for end in (pipe, samples):
        os.set_inheritable(end, False)
    volunteer()
    log = node_log(run_dir, relay)
    # Takes over stdout and stderr: never a terminal.
    journal = Journal(log, echo=False)
    started = time.monotonic()
    sampling = _start_sampling(run_dir, samples, journal)
    watch_secs = _WATCH_SECS if sampling is None else sampling.watch_secs
    while not select.select([pipe], [], [], watch_secs)[0]:
        if sampling is not None:
            sampling.watch()
    last_word = os.read(pipe, 1)
    if last_word == LEAVE:
        return 0
    lived = time.monotonic() - started
    respawned = 0 if lived > _SHORT_LIFE_SECS else respawned + 1
    time.sleep(_pause_secs(respawned, crashed=last_word == _CRASHED))
    journal = Journal(log, echo=False)
    argv = [*monitor_argv(run_dir, relay), "--respawned", str(respawned)]
    pid = _core.spawn_detached(argv, monitor_env(), log)
    who = "monitor" if relay is None else "relay"
    journal.warn(f"the {who} died after {lived:.0f} s: started another one, pid {pid}")
    return 0 if pid else 1


def _start_sampling(run_dir: str, samples: int, journal: Journal) -> Sampling | None:
    """Start to sample; return None when that is switched off or impossible."""
    # The monitor, which imports this module too, needs nothing of it.
    from training_monitor.monitor.sampling import Sampling, configured

    interval_secs, gpus, wrong = configured()
    for text in wrong:
        journal.error(text)
    if interval_secs is None:
        return None
    sampling = Sampling(run_dir, samples, journal, interval_secs=interval_secs, gpus=gpus)
    try:
        sampling.start()
    except RuntimeError as error:  # no thread to be had: the watch matters more
        journal.error(f"cannot sample: {error}")
    return sampling


def _pause_secs(respawned: int, *, crashed: bool) -> float:
    """Return how long to wait before the next start.

    A monitor that was killed is back at once, however often that happens, or it would not keep
    its promise; one that fails by itself gets more and more time.
    """
    if crashed:
        return min(2.0**respawned, _LONGEST_PAUSE_SECS)
    return 0.0 if respawned <= 10 else 1.0
