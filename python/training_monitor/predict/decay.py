"""What the learning rate says about the part of its schedule that a run is in."""

from __future__ import annotations

from math import isfinite

__all__ = ["Decay"]

# Warm-up is over when the rate was not raised for so many of its points.
RESTS = 3
# Above this share of its peak a rate that falls has the better part of its decay ahead.
AHEAD = 0.3
# A change smaller than this share is none.
CHANGE = 1e-6
# A rate that ever starts below this share of its peak was warmed up.
COLD = 0.9


class Decay:
    """Follows one learning rate.

    Args:
        decays: Whether the schedule lowers the rate before the run ends; None: it is not known, and
            what the rate does is all there is to go by.
    """

    def __init__(self, *, decays: bool | None = None) -> None:
        self.decays = decays
        self.last: float | None = None
        self.first: float | None = None
        self.peak = 0.0
        self._rests = 0
        self._raised = 0
        self._warm = False

    def push(self, rate: float) -> None:
        """Take the next learning rate."""
        if not isfinite(rate) or rate < 0.0:
            return
        if self.last is None:
            self.first = rate
        elif rate > self.last * (1.0 + CHANGE):
            self._raised, self._rests = self._raised + 1, 0
        elif rate < self.last * (1.0 - CHANGE):
            self._rests = RESTS
        else:
            self._rests += 1
        self.last, self.peak = rate, max(self.peak, rate)
        self._warm = self._warm or self._rests >= RESTS

    @property
    def warming(self) -> bool:
        """Whether the rate rises, and has never done anything else."""
        if self._warm or self.first is None or self._raised < 2:
            return False
        return self.first < COLD * self.peak

    @property
    def ahead(self) -> bool:
        """Whether the better part of the decay is still to come, as far as anybody knows."""
        if self.last is None or self.peak <= 0.0 or self.decays is False:
            return False
        falling = self.last < self.peak * (1.0 - 0.01)
        return (self.decays is True or falling) and self.last > AHEAD * self.peak

    @property
    def spent(self) -> bool:
        """Whether the rate has fallen far from its peak."""
        return self.last is not None and self.last <= AHEAD * self.peak and self.peak > 0.0

    def __str__(self) -> str:
        return "unknown" if self.last is None else f"{self.last:.3g}"
