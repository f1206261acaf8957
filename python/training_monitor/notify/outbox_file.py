"""The outbox as a file: a line of JSON per event, which only grows, and is made anew when large."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections import OrderedDict, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from training_monitor.notify.outbox import Delivery
from training_monitor.notify.stored import real, text_of, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["FileStorage", "OutboxHeldError"]

_LIMIT_BYTES = 2**20
_COUNTS = ("tries", "answered", "doubts")
# Ids that were settled are known for so many further alerts, so that none is told anew.
_MOST_KNOWN = 4096
_MOST_GIVEN_UP = 100


class OutboxHeldError(OSError):
    """Another process has this outbox."""


class FileStorage:
    """Keeps deliveries in a file that one process holds at a time.

    What is written survives the death of the process at once, and that of the machine where the
    protocol says durable. While nothing can be written (a full disk) all goes on in memory, and
    the file is made anew as soon as there is room: to tell matters more than to remember.

    Args:
        path: The file; it is made with rights for its owner only.
        limit_bytes: When larger, it is made anew with what is open and what is known.

    Attributes:
        given_up: Id, sink and reason of the last alerts that a sink will never have.
        damaged: How many lines could not be read.
        trouble: Why nothing can be written now; empty: it can.

    Raises:
        OutboxHeldError: Another process has it.
        OSError: The file cannot be made.
    """

    def __init__(self, path: str, *, limit_bytes: int = _LIMIT_BYTES) -> None:
        self.damaged = 0
        self.given_up: deque[tuple[str, str, str]] = deque(maxlen=_MOST_GIVEN_UP)
        self.trouble = ""
        self._path = path
        self._limit_bytes = self._least_limit = limit_bytes
        self._deliveries: OrderedDict[tuple[str, str], Delivery] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._file = _held(path)
        self._read()

    def append(self, alert: Mapping[str, Any], sinks: Sequence[str], now: float) -> bool:
        """Keep a new alert, durably."""
        if alert["id"] in self._known:
            return False
        self._note(
            {"is": "alert", "alert": dict(alert), "sinks": list(sinks), "at": now}, sync=True
        )
        return True

    def leaving(self, delivery: Delivery, now: float) -> None:
        """Write down that a try begins."""
        self._note(_event(replace(delivery, doubts=delivery.doubts + 1), at=now))

    def postpone(self, delivery: Delivery) -> None:
        """Write down that the try failed and when the next one is due."""
        self._note(_event(delivery))

    def settle(self, delivery: Delivery, outcome: str, why: str, now: float) -> None:
        """Write down, durably, how a delivery ended."""
        ends = {"is": "settled", "id": delivery.id, "sink": delivery.sink}
        self._note(ends | {"as": outcome, "why": why, "at": now}, sync=True)

    def open(self) -> list[Delivery]:
        """Return copies of what is not settled, the oldest first."""
        return [replace(one) for one in self._deliveries.values()]

    def close(self) -> None:
        """Let another process have it; what is noted from now on is noted in memory only."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _note(self, record: dict[str, Any], *, sync: bool = False) -> None:
        self._take(record)
        self._write(record, sync=sync)

    def _take(self, record: dict[str, Any]) -> None:
        """Apply one record.

        Raises:
            TypeError, ValueError, KeyError: It is none of ours.
        """
        if record["is"] == "alert":
            self._take_alert(record)
        elif record["is"] == "known":
            self._know(text_of(record["id"]))
        elif record["is"] == "settled":
            id_, sink = text_of(record["id"]), text_of(record["sink"])
            self._deliveries.pop((id_, sink), None)
            if record["as"] != "delivered":
                self.given_up.append((id_, sink, text_of(record["why"])))
        elif record["is"] == "tried":
            self._take_try(record)

    def _take_alert(self, record: dict[str, Any]) -> None:
        alert, added = record["alert"], real(record["at"])
        id_ = text_of(alert["id"])
        for sink in [text_of(sink) for sink in record["sinks"]]:
            self._deliveries[id_, sink] = Delivery(alert, sink, added)
        self._know(id_)

    def _take_try(self, record: dict[str, Any]) -> None:
        one = self._deliveries.get((text_of(record["id"]), text_of(record["sink"])))
        if one is not None:
            counts = [whole(record[name]) for name in _COUNTS]
            one.due = real(record["due"])
            one.tries, one.answered, one.doubts = counts

    def _know(self, id_: str) -> None:
        self._known[id_] = None
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def _read(self) -> None:
        # Through this descriptor alone: with any other one, closed, the lock would be gone.
        content = b""
        while piece := os.pread(self._file, 2**20, len(content)):
            content += piece
        for line in content.split(b"\n"):
            if line:
                self.damaged += not self._take_line(line)
        if content and not content.endswith(b"\n"):
            # The end of a line is missing: its writer died. The next one must not continue it.
            self._put(b"\n")

    def _take_line(self, line: bytes) -> bool:
        try:
            self._take(json.loads(line))
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
            return False
        return True

    def _write(self, record: dict[str, Any], *, sync: bool) -> None:
        if self._file < 0:
            return
        try:
            if self.trouble or os.fstat(self._file).st_size > self._limit_bytes:
                self._make_anew()
            else:
                self._put(_line(record))
                if sync:
                    os.fsync(self._file)
        except OSError as error:
            self.trouble = f"{self._path} cannot be written: {error.strerror}"

    def _put(self, data: bytes) -> None:
        written = os.write(self._file, data)
        if written < len(data):
            # A full disk took a piece; the file is made anew when there is room.
            raise OSError(28, "No space left on device")

    def _make_anew(self) -> None:
        """Write what is open, and what is known, into a new file in the place of the old one."""
        draft = f"{self._path}.new"
        new = os.open(
            draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.lockf(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for record in self._records():
                data = _line(record)
                if os.write(new, data) < len(data):
                    raise OSError(28, "No space left on device")
            os.fsync(new)
            os.replace(draft, self._path)
        except OSError:
            os.close(new)
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise
        os.close(self._file)
        self._file, self.trouble = new, ""
        self._limit_bytes = max(self._least_limit, 2 * os.fstat(new).st_size)
        _sync_directory(self._path)

    def _records(self) -> Iterator[dict[str, Any]]:
        """Yield the records that make what is known now."""
        by_id: dict[str, list[Delivery]] = {}
        for one in self._deliveries.values():
            by_id.setdefault(one.id, []).append(one)
        for id_ in self._known:
            if id_ not in by_id:
                yield {"is": "known", "id": id_}
        for id_, sink, why in self.given_up:
            yield {"is": "settled", "id": id_, "sink": sink, "as": "given up", "why": why}
        for group in by_id.values():
            sinks, first = [one.sink for one in group], group[0]
            yield {"is": "alert", "alert": first.alert, "sinks": sinks, "at": first.added}
            yield from (_event(one) for one in group if one.tries or one.doubts)


def _held(path: str) -> int:
    """Open the file and take its lock; another process may just have put a new one in its place.

    A lock of fcntl: that of flock is shared with a command that is just being started, and would
    outlive a killed process for a moment.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    while True:
        file = os.open(path, flags, 0o600)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except (BlockingIOError, PermissionError):
            os.close(file)
            raise OutboxHeldError(f"{path} is held by another process") from None
        except FileNotFoundError:
            pass
        os.close(file)


def _event(one: Delivery, **further: float) -> dict[str, Any]:
    counts = {name: getattr(one, name) for name in _COUNTS}
    return {"is": "tried", "id": one.id, "sink": one.sink, "due": one.due} | counts | further


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _sync_directory(path: str) -> None:
    # Where a directory cannot be synced the rename is as durable as the file system makes it.
    with contextlib.suppress(OSError):
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
