"""Alerts as lines of a file: time, severity, id, run, and what there is to say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from training_monitor.notify.outbox import Outcome, delivered, later
from training_monitor.notify.texts import line_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LogFile"]

_LIMIT_BYTES = 4 * 2**20
# Only the last alert can be there already, so the end of the file is enough to look at.
_LOOK_BACK_BYTES = 64 * 2**10


class LogFile:
    """Appends one line per alert, each exactly once; at 4 MiB the file is set aside as `.1`.

    Args:
        path: The file, as `alerts.log` in the run directory.
    """

    name = "log_file"

    def __init__(self, path: str) -> None:
        self._path = path

    def deliver(self, alert: Mapping[str, Any], sending: Callable[[], None]) -> Outcome:  # noqa: ARG002
        """Append the alert, unless it stands there already."""
        line = line_of(alert, with_id=True).encode("utf-8", "replace")
        try:
            self._append(line, str(alert["id"]).encode())
        except OSError as error:
            return later(f"{self._path}: {error.strerror}")
        return delivered

    def _append(self, line: bytes, id_: bytes) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(file).st_size
            end = os.pread(file, _LOOK_BACK_BYTES, max(0, size - _LOOK_BACK_BYTES))
            whole, _, torn = end.rpartition(b"\n")
            if b" " + id_ + b" " in whole:
                return
            if size > _LIMIT_BYTES:
                os.replace(self._path, f"{self._path}.1")
                os.close(file)
                file, torn = os.open(self._path, flags, 0o600), b""
            data = (b"\n" if torn else b"") + line + b"\n"
            if os.write(file, data) < len(data):
                raise OSError(28, "No space left on device")
            os.fsync(file)
        finally:
            os.close(file)
