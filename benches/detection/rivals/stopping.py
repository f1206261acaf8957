"""Rules of others for when a training is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from detection.alarms import Places
from detection.curves import Floats
from detection.stopping import Advisor, Said

__all__ = ["half_windows", "no_new_best", "rivals", "small_steps"]


def no_new_best(rising: Floats, patience: int = 4) -> Places:
    """Stop where the best value is `patience` evaluations old."""
    best, since, found = -np.inf, 0, []
    for index, value in enumerate(rising.tolist()):
        since = 0 if value > best else since + 1
        best = max(best, value)
        if since >= patience:
            found.append(index)
    return np.array(found, dtype=np.intp)


def small_steps(rising: Floats, share: float = 0.01, in_a_row: int = 3) -> Places:
    """Stop where so many evaluations in a row improved by less than `share`."""
    before = np.maximum.accumulate(rising)[:-1]
    small = (rising[1:] - before) < share * np.abs(before)
    counts = np.convolve(small, np.ones(in_a_row), mode="full")[: len(small)]
    return np.flatnonzero(counts >= in_a_row) + 1


def half_windows(rising: Floats, window: int = 500) -> Places:
    """Stop where the mean of the late half is not 1 % better than that of the early half."""
    found = []
    sums = np.concatenate([[0.0], np.cumsum(rising)])
    for count in range(4, len(rising) + 1):
        width = min(window, count // 2)
        half = width // 2
        if half < 1:
            continue
        early = (sums[count - half] - sums[count - width]) / (width - half)
        late = (sums[count] - sums[count - half]) / half
        if late - early <= 0.01 * abs(early):
            found.append(count - 1)
    return np.array(found, dtype=np.intp)


@dataclass(frozen=True, slots=True)
class Patience:
    """An advisor that gives no probability."""

    rule: Callable[[Floats], Places]

    def __call__(
        self, steps: Floats, values: Floats, *, end: float, goal: str, kind: str
    ) -> Sequence[Said]:
        """Return where it says stop."""
        rising = values if goal == "max" else -values
        return [Said(int(index), stop=True) for index in self.rule(rising)]


def rivals() -> dict[str, Advisor]:
    """Return the rules of the specifications."""
    return {
        "S1 4 evaluations without a new best": Patience(no_new_best),
        "S1 PLATEAU: < 1 % three times": Patience(small_steps),
        "S2 half windows within 1 %": Patience(half_windows),
    }
