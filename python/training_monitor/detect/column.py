"""New points of one series."""

from __future__ import annotations

from math import isfinite

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["A_SECOND", "Column"]

# Detectors in Python see no more points in a second than these.
A_SECOND = 20.0


class Column:
    """New points of one series."""

    __slots__ = ("steps", "times", "values")

    def __init__(
        self, steps: NDArray[np.int64], values: NDArray[np.float64], times: NDArray[np.float64]
    ) -> None:
        self.steps = steps
        self.values = values
        self.times = times

    @classmethod
    def of(cls, steps: ArrayLike, values: ArrayLike, times: ArrayLike | None) -> Column:
        """Return points as columns of the types that the extension takes."""
        places = np.asarray(steps)
        if places.dtype.kind == "f":
            # The last step of a series may be anything; what is none sorts before all.
            places = np.clip(np.nan_to_num(places, nan=0.0), -(2.0**62), 2.0**62)
        whole = np.ascontiguousarray(places, dtype=np.int64)
        numbers = np.ascontiguousarray(values, dtype=np.float64)
        clock = np.full(len(whole), np.nan) if times is None else times
        return cls(whole, numbers, np.ascontiguousarray(clock, dtype=np.float64))

    def thinned(self, last: float, a_second: float = A_SECOND) -> NDArray[np.intp]:
        """Return which points are looked at when so many a second suffice.

        Args:
            last: The time of the point before these; NaN: there is none, or it is not known.
            a_second: So many.
        """
        if not len(self.times) or not isfinite(self.times[0]):
            return np.arange(len(self.times))
        slots = np.floor(self.times * a_second)
        return np.flatnonzero(np.diff(slots, prepend=np.floor(last * a_second)) != 0)

    def with_turns(self, chosen: NDArray[np.intp], before: float) -> NDArray[np.intp]:
        """Return the chosen points and between two of them the first that doubles or halves.

        Args:
            chosen: Those that are looked at.
            before: The value of the point before these; NaN: there is none.
        """
        former = np.concatenate(([before], self.values[:-1]))
        with np.errstate(all="ignore"):
            turns = (self.values >= 2 * former) | (2 * self.values <= former)
        at = np.flatnonzero(turns & (former > 0))
        _, first = np.unique(np.searchsorted(chosen, at), return_index=True)
        return np.union1d(chosen, at[first])

    def last_time(self) -> float:
        """Return the time of the last point; NaN: there is none, or it is not known."""
        return float(self.times[-1]) if len(self.times) else np.nan
