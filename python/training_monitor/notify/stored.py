"""Read values out of JSON that may have been damaged: what it is not, is refused."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["flag", "items", "real", "text_of", "whole"]


def real(value: object) -> float:
    """Return a finite number, or raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"not a number: {value!r:.50}")
    return float(value)


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
