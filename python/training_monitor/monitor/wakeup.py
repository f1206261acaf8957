"""Waiting that a signal cuts short, without work inside a signal handler."""

from __future__ import annotations

import contextlib
import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Wakeup"]


class Wakeup:
    """Installs the signal handlers of the monitor; SIGTERM asks it to drain and leave.

    Args:
        interruptible: Whether Ctrl-C asks for the same. The monitor that a trainer started
            ignores it: it belongs to the trainer, at whose terminal it was typed.
    """

    __slots__ = ("_pipe", "stopping")

    def __init__(self, *, interruptible: bool) -> None:
        self.stopping = False
        self._pipe, write_end = os.pipe()
        for end in (self._pipe, write_end):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop if interruptible else signal.SIG_IGN)
        signal.signal(signal.SIGHUP, self._stop if interruptible else signal.SIG_IGN)
        # The handler does nothing, but its signal ends the wait: a dead child is seen at once.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def fileno(self) -> int:
        """Return the descriptor that a signal makes readable, for whoever waits for more."""
        return self._pipe

    def wait(self, secs: float) -> None:
        """Wait so long, or until a signal arrives."""
        if select.select([self._pipe], [], [], secs)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._pipe, 512)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True
