"""What really happened, seen from the end of a run: labels by rules over whole curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from detection.curves import Flags, Floats

__all__ = [
    "EXEMPT_AFTER",
    "EXEMPT_BEFORE",
    "NEIGHBOURS",
    "Neighbours",
    "exempt",
    "neighbours",
    "spikes",
]

NEIGHBOURS = 20  # on each side
SPIKE_SIGMA = 8.0
SPIKE_SHARE = 0.03
EXEMPT_BEFORE = 2
EXEMPT_AFTER = 20
_CHUNK = 50_000


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Median and robust sigma of the 20 points on both sides of each point, itself left out."""

    median: Floats
    sigma: Floats


def neighbours(values: Floats) -> Neighbours:
    """Return what lies around each point; NaN where there are fewer than 20 points on a side."""
    count, width = len(values), 2 * NEIGHBOURS + 1
    median, sigma = np.full(count, np.nan), np.full(count, np.nan)
    if count < width:
        return Neighbours(median, sigma)
    windows = sliding_window_view(values, width)
    for start in range(0, len(windows), _CHUNK):
        around = np.delete(windows[start : start + _CHUNK], NEIGHBOURS, axis=1)
        middle = np.median(around, axis=1)
        spread = 1.4826 * np.median(np.abs(around - middle[:, None]), axis=1)
        place = slice(start + NEIGHBOURS, start + NEIGHBOURS + len(around))
        median[place], sigma[place] = middle, spread
    return Neighbours(median, sigma)


def spikes(values: Floats, around: Neighbours | None = None) -> Flags:
    """Return which points stand more than 8 robust sigma and 3 % above their neighbours."""
    found = around or neighbours(values)
    above = values - found.median
    return (above > SPIKE_SIGMA * found.sigma) & (above > SPIKE_SHARE * np.abs(found.median))


def exempt(spiked: Flags) -> Flags:
    """Return the points around spikes, at which nobody is asked for an alarm or for silence."""
    free = np.zeros(len(spiked), dtype=bool)
    for place in np.flatnonzero(spiked):
        free[max(0, place - EXEMPT_BEFORE) : place + EXEMPT_AFTER + 1] = True
    return free
