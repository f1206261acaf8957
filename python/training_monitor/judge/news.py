"""New points of a run, and what was made of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from numpy.typing import NDArray

    Steps = TypeVar("Steps", NDArray[np.int64], NDArray[np.float64])

    from training_monitor.detect.finding import Finding
    from training_monitor.predict.phase import Transition

__all__ = ["Judged", "News", "halved"]


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """New points of one metric of one rank, in the order of arrival.

    Attributes:
        metric: Its name.
        rank: Who logged them.
        attempt: In which attempt of the run.
        steps: One per point.
        times: Wall clock in seconds since 1970, one per point.
        values: One per point.
    """

    metric: str
    rank: int
    attempt: int
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(slots=True)
class Judged:
    """What new points have shown.

    Attributes:
        findings: In the order in which they were found.
        transitions: Changes of the phase.
    """

    findings: list[Finding] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)

    def add(self, further: Judged) -> None:
        """Take over what further points have shown."""
        self.findings += further.findings
        self.transitions += further.transitions

    def __bool__(self) -> bool:
        return bool(self.findings or self.transitions)


def halved(
    steps: Steps, values: NDArray[np.float64], most: int
) -> tuple[Steps, NDArray[np.float64]]:
    """Return at most so many points: the first and the last tell most, every other between goes."""
    while len(steps) > most:
        keep = np.r_[0 : len(steps) - 1 : 2, len(steps) - 1]
        steps, values = steps[keep], values[keep]
    return steps, values
