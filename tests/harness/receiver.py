"""A web server on the loopback that answers as told, and remembers what came."""

from __future__ import annotations

import http.server
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer", "Receiver", "receiver"]


@dataclass(frozen=True)
class Answer:
    """How a request is answered.

    Attributes:
        status: The status; 0: the connection is reset instead.
        headers: Further headers.
        hangs: Whether the answer waits until the server ends.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False


class Receiver(http.server.ThreadingHTTPServer):
    """Gives each answer once, and the last one for ever."""

    daemon_threads = True

    def __init__(self, answers: list[Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._answers = answers
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        """An address with something in it that must be seen nowhere."""
        return f"http://127.0.0.1:{self.server_port}/hook/s3cr3t-p4th"

    @property
    def ids(self) -> list[str]:
        """The ids of the alerts that came."""
        with self._lock:
            return [body["alert"]["id"] for body in self.requests]

    def take(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Remember a request and say how to answer it."""
        with self._lock:
            self.requests.append(json.loads(body))
            self.headers.append(headers)
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that were killed."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        """Take a request."""
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return  # the client died while it sent: nothing has arrived
        answer = self.server.take(body, dict(self.headers))
        if answer.hangs:
            self.server.ended.wait()
        if answer.status == 0:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def receiver(*answers: Answer) -> Iterator[Receiver]:
    """Run a server that answers as told (200 without a word) until the block ends."""
    server = Receiver(list(answers) or [Answer()])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
