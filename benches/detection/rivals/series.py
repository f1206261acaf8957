"""Rules for step times, throughput, rewards, KL, entropy and memory, and general change tests."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from detection.alarms import Places, Rule, SeriesDetector
from detection.curves import Floats
from detection.rivals.spikes import ratio_of_mean, z_over

__all__ = ["page_hinkley", "rivals"]

_NONE = np.empty(0, dtype=np.intp)


def over_first(values: Floats, *, ratio: float, count: int = 50) -> Places:
    """Alarm above `ratio` times the mean of the first `count` points."""
    if len(values) <= count:
        return _NONE
    return np.flatnonzero(values[count:] > ratio * values[:count].mean()) + count


def below_mean(values: Floats, *, ratio: float, window: int = 100) -> Places:
    """Alarm below `ratio` times the mean of the last `window` points, this one among them."""
    if len(values) < window:
        return _NONE
    means = sliding_window_view(values, window).mean(axis=1)
    return np.flatnonzero(values[window - 1 :] < ratio * means) + window - 1


def page_hinkley(
    values: Floats, *, down: bool = False, log: bool = False, threshold: float = 50.0
) -> Places:
    """Alarm by the Page-Hinkley test of river (delta 0.005, 30 points first), reset at an alarm.

    The values are standardised by the first 30 points, because its threshold has their scale.
    """
    series = np.log(np.maximum(values, 1e-300)) if log else values
    if len(series) <= 30:
        return _NONE
    spread = float(series[:30].std()) or 1.0
    series = (series - series[:30].mean()) / spread * (-1.0 if down else 1.0)
    found, mean, count, total, least = [], 0.0, 0, 0.0, 0.0
    for index, value in enumerate(series.tolist()):
        count += 1
        mean += (value - mean) / count
        total += value - mean - 0.005
        least = min(least, total)
        if count >= 30 and total - least > threshold:
            found.append(index)
            mean, count, total, least = 0.0, 0, 0.0, 0.0
    return np.array(found, dtype=np.intp)


def moving_averages(values: Floats, *, drop: float | None, rise: float | None) -> Places:
    """Alarm where the fast average is below `drop` or above `rise` times the slow one."""
    fast = slow = float(values[0]) if len(values) else 0.0
    found = []
    for index, value in enumerate(values.tolist()):
        fast += 0.1 * (value - fast)
        slow += 0.01 * (value - slow)
        if (drop is not None and fast < drop * slow) or (rise is not None and fast > rise * slow):
            found.append(index)
    return np.array(found, dtype=np.intp)


def zero_for(values: Floats, *, count: int = 100) -> Places:
    """Alarm where the last `count` values are all zero."""
    if len(values) < count:
        return _NONE
    return np.flatnonzero(~sliding_window_view(values, count).any(axis=1)) + count - 1


def outliers(values: Floats, *, z: float, window: int = 100) -> Places:
    """Alarm `z` standard deviations away from the mean of the window before, on either side."""
    up = z_over(values, z=z, window=window, least=30)
    return np.union1d(up, z_over(-values, z=z, window=window, least=30)).astype(np.intp)


def above(values: Floats, *, limit: float) -> Places:
    """Alarm above a fixed limit."""
    return np.flatnonzero(values > limit)


def below_for(values: Floats, *, limit: float, count: int) -> Places:
    """Alarm where the last `count` values are all below a fixed limit."""
    if len(values) < count:
        return _NONE
    return np.flatnonzero((sliding_window_view(values, count) < limit).all(axis=1)) + count - 1


def memory_rise(values: Floats, *, window: int = 10, patience: int = 1000) -> Places:
    """Alarm 5 points of per cent above the least moving average of the last `patience` points."""
    if len(values) <= window:
        return _NONE
    means = sliding_window_view(values, window).mean(axis=1)
    found = [
        index + window - 1
        for index, mean in enumerate(means.tolist())
        if mean > means[max(0, index - patience) : index + 1].min() + 0.05
    ]
    return np.array(found, dtype=np.intp)


def rivals() -> list[SeriesDetector]:
    """Return rules that others use, by the kind of alarm that they would be."""
    rows: list[tuple[str, str, str, Rule]] = [
        ("S2 1.5x of first 50", "slowdown", "step_time", partial(over_first, ratio=1.5)),
        ("S2 1.5x of last 100", "slowdown", "step_time", partial(ratio_of_mean, ratio=1.5)),
        ("W&B z>3, window 30", "slowdown", "step_time", partial(z_over, z=3, window=30)),
        ("Page-Hinkley", "slowdown", "step_time", partial(page_hinkley, log=True)),
        ("S2 -15 % of last 100", "mfu_drop", "mfu", partial(below_mean, ratio=0.85)),
        ("S2 -15 % of last 100", "throughput_drop", "throughput", partial(below_mean, ratio=0.85)),
        ("Page-Hinkley", "mfu_drop", "mfu", partial(page_hinkley, log=True, down=True)),
        ("Page-Hinkley", "divergence", "loss", page_hinkley),
        (
            "S4 fast < 0.5 slow",
            "reward_drop",
            "reward",
            partial(moving_averages, drop=0.5, rise=None),
        ),
        ("Page-Hinkley", "reward_drop", "reward", partial(page_hinkley, down=True)),
        ("S4 z>3, window 100", "outlier", "reward", partial(outliers, z=3)),
        (
            "S4 fast > 2 slow",
            "reward_spike",
            "reward",
            partial(moving_averages, drop=None, rise=2.0),
        ),
        ("S4 zeros", "flatline", "reward", zero_for),
        ("S3 KL > 0.1", "kl_blow_up", "kl", partial(above, limit=0.1)),
        (
            "z>3, window 100 (rlwatch)",
            "kl_blow_up",
            "kl",
            partial(z_over, z=3, window=100, least=30),
        ),
        (
            "entropy < 1 for 50 (rlwatch)",
            "entropy_collapse",
            "entropy",
            partial(below_for, limit=1.0, count=50),
        ),
        ("5 points over least (SageMaker)", "memory_leak", "memory", memory_rise),
    ]
    return [SeriesDetector(name, kind, frozenset({role}), rule) for name, kind, role, rule in rows]
