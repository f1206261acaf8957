"""The monitor's door for relays: a thread with a ROUTER socket that hands messages to ingest."""

from __future__ import annotations

import contextlib
import os
import threading
import time

from training_monitor.monitor.endpoint import bind, publish, withdraw
from training_monitor.monitor.keys import keys_of, make_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import zmq

    from training_monitor import _core
    from training_monitor.monitor.journal import Journal
    from training_monitor.monitor.keys import Keys

__all__ = ["MESSAGE_BYTES", "Receiver"]

# A log() of 64 MiB, the largest there is, and what stands around it.
MESSAGE_BYTES = 72 * 2**20
_BUSY_MS = 10
# Where only little came, nobody waits for room: what is said of the commit may be as late as this.
_CALM_MS = 50
_MUCH_BYTES = 64 * 2**10
_IDLE_MS = 500
_NOBODY_MS = 1000
_BUSY_SECS = 1.0
_CALM_SECS = 0.4
_MOST_AT_ONCE = 256
# Messages of one relay that wait in the library; what a relay may have on its way is less.
_QUEUE = 64
_MOST_TOLD = 100


class Receiver:
    """Listens from `start` to `stop`.

    Attributes:
        port: Where it listens; 0 when it does not.
    """

    def __init__(self, run_dir: str, journal: Journal, *, host: str, port: int) -> None:
        self.port = 0
        self._run_dir = run_dir
        self._journal = journal
        self._host = host
        self._wanted = port
        self._thread: threading.Thread | None = None
        self._stop, self._stopped = os.pipe()

    def start(self, ingest: _core.Ingest) -> None:
        """Bind and listen; a failure is told, and recording goes on without relays."""
        try:
            import zmq

            context = zmq.Context()
            keys = keys_of(make_key(self._run_dir))
            router = _router(context, keys)
            door = _Door(context, keys, self._journal)
            self.port = bind(router, self._host, self._wanted)
            publish(self._run_dir, self._host, self.port)
        except Exception as error:  # noqa: BLE001 -- whatever fails here concerns other nodes only
            self._journal.error(f"cannot listen for relays of other nodes: {error}")
            return
        self._journal.info(f"listening for relays of other nodes on {self._host}:{self.port}")
        parts = (ingest, context, router, door)
        self._thread = threading.Thread(
            target=self._serve, args=parts, name="tm-receiver", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Listen no longer. What relays have not been told stays with them."""
        withdraw(self._run_dir)
        os.close(self._stopped)
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None
        with contextlib.suppress(OSError):
            os.close(self._stop)

    def _serve(
        self,
        ingest: _core.Ingest,
        context: zmq.Context[Any],
        router: zmq.Socket[bytes],
        door: _Door,
    ) -> None:
        try:
            self._listen(ingest, router, door)
        except Exception as error:  # noqa: BLE001 -- told, and the lanes of this node go on
            self._journal.error(f"listening for relays has ended: {error!r}")
        finally:
            context.destroy(linger=500)

    def _listen(self, ingest: _core.Ingest, router: zmq.Socket[bytes], door: _Door) -> None:
        import zmq

        poller = zmq.Poller()
        for source in (router, door.socket, self._stop):
            poller.register(source, zmq.POLLIN)
        busy_until = calm_until = 0.0
        patience_ms = _NOBODY_MS
        while True:
            ready = dict(poller.poll(patience_ms))
            if self._stop in ready:
                _send(router, ingest.answers())
                return
            if door.socket in ready:
                door.answer()
            got = _receive(router, ingest) if router in ready else 0
            _send(router, ingest.answers())
            for news in ingest.relay_news():
                self._journal.info(news)
            now = time.monotonic()
            if got:
                calm_until = now + _CALM_SECS
            if got >= _MUCH_BYTES:
                busy_until = now + _BUSY_SECS
            if now < busy_until:
                patience_ms = _BUSY_MS
            elif now < calm_until:
                patience_ms = _CALM_MS
            else:
                patience_ms = _IDLE_MS if ingest.relays() else _NOBODY_MS


def _router(context: zmq.Context[Any], keys: Keys) -> zmq.Socket[bytes]:
    import zmq

    router: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
    router.curve_server = True
    router.curve_secretkey = keys.monitor_secret
    router.maxmsgsize = MESSAGE_BYTES
    router.rcvhwm = _QUEUE
    # Answers are small, and what finds no room here is dropped.
    router.sndhwm = 100 * _QUEUE
    router.ipv6 = True
    router.linger = 500
    # A relay that is cut off without a word does not keep its connection for hours.
    router.heartbeat_ivl, router.heartbeat_timeout = 5_000, 30_000
    router.handshake_ivl = 10_000
    return router


def _receive(router: zmq.Socket[bytes], ingest: _core.Ingest) -> int:
    """Hand on what came; return the bytes of lanes in it."""
    import zmq

    got = 0
    for _ in range(_MOST_AT_ONCE):
        try:
            connection, *parts = router.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            break
        if len(parts) != 1:
            continue
        got += ingest.receive(connection, parts[0])
    return got


def _send(router: zmq.Socket[bytes], answers: list[tuple[bytes, bytes]]) -> None:
    import zmq

    for connection, message in answers:
        # A relay that takes nothing has left; what it was told is told again once a second.
        with contextlib.suppress(zmq.ZMQError):
            router.send_multipart([connection, message], zmq.NOBLOCK)


class _Door:
    """Says who may come in (ZAP, RFC 27 of ZeroMQ): who has the key of the relays of this run."""

    def __init__(self, context: zmq.Context[Any], keys: Keys, journal: Journal) -> None:
        import zmq
        from zmq.utils import z85

        self._journal = journal
        self._refused: set[bytes] = set()

        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind("inproc://zeromq.zap.01")
        self._key = z85.decode(keys.relay_public)

    def answer(self) -> None:
        """Answer one question of the library."""
        import hmac

        # Version, request, domain, address, identity, mechanism, and what the mechanism adds.
        version, request, _, address, _, mechanism, *credentials = self.socket.recv_multipart()
        known = mechanism == b"CURVE" and hmac.compare_digest(b"".join(credentials), self._key)
        if not known and address not in self._refused and len(self._refused) < _MOST_TOLD:
            self._refused.add(address)
            said = address.decode("ascii", "replace")
            self._journal.warn(f"somebody at {said} has another key: not let in")
        status, text = (b"200", b"OK") if known else (b"400", b"unknown key")
        self.socket.send_multipart([version, request, status, text, b"", b""])
