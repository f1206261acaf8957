"""How often a probe may look: as it should, unless that costs more than its share of a core."""

from __future__ import annotations

__all__ = ["Pace"]

# How much the last look counts in the mean cost: one dear look among cheap ones is borne.
_WEIGHT = 0.1


class Pace:
    """Says when the next look is due.

    The first look imports and opens what later ones only use, so its cost counts for nothing.

    Args:
        interval_secs: How often to look.
        share: The part of a core that the looks may take; dearer ones come less often.
    """

    __slots__ = ("_due", "_interval_secs", "_looks", "_mean_secs", "_share")

    def __init__(self, interval_secs: float, share: float) -> None:
        self._interval_secs = interval_secs
        self._share = share
        self._due = 0.0
        self._looks = 0
        self._mean_secs: float | None = None

    def is_due(self, now: float) -> bool:
        """Return whether it is time to look."""
        return now >= self._due

    def wait_secs(self, now: float) -> float:
        """Return how long it is until then."""
        return max(self._due - now, 0.0)

    def looked(self, began: float, cpu_secs: float) -> None:
        """Take note of a look that began at this time and cost so much."""
        mean = self._mean_secs
        if self._looks:
            mean = cpu_secs if mean is None else mean + (cpu_secs - mean) * _WEIGHT
        self._looks += 1
        self._mean_secs = mean
        planned = self._due + self._interval_secs
        # On the beat while that can be kept: intervals of equal length are worth something.
        beat = planned if planned > began else began + self._interval_secs
        self._due = max(beat, began + (mean or 0.0) / self._share)
