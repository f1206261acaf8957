"""Brings alerts from the outbox to the sinks: a thread per sink, so that none waits for another."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from training_monitor.errors import shown
from training_monitor.notify.outbox import later

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training_monitor.notify.outbox import Delivery, Outbox, Outcome
    from training_monitor.notify.sinks.sink import Sink

__all__ = ["Courier"]

# A clock that is set may make a wait longer than meant; so often it is looked at anyway.
_LOOK_SECS = 5.0


class Courier:
    """Delivers what the outbox has, for as long as the process lives.

    Args:
        outbox: The outbox; its sinks are those below.
        sinks: Where alerts are told.
        now: The wall clock.
    """

    __slots__ = ("_closing", "_news", "_now", "_outbox", "_threads")

    def __init__(
        self, outbox: Outbox, sinks: Sequence[Sink], *, now: Callable[[], float] = time.time
    ) -> None:
        self._outbox = outbox
        self._now = now
        self._news = threading.Condition()
        self._closing = False
        self._threads = [
            # Not waited for at exit: a sink that hangs must not keep the process.
            threading.Thread(
                target=self._serve, args=(sink,), name=f"sink {sink.name}", daemon=True
            )
            for sink in sinks
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look at the outbox now: something was put."""
        with self._news:
            self._news.notify_all()

    def close(self, *, within_secs: float) -> bool:
        """Deliver what is due, for so long at most; return whether all threads are done.

        What is left stays in the outbox for the next process.
        """
        with self._news:
            self._closing = True
            self._news.notify_all()
        deadline = time.monotonic() + within_secs
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self, sink: Sink) -> None:
        while True:
            delivery = self._awaited(sink.name)
            if delivery is None:
                return
            outcome = self._deliver(sink, delivery)
            self._outbox.finish(delivery, outcome, self._now())

    def _awaited(self, sink: str) -> Delivery | None:
        """Wait for the next delivery; None: there is none and this is the end."""
        with self._news:
            while True:
                now = self._now()
                delivery = self._outbox.next(sink, now)
                if delivery is not None or self._closing:
                    return delivery
                due = self._outbox.wake_at(sink, now)
                wait = _LOOK_SECS if due is None else min(max(0.0, due - now), _LOOK_SECS)
                self._news.wait(wait)

    def _deliver(self, sink: Sink, delivery: Delivery) -> Outcome:
        def sending() -> None:
            self._outbox.begin(delivery, self._now())

        try:
            return sink.deliver(delivery.alert, sending)
        except Exception as error:  # noqa: BLE001 -- one broken sink must not end the thread
            return later(f"the sink failed: {shown(error)}", answered=True)
