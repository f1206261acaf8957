"""Durations, amounts and values as sentences have them."""

from __future__ import annotations

from math import floor, isfinite, log10

__all__ = ["duration", "money", "number", "step"]

MINUTE, HOUR, DAY = 60, 3600, 86_400


def duration(seconds: float) -> str:
    """Say how long something takes in two units at most: 45s, 1h 5m, 3d 4h."""
    if not isfinite(seconds):
        return "unknown"
    whole = round(max(seconds, 0.0))
    if whole < MINUTE:
        return f"{whole}s"
    if whole < HOUR:
        minutes, rest = divmod(whole, MINUTE)
        return f"{minutes}m {rest}s" if minutes < 10 and rest else f"{minutes}m"
    if whole < DAY:
        hours, rest = divmod(round(whole / MINUTE), 60)
        return f"{hours}h {rest}m" if rest else f"{hours}h"
    days, rest = divmod(round(whole / HOUR), 24)
    return f"{days}d {rest}h" if rest else f"{days}d"


def money(amount: float, currency: str = "$") -> str:
    """Say an amount with cents where they matter: $0.42, $35, $12,400."""
    digits = 2 if abs(amount) < 10 else 0
    return f"{currency}{amount:,.{digits}f}"


def number(value: float, digits: int = 3) -> str:
    """Say a value with so many digits that count, without an exponent where it reads well so."""
    if not isfinite(value) or value == 0.0:
        return f"{value:g}"
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits}g}"
    decimals = max(digits - 1 - floor(log10(abs(value))), 0)
    return f"{value:,.{decimals}f}"


def step(at: float) -> str:
    """Say a step: 12,000, or 3.5 where steps are fractions of an epoch."""
    return f"{at:,.0f}" if at == round(at) or abs(at) >= 100 else f"{at:.3g}"
