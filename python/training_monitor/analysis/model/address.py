"""Addresses of servers, and keys for them, such that neither shows what is secret."""

from __future__ import annotations

import base64
import urllib.parse

from training_monitor._core import redact
from training_monitor.errors import plain

__all__ = ["Hidden", "basic", "shown_address", "without_login"]


class Hidden:
    """Keeps a secret out of every repr."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "[hidden]"

    def show(self) -> str:
        """Return the secret."""
        return self._value


def without_login(url: str) -> tuple[str, Hidden]:
    """Take user and password out of an address: it is shown, they are not."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "", Hidden("")  # none that anybody could be asked at
    login, _, place = parts.netloc.rpartition("@")
    return urllib.parse.urlunsplit(parts._replace(netloc=place)), Hidden(login)


def basic(login: str) -> dict[str, str]:
    """Return the header for `user:password` from an address; none where it has none."""
    told = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
    return {"Authorization": f"Basic {told}"} if login else {}


def shown_address(url: str) -> str:
    """Return an address fit for a message: without its query, in which keys may stand."""
    parts = urllib.parse.urlsplit(url)
    return plain(redact(urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))))
