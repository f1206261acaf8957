"""A bar on the terminal for what takes a while; nothing where there is no terminal."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Bar"]

_EVERY_SECS = 0.1
_WIDTH = 30


class Bar:
    """Shows how much is done, on stderr, and leaves no trace of itself.

    Args:
        noun: What is counted.
    """

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._wanted = sys.stderr is not None and sys.stderr.isatty()
        self._shown_at = 0.0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._wanted and self._shown_at:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def show(self, done: int, total: int) -> None:
        """Tell that so much of the total is done."""
        now = time.monotonic()
        if not self._wanted or now - self._shown_at < _EVERY_SECS:
            return
        self._shown_at = now
        share = min(done / total, 1.0) if total else 1.0
        filled = round(share * _WIDTH)
        bar = "#" * filled + "-" * (_WIDTH - filled)
        rate = done / max(now - self._started, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
        line = f"[{bar}] {share:4.0%}  {done:,} of {total:,} {self._noun}{left}"
        print(f"\r{line[:79]}\033[K", end="", file=sys.stderr, flush=True)
