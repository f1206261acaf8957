"""A coroutine run to its end from code that is none, wherever that stands."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["run_to_end"]

T = TypeVar("T")


def run_to_end(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` in a loop of its own, in another thread where this one has a loop already."""
    if not _has_loop():
        return _run_here(work)
    outcome: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(_run_here(work))
        except BaseException as error:  # noqa: BLE001 -- handed to the thread that waits
            failed.append(error)

    thread = threading.Thread(target=run, name="training_monitor.ask", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return outcome[0]


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_here(work: Callable[[], Awaitable[T]]) -> T:
    # As asyncio.run does, but without waiting for a look-up of a name that hangs.
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_awaited(work))
    finally:
        try:
            loop.run_until_complete(_end(asyncio.all_tasks(loop)))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
