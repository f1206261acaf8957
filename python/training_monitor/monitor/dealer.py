"""One connection of a relay to the monitor: a DEALER socket, and a watch over its end."""

from __future__ import annotations

import contextlib

from training_monitor.monitor.receiver import MESSAGE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    import zmq

    from training_monitor.monitor.keys import Keys

__all__ = ["Dealer"]

_QUEUE = 64


class Dealer:
    """A connection, once; one that broke is closed, and another one made.

    Attributes:
        place: Host and port of the monitor.
        ended: Why it is over; empty while it is not.
    """

    def __init__(self, place: tuple[str, int], keys: Keys) -> None:
        import zmq

        self.place = place
        self.ended = ""
        dealer: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        dealer.curve_serverkey = keys.monitor_public
        dealer.curve_publickey, dealer.curve_secretkey = keys.relay_public, keys.relay_secret
        dealer.maxmsgsize = MESSAGE_BYTES
        dealer.sndhwm = dealer.rcvhwm = _QUEUE
        dealer.ipv6 = True
        dealer.linger = 0
        # What was on its way is lost with a connection: the next one begins with a greeting, so
        # the library must not make it behind our back.
        dealer.reconnect_ivl = -1
        broken = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_MONITOR_STOPPED
        failed = (
            zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )
        self._watch = dealer.get_monitor_socket(broken | failed)
        host, port = place
        dealer.connect(f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}")
        self._socket = dealer
        self._poller = zmq.Poller()
        self._poller.register(self._watch, zmq.POLLIN)

    def wait(self, secs: float, wakeup: int, *, to_send: bool) -> None:
        """Wait for a message, for room when there is something `to_send`, a signal, or the end.

        Args:
            secs: At most so long.
            wakeup: A descriptor that a signal makes readable.
            to_send: Whether a message waits for room.
        """
        import zmq

        self._poller.register(self._socket, zmq.POLLIN | (zmq.POLLOUT if to_send else 0))
        self._poller.register(wakeup, zmq.POLLIN)
        ready = dict(self._poller.poll(int(secs * 1000)))
        if self._watch in ready:
            self._learn_end()

    def _learn_end(self) -> None:
        from zmq.utils.monitor import recv_monitor_message

        recv_monitor_message(self._watch)
        self.ended = "the connection broke"

    def receive(self) -> bytes | None:
        """Return a message; None when there is none."""
        import zmq

        try:
            return self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def send(self, message: bytes) -> bool:
        """Send a message; return whether there was room for it."""
        import zmq

        try:
            self._socket.send(message, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self, *, linger_ms: int = 0) -> None:
        """End the connection; what was sent has so long to leave."""
        with contextlib.suppress(OSError):
            self._socket.disable_monitor()
            self._watch.close(0)
        self._socket.close(linger_ms)
