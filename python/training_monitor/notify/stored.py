"""Read values out of JSON that may have been damaged: what it is not, is refused."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["clock", "flag", "items", "level", "real", "text_of", "whole"]

# Some three thousand years: what lies beyond was never on a clock.
_LATEST_SECS = 1e11


def real(value: object) -> float:
    """Return a finite number, or raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"not a number: {value!r:.50}")
    return float(value)


def clock(value: object) -> float:
    """Return a number that a clock may have shown, or raise ValueError."""
    if not 0 <= (secs := real(value)) <= _LATEST_SECS:
        raise ValueError(f"not a time: {value!r:.50}")
    return secs


def level(value: object) -> str:
    """Return the severity of something that is told, or raise ValueError."""
    if value not in ("warning", "critical"):
        raise ValueError(f"not a severity: {value!r:.50}")
    return str(value)


def whole(value: object) -> int:
    """Return a whole number, or raise TypeError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"not a whole number: {value!r:.50}")
    return value


def flag(value: object) -> bool:
    """Return True or False, or raise TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"neither true nor false: {value!r:.50}")
    return value


def text_of(value: object) -> str:
    """Return a text, or raise TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r:.50}")
    return value


def items(value: object) -> list[Any]:
    """Return a list, or raise TypeError."""
    if not isinstance(value, list):
        raise TypeError(f"not a list: {value!r:.50}")
    return value
