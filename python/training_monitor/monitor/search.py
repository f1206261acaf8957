"""Looks for the port of the monitor, in a thread: looking up a name may take half a minute."""

from __future__ import annotations

import socket
import threading

__all__ = ["Search"]

_KNOCK_SECS = 1.0


class Search:
    """One round after the other over the places at which the monitor may listen.

    Attributes:
        said: What the last round met, for people; empty when a place answered.
    """

    def __init__(self) -> None:
        self.said = ""
        self._thread: threading.Thread | None = None
        self._place: tuple[str, int] | None = None
        self._passed = 0

    @property
    def is_on(self) -> bool:
        """Whether a round is under way, or its result was not taken."""
        return self._thread is not None

    def restart(self) -> None:
        """Begin the next round with the first place."""
        self._passed = 0

    def begin(self, places: list[tuple[str, int]]) -> None:
        """Begin a round; it goes on behind the place that answered last."""
        self._thread = threading.Thread(target=self._look, args=(places,), daemon=True)
        self._thread.start()

    def take(self) -> tuple[bool, tuple[str, int] | None]:
        """Return whether the round has ended, and the place that answered."""
        if self._thread is None or self._thread.is_alive():
            return False, None
        self._thread = None
        return True, self._place

    def _look(self, places: list[tuple[str, int]]) -> None:
        self._place = None
        silent: dict[str, str] = {}
        for _ in places:
            place = places[self._passed % len(places)]
            self._passed += 1
            if place[0] in silent:
                # Nobody waits for each of its ports.
                continue
            answer = _knock(place)
            if answer is None:
                self._place, self.said = place, ""
                return
            if answer != _CLOSED:
                silent[place[0]] = answer
        hosts = list(dict.fromkeys(host for host, _ in places))
        self.said = "; ".join(
            f"{host}, ports {_ports(places, host)}: {silent.get(host, _CLOSED)}" for host in hosts
        )


_CLOSED = "nobody listens"


def _ports(places: list[tuple[str, int]], host: str) -> str:
    ports = [port for name, port in places if name == host]
    return str(ports[0]) if len(ports) == 1 else f"{min(ports)} to {max(ports)}"


def _knock(place: tuple[str, int]) -> str | None:
    """Return why nobody can be reached there; None when somebody can."""
    try:
        socket.create_connection(place, timeout=_KNOCK_SECS).close()
    except ConnectionRefusedError:
        return _CLOSED
    except TimeoutError:
        return "no answer"
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None
