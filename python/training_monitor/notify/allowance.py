"""How many alerts may be told in a time: tokens that come back slowly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training_monitor.notify.stored import real

__all__ = ["Allowance"]

_HOUR_SECS = 3600.0


@dataclass(slots=True)
class Allowance:
    """Holds `most` tokens at most and gets `most` new ones in an hour.

    Attributes:
        most: Tokens when full, and per hour.
        tokens: How many there are.
        at: When they were counted last.
    """

    most: float
    tokens: float
    at: float

    @classmethod
    def full(cls, most: float, now: float) -> Allowance:
        """Return a full one."""
        return cls(most, most, now)

    def take(self, now: float) -> bool:
        """Take one token, if there is one."""
        self._fill(now)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def ready(self, now: float) -> float:
        """Return when there will be a token."""
        self._fill(now)
        missing = max(0.0, 1 - self.tokens)
        # A hair later than computed: rounding must not leave a token that is nearly one.
        return now if missing == 0 else now + missing * _HOUR_SECS / self.most + 1e-3

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self.at)
        self.tokens = min(self.most, self.tokens + passed * self.most / _HOUR_SECS)
        self.at = max(self.at, now)

    def to_state(self) -> list[float]:
        """Return it for `restore`."""
        return [self.tokens, self.at]

    def restore(self, state: Any) -> None:
        """Take over what was stored; the limit is that of today.

        Raises:
            TypeError, ValueError: Something else was stored.
        """
        tokens, at = state
        self.tokens, self.at = min(self.most, max(0.0, real(tokens))), real(at)
