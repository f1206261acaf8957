"""What Python prints, kept in the run as well: only where the user asks for it.

`sys.stdout` and `sys.stderr` are wrapped: each line goes where it always went, and then, with two
system calls and no thread, to the end of a file. Nothing here raises into the training.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import stat
import sys
import time
import weakref

from training_monitor import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

__all__ = ["Capture", "capture_output", "output_path"]

# One rotation: a run keeps at most twice as much for each rank.
_MOST_BYTES = 8 << 20
# A line that does not end is kept in pieces.
_LINE_CHARS = 8192
# Of a longer text only beginning and end are kept: looking for secrets takes time.
_MOST_CHARS = 1 << 18
# A progress bar is one line when it ends, and one line each so often.
_BAR_SECS = 30.0
# Two bars below each other end a line with each step.
_QUICK_BAR_SECS = 1.0
# Words that end no line are joined after so many.
_MOST_PIECES = 1000
# So long one thread waits for another to write.
_LONGEST_SECS = 1.0
_UP = "\x1b[A"
# By it `rust/core/src/belongings.rs` knows the file for ours.
_MARK = "--- training_monitor: "
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def output_path(run_dir: str, rank: int) -> str:
    """Return where the output of a rank is kept; the part before it has `.1` behind its name."""
    return os.path.join(run_dir, f"output-rank{rank}.log")


def capture_output(run_dir: str, rank: int, *, most_bytes: int = _MOST_BYTES) -> Capture:
    """Keep what is printed from now on.

    Args:
        run_dir: The run directory.
        rank: The rank of this process.
        most_bytes: So large the file may get before it is rotated.

    Raises:
        OSError: The file cannot be made.
    """
    return Capture(_File(output_path(run_dir, rank), most_bytes))


class _File:
    """The end of a file that is rotated once."""

    def __init__(self, path: str, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._owner = os.getpid()
        self._handle = -1
        self._identity = (0, 0)
        self.begin()
        self._open("from here on")

    def begin(self) -> None:
        """Begin anew in a forked child, where nobody is left who could hold the lock."""
        # A signal handler may print in the middle: the same thread may enter again.
        self._lock = _thread.RLock()

    def _open(self, how: str) -> None:
        handle = os.open(self._path, _FLAGS, 0o600)
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            os.close(handle)
            raise FileExistsError(17, "it is no regular file", self._path)
        self._handle, self._identity = handle, (facts.st_dev, facts.st_ino)
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError):
            os.write(handle, f"{_MARK}output of process {os.getpid()} {how}, {now} ---\n".encode())

    def append(self, text: str) -> None:
        """Append a text; what does not fit on the disk is lost.

        Raises:
            OSError: It cannot be written, or another thread is at it for too long.
        """
        if not self._lock.acquire(timeout=_LONGEST_SECS):
            raise TimeoutError
        try:
            facts = self._facts()
            if facts is None:
                self._open("goes on")
            elif facts.st_nlink == 0 or facts.st_size >= self._most_bytes:
                self._rotate(facts)
            os.write(self._handle, text.encode("utf-8", "backslashreplace"))
        finally:
            self._lock.release()

    def _facts(self) -> os.stat_result | None:
        """Return what is known of the file; None: somebody has closed it under us.

        Its number may then be that of another file, in which nothing of ours must land.
        """
        try:
            facts = os.fstat(self._handle)
        except OSError:
            return None
        return facts if (facts.st_dev, facts.st_ino) == self._identity else None

    def _rotate(self, facts: os.stat_result) -> None:
        """Go on in an empty file; a forked child leaves that to its parent for as long."""
        if os.getpid() != self._owner and 0 < facts.st_size < 2 * self._most_bytes:
            if facts.st_nlink:
                return
        elif facts.st_nlink and self._is_at_path():
            os.replace(self._path, f"{self._path}.1")
        handle = self._handle
        self._open("goes on")
        os.close(handle)

    def _is_at_path(self) -> bool:
        facts = os.stat(self._path, follow_symlinks=False)
        return (facts.st_dev, facts.st_ino) == self._identity

    def close(self) -> None:
        """Close it."""
        if self._facts() is not None:
            os.close(self._handle)


class Capture:
    """Both streams, wrapped, until `stop`."""

    def __init__(self, file: _File) -> None:
        self._file: _File | None = file
        self._streams: list[tuple[str, _Stream]] = []
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name, None)
            # Without a terminal and so on there may be none.
            if stream is not None:
                wrapped = _Stream(stream, _Lines(file))
                self._streams.append((name, wrapped))
                setattr(sys, name, wrapped)
        atexit.register(self.stop)

    def stop(self) -> None:
        """End it; who holds on to a wrapped stream writes through it as before."""
        file, self._file = self._file, None
        if file is None:
            return
        atexit.unregister(self.stop)
        for name, wrapped in self._streams:
            wrapped._lines.end()
            # Somebody may have wrapped ours meanwhile: then it stays, and only hands on.
            if getattr(sys, name, None) is wrapped:
                setattr(sys, name, wrapped._stream)
        try:
            file.close()
        except OSError:
            return


class _Lines:
    """What one stream has printed, as whole lines: bars folded, secrets taken out."""

    def __init__(self, file: _File) -> None:
        self.file: _File | None = file
        self.begin()
        self._bar_at = -_BAR_SECS
        _all_lines.add(self)

    def begin(self) -> None:
        """Begin, or begin anew in a forked child: what is not ended is its parent's."""
        self._lock = _thread.allocate_lock()
        # Appending to a list needs no lock, and most of what is printed ends no line.
        self._pieces: list[str] = []
        # What is not ended yet, whether it was drawn over, and the last line of a quick bar.
        self._rest, self._is_bar, self._held = "", False, ""

    def take(self, text: str) -> None:
        """Keep a text; whatever goes wrong stays here."""
        if self.file is None:
            return
        try:
            pieces = self._pieces
            pieces.append(text)
            if (
                "\n" in text
                or "\r" in text
                or len(text) > _LINE_CHARS
                or len(pieces) > _MOST_PIECES
            ):
                self._drain()
        except Exception:  # noqa: BLE001 -- protects the training: what it prints has gone out
            return

    def _drain(self) -> None:
        """Keep what was taken; another thread that is at it sees what came meanwhile.

        Nobody ever waits: that thread may be below a signal handler that prints.
        """
        pieces = self._pieces
        while pieces and self._lock.acquire(blocking=False):
            try:
                count = len(pieces)
                text = "".join(pieces[:count])
                del pieces[:count]
                self._fold(_shortened(text))
            finally:
                self._lock.release()
        if len(pieces) > 2 * _MOST_PIECES:
            pieces.clear()

    def end(self) -> None:
        """Keep what did not end with a line break, and nothing more."""
        try:
            self._drain()
            self._append([self._held, _last_drawn(self._rest)])
        except Exception:  # noqa: BLE001 -- as above
            return
        finally:
            self.file = None

    def _fold(self, text: str) -> None:
        """Keep whole lines; of what a bar has drawn over itself the last is left."""
        *lines, rest = (self._rest + text).replace("\r\n", "\n").split("\n")
        out: list[str] = []
        for line in lines:
            is_bar = self._is_bar or "\r" in line or _UP in line
            self._is_bar = False
            self._end_line(_last_drawn(line), is_bar, out)
        self._rest = self._open_line(rest, out)
        if out:
            self._append(out)

    def _end_line(self, line: str, is_bar: bool, out: list[str]) -> None:
        """Take one whole line; bars that end again and again are one line a second."""
        if not is_bar:
            out += [self._held, line] if self._held else [line]
            self._held = ""
        elif time.monotonic() - self._bar_at < _QUICK_BAR_SECS:
            self._held = line or self._held
        else:
            self._bar_at = time.monotonic()
            self._held = ""
            out.append(line)

    def _open_line(self, rest: str, out: list[str]) -> str:
        """Return what is left of a line that has not ended."""
        if "\r" in rest:
            self._is_bar = True
            rest = _last_drawn(rest) + ("\r" if rest.endswith("\r") else "")
            if time.monotonic() - self._bar_at >= _BAR_SECS:
                self._bar_at = time.monotonic()
                out.append(_last_drawn(rest))
        if len(rest) > _LINE_CHARS:
            out.append(rest)
            rest = ""
        return rest

    def _append(self, lines: list[str]) -> None:
        file, text = self.file, "\n".join(line for line in lines if line.strip())
        if file is not None and text:
            file.append(_core.redact(text) + ("" if text.endswith("\n") else "\n"))


def _shortened(text: str) -> str:
    """Return beginning and end of a text that is too long to be looked at."""
    if len(text) <= _MOST_CHARS:
        return text
    half = _MOST_CHARS // 2
    left = len(text) - 2 * half
    return f"{text[:half]}\n[{left} characters are left out]\n{text[-half:]}"


def _last_drawn(line: str) -> str:
    """Return what a terminal would show of a line in the end."""
    return line.rstrip("\r").rpartition("\r")[2].replace(_UP, "")


_all_lines: weakref.WeakSet[_Lines] = weakref.WeakSet()


def _forked() -> None:
    for lines in list(_all_lines):
        lines.begin()
        if lines.file is not None:
            lines.file.begin()


os.register_at_fork(after_in_child=_forked)


class _Stream:
    """A text stream that also keeps what is written; everything else is the other one's.

    It says of itself that it is of the class of the stream that it wraps: libraries ask for that
    before they use a terminal.
    """

    __slots__ = ("__weakref__", "_lines", "_stream")

    _lines: _Lines
    _stream: Any

    def __init__(self, stream: Any, lines: _Lines) -> None:
        object.__setattr__(self, "_stream", stream)
        object.__setattr__(self, "_lines", lines)

    def write(self, text: str) -> Any:
        """Write to the stream as ever, then keep it."""
        written = self._stream.write(text)
        self._lines.take(text)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._stream, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def __next__(self) -> str:
        return next(self._stream)  # type: ignore[no-any-return]

    def __enter__(self) -> Any:
        self._stream.__enter__()
        return self

    def __exit__(self, *args: object) -> Any:
        return self._stream.__exit__(*args)

    def __repr__(self) -> str:
        return repr(self._stream)
