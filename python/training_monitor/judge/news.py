"""New points of a run, and what was made of them."""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from training_monitor.detect.finding import Finding
    from training_monitor.predict.phase import Transition

__all__ = ["Judged", "News"]


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

    def __bool__(self) -> bool:
        return bool(self.findings or self.transitions)
