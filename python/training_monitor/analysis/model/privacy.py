"""What may leave this machine for a model, by the setting `privacy`, and which words never may."""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
from typing import TYPE_CHECKING

from training_monitor._core import to_json
from training_monitor.errors import TrainingMonitorError
from training_monitor.settings import SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["LEAST_SECRET_CHARS", "LEVELS", "PrivacyError", "allows", "secret_values", "spellings"]

# From most to least. What each of them lets out of the machine:
_NUMBERS = frozenset({"request", "numbers", "findings"})
_REPORTS = _NUMBERS | {"text", "command", "logs", "paths", "config"}
_LETS_OUT: dict[str, frozenset[str]] = {
    "full": _REPORTS | {"code"},
    "no-code": _REPORTS,
    "numbers-only": _NUMBERS,
    "off": frozenset(),
}
LEVELS = tuple(_LETS_OUT)

# Shorter ones stand in ordinary text: "1", "true", "admin".
LEAST_SECRET_CHARS = 8
_NO_SECRETS = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK"})


class PrivacyError(TrainingMonitorError):
    """Nothing was sent, because privacy forbids it or what is sent could not be written down."""


def allows(privacy: str, what: str) -> bool:
    """Tell whether at this level a model may see something.

    Args:
        privacy: "full", "no-code", "numbers-only" or "off".
        what: "request" (be asked at all), "numbers" (names of metrics, their values, the machine
            in numbers, numbers of the configuration), "findings", "config" (all of it), "text"
            (logged text), "command", "logs", "paths" or "code".
    """
    if what not in _LETS_OUT["full"]:
        raise ValueError(f"what={what!r} is nothing that privacy speaks of")
    return what in _LETS_OUT[privacy]


def secret_values(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the values of all variables that are secrets, or whose name says so; longest first.

    A password within an address, as in DATABASE_URL, is one as well. What is the path of a file
    is none: the file is.
    """
    environ = os.environ if environ is None else environ
    ours = {variable for variables in SECRETS.values() for variable in variables}
    found: set[str] = set()
    for name, value in environ.items():
        if name in ours or _says_secret(name, value):
            found.add(value.strip())
        found.add(_password_in(value))
    found = {value for value in found if len(value) >= LEAST_SECRET_CHARS}
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


def _says_secret(name: str, value: str) -> bool:
    if name in _NO_SECRETS or len(value) < LEAST_SECRET_CHARS:
        return False
    if value.startswith(("/", "~", ".")) and os.path.exists(os.path.expanduser(value)):
        return False
    told = json.loads(to_json({name: _as_text(value)}))
    return bool(told == {name: "[redacted]"})


def _as_text(value: str) -> str:
    """Return a value of the environment as text: bytes that are none become question marks."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _password_in(value: str) -> str:
    if "://" not in value or "@" not in value:
        return ""
    try:
        return urllib.parse.unquote(urllib.parse.urlsplit(value).password or "")
    except ValueError:
        return ""


def spellings(values: Iterable[str]) -> tuple[str, ...]:
    """Return each of these values in all the ways in which text may hold it, longest first.

    As it is, escaped within JSON once or twice, escaped within an address, in base64 and in hex.
    """
    found: set[str] = set()
    for value in values:
        found.update(_escaped(value), _encoded(value))
    return tuple(sorted((one for one in found if one), key=lambda one: (-len(one), one)))


def _escaped(value: str) -> set[str]:
    found = {_as_text(value)}
    for ascii_only in (True, False):
        once = json.dumps(_as_text(value), ensure_ascii=ascii_only)[1:-1]
        twice = json.dumps(once, ensure_ascii=ascii_only)[1:-1]
        found |= {once, twice, once.replace("/", "\\/")}
    quote = urllib.parse.quote
    return (
        found
        | {quote(value, safe=safe) for safe in ("", "/", "-_.~/:")}
        | {
            urllib.parse.quote_plus(value),
            quote(value, safe="").lower() if "%" in quote(value, safe="") else value,
        }
    )


def _encoded(value: str) -> set[str]:
    """Return what of the value's base64 and hex is the same wherever in a longer text it stands."""
    raw = value.encode("utf-8", "surrogateescape")
    found = {raw.hex(), raw.hex().upper()}
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * before + raw).decode().rstrip("=")
            # The first characters depend on what stands before, the last one on what follows.
            first = (before * 8 + 5) // 6
            whole = (before + len(raw)) * 8 // 6
            found.add(text[first:whole])
    return found
