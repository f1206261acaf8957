"""The outbox: an alert stays in it until every sink has it, or gave it up where it can be seen.

Across a SIGKILL an alert is told at least once and at most twice. Before anything leaves, the
try is written down; after the answer, its outcome. A try without an outcome is in doubt:
the process died in between. Such an alert is sent once more, and after a second doubt no more.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training_monitor.notify.alert import Alert

__all__ = [
    "Delivery",
    "MemoryStorage",
    "Outbox",
    "Outcome",
    "Patience",
    "SinkHealth",
    "Storage",
    "delivered",
    "later",
    "refused",
]


@dataclass(slots=True)
class Delivery:
    """One alert on its way to one sink.

    Attributes:
        alert: The alert as JSON; `alert["id"]` is its id.
        sink: The name of the sink.
        added: Wall clock at which it was decided.
        tries: How often it was tried.
        answered: How often somebody was there and did not take it.
        doubts: How often the process ended between a try and its outcome.
        due: Wall clock before which it is not tried.
    """

    alert: dict[str, Any]
    sink: str
    added: float
    tries: int = 0
    answered: int = 0
    doubts: int = 0
    due: float = 0.0

    @property
    def id(self) -> str:
        """The id of the alert."""
        return str(self.alert["id"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try ended.

    Attributes:
        status: "delivered"; "later": worth a further try; "refused": not worth one.
        why: What went wrong, without any secret.
        after_secs: So long the receiver asked to wait; None: it did not say.
        answered: Whether the receiver was there at all.
    """

    status: str
    why: str = ""
    after_secs: float | None = None
    answered: bool = False


delivered = Outcome("delivered", answered=True)


def later(why: str, *, after_secs: float | None = None, answered: bool = False) -> Outcome:
    """Return that it did not work now."""
    return Outcome("later", why, after_secs, answered)


def refused(why: str) -> Outcome:
    """Return that it will never work."""
    return Outcome("refused", why, None, answered=True)


class Storage(Protocol):
    """Keeps deliveries across the death of the process. Calls come one at a time.

    None of them raises: what cannot be written is kept in memory, and told elsewhere.
    """

    def append(self, alert: Mapping[str, Any], sinks: Sequence[str], now: float) -> bool:
        """Keep a new alert, durably; return False where one with its id is or was kept."""

    def leaving(self, delivery: Delivery, now: float) -> None:
        """Write down that a try begins; this must survive the death of the process.

        Until its outcome is written down, this delivery has one doubt more than `delivery` says.
        """

    def postpone(self, delivery: Delivery) -> None:
        """Write down that the try failed: all counts, and when the next one is due."""

    def settle(self, delivery: Delivery, outcome: str, why: str, now: float) -> None:
        """Write down, durably, that a sink has it ("delivered") or never will ("given up")."""

    def open(self) -> list[Delivery]:
        """Return copies of what is not settled, the oldest first."""


class MemoryStorage:
    """Keeps deliveries as long as the process lives, where there is no directory for them."""

    def __init__(self) -> None:
        self._deliveries: dict[tuple[str, str], Delivery] = {}
        self._known: set[str] = set()
        self.settled: list[tuple[str, str, str]] = []

    def append(self, alert: Mapping[str, Any], sinks: Sequence[str], now: float) -> bool:
        """Keep a new alert."""
        if alert["id"] in self._known:
            return False
        self._known.add(alert["id"])
        for sink in sinks:
            self._deliveries[alert["id"], sink] = Delivery(dict(alert), sink, now)
        return True

    def leaving(self, delivery: Delivery, now: float) -> None:  # noqa: ARG002
        """Count a try, in doubt until its outcome."""
        doubts = delivery.doubts + 1
        self._deliveries[delivery.id, delivery.sink] = replace(delivery, doubts=doubts)

    def postpone(self, delivery: Delivery) -> None:
        """Keep the counts and the time of the next try."""
        self._deliveries[delivery.id, delivery.sink] = replace(delivery)

    def settle(self, delivery: Delivery, outcome: str, why: str, now: float) -> None:  # noqa: ARG002
        """Forget the delivery."""
        self._deliveries.pop((delivery.id, delivery.sink), None)
        self.settled.append((delivery.id, delivery.sink, outcome))

    def open(self) -> list[Delivery]:
        """Return copies of what is not settled."""
        return [replace(one) for one in self._deliveries.values()]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a delivery is tried.

    Attributes:
        backoff_secs: Waits between tries; the last one holds for all that follow.
        most_answered: After so many tries that a receiver answered and did not take, it is
            given up: something is wrong with this alert, and others wait behind it.
        age_secs: So old an alert is given up, if it was tried.
        longest_wait_secs: A receiver may ask for so long a wait, not more.
        most_doubts: So often an alert may have left without anybody knowing how it went.
    """

    backoff_secs: tuple[float, ...] = (2, 5, 15, 30, 60, 120, 300, 600, 900)
    most_answered: int = 10
    age_secs: float = 86_400.0
    longest_wait_secs: float = 3600.0
    most_doubts: int = 2

    def wait(self, tries: int) -> float:
        """Return how long to wait after so many tries."""
        return self.backoff_secs[min(max(tries, 1), len(self.backoff_secs)) - 1]


@dataclass(slots=True)
class SinkHealth:
    """What became of the alerts of one sink in this process, for `status`.

    Attributes:
        waiting: How many are on their way.
        delivered: How many arrived.
        given_up: How many never will.
        trouble: What went wrong last; empty: the last one arrived.
    """

    waiting: int = 0
    delivered: int = 0
    given_up: int = 0
    trouble: str = ""


class Outbox:
    """Says what is to be sent where and when, in order per sink. Any thread may call.

    Args:
        storage: Where deliveries outlive the process.
        sinks: The names of the sinks that a new alert goes to.
        now: The wall clock.
        patience: When to give up.
    """

    __slots__ = ("_health", "_lock", "_patience", "_queues", "_storage")

    def __init__(
        self,
        storage: Storage,
        sinks: Sequence[str],
        *,
        now: float,
        patience: Patience | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._storage = storage
        self._patience = patience or Patience()
        self._queues: dict[str, deque[Delivery]] = {name: deque() for name in sinks}
        self._health = {name: SinkHealth() for name in sinks}
        for one in storage.open():
            self._resume(one, now)

    def put(self, alert: Alert, now: float) -> bool:
        """Keep an alert for all sinks; return False where it was put before."""
        stored = alert.to_json()
        with self._lock:
            if not self._storage.append(stored, list(self._queues), now):
                return False
            for sink, queue in self._queues.items():
                queue.append(Delivery(stored, sink, now))
            return True

    def next(self, sink: str, now: float) -> Delivery | None:
        """Return what a sink is to try now; None: nothing, yet."""
        with self._lock:
            queue = self._queues[sink]
            # Each is tried once, however old: the clock may have been set.
            while queue and queue[0].tries and self._is_old(queue[0], now):
                hours = self._patience.age_secs / 3600
                self._settle(queue[0], "given up", f"not delivered within {hours:g} hours", now)
            if not queue or self._due(queue[0], now) > now:
                return None
            return queue[0]

    def wake_at(self, sink: str, now: float) -> float | None:
        """Return when to ask `next` again; None: not before something is put."""
        with self._lock:
            queue = self._queues[sink]
            return self._due(queue[0], now) if queue else None

    def begin(self, delivery: Delivery, now: float) -> None:
        """Write down that it leaves; to be called immediately before it does."""
        with self._lock:
            self._storage.leaving(delivery, now)

    def finish(self, delivery: Delivery, outcome: Outcome, now: float) -> None:
        """Write down how the try ended."""
        with self._lock:
            delivery.tries += 1
            delivery.answered += outcome.answered
            if outcome.status == "delivered":
                self._settle(delivery, "delivered", "", now)
            elif outcome.status == "refused":
                self._settle(delivery, "given up", outcome.why, now)
            elif delivery.answered >= self._patience.most_answered:
                times = f"{delivery.answered} times"
                self._settle(delivery, "given up", f"{times}, last: {outcome.why}", now)
            else:
                self._postpone(delivery, outcome, now)

    def health(self) -> dict[str, SinkHealth]:
        """Return a copy of what became of the alerts, by sink."""
        with self._lock:
            return {
                name: SinkHealth(len(self._queues[name]), one.delivered, one.given_up, one.trouble)
                for name, one in self._health.items()
            }

    def _resume(self, one: Delivery, now: float) -> None:
        """Take up what an earlier process left."""
        if one.sink not in self._queues:
            self._storage.settle(one, "given up", "no such sink any more", now)
            return
        self._queues[one.sink].append(one)
        if one.doubts >= self._patience.most_doubts:
            self._settle(one, "given up", f"sent {one.doubts} times without an answer", now)
        elif one.doubts:
            # A process that dies of what it sends, at once, each time, is not to send it each time.
            one.due = max(one.due, now + self._patience.wait(1))

    def _is_old(self, one: Delivery, now: float) -> bool:
        return now - one.added > self._patience.age_secs

    def _due(self, one: Delivery, now: float) -> float:
        # A clock that was set back must not hold an alert for longer than anybody asked.
        return one.due if one.due - now <= self._patience.longest_wait_secs else now

    def _postpone(self, one: Delivery, outcome: Outcome, now: float) -> None:
        wait = self._patience.wait(one.tries)
        if outcome.after_secs is not None:
            wait = max(wait, min(outcome.after_secs, self._patience.longest_wait_secs))
        one.due = now + wait
        self._storage.postpone(one)
        self._health[one.sink].trouble = outcome.why

    def _settle(self, one: Delivery, outcome: str, why: str, now: float) -> None:
        self._storage.settle(one, outcome, why, now)
        self._queues[one.sink].remove(one)
        health = self._health[one.sink]
        health.trouble = why
        if outcome == "delivered":
            health.delivered += 1
        else:
            health.given_up += 1
