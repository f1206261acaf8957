"""Writes code into the directory of a run: contents once, a list per code, a tree of the newest."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time

from training_monitor import _core
from training_monitor.snapshot.layout import (
    ATTEMPTS,
    FORMAT,
    OBJECTS,
    SHOWN,
    STORE,
    TREE,
    manifest_path,
    object_path,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from typing_extensions import Self

    from training_monitor.snapshot.snapshot import Entry

__all__ = ["Keeping", "code_hash"]

_LOCK_SECS = 10.0


def code_hash(files: Iterable[tuple[str, str]]) -> str:
    """Return the hash of a code: SHA-256 over path and SHA-256 of the content of each file.

    Args:
        files: Path and hexadecimal hash of each file; they are taken in the order of the paths.
    """
    whole = hashlib.sha256()
    for path, content in sorted((path.encode(), content) for path, content in files):
        whole.update(path + b"\0" + content.encode() + b"\n")
    return whole.hexdigest()


class Keeping:
    """The kept code of one run, opened for writing by one process at a time.

    Args:
        run_dir: The run directory.

    Raises:
        OSError: It cannot be written, or another process writes for too long.
    """

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir
        self._store = os.path.join(run_dir, STORE)
        self._count = 0
        for path in (self._store, os.path.join(self._store, OBJECTS)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        self._lock = os.open(self._store, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            self._take_lock()
        except OSError:
            os.close(self._lock)
            raise
        self._sweep()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        os.close(self._lock)

    def _take_lock(self) -> None:
        end = time.monotonic() + _LOCK_SECS
        while not _is_locked(self._lock):
            if time.monotonic() > end:
                raise BlockingIOError(
                    f"another process has written into {self._store} for too long"
                )
            time.sleep(0.05)

    def _sweep(self) -> None:
        """Delete what a process that was killed left half done."""
        for entry in list(os.scandir(self._store)):
            if entry.name.startswith((".tree-", ".old-")):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name.startswith(".new-"):
                os.unlink(entry.path)

    def put(self, content: bytes) -> str:
        """Keep a content, once; return its name."""
        name = hashlib.sha256(content).hexdigest()
        path = object_path(self._run_dir, name)
        with contextlib.suppress(OSError), open(path, "rb") as known:
            if hashlib.sha256(known.read(len(content) + 1)).hexdigest() == name:
                return name
        self._write(path, content)
        return name

    def get(self, name: str) -> bytes:
        """Return a content that was put."""
        with open(object_path(self._run_dir, name), "rb") as file:
            return file.read()

    def keep(self, entries: Sequence[Entry], about: dict[str, Any], attempt: dict[str, Any]) -> str:
        """Keep the code of an attempt, whose contents were put; return its hash.

        Args:
            entries: Its files.
            about: What else is told of it.
            attempt: Which attempt it is of, as the line about it says.
        """
        code = code_hash((entry.path, entry.sha256) for entry in entries)
        files = [
            {"path": one.path, "size": one.size, "lines": one.lines, "sha256": one.sha256}
            for one in entries
        ]
        path = manifest_path(self._run_dir, code)
        if not os.path.exists(path):
            self._write(path, _json({"format": FORMAT, "hash": code, "files": files}))
        told = self.put(_json(about))
        line = {"format": FORMAT, **attempt, "hash": code, "about": told}
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        log = os.open(os.path.join(self._store, ATTEMPTS), flags, 0o600)
        try:
            os.write(log, _json(line) + b"\n")
        finally:
            os.close(log)
        return code

    def show(self, entries: Sequence[Entry], code: str) -> str:
        """Make the tree show a code; return why it does not, "" when it does."""
        tree, shown = os.path.join(self._run_dir, TREE), os.path.join(self._store, SHOWN)
        before = ""
        with contextlib.suppress(OSError), open(shown, encoding="ascii") as file:
            before = file.read().strip()
        if os.path.lexists(tree):
            if TREE not in _core.belongings(self._run_dir)[0]:
                return f"{tree} is not of training_monitor: left as it is"
            if before == code:
                return ""
        made = os.path.join(self._store, f".tree-{os.getpid()}")
        self._grow(made, entries)
        # A kill in between leaves a tree of one of the two.
        self._write(shown, f"{before}\n{code}\n".encode(), mode=0o600)
        old = os.path.join(self._store, f".old-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(tree, old)
        os.rename(made, tree)
        self._write(shown, f"{code}\n".encode(), mode=0o600)
        shutil.rmtree(old, ignore_errors=True)
        return ""

    def _grow(self, made: str, entries: Sequence[Entry]) -> None:
        """Make a tree of links to the contents; of copies where there are no links."""
        os.mkdir(made, 0o700)
        for entry in entries:
            place = os.path.join(made, entry.path)
            os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
            try:
                os.link(object_path(self._run_dir, entry.sha256), place)
            except OSError:
                self._write(place, self.get(entry.sha256))

    def _write(self, path: str, content: bytes, *, mode: int = 0o400) -> None:
        """Write a file whole or not at all."""
        self._count += 1
        beside = os.path.join(self._store, f".new-{os.getpid()}-{self._count}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(beside, flags, mode)
        try:
            with open(file, "wb") as stream:
                stream.write(content)
            os.rename(beside, path)
        except OSError:
            os.unlink(beside)
            raise


def _is_locked(directory: int) -> bool:
    """Lock a directory; where there are no locks, the one monitor of the run has its own."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
