"""Exceptions that nobody catches go into the run before they end the process."""

from __future__ import annotations

import sys
import threading

from training_monitor import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["record", "watch"]

_MOST_FRAMES = 100
_MOST_CHARS = 16_000
_MOST_MESSAGE_CHARS = 500
_watching = False


def watch() -> None:
    """Record uncaught exceptions from now on; whoever was told of them before still is."""
    global _watching
    if _watching:
        return
    _watching = True
    before, before_in_threads = sys.excepthook, threading.excepthook

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        record(kind, error, trace)
        before(kind, error, trace)

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            name = "unknown" if args.thread is None else args.thread.name
            record(args.exc_type, args.exc_value, args.exc_traceback, thread=name)
        before_in_threads(args)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread


def record(
    kind: type[BaseException],
    error: BaseException | None,
    trace: TracebackType | None,
    *,
    thread: str | None = None,
) -> None:
    """Record an exception with its traceback, secrets taken out; None: in the main thread."""
    try:
        import traceback

        lines = traceback.format_exception(kind, error, trace, limit=-_MOST_FRAMES)
        event = {
            "kind": "exception",
            "type": kind.__qualname__,
            "message": _core.redact(_message(error)),
            "traceback": _core.redact("".join(lines)[-_MOST_CHARS:]),
            "thread": thread,
        }
        _core.append_event(_core.to_json(event))
    except Exception:  # noqa: BLE001, S110 -- the user's exception is the one to be seen
        pass


def _message(error: BaseException | None) -> str:
    try:
        return "" if error is None else str(error)[:_MOST_MESSAGE_CHARS]
    except Exception:  # noqa: BLE001 -- its own text fails
        return ""
