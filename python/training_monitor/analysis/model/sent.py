"""What was sent to a model's server: a file of the run that gives back each body byte for byte.

A conversation repeats itself with every request, so a record holds only what is not in an earlier
one: the bytes between a common start and a common end.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training_monitor.analysis.model.state import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SENT", "Records", "Sent", "read_sent", "sent_of"]

SENT = "sent.jsonl"
_OLDER = "sent.1.jsonl"
_LIMIT_BYTES = 32 * 2**20
# A record that is lost takes those with it that lean on it: so many at most.
_MOST_LEANING = 50
_MOST_KNOWN = 200


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it was sent.

    Attributes:
        id: Its name.
        time: Wall clock.
        purpose: What it was for.
        to: The address.
        content: The body, byte for byte; None where the file is damaged.
    """

    id: str
    time: float
    purpose: str
    to: str
    content: bytes | None

    @property
    def body(self) -> dict[str, Any]:
        """The body as it reads; empty where it is damaged."""
        try:
            told = json.loads(self.content or b"{}")
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}


class Records:
    """Appends to the file of one run.

    Args:
        run_dir: The run.
        limit_bytes: When larger, the file becomes the older one, and the one before that goes.
    """

    def __init__(self, run_dir: str, *, limit_bytes: int = _LIMIT_BYTES) -> None:
        self._path = os.path.join(run_dir, SENT)
        self._older = os.path.join(run_dir, _OLDER)
        self._lock = os.path.join(run_dir, ".llm.lock")
        self._limit_bytes = limit_bytes
        self._last: tuple[str, bytes] | None = None
        self._leaning = 0
        self._file_id: tuple[int, int] | None = None

    def add(self, content: bytes, *, purpose: str, to: str, time: float) -> None:
        """Append a record.

        Raises:
            OSError: It could not be written.
        """
        with locked(self._lock):
            self._make_room()
            with contextlib.closing(_Appending(self._path)) as file:
                self._add(file, content, {"time": time, "purpose": purpose, "to": to})

    def _make_room(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if os.path.getsize(self._path) > self._limit_bytes:
                os.replace(self._path, self._older)

    def _add(self, file: _Appending, content: bytes, about: dict[str, Any]) -> None:
        # Another process may have begun a new file.
        if file.id != self._file_id:
            self._last, self._file_id = None, file.id
        name = uuid.uuid4().hex
        line = {"id": name, **about, **self._part(content)}
        line["sha256"] = hashlib.sha256(content).hexdigest()
        file.append(json.dumps(line, ensure_ascii=False).encode("utf-8"))
        self._last = name, content

    def _part(self, content: bytes) -> dict[str, Any]:
        if self._last is not None and self._leaning < _MOST_LEANING:
            like, before = self._last
            start = _whole(content, _common_start(before, content))
            most = min(len(before), len(content)) - start
            end = min(_common_start(before[::-1], content[::-1]), most)
            end = len(content) - _whole(content, len(content) - end, step=1)
            if 2 * (start + end) > len(content):
                self._leaning += 1
                middle = content[start : len(content) - end]
                return {"like": like, "start": start, "end": end, **_text(middle)}
        self._leaning = 0
        return _text(content)


class _Appending:
    """The open file, private to its owner."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        about = os.fstat(self._file)
        self.size = about.st_size
        self.id = about.st_dev, about.st_ino
        if about.st_mode & 0o077:
            os.fchmod(self._file, 0o600)

    def append(self, line: bytes) -> None:
        """Append a line; what of it does not fit on the disk is taken back."""
        # A line that was cut ends here, so that it takes nothing else with it.
        whole = line + b"\n" if self.size == 0 else b"\n" + line + b"\n"
        try:
            written = os.write(self._file, whole)
            if written < len(whole):
                raise OSError("the disk is full")
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self.size)
            raise
        self.size += len(whole)

    def close(self) -> None:
        """Close it."""
        os.close(self._file)


def _common_start(one: bytes, other: bytes) -> int:
    """Return how many bytes both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _whole(content: bytes, at: int, *, step: int = -1) -> int:
    """Return the next place from `at` on that is not within a character."""
    while 0 < at < len(content) and content[at] & 0xC0 == 0x80:
        at += step
    return at


def _text(content: bytes) -> dict[str, str]:
    """Return bytes as JSON holds them: text where they are text."""
    try:
        return {"text": content.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def read_sent(run_dir: str, *, last: int | None = None) -> list[Sent]:
    """Return what was sent for a run, the oldest first.

    Args:
        run_dir: The run.
        last: So many of the last ones only; None: all that are kept.
    """
    return list(deque(sent_of(run_dir), maxlen=last))


def sent_of(run_dir: str) -> Iterator[Sent]:
    """Yield what was sent for a run, the oldest first."""
    known: OrderedDict[str, bytes] = OrderedDict()
    for name in (_OLDER, SENT):
        try:
            file = open(os.path.join(run_dir, name), "rb")  # noqa: SIM115 -- closed below
        except FileNotFoundError:
            continue
        with file:
            for line in file:
                if line.strip() and (sent := _sent_of(line, known)) is not None:
                    yield sent


def _sent_of(line: bytes, known: OrderedDict[str, bytes]) -> Sent | None:
    try:
        told = json.loads(line)
        content = _content_of(told, known)
        sent = Sent(
            str(told["id"]), float(told["time"]), str(told["purpose"]), str(told["to"]), content
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return Sent("", 0.0, "", "", None)
    if content is not None:
        known[sent.id] = content
        while len(known) > _MOST_KNOWN:
            known.popitem(last=False)
    return sent


def _content_of(told: dict[str, Any], known: OrderedDict[str, bytes]) -> bytes | None:
    if "base64" in told:
        middle = base64.b64decode(told["base64"])
    else:
        middle = str(told["text"]).encode("utf-8")
    if "like" in told:
        before = known.get(told["like"])
        if before is None:
            return None
        start, end = int(told["start"]), int(told["end"])
        middle = before[:start] + middle + before[len(before) - end :]
    return middle if hashlib.sha256(middle).hexdigest() == told["sha256"] else None
