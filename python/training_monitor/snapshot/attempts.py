"""Which attempts have code: the lines about them, which the monitor reads as well."""

from __future__ import annotations

import json
import os

from training_monitor.errors import StoreError
from training_monitor.snapshot.layout import ATTEMPTS, STORE, is_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["attempts_of", "read_bytes"]

_MOST_BYTES = 64 * 2**20


def attempts_of(run_dir: str) -> list[dict[str, Any]]:
    """Return the lines about attempts whose code was taken, the oldest first."""
    path = os.path.join(run_dir, STORE, ATTEMPTS)
    try:
        data = read_bytes(path)
    except StoreError:
        return []
    return [row for line in data.splitlines() if (row := _row(line)) is not None]


def _row(line: bytes) -> dict[str, Any] | None:
    """Return a line about an attempt; None: of a process that was killed, or on a full disk."""
    try:
        row: dict[str, Any] = json.loads(line)
        is_whole = (
            isinstance(row["attempt"], int) and is_hash(row["hash"]) and is_hash(row["about"])
        )
    except (KeyError, TypeError, ValueError):
        return None
    return row if is_whole else None


def read_bytes(path: str) -> bytes:
    """Return a file of ours: never what a link leads to, and nothing that is waited for.

    Raises:
        StoreError: It cannot be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(path, flags), "rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise StoreError(f"cannot read {path!r}: {error.strerror}") from error
