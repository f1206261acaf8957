"""Who opens a file is seen by the kernel: an outside judge over what nobody may read."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_IN_ACCESS, _IN_OPEN = 0x1, 0x20
_EVENT = struct.Struct("iIII")


class Watched:
    """Notes each opening and each reading of some files and directories, by any process."""

    def __init__(self, paths: Iterable[Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._handle >= 0, os.strerror(ctypes.get_errno())
        self._paths = {}
        for path in paths:
            number = libc.inotify_add_watch(self._handle, os.fsencode(path), _IN_OPEN | _IN_ACCESS)
            assert number >= 0, (path, os.strerror(ctypes.get_errno()))
            self._paths[number] = path

    def seen(self) -> list[str]:
        """Return what was opened or read since the last look."""
        found: list[str] = []
        while True:
            try:
                raw = os.read(self._handle, 1 << 16)
            except BlockingIOError:
                return found
            at = 0
            while at < len(raw):
                number, mask, _, length = _EVENT.unpack_from(raw, at)
                name = raw[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0").decode()
                found.append(f"{self._paths.get(number)} {name} {mask:#x}")
                at += _EVENT.size + length

    def close(self) -> None:
        os.close(self._handle)
