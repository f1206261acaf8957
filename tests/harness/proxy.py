"""A TCP proxy that breaks connections in every way a network can."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

__all__ = ["FAULTS", "FaultProxy"]

FAULTS = ("cut", "reset", "black_hole", "half_open", "slow", "lost_answers")
_SLOW_BYTES_PER_SEC = 1000


class FaultProxy:
    """Carries connections to `target` until told otherwise.

    * cut: connections end, new ones are refused.
    * reset: the connection ends by RST after some more bytes, in the middle of a message.
    * black_hole: bytes are taken and go nowhere, both ways; new connections too.
    * half_open: bytes to the target go nowhere, those from it arrive.
    * slow: 1,000 bytes a second each way.
    * lost_answers: bytes from the target go nowhere.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._mode = "pass"
        self._reset_after = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def apply(self, fault: str, *, reset_after: int = 0) -> None:
        """Break the network."""
        assert fault in FAULTS
        with self._lock:
            self._mode, self._reset_after = fault, reset_after
        if fault == "cut":
            self._refuse()
        if fault == "reset" and not reset_after:
            self._drop(rst=True)

    def heal(self) -> None:
        """Carry again. What was swallowed is lost: such connections end."""
        with self._lock:
            broken = self._mode not in ("pass", "slow")
            self._mode = "pass"
        if broken:
            self._drop(rst=False)
        if self._listener is None:
            self._listen()

    def close(self) -> None:
        """Stop."""
        self._refuse()

    def _refuse(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._drop(rst=False)

    def _drop(self, *, rst: bool) -> None:
        with self._lock:
            ends, self._open = list(self._open), set()
        for end in ends:
            _end(end, rst=rst)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                if self._listener is not listener:
                    return
                with contextlib.suppress(OSError, UnboundLocalError):
                    near.close()
                continue
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            for source, sink, there in ((near, far, True), (far, near, False)):
                pump = (source, sink, there)
                threading.Thread(target=self._pump, args=pump, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, there: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                self._carry(piece, sink, there)
        for end in (source, sink):
            with self._lock:
                self._open.discard(end)
            _end(end, rst=False)

    def _carry(self, piece: bytes, sink: socket.socket, there: bool) -> None:
        mode = self._mode
        if mode == "black_hole" or mode == ("half_open" if there else "lost_answers"):
            return
        if mode == "slow":
            for at in range(0, len(piece), 100):
                if self._mode != "slow":
                    sink.sendall(piece[at:])
                    return
                sink.sendall(piece[at : at + 100])
                time.sleep(100 / _SLOW_BYTES_PER_SEC)
            return
        if mode == "reset" and there and self._reset_after:
            part = piece[: self._reset_after]
            sink.sendall(part)
            self._reset_after -= len(part)
            if not self._reset_after:
                self._drop(rst=True)
                raise OSError("reset")
            return
        sink.sendall(piece)


def _end(end: socket.socket, *, rst: bool) -> None:
    with contextlib.suppress(OSError):
        if rst:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            end.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        end.close()
