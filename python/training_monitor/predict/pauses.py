"""Pauses that come back: evaluations and checkpoints, and when the next ones are due."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Periodic", "expected_share", "find_periodic"]

# Of the distances between pauses, this share must be whole multiples of the period.
REGULAR_SHARE = 0.75
# A period is believed when chance would fit as many distances in no more than this share of cases.
LEAST_CHANCE = 0.01
# Of irregular pauses, one that took more than this share of their time is not expected again.
OUTWEIGHS = 0.5
# What exceeds a pause that comes back by more than this share of it is a pause of its own: a
# checkpoint behind an evaluation.
REMAINDER = 0.5
# Seconds of a pause that comes back are those of the last so many.
RECENT = 8


@dataclass(frozen=True, slots=True)
class Periodic:
    """A pause that comes back.

    Attributes:
        period: Steps from one to the next.
        last: The step of the last one.
        seconds: How long one takes beyond the usual time of a step.
        count: How many were seen.
        kind: "evaluations" where their points say so, else "pauses".
    """

    period: float
    last: float
    seconds: float
    count: int
    kind: str

    def left(self, step: float, total: float) -> int:
        """Count those that are due behind `step` and up to `total`."""
        if not total > step:
            return 0
        behind = np.floor((total - self.last) / self.period + 1e-9)
        passed = max(np.floor((step - self.last) / self.period), 0.0)
        return int(max(behind - passed, 0.0))


def find_periodic(
    pauses: Floats, *, granularity: float, first_step: float, evaluations: Floats
) -> tuple[list[Periodic], Floats]:
    """Find the pauses that come back, those with evaluation points among them first.

    Args:
        pauses: Rows of RatesView.pauses.
        granularity: The usual number of steps from one point to the next.
        first_step: Where the run began.
        evaluations: The steps at which evaluations were logged.

    Returns:
        What comes back, and the rows that belong to none of it.
    """
    found: list[Periodic] = []
    rest = pauses
    labelled = _with_evaluation(rest, evaluations)
    if labelled.any():
        steps = np.unique(evaluations)
        ways = np.diff(steps) if len(steps) > 1 else steps - first_step
        period, seconds = float(np.median(ways)), float(np.median(rest[labelled, 2][-RECENT:]))
        if period > 0.0:
            found.append(Periodic(period, float(steps[-1]), seconds, len(steps), "evaluations"))
            rest = _without(rest, labelled, seconds)
    for _ in range(2):
        one = _most_regular(rest, granularity=granularity, first_step=first_step)
        if one is None:
            break
        found.append(one[0])
        rest = _without(rest, one[1], one[0].seconds)
    return found, rest


def _with_evaluation(pauses: Floats, evaluations: Floats) -> NDArray[np.bool_]:
    """Say which pauses have an evaluation: it stands at their end, or at the step before them."""
    if len(evaluations) == 0 or len(pauses) == 0:
        return np.zeros(len(pauses), dtype=np.bool_)
    near = np.searchsorted(evaluations, pauses[:, 1] + 1e-9, side="right") - 1
    found: NDArray[np.bool_] = near >= 0
    found &= evaluations[np.maximum(near, 0)] >= pauses[:, 0] - 1e-9
    return found


def _without(pauses: Floats, members: NDArray[np.bool_], seconds: float) -> Floats:
    """Take what comes back off; what is left of a member is another pause at the same place."""
    left = pauses.copy()
    left[members, 2] -= seconds
    kept: Floats = left[~members | (left[:, 2] > REMAINDER * seconds)]
    return kept


def _most_regular(
    pauses: Floats, *, granularity: float, first_step: float
) -> tuple[Periodic, NDArray[np.bool_]] | None:
    """Return the pause with the most regular distance, and which rows belong to it."""
    if len(pauses) < 2:
        return None
    ends = pauses[:, 1]
    distances = np.diff(ends)
    period = float(np.median(distances)) if len(distances) > 1 else float(distances[0])
    tolerance = max(1.01 * granularity, 0.01 * period)
    by_chance = 2.0 * tolerance / period
    if by_chance > 0.5:
        return None
    # The way from the beginning to the first counts as a distance: pauses stand at multiples.
    ways = np.concatenate(([ends[0] - first_step], distances))
    turns = np.round(ways / period)
    fits = (turns >= 1.0) & (np.abs(ways - turns * period) <= tolerance)
    # One of them fits because the period was taken from it.
    hits, trials = int(np.count_nonzero(fits)) - 1, len(ways) - 1
    if hits < REGULAR_SHARE * trials or _chance(hits, trials, by_chance) > LEAST_CHANCE:
        return None
    members = fits | np.concatenate((fits[1:], [False]))
    seconds = float(np.median(pauses[members, 2][-RECENT:]))
    return Periodic(
        period, float(ends[members][-1]), seconds, int(members.sum()), "pauses"
    ), members


def _chance(hits: int, trials: int, share: float) -> float:
    """Return the probability of at least so many hits."""
    return sum(
        comb(trials, count) * share**count * (1.0 - share) ** (trials - count)
        for count in range(hits, trials + 1)
    )


def expected_share(pauses: Floats, rest: Floats) -> float:
    """Return which share of the seconds of `pauses` to expect again besides those that come back.

    These are the irregular ones, `rest`, without one that outweighs all others: a laptop that slept
    or a queue that took the machine away is not expected again.
    """
    if len(rest) == 0:
        return 0.0
    largest, irregular = float(rest[:, 2].max()), float(rest[:, 2].sum())
    if largest > OUTWEIGHS * irregular:
        irregular -= largest
    whole = float(pauses[:, 2].sum())
    return irregular / whole if whole > 0.0 else 0.0
