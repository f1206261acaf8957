"""What git tracks, read from its index without git."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["Tracked", "read_index"]

_HEADER_BYTES = 12
_FIXED_BYTES = 40
_EXTENDED = 0x4000
_STAGE = 0x3000
_SKIP_WORKTREE = 0x4000
_KINDS = {0o120000: "a link", 0o160000: "a submodule", 0o040000: "a directory"}


@dataclass(frozen=True, slots=True)
class Tracked:
    """One file that git tracks.

    Attributes:
        path: Relative to the root of the repository, as bytes.
        blob: The hash of its content as git has it, hexadecimal.
        special: What it is if it is no file; None: it is one.
    """

    path: bytes
    blob: str
    special: str | None


def read_index(data: bytes, *, hash_bytes: int = 20) -> list[Tracked] | None:
    """Return the files in an index of version 2 to 4; None when it is none of those, or damaged.

    Args:
        data: The content of the file `index`.
        hash_bytes: 20, or 32 in a repository with SHA-256.
    """
    try:
        signature, version, count = struct.unpack_from(">4sII", data)
        if signature != b"DIRC" or not 2 <= version <= 4:
            return None
        return _entries(data, version, count, hash_bytes)
    except (struct.error, IndexError, ValueError):
        return None


def _entries(data: bytes, version: int, count: int, hash_bytes: int) -> list[Tracked] | None:
    found: list[Tracked] = []
    at, path = _HEADER_BYTES, b""
    for _ in range(count):
        begin = at
        mode = struct.unpack_from(">I", data, at + 24)[0]
        at += _FIXED_BYTES
        blob = data[at : at + hash_bytes].hex()
        at += hash_bytes
        flags = struct.unpack_from(">H", data, at)[0]
        at += 2
        absent = False
        if flags & _EXTENDED:
            absent = bool(struct.unpack_from(">H", data, at)[0] & _SKIP_WORKTREE)
            at += 2
        if version == 4:
            cut, at = _number(data, at)
            end = data.index(b"\0", at)
            path = path[: len(path) - cut] + data[at:end]
            at = end + 1
        else:
            end = data.index(b"\0", at)
            path = data[at:end]
            # From 1 to 8 NULs bring the entry to a multiple of 8.
            at = begin + (end - begin + 8) // 8 * 8
        is_conflict = flags & _STAGE and found and found[-1].path == path
        if not absent and not is_conflict:
            found.append(Tracked(path, blob, _KINDS.get(mode & 0o170000)))
    return None if _is_split(data, at) else found


def _is_split(data: bytes, at: int) -> bool:
    """Return whether the entries are only what changed since another file."""
    while at + 8 <= len(data):
        name, size = struct.unpack_from(">4sI", data, at)
        if name == b"link":
            return True
        at += 8 + int(size)
    return False


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of variable length, as packs have it for offsets."""
    byte = data[at]
    at += 1
    value = byte & 127
    while byte & 128:
        byte = data[at]
        at += 1
        value = ((value + 1) << 7) | (byte & 127)
    return value, at
