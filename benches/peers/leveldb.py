"""Reads the records of a LevelDB log, the format of .wandb files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 32768
HEADER = struct.Struct("<IHB")
PREAMBLE_BYTES = 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[bytes]:
    """Yield the whole records of a file; the first torn one ends it."""
    data, at, parts = path.read_bytes(), PREAMBLE_BYTES, b""
    while at + HEADER.size <= len(data):
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < HEADER.size:
            at += left
            continue
        _, length, kind = HEADER.unpack_from(data, at)
        start = at + HEADER.size
        at = start + length
        if kind not in {FULL, FIRST, MIDDLE, LAST} or at > len(data):
            return
        parts = data[start:at] if kind in {FULL, FIRST} else parts + data[start:at]
        if kind in {FULL, LAST}:
            yield parts
