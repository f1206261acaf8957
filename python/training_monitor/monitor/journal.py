"""The log of the monitor: one line per event, bounded in size."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time

__all__ = ["Journal"]

_LIMIT_BYTES = 4 * 2**20


class Journal:
    """Appends lines to a file, as others may; at 4 MiB the file is set aside as `.1`.

    Args:
        path: The file.
        echo: Whether each line also goes to stderr. Without it the process has no terminal, and
            stdout and stderr are led into the file, for tracebacks and whatever libraries print.
    """

    __slots__ = ("_echo", "_file", "_path")

    def __init__(self, path: str, *, echo: bool) -> None:
        self._path = path
        self._echo = echo
        self._file = -1
        self._open()

    def info(self, text: str) -> None:
        """Tell what went as it should."""
        self._write("INFO", text)

    def warn(self, text: str) -> None:
        """Tell what the user should know."""
        self._write("WARN", text)

    def error(self, text: str) -> None:
        """Tell what failed."""
        self._write("ERROR", text)

    def _write(self, level: str, text: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        # Names of runs and metrics come from outside: no line breaks and no escape sequences.
        body = "".join(char if char.isprintable() else "?" for char in text)
        line = f"{stamp} {level:<5} {body}\n"
        # A full disk must not stop the monitor that waits for room on it.
        with contextlib.suppress(OSError):
            os.write(self._file, line.encode("utf-8", "replace"))
            if os.fstat(self._file).st_size > _LIMIT_BYTES:
                self._rotate()
        if self._echo:
            with contextlib.suppress(OSError, ValueError):
                print(f"{time.strftime('%H:%M:%S')} {body}", file=sys.stderr, flush=True)

    def _rotate(self) -> None:
        """Set the file aside, unless another process that writes here has done so."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:
            pass  # Without locks the look at the name alone has to do.
        # What has the name now may be the file that another one began.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._file), os.stat(self._path)):
                os.replace(self._path, f"{self._path}.1")
        # Standard streams of children may keep the file open, and the lock with it.
        with contextlib.suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        if not self._echo:
            for stream in (1, 2):
                os.dup2(file, stream)
