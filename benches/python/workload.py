"""The work of about a millisecond between two calls."""

from __future__ import annotations

import hashlib
import math
import time

BLOCK = bytes(1 << 12)


def work(amount: int) -> int:
    """Keep one core busy: half bytecode, half C that lets other threads run, as training does."""
    total = 0
    for _ in range(amount):
        for number in range(60):
            total = (total * 31 + number) & 0xFFFFFF
        total += hashlib.blake2b(BLOCK).digest()[0]
    return total


def one_millisecond() -> int:
    """Return how much work takes about a millisecond on this machine."""
    best = math.inf
    for _ in range(20):
        began = time.perf_counter()
        work(100)
        best = min(best, time.perf_counter() - began)
    return max(1, round(100 * 1e-3 / best))
