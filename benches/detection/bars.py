"""The figures that a release must reach, and those that it aims at."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detection import sums
from detection.bench import Results
from detection.healthy import ANY_OF_REWARD

__all__ = ["BARS", "Bar"]


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure with its floor and its aim, and how it is read from the results."""

    measure: str
    floor: float
    aim: float
    read: Callable[[Results, str], float]
    beside: tuple[str, str]  # the systems that stand beside ours: of the specifications, of others
    less: bool = False  # less is better
    within: tuple[float, float] | None = None  # the aim is an interval, not an end

    def verdict(self, value: float, bar: float) -> str:
        """Return hit or MISS, a dash where there is no figure."""
        if math.isnan(value):
            return "-"
        if self.within is not None and bar == self.aim:
            low, high = self.within
            return "hit" if low <= value <= high else "MISS"
        return "hit" if (value <= bar if self.less else value >= bar) else "MISS"


def _recall(kind: str, label: str) -> Callable[[Results, str], float]:
    def read(results: Results, name: str) -> float:
        return sums.tally(results, name, kind, label=label).recall

    return read


def _per_10k(kind: str, role: str) -> Callable[[Results, str], float]:
    def read(results: Results, name: str) -> float:
        return sums.quiet(results, name, kind, role=role).per_10k

    return read


def _overfit(what: str) -> Callable[[Results, str], float]:
    def read(results: Results, name: str) -> float:
        return float(getattr(sums.events(results, name, "overfitting"), what))

    return read


def _reward_runs(results: Results, name: str) -> float:
    return sums.quiet(results, name, ANY_OF_REWARD, role="reward").run_share


def _wrong(results: Results, name: str) -> float:
    return sums.stops(results, name).wrong_share


def _nmae(family: str) -> Callable[[Results, str], float]:
    def read(results: Results, name: str) -> float:
        errors = sums.errors(results, name, 0.3, family=family)
        return float(np.mean(errors.nmae)) if errors.nmae else math.nan

    return read


def _covered(results: Results, name: str) -> float:
    return sums.errors(results, name, 0.3).coverage(90)


def _worst_covered(results: Results, name: str) -> float:
    """Return the coverage of the source that is farthest from 90 %."""
    sources = {key[3] for key in results.final if key[0] == name}
    shares = []
    for source in sources:
        errors = sums.errors(results, name, 0.3, source=source)
        if len(errors.inside.get(90, [])) >= sums.MIN_FOR_A_SOURCE:
            shares.append(errors.coverage(90))
    return max(shares, key=lambda share: abs(share - 0.9), default=math.nan)


def _eta_error(share: float, family: str | None) -> Callable[[Results, str], float]:
    def read(results: Results, name: str) -> float:
        found = sums.eta(results, name, share, family=family)
        return float(np.median(found.ape)) if found.ape else math.nan

    return read


def _eta_covered(results: Results, name: str) -> float:
    return sums.eta(results, name, None).coverage(90)


_SPIKES = ("S2 1.5x of last 100", "W&B z>3, window 30")
_TIMES = ("S2 1.5x of first 50", "W&B z>3, window 30")
_FINALS = ("last value", "mean of power law, log slope, best")
_OVERFIT = ("S1 validation up, training down", "S1 the same, 3 in a row")
_ETAS = ("mean rate, standard error", "EMA 0.3 (tqdm)")
_STOPS = ("S1 4 evaluations without a new best", "S2 half windows within 1 %")
_REWARDS = ("S4 fast > 2 slow", "S4 z>3, window 100")

BARS = (
    Bar("spike recall at 12 sigma, all sources", 0.85, 0.95, _recall("spike", "12 sigma"), _SPIKES),
    Bar("spike false alarms per 10k, loss", 5, 1, _per_10k("spike", "loss"), _SPIKES, less=True),
    Bar("spike false alarms per 10k, grad norm", 10, 3, _per_10k("spike", "grad_norm"), _SPIKES,
        less=True),
    Bar("slowdown recall at 1.15x within 25", 0.80, 0.95, _recall("slowdown", "x1.15"), _TIMES),
    Bar("slowdown false alarms per 10k", 5, 1, _per_10k("slowdown", "step_time"), _TIMES,
        less=True),
    Bar("overfitting precision", 0.70, 0.85, _overfit("precision"), _OVERFIT),
    Bar("overfitting recall", 0.80, 0.90, _overfit("recall"), _OVERFIT),
    Bar("stop advice wrong", 0.15, 0.08, _wrong, _STOPS, less=True),
    Bar("final value at 30 %: NMAE supervised", 0.17, 0.13, _nmae("supervised"), _FINALS,
        less=True),
    Bar("final value at 30 %: NMAE LLM", 0.12, 0.05, _nmae("pretrain"), _FINALS, less=True),
    Bar("final value: coverage of 90 %, pooled", 0.85, 0.85, _covered, _FINALS,
        within=(0.85, 0.95)),
    Bar("final value: coverage of 90 %, worst source", 0.0, 0.85, _worst_covered, _FINALS,
        within=(0.85, 0.95)),
    Bar("ETA median APE at 10 %", 0.03, 0.01, _eta_error(0.1, None), _ETAS, less=True),
    Bar("ETA median APE at 30 %, LLM RL", 0.20, 0.10, _eta_error(0.3, "grpo"), _ETAS, less=True),
    Bar("ETA: coverage of 90 %", 0.80, 0.87, _eta_covered, _ETAS, within=(0.87, 0.93)),
    Bar("rewards: healthy runs with an alarm", 0.15, 0.05, _reward_runs, _REWARDS, less=True),
)  # fmt: skip
