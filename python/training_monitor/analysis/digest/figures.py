"""Stored values as a prompt has them: rounded to so many figures, what is no number visible."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite, isnan

from training_monitor.analysis.fencing import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["NONE", "figure", "kept", "span"]

NONE = "-"
_MOST_BITS = 128
# First, last, least, greatest, and the first and last that are not finite.
_ALWAYS = 6


def figure(value: object, sig_figs: int) -> str:
    """Return a stored value: a float rounded to `sig_figs`, an int exact, a text in quotes."""
    if hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        bits = value.bit_length()
        return str(value) if bits <= _MOST_BITS else f"(an integer of {bits} bits)"
    if not isinstance(value, float):
        return quoted(value)
    if isfinite(value):
        return f"{value:.{sig_figs}g}"
    return "NaN" if isnan(value) else "inf" if value > 0 else "-inf"


def span(low: float, high: float, sig_figs: int, *, holes: bool = False) -> str:
    """Return what several ranks have at one step: "1.2", "1.2..1.4", or "NaN/1.2" where some fail.

    Args:
        low: The least of them; NaN: none has a number.
        high: The greatest.
        sig_figs: Significant figures.
        holes: Whether some of them have no number.
    """
    if isnan(low):
        return "NaN"
    ends = [figure(low, sig_figs), figure(high, sig_figs)]
    return ("NaN/" if holes else "") + "..".join(dict.fromkeys(ends))


def kept(low: NDArray[np.float64], high: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Return which of some points stay when `most` may: of each stretch the extremes.

    The first, the last, the least and the greatest of all stay, and of those that are not finite
    the first, the last and some between.

    Args:
        low: The least value of each point.
        high: The greatest value of each; the same array where there is one value.
        most: How many points may stay; 8 at least do.
    """
    import numpy as np

    count, most = len(low), max(most, 8)
    if count <= most:
        return np.arange(count)
    fine = np.isfinite(low) & np.isfinite(high)
    chosen = {0, count - 1, *_extremes(low, high, fine, 0, count)}
    wild = np.flatnonzero(~fine)
    shown = min(len(wild), (most - _ALWAYS) // 3)
    if len(wild):
        spread = np.linspace(0, len(wild) - 1, max(shown, 2)).astype(np.int64)
        chosen.update(wild[spread].tolist())
    stretches = (most - _ALWAYS - shown) // 2
    edges = np.linspace(0, count, stretches + 1).astype(np.int64).tolist() if stretches else []
    for begin, end in pairwise(edges):
        chosen.update(_extremes(low, high, fine, begin, end))
    return np.array(sorted(chosen), np.int64)


def _extremes(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    fine: NDArray[np.bool_],
    begin: int,
    end: int,
) -> list[int]:
    """Return where the least and the greatest finite value of a stretch are."""
    import numpy as np

    places = begin + np.flatnonzero(fine[begin:end])
    if not len(places):
        return []
    return [int(places[low[places].argmin()]), int(places[high[places].argmax()])]
