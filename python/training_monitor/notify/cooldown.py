"""For how long something that was told is not told again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training_monitor.notify.alert import rank_of
from training_monitor.notify.stored import items, real, text_of, whole

__all__ = ["Cooldowns"]

_MOST = 1024
# Each time it is back as soon as it may be told, it has to wait twice as long; at most 8 times.
_MOST_DOUBLINGS = 3

Key = tuple[str, str]


@dataclass(slots=True)
class _Cooldown:
    severity: str
    until: float
    secs: float
    doublings: int


class Cooldowns:
    """Remembers by key what was told, and until when the same is held back."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[Key, _Cooldown] = {}

    def free(self, key: Key, severity: str, now: float) -> float:
        """Return from when on this may be told: at once, if it is worse than what was."""
        known = self._by_key.get(key)
        if known is None or rank_of(severity) > rank_of(known.severity):
            return now
        return max(now, known.until)

    def holds(self, key: Key, now: float) -> bool:
        """Return whether this was told a short time ago."""
        known = self._by_key.get(key)
        return known is not None and now < known.until

    def knows(self, key: Key) -> bool:
        """Return whether this was told before, and not very long ago."""
        return key in self._by_key

    def told(self, key: Key, severity: str, now: float, base_secs: float) -> None:
        """Take note that this was told now."""
        known = self._by_key.pop(key, None)
        doublings = 0
        if known is not None and now < known.until:
            doublings = known.doublings  # it got worse
        elif known is not None and now <= known.until + known.secs:
            doublings = min(known.doublings + 1, _MOST_DOUBLINGS)
        secs = base_secs * 2**doublings
        self._by_key[key] = _Cooldown(severity, now + secs, secs, doublings)
        if len(self._by_key) > _MOST:
            del self._by_key[next(iter(self._by_key))]

    def tidy(self, now: float) -> None:
        """Forget what has been quiet for so long that it would be news again."""
        for key in [key for key, one in self._by_key.items() if now > one.until + one.secs]:
            del self._by_key[key]

    def to_state(self) -> list[list[Any]]:
        """Return all of it for `restore`."""
        return [
            [*key, one.severity, one.until, one.secs, one.doublings]
            for key, one in self._by_key.items()
        ]

    def restore(self, state: object) -> int:
        """Take over what was stored; return how many entries were damaged."""
        return sum(not self._take(entry) for entry in items(state)[-_MOST:])

    def _take(self, entry: Any) -> bool:
        try:
            kind, metric, severity, until, secs, doublings = entry
            key = (text_of(kind), text_of(metric))
            known = _Cooldown(text_of(severity), real(until), real(secs), whole(doublings))
        except (TypeError, ValueError):
            return False
        self._by_key[key] = known
        return True
