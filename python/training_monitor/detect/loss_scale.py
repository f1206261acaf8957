"""The loss scale of mixed precision falls and falls: gradients overflow at each step."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import isfinite

from training_monitor.detect.episode import Episode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["LossScale", "LossScaleThresholds"]

_RECENT = 500


@dataclass(frozen=True, slots=True)
class LossScaleThresholds:
    """When a loss scale counts as falling.

    Attributes:
        fall: It is lower by this factor than it was in the last points; each overflow halves it.
        back: It is over when it has grown by this factor again.
    """

    fall: float = 64.0
    back: float = 4.0


class LossScale:
    """Watches one loss scale.

    Args:
        metric: Its name.
        rank: Whose points these are.
        thresholds: When something is said.
    """

    __slots__ = ("_episode", "_least", "_metric", "_ok", "_recent")

    def __init__(
        self,
        metric: str,
        *,
        rank: int | None = None,
        thresholds: LossScaleThresholds | None = None,
    ) -> None:
        self._metric = metric
        self._ok = LossScaleThresholds() if thresholds is None else thresholds
        self._episode = Episode("loss_scale_drop", metric, rank)
        # What is a maximum of the last points, from the greatest on, and how old it is.
        self._recent: deque[tuple[int, float]] = deque()
        self._least = 0.0

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point."""
        if not (isfinite(value) and value > 0.0):
            return []
        was = self._greatest(value)
        if self._episode.severity is not None:
            self._least = min(self._least, value)
            if value < self._ok.back * self._least:
                return []
            self._recent = deque([(0, value)])
            text = f"{self._metric} grows again: {value:g} at step {step:,}"
            return self._episode.end(step, time, text, value=value)
        if value * self._ok.fall > was:
            return []
        self._least = value
        return self._episode.say(
            "warning",
            step,
            time,
            f"{self._metric} fell to {value:g} at step {step:,}: {was:g} before",
            advice="Gradients overflow in half precision: look for the first layer that is not "
            "finite; bfloat16, a lower learning rate or gradient clipping.",
            value=value,
            reference=was,
            threshold=self._ok.fall,
        )

    def _greatest(self, value: float) -> float:
        """Return the greatest of the last points, with this one."""
        self._recent = deque((age + 1, one) for age, one in self._recent if age + 1 < _RECENT)
        while self._recent and self._recent[-1][1] <= value:
            self._recent.pop()
        self._recent.append((0, value))
        return self._recent[0][1]
