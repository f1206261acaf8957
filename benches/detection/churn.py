"""Score a state machine by its restlessness: transitions on healthy runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from detection import roles
from detection.curves import Run

__all__ = ["MOST_TRANSITIONS", "Machine", "Percentages"]

MOST_TRANSITIONS = 6


class Machine(Protocol):
    """A state machine under test."""

    @property
    def name(self) -> str:
        """Return the name that stands in the page."""

    def states(self, run: Run) -> Sequence[str]:
        """Return the states that a run went through, each as often as it was entered."""


@dataclass(frozen=True, slots=True)
class Percentages:
    """The state machine of S1: by the improvement since the evaluation before, in per cent."""

    name: str = "S1 per-epoch percentages"

    def states(self, run: Run) -> Sequence[str]:
        """Return the states; nothing is smoothed and nothing held."""
        headline = run.headline
        if headline is None:
            return []
        values = headline.values if run.goal == "max" else -headline.values
        passed = ["INITIALIZING"]
        best = float(values[0])
        warm = _warm_until(run)
        for step, value in zip(headline.steps[1:].tolist(), values[1:].tolist(), strict=True):
            gain = (value - best) / max(abs(best), 1e-12)
            best = max(best, value)
            state = "WARMUP" if step < warm else _state(gain)
            if state != passed[-1]:
                passed.append(state)
        return passed


def _state(gain: float) -> str:
    if gain > 0.05:
        return "LEARNING_FAST"
    if gain >= 0.01:
        return "STABLE_CONVERGENCE"
    return "PLATEAU"


def _warm_until(run: Run) -> float:
    """Return the step at which the learning rate is highest; before all steps without one."""
    rates = next(iter(roles.of_role(run, "lr").values()), None)
    if rates is None or len(rates) == 0:
        return -np.inf
    return float(rates.steps[int(np.nanargmax(rates.values))])
