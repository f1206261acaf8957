"""A call that may take so long and no longer, whatever it waits for."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Busy", "Timed", "TookTooLong"]

# Calls that hang, as on a file system that does not answer, before no more are begun.
_MOST_HANGING = 3


class TookTooLong(Exception):  # noqa: N818 -- an outcome between two rooms, never seen outside
    """The call goes on in its thread, and nobody waits for it any more."""


class Busy(Exception):  # noqa: N818 -- as above
    """Too many calls hang already."""


class Timed:
    """Runs calls one after the other, each in a thread that ends with the process."""

    def __init__(self) -> None:
        self._hanging: list[threading.Thread] = []

    def within(self, seconds: float, call: Callable[[], str]) -> str:
        """Return what a call returns, or raise what it raises, as an Exception.

        Raises:
            TookTooLong: It did not return in time.
            Busy: Too many have not returned yet.
        """
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= _MOST_HANGING:
            raise Busy
        outcome: list[str | Exception] = []

        def run() -> None:
            try:
                outcome.append(call())
            except Exception as error:  # noqa: BLE001 -- raised again in the thread that waits
                outcome.append(error)
            except BaseException as error:  # noqa: BLE001
                # As a panic below: it ends the call, and not the conversation.
                outcome.append(RuntimeError(type(error).__name__))

        thread = threading.Thread(target=run, name="training_monitor tool", daemon=True)
        thread.start()
        thread.join(seconds)
        if not outcome:
            self._hanging.append(thread)
            raise TookTooLong
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]
