"""The file into which this process writes its Python stacks when the monitor asks by a signal.

faulthandler does the writing, in C and without the interpreter: a process that hangs in a lock, in
a collective operation or in native code answers, too.
"""

from __future__ import annotations

import os

from training_monitor import _core

__all__ = ["NAME", "offer", "withdraw"]

# In the directory of the producer, with which it goes; its first line names the signal.
NAME = "stacks"

_signal = 0
_file = -1
_identity = os.stat_result(range(10))


def offer(producer_dir: str) -> str | None:
    """Answer the monitor's signal from now on; return why that cannot be, None when it can."""
    global _signal, _file, _identity
    withdraw()
    import faulthandler

    _signal = _signal or _core.reserve_signal()
    if not _signal:
        return "no real-time signal is free"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        _file = os.open(os.path.join(producer_dir, NAME), flags, 0o600)
        _identity = os.fstat(_file)
        # Never chained: the handler before this one ignores the signal, and where it were that
        # of the system, faulthandler would raise the signal again and end the process.
        faulthandler.register(_signal, file=_file, all_threads=True, chain=False)
        os.write(_file, b"signal %d\n" % _signal)
    except (OSError, RuntimeError, ValueError) as error:
        withdraw()
        return str(error)
    return None


def withdraw() -> None:
    """Answer no more; the signal is ignored again, so that one that is late ends nothing."""
    global _file
    if _file < 0:
        return
    import faulthandler

    faulthandler.unregister(_signal)
    file, _file = _file, -1
    try:
        # A program that closes whatever is open may have opened a file of its own there.
        if os.path.samestat(os.fstat(file), _identity):
            os.close(file)
    except OSError:
        pass
