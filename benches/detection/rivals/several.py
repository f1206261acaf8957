"""Rules that look at more than one series, or at values that are no numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detection import roles
from detection.alarms import Alarm, Detector
from detection.curves import Run
from detection.labels import held_out_loss

__all__ = ["NotANumber", "ValUpTrainDown", "rivals"]


@dataclass(frozen=True, slots=True)
class NotANumber:
    """Alarm at the first NaN or infinity of each loss and gradient norm."""

    name: str = "first NaN or infinity (S1)"
    kinds: frozenset[str] = frozenset({"non_finite"})

    def replay(self, run: Run) -> list[Alarm]:
        """Return one alarm for each series that has one."""
        found = []
        for name, series in run.series.items():
            bad = np.flatnonzero(~np.isfinite(series.values))
            if roles.role(name) in ("loss", "grad_norm") and len(bad):
                index = int(bad[0])
                step = float(series.steps[index])
                found.append(Alarm("non_finite", "critical", name, step, index))
        return found


@dataclass(frozen=True, slots=True)
class ValUpTrainDown:
    """Alarm where the held-out loss went up and the training loss down in one evaluation."""

    name: str = "S1 validation up, training down"
    kinds: frozenset[str] = frozenset({"overfitting"})
    in_a_row: int = 1

    def replay(self, run: Run) -> list[Alarm]:
        """Return an alarm for each evaluation at which that holds."""
        name = held_out_loss(run)
        twin = roles.twin_of(run, name) if name else None
        if name is None or twin is None:
            return []
        held, train = run.series[name], run.series[twin].finite()
        at = np.searchsorted(train.steps, held.steps, side="right") - 1
        found, held_up = [], 0
        for index in range(1, len(held)):
            if at[index - 1] < 0 or at[index] >= len(train.values):
                continue
            up = held.values[index] > held.values[index - 1]
            down = train.values[at[index]] < train.values[at[index - 1]]
            held_up = held_up + 1 if up and down else 0
            if held_up >= self.in_a_row:
                step = float(held.steps[index])
                found.append(Alarm("overfitting", "warning", name, step, index))
        return found


def rivals() -> list[Detector]:
    """Return these rules, and overfitting after three such evaluations in a row."""
    return [
        NotANumber(),
        ValUpTrainDown(),
        ValUpTrainDown(name="S1 the same, 3 in a row", in_a_row=3),
    ]
