"""Alerts for a command of the user: JSON on stdin, the main words in the environment."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import tempfile
import time
from typing import TYPE_CHECKING, Any

from training_monitor._core import redact
from training_monitor.notify.alert import clean
from training_monitor.notify.outbox import Outcome, delivered, later, refused
from training_monitor.settings import SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Command"]

_LIMIT_SECS = 30.0
_OUTPUT_BYTES = 4096
_SHOWN_CHARS = 300
_LOOK_SECS = 0.02
_FIELDS = ("id", "run", "state", "severity", "kind", "metric", "step", "title", "short", "text")


class Command:
    """Runs a command once per alert, without a shell, in a process group of its own.

    It gets the alert as JSON on stdin, and TM_ALERT_ID, _RUN, _STATE, _SEVERITY, _KIND, _METRIC,
    _STEP, _TITLE, _SHORT, _TEXT in an environment without the settings and secrets of this package.
    Exit code 0 means delivered; any other is tried again a few times. What runs for too long is
    ended with all that it started.

    Args:
        command: The command line; quotes are read as a shell does, nothing else is.
        limit_secs: So long it may run.
    """

    name = "command"

    def __init__(self, command: str, *, limit_secs: float = _LIMIT_SECS) -> None:
        try:
            self._argv = shlex.split(command)
        except ValueError:
            self._argv = []
        self._limit_secs = limit_secs

    def deliver(self, alert: Mapping[str, Any], sending: Callable[[], None]) -> Outcome:
        """Run the command for one alert."""
        if not self._argv:
            return refused("the command cannot be read: a quote is missing, or it is empty")
        # A file: a command that does not read cannot hold this thread.
        with tempfile.TemporaryFile() as given:
            given.write(json.dumps(dict(alert), allow_nan=False).encode())
            given.seek(0)
            environment = _environment(alert)
            reader, writer = os.pipe()
            try:
                pid = _started(self._argv, environment, given.fileno(), writer, sending)
            except (OSError, ValueError) as error:
                os.close(reader)
                return refused(f"the command cannot be started: {type(error).__name__}")
            finally:
                os.close(writer)
        try:
            code, output = _followed(pid, reader, self._limit_secs)
        finally:
            # What the command left running may hold the other end: nobody waits for it.
            os.close(reader)
        return _outcome(code, self._limit_secs, clean(redact(output), _SHOWN_CHARS))


def _started(
    argv: list[str], environment: dict[str, str], given: int, said: int, sending: Callable[[], None]
) -> int:
    """Start the command as the leader of a process group and return its pid."""
    redirected = [(os.POSIX_SPAWN_DUP2, given, 0)]
    redirected += [(os.POSIX_SPAWN_DUP2, said, stream) for stream in (1, 2)]
    # One call of the kernel after the word that it starts: the less lies between, the less is in
    # doubt when this process is killed. Our descriptors all close by themselves.
    sending()
    return os.posix_spawnp(
        argv[0],
        argv,
        environment,
        file_actions=redirected,
        setpgroup=0,
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )


def _followed(pid: int, reader: int, limit_secs: float) -> tuple[int | None, str]:
    """Wait for the end; return the exit code (None: it took too long) and the end of the output."""
    deadline, output = time.monotonic() + limit_secs, b""
    os.set_blocking(reader, False)
    while not (has_ended := _has_ended(pid)) and time.monotonic() < deadline:
        select.select([reader], [], [], _LOOK_SECS)
        more = _read(reader)
        output = (output + more)[-_OUTPUT_BYTES:]
        if not more:
            time.sleep(_LOOK_SECS)  # its output is closed, or there is none yet
    if not has_ended:
        # Not waited for yet, so that nobody else can have got its number meanwhile.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    output = (output + _read(reader))[-_OUTPUT_BYTES:]
    return code if has_ended else None, output.decode("utf-8", "replace")


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _read(pipe: int) -> bytes:
    try:
        return os.read(pipe, 65_536)
    except BlockingIOError:
        return b""


def _outcome(code: int | None, limit_secs: float, output: str) -> Outcome:
    if code == 0:
        return delivered
    ended = f"ended after {limit_secs:g} s" if code is None else f"exit code {code}"
    return later(f"the command failed ({ended})" + (f": {output}" if output else ""), answered=True)


def _environment(alert: Mapping[str, Any]) -> dict[str, str]:
    ours = {variable for spellings in SECRETS.values() for variable in spellings}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ours and not name.startswith("TM_")
    }
    for name in _FIELDS:
        value = "" if alert.get(name) is None else str(alert[name])
        # The kernel refuses a variable with NUL, and one of more than 128 KiB.
        kept[f"TM_ALERT_{name.upper()}"] = value.replace("\0", "")[:16_000]
    return kept
