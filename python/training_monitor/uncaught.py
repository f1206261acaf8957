"""Exceptions that nobody catches go into the run before they end the process."""

from __future__ import annotations

import os
import sys
import threading

from training_monitor import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType, TracebackType

__all__ = ["record", "watch"]

# Of one process; a thread that fails again and again says the same.
_MOST = 20
_MOST_FRAMES = 100
_MOST_LINKS = 10
_MOST_CHARS = 16_000
_MOST_MESSAGE_CHARS = 500
# What is redacted before it is cut: a secret that is cut in two is not known any more.
_MOST_RAW_CHARS = 1 << 18
_INTERRUPTED = '{"kind":"exception","type":"KeyboardInterrupt","message":"","traceback":null}'
_watching = False
_recorded = 0


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
        try:
            record(kind, error, trace)
        finally:
            before(kind, error, trace)

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        try:
            if args.exc_type is not SystemExit:
                name = "unknown" if args.thread is None else args.thread.name
                record(args.exc_type, args.exc_value, args.exc_traceback, thread=name)
        finally:
            before_in_threads(args)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    os.register_at_fork(after_in_child=_watch_forked)
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        # Started by "spawn" or "forkserver", and at work already.
        _watch_worker()


class _Anchor:
    """What the library holds on to, weakly."""

    __slots__ = ("__weakref__",)


_anchor = _Anchor()
_worker_pid = 0


def _library() -> ModuleType | None:
    """Return the part of multiprocessing that lets others run at the end of its processes.

    Where nobody has imported it there are no such processes, and we do not import it.
    """
    return sys.modules.get("multiprocessing.util")


def _watch_forked() -> None:
    """Be called once more, when the library has forgotten what its parent was to do at its end."""
    library = _library()
    if library is not None:
        library.register_after_fork(_anchor, _watch_worker)


def _watch_worker(_: _Anchor | None = None) -> None:
    """Look at the end of a worker for what it does not catch: no hook hears of it."""
    global _worker_pid
    library, pid = _library(), os.getpid()
    if library is not None and pid != _worker_pid:
        _worker_pid = pid
        # Above zero it comes before the library waits for the worker's own children.
        library.Finalize(None, _record_in_flight, exitpriority=100)


def _record_in_flight() -> None:
    """Record the exception with which a worker is about to end, if there is one."""
    kind, error, trace = sys.exc_info()
    if kind is not None and not issubclass(kind, SystemExit):
        record(kind, error, trace)


def record(
    kind: type[BaseException],
    error: BaseException | None,
    trace: TracebackType | None,
    *,
    thread: str | None = None,
) -> None:
    """Record an exception with its traceback, secrets taken out; None: in the main thread."""
    global _recorded
    _recorded += 1
    if _recorded > _MOST:
        return
    try:
        if kind is KeyboardInterrupt:
            # No import here: CPython ends by SIGINT, as shells expect, only if nobody runs eval()
            # meanwhile, and some of the modules behind traceback do.
            _core.append_event(_INTERRUPTED)
            return
        import traceback

        chain = _links(error) <= _MOST_LINKS
        lines = traceback.format_exception(kind, error, trace, limit=-_MOST_FRAMES, chain=chain)
        event = {
            "kind": "exception",
            "type": kind.__qualname__,
            "message": _safe(_message(error))[:_MOST_MESSAGE_CHARS],
            "traceback": _safe("".join(lines))[-_MOST_CHARS:],
            "thread": thread,
        }
        _core.append_event(_core.to_json(event))
    except Exception:  # noqa: BLE001, S110 -- the user's exception is the one to be seen
        pass


def _links(error: BaseException | None) -> int:
    """Return how many exceptions a traceback would show one after the other, up to too many."""
    count = 0
    while error is not None and count <= _MOST_LINKS:
        error = error.__cause__ or error.__context__
        count += 1
    return count


def _safe(text: str) -> str:
    return _core.redact(text[-_MOST_RAW_CHARS:])


def _message(error: BaseException | None) -> str:
    try:
        return "" if error is None else str(error)
    except Exception:  # noqa: BLE001 -- its own text fails
        return ""
