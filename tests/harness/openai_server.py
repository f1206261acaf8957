"""A server that speaks OpenAI's Chat Completions on the loopback, as a test tells it.

::

    with openai_server([calls(("metrics_list", {})), says("all is well")]) as server:
        ...  # server.base_url, any key
    server.requests[0].body["messages"]

A script is a list of replies, of which the last one is given for ever, or a function
``script(messages, tools) -> reply``. A reply is made by `says`, `calls`, `raw` or `fails`.
What the clients sent is in `server.requests`, byte for byte.
"""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = [
    "OpenAIServer",
    "Request",
    "ServerReply",
    "calls",
    "completion",
    "fails",
    "openai_server",
    "raw",
    "says",
]

Script = "list[ServerReply] | Callable[[list[Any], list[Any] | None], ServerReply]"


@dataclass(frozen=True)
class Request:
    """What a client sent.

    Attributes:
        raw: The body, byte for byte.
        path: What it was sent to.
        headers: Its headers, names in lower case.
    """

    raw: bytes
    path: str
    headers: dict[str, str]

    @property
    def body(self) -> Any:
        """The body as it reads."""
        return json.loads(self.raw)


@dataclass(frozen=True)
class ServerReply:
    """How a request is answered.

    Attributes:
        content: The body; a dict is sent as JSON.
        status: The status.
        headers: Further headers.
        after_secs: Wait so long before anything is sent.
        drip_secs: Send one byte at a time, so far apart.
        never: Send nothing at all, until the server ends.
        cut: Send only so many bytes of the body, then cut the connection; None: all.
        forever: Send this again and again, without an end.
    """

    content: dict[str, Any] | bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after_secs: float = 0.0
    drip_secs: float = 0.0
    never: bool = False
    cut: int | None = None
    forever: bytes = b""

    def but(self, **changes: Any) -> ServerReply:
        """Return this reply with some of it other."""
        return replace(self, **changes)


def completion(message: dict[str, Any], *, usage: Any = None, finish: str = "stop") -> ServerReply:
    """Return a whole answer around a message; without `usage` it has none."""
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
    }
    return ServerReply(body if usage is None else body | {"usage": usage})


def says(text: str | None, *, usage: Any = None) -> ServerReply:
    """Return an answer in words."""
    return completion({"role": "assistant", "content": text}, usage=usage)


def calls(*wanted: tuple[str, Any], usage: Any = None) -> ServerReply:
    """Return an answer that calls tools: pairs of a name and its arguments (a str as it is)."""
    made = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
            },
        }
        for number, (name, arguments) in enumerate(wanted)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": made}
    return completion(message, usage=usage, finish="tool_calls")


def raw(content: bytes, **how: Any) -> ServerReply:
    """Return an answer of these bytes."""
    return ServerReply(content, **how)


def fails(status: int, message: str = "", *, code: str | None = None, **how: Any) -> ServerReply:
    """Return an error in OpenAI's words."""
    return ServerReply({"error": {"message": message, "code": code}}, status=status, **how)


class OpenAIServer(http.server.ThreadingHTTPServer):
    """The server; `requests` holds what came."""

    daemon_threads = True

    def __init__(self, script: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._script = script
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self.requests: list[Request] = []
        self.errors: list[BaseException] = []

    @property
    def base_url(self) -> str:
        """What a client is given as its base_url."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def take(self, request: Request) -> ServerReply:
        """Remember a request and say how to answer it."""
        with self._lock:
            self.requests.append(request)
            if not callable(self._script):
                replies: list[ServerReply] = self._script
                return replies.pop(0) if len(replies) > 1 else replies[0]
            try:
                body = request.body
                reply: ServerReply = self._script(body["messages"], body.get("tools"))
            except Exception as error:
                self.errors.append(error)
                return fails(500, f"the script failed: {error!r}")
            return reply

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: OpenAIServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take a request."""
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.take(Request(body, self.path, headers))
        self.close_connection = True
        if reply.never or self.server.ended.wait(reply.after_secs):
            self.server.ended.wait()
            return
        with suppress(OSError):
            self._send(reply)

    def _send(self, reply: ServerReply) -> None:
        content = reply.content
        if isinstance(content, dict):
            content = json.dumps(content).encode()
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", "Connection": "close"} | reply.headers
        if not reply.forever:
            headers.setdefault("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._send_body(reply, content)

    def _send_body(self, reply: ServerReply, content: bytes) -> None:
        content = content if reply.cut is None else content[: reply.cut]
        if not reply.drip_secs:
            self.wfile.write(content)
        else:
            for at in range(len(content)):
                if self.server.ended.wait(reply.drip_secs):
                    return
                self.wfile.write(content[at : at + 1])
        while reply.forever and not self.server.ended.wait(reply.drip_secs or 0):
            self.wfile.write(reply.forever)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def openai_server(script: Any = ()) -> Iterator[OpenAIServer]:
    """Run a server until the block ends; a function that raised there fails the test.

    Args:
        script: A list of replies, or a function of messages and tools. Nothing: "ok" for ever.
    """
    server = OpenAIServer(script if callable(script) else (list(script) or [says("ok")]))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
    if server.errors:
        raise server.errors[0]
