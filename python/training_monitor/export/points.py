"""One chunk of points on its way from the database into a file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = ["Points", "kind_of", "nan_name"]

_PLAIN_NAN = pack("<d", math.nan)


@dataclass(frozen=True, slots=True)
class Points:
    """Some points of one key, as columns of one length."""

    key: str
    step: Sequence[int]
    time: Sequence[float]
    value: Sequence[Any]
    rank: Sequence[int]
    attempt: Sequence[int]

    def rows(self) -> Iterator[tuple[int, float, Any, int, int]]:
        """Yield step, time, value, rank and attempt of each point."""
        return zip(self.step, self.time, self.value, self.rank, self.attempt, strict=True)


def kind_of(value: object) -> str:
    """Return the word for the type of a value."""
    return "none" if value is None else "text" if isinstance(value, str) else type(value).__name__


def nan_name(value: float) -> str:
    """Return ``nan``, with the bits of the number when they are not the usual ones."""
    bits = pack("<d", value)
    return "nan" if bits == _PLAIN_NAN else f"nan:{bits[::-1].hex()}"
