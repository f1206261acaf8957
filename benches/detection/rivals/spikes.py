"""Rules for a jump of a loss or of a gradient norm: upward, past only."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from detection.alarms import Places, Rule, SeriesDetector
from detection.curves import Floats

__all__ = ["mad_over", "ratio_of_mean", "rivals", "z_over", "zclip"]

_ROLES = frozenset({"loss", "grad_norm"})
_CHUNK = 20_000


def ratio_of_mean(values: Floats, *, ratio: float, window: int = 100) -> Places:
    """Alarm above `ratio` times the mean of the last `window` points, this one among them."""
    if len(values) < window:
        return np.empty(0, dtype=np.intp)
    means = sliding_window_view(values, window).mean(axis=1)
    return np.flatnonzero(values[window - 1 :] > ratio * means) + window - 1


def z_over(values: Floats, *, z: float, window: int, least: int | None = None) -> Places:
    """Alarm `z` standard deviations above the mean of the `window` points before this one."""
    first = least or window
    if len(values) <= first:
        return np.empty(0, dtype=np.intp)
    # Sums of values around their median: the window is then far from cancelling out.
    around = values - np.median(values)
    sums = np.concatenate([[0.0], np.cumsum(around)])
    squares = np.concatenate([[0.0], np.cumsum(around**2)])
    now = np.arange(first, len(values))
    since = np.maximum(now - window, 0)
    count = now - since
    mean = (sums[now] - sums[since]) / count
    variance = (squares[now] - squares[since]) / count - mean**2
    over = (around[now] - mean > z * np.sqrt(np.maximum(variance, 0))) & (variance > 0)
    return np.flatnonzero(over) + first


def mad_over(values: Floats, *, score: float = 3.5, window: int = 30) -> Places:
    """Alarm by the modified z-score of Iglewicz and Hoaglin over the `window` points before."""
    if len(values) <= window:
        return np.empty(0, dtype=np.intp)
    windows = sliding_window_view(values[:-1], window)
    found = []
    for start in range(0, len(windows), _CHUNK):
        part = windows[start : start + _CHUNK]
        now = values[window + start : window + start + len(part)]
        middle = np.median(part, axis=1)
        spread = np.median(np.abs(part - middle[:, None]), axis=1)
        over = (0.6745 * (now - middle) > score * spread) & (spread > 0)
        found.append(np.flatnonzero(over) + window + start)
    return np.concatenate(found)


def zclip(values: Floats, *, z: float = 2.5, alpha: float = 0.97, warmup: int = 25) -> Places:
    """Alarm where ZClip would clip: moving mean and variance, taken on with the clipped value."""
    if len(values) <= warmup:
        return np.empty(0, dtype=np.intp)
    mean, var = float(values[:warmup].mean()), float(values[:warmup].var())
    found = []
    for index, seen in enumerate(values[warmup:].tolist(), start=warmup):
        value = seen
        deviation = math.sqrt(var)
        if deviation > 0 and value > mean + z * deviation:
            found.append(index)
            value = mean + z * deviation * (z * deviation / (value - mean))
        mean = alpha * mean + (1 - alpha) * value
        var = alpha * var + (1 - alpha) * (value - mean) * (value - mean)
    return np.array(found, dtype=np.intp)


def rivals() -> list[SeriesDetector]:
    """Return the rules that others use for spikes."""
    rules: dict[str, Rule] = {
        "S2 1.5x of last 100": partial(ratio_of_mean, ratio=1.5),
        "S2 2x of last 100": partial(ratio_of_mean, ratio=2.0),
        "W&B z>3, window 30": partial(z_over, z=3, window=30),
        "MAD 3.5, window 30": mad_over,
        "z>3, window 100 (rlwatch)": partial(z_over, z=3, window=100, least=30),
        "z>7, window 1000 (OLMo)": partial(z_over, z=7, window=1000),
        "ZClip z>2.5": zclip,
    }
    return [SeriesDetector(name, "spike", _ROLES, rule) for name, rule in rules.items()]
