"""A directory that is read without ever leaving it: no link is followed, nothing is waited for."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

__all__ = ["Tree", "Unread"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A FIFO without a writer would be waited for, a terminal become ours.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TRIES = 3
_SPECIAL = {
    stat.S_ISLNK: "a link",
    stat.S_ISFIFO: "a FIFO",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISDIR: "a directory",
}


class Unread(Exception):  # noqa: N818 -- says of one file why it is not taken, always caught in this room
    """A file or directory is not read; the text says why."""


class Tree:
    """One directory and what is below it, by paths relative to it.

    Args:
        path: The directory; links on the way to it are followed, as the user named it.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self._root = os.open(self.path, _DIRECTORY)
        self._device = os.fstat(self._root).st_dev

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._root)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def entries(self, directory: str) -> Iterator[tuple[str, str]]:
        """Yield the names in a directory, each with "file", "directory" or why it is neither.

        Raises:
            Unread: It cannot be listed.
        """
        opened = self._open(directory, _DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(opened).st_dev != self._device:
                raise Unread("on another file system")
            with os.scandir(opened) as entries:
                for entry in entries:
                    yield entry.name, _kind(entry)
        except OSError as error:
            raise Unread(_why(error)) from None
        finally:
            os.close(opened)

    def kind(self, path: str) -> str:
        """Return "file" or "directory", or raise Unread with what it is instead."""
        with self._above(path) as (directory, name):
            mode = os.lstat(name, dir_fd=directory).st_mode
        if stat.S_ISDIR(mode):
            return "directory"
        if not stat.S_ISREG(mode):
            raise Unread(_special(mode))
        return "file"

    def read(self, path: str, most_bytes: int) -> bytes:
        """Return the content of a file as it was at one moment.

        Raises:
            Unread: It is no file, too large, unreadable, or keeps changing.
        """
        for _ in range(_TRIES):
            opened = self._open(path, _FILE)
            try:
                content = _stable(opened, most_bytes)
            except OSError as error:
                raise Unread(_why(error)) from None
            finally:
                os.close(opened)
            if content is not None:
                return content
        raise Unread("changing while it was read")

    def _open(self, path: str, flags: int) -> int:
        with self._above(path) as (directory, name):
            return os.open(name, flags, dir_fd=directory)

    @contextlib.contextmanager
    def _above(self, path: str) -> Iterator[tuple[int, str]]:
        """Give the directory that holds a path, reached through no link, and the last name."""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise Unread("outside of the directory")
        at = os.dup(self._root)
        try:
            for part in parts[:-1]:
                below = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = below
            yield at, (parts[-1] if parts else ".")
        except OSError as error:
            raise Unread(_why(error)) from None
        except ValueError:  # a NUL in a name that somebody listed
            raise Unread("a name that no file can have") from None
        finally:
            os.close(at)


def _stable(opened: int, most_bytes: int) -> bytes | None:
    """Read an open file; None: it changed meanwhile."""
    before = os.fstat(opened)
    if not stat.S_ISREG(before.st_mode):
        raise Unread(_special(before.st_mode))
    if before.st_size > most_bytes:
        raise Unread(f"larger than {_bytes_text(most_bytes)}")
    pieces, left = [], most_bytes + 1
    while left > 0 and (piece := os.read(opened, min(left, 2**20))):
        pieces.append(piece)
        left -= len(piece)
    content = b"".join(pieces)
    after = os.fstat(opened)
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return content if same and len(content) == before.st_size else None


def _bytes_text(count: int) -> str:
    return f"{count / 2**20:g} MiB" if count >= 2**20 else f"{count:,} bytes"


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_dir(follow_symlinks=False):
            return "directory"
        if entry.is_file(follow_symlinks=False):
            return "file"
        return _special(entry.stat(follow_symlinks=False).st_mode)
    except OSError as error:
        return _why(error)


def _special(mode: int) -> str:
    return next((word for test, word in _SPECIAL.items() if test(mode)), "no file")


def _why(error: OSError) -> str:
    """Return why the system refuses, in the words of this room."""
    known = {
        "ELOOP": "a link",
        "ENOTDIR": "a link or no directory on the way",
        "ENOENT": "not there",
        "EACCES": "not readable",
        "EPERM": "not readable",
        "ENXIO": "a FIFO or a socket",
    }
    return known.get(errno.errorcode.get(error.errno or 0, ""), f"not readable: {error.strerror}")
