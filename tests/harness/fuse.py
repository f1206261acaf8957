"""A file system in memory behind /dev/fuse, spoken without a library: real, and limited in size.

`python -m harness.fuse TARGET BYTES` mounts it, prints "mounted" and serves until it is unmounted
or killed. Writing a number into its file `.limit` changes how many bytes it holds.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_BLOCK = 4096
_MOST_WRITTEN = 128 << 10
_MODE, _SIZE = 1, 8


@dataclass
class Node:
    """A file or a directory."""

    number: int
    mode: int
    data: bytearray = field(default_factory=bytearray)
    names: dict[bytes, int] = field(default_factory=dict)
    links: int = 1
    changed_ns: int = field(default_factory=time.time_ns)


class RefusedError(Exception):
    """An answer with an error number."""


class FileSystem:
    """Answers requests by number of the operation."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nodes = {1: Node(1, stat.S_IFDIR | 0o700)}
        self.used = 0
        self.answers: dict[int, Callable[[Node, bytes], bytes]] = {
            1: self._lookup, 3: lambda node, _: self._attributes(node), 4: self._set_attributes,
            9: self._mkdir, 10: self._unlink, 11: self._unlink, 12: self._rename,
            45: lambda node, body: self._rename(node, body[:8] + body[16:]),
            14: self._open, 27: self._open, 15: self._read, 16: self._write, 17: self._statfs,
            18: self._nothing, 20: self._nothing, 25: self._nothing, 29: self._nothing,
            30: self._nothing, 28: self._list, 35: self._create,
        }  # fmt: skip

    def answer(self, operation: int, node: int, body: bytes) -> bytes:
        """Return the body of the reply."""
        if operation == 26:
            flags = struct.unpack_from("<I", body, 12)[0] & (1 << 5)  # writes of more than a page
            facts = (7, 31, 0, flags, 12, 9, _MOST_WRITTEN, 1, 0, 0)
            return struct.pack("<IIIIHHIIHHI7I", *facts, *[0] * 8)
        handler = self.answers.get(operation)
        if handler is None:
            raise RefusedError(errno.ENOSYS)
        return handler(self.nodes[node], body)

    def _nothing(self, _node: Node, _body: bytes) -> bytes:
        return b""

    def _open(self, _node: Node, _body: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0)

    def _attr(self, node: Node) -> bytes:
        secs, nanos = divmod(node.changed_ns, 10**9)
        size, blocks = len(node.data), -(-len(node.data) // 512)
        return struct.pack(
            "<6Q10I", node.number, size, blocks, secs, secs, secs, nanos, nanos, nanos,
            node.mode, node.links, 0, 0, 0, _BLOCK, 0,
        )  # fmt: skip

    def _attributes(self, node: Node) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self._attr(node)

    def _entry(self, node: Node) -> bytes:
        return struct.pack("<QQQQII", node.number, 0, 0, 0, 0, 0) + self._attr(node)

    def _child(self, node: Node, name: bytes) -> Node:
        if name not in node.names:
            raise RefusedError(errno.ENOENT)
        return self.nodes[node.names[name]]

    def _lookup(self, node: Node, body: bytes) -> bytes:
        return self._entry(self._child(node, body.rstrip(b"\0")))

    def _is_control(self, node: Node) -> bool:
        return self.nodes[1].names.get(b".limit") == node.number

    def _resize(self, node: Node, size: int) -> None:
        grown = size - len(node.data)
        if grown > 0 and self.used + grown > self.limit and not self._is_control(node):
            raise RefusedError(errno.ENOSPC)
        self.used += grown if node.links else 0
        node.data = node.data[:size] if grown < 0 else node.data
        node.data.extend(bytes(max(grown, 0)))

    def _set_attributes(self, node: Node, body: bytes) -> bytes:
        (valid,), (size,) = struct.unpack_from("<I", body), struct.unpack_from("<Q", body, 16)
        (mode,) = struct.unpack_from("<I", body, 68)
        if valid & _SIZE:
            self._resize(node, size)
        if valid & _MODE:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        node.changed_ns = time.time_ns()
        return self._attributes(node)

    def _add(self, node: Node, name: bytes, mode: int) -> Node:
        if name in node.names:
            raise RefusedError(errno.EEXIST)
        made = Node(max(self.nodes) + 1, mode)
        self.nodes[made.number] = made
        node.names[name] = made.number
        return made

    def _mkdir(self, node: Node, body: bytes) -> bytes:
        mode = struct.unpack_from("<I", body)[0]
        return self._entry(self._add(node, body[8:].rstrip(b"\0"), stat.S_IFDIR | mode))

    def _create(self, node: Node, body: bytes) -> bytes:
        mode = struct.unpack_from("<I", body, 4)[0]
        made = self._add(node, body[16:].rstrip(b"\0"), stat.S_IFREG | stat.S_IMODE(mode))
        return self._entry(made) + self._open(made, b"")

    def _unlink(self, node: Node, body: bytes) -> bytes:
        name = body.rstrip(b"\0")
        gone = self._child(node, name)
        if gone.names:
            raise RefusedError(errno.ENOTEMPTY)
        del node.names[name]
        gone.links = 0
        self.used -= len(gone.data)
        return b""

    def _rename(self, node: Node, body: bytes) -> bytes:
        target = self.nodes[struct.unpack_from("<Q", body)[0]]
        old, new = body[8:].split(b"\0")[:2]
        moved = self._child(node, old)
        if new in target.names and target.names[new] != moved.number:
            self._unlink(target, new)
        del node.names[old]
        target.names[new] = moved.number
        return b""

    def _read(self, node: Node, body: bytes) -> bytes:
        _, at, size = struct.unpack_from("<QQI", body)
        return bytes(node.data[at : at + size])

    def _write(self, node: Node, body: bytes) -> bytes:
        _, at, size = struct.unpack_from("<QQI", body)
        data = body[40 : 40 + size]
        self._resize(node, max(len(node.data), at + size))
        node.data[at : at + size] = data
        node.changed_ns = time.time_ns()
        if self._is_control(node):
            self.limit = int(data)
        return struct.pack("<II", size, 0)

    def _statfs(self, _node: Node, _body: bytes) -> bytes:
        free = max(self.limit - self.used, 0) // _BLOCK
        counts = (self.limit // _BLOCK, free, free, 1 << 20, 1 << 19)
        return struct.pack("<5Q4I6I", *counts, _BLOCK, 255, _BLOCK, 0, *[0] * 6)

    def _list(self, node: Node, body: bytes) -> bytes:
        _, at, size = struct.unpack_from("<QQI", body)
        out = b""
        for place, (name, number) in enumerate(list(node.names.items())[at:], start=at + 1):
            kind = stat.S_IFMT(self.nodes[number].mode) >> 12
            row = struct.pack("<QQII", number, place, len(name), kind) + name
            row += bytes(-len(row) % 8)
            if len(out) + len(row) > size:
                break
            out += row
        return out


def serve(device: int, system: FileSystem) -> None:
    """Answer until the file system is unmounted."""
    while True:
        try:
            request = os.read(device, _MOST_WRITTEN + (64 << 10))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                continue
            raise
        _, operation, unique, node = struct.unpack_from("<IIQQ", request)
        if operation in (2, 36, 38, 42):  # forget, interrupt, destroy: no answer is expected
            continue
        try:
            body, code = system.answer(operation, node, request[40:]), 0
        except RefusedError as refused:
            body, code = b"", -refused.args[0]
        try:
            os.write(device, struct.pack("<IiQ", 16 + len(body), code, unique) + body)
        except FileNotFoundError:
            continue  # whoever asked was killed


def main() -> None:
    """Mount and serve."""
    target, limit = sys.argv[1], int(sys.argv[2])
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40700,user_id={os.geteuid()},group_id={os.getegid()}"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tm", target.encode(), b"fuse.tm", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "cannot mount")
    print("mounted", flush=True)
    serve(device, FileSystem(limit))


if __name__ == "__main__":
    main()
