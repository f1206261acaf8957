"""Whether something fills up, from samples over seconds or days; bounded memory."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from math import inf, isfinite

from training_monitor.detect.robust import mann_kendall, median, theil_sen

__all__ = ["Trend"]

# Windows of each width are kept, and are enough to judge.
_MOST = 36
_LEAST = 18
# So many of one width make one of the next; four widths: 20 s, 2 min, 12 min, 72 min.
_JOINED = 6
_WIDTHS = 4
_SIXTHS = 6
_BY_CHANCE = 0.001
# A silence of so many windows, and so many seconds, is a new beginning.
_SILENT_WINDOWS = 12
_SILENT_SECS = 600.0


class Trend:
    """The peak of each window of time, and how steadily the peaks rise.

    Peaks, since what is used goes up and down within each step. The last minutes are kept in short
    windows, the last days in long ones: what begins to fill up today is seen beside what was
    yesterday.

    Args:
        first_secs: The width of the shortest windows; the samples may come less often.

    Attributes:
        slope: How fast the peaks rise per second; 0 where no rise is sure.
        rise: By how much they have risen in the time that was judged.
        steady: Whether they have risen all along, and do still: not in one or two steps, and not
            ever more slowly.
    """

    __slots__ = ("_first_secs", "_last", "_open_end", "_peak", "_windows", "rise", "slope",
                 "steady")  # fmt: skip

    def __init__(self, *, first_secs: float = 20.0) -> None:
        self._first_secs = first_secs
        self.forget()

    def forget(self) -> None:
        """Start anew."""
        # Of each width (end, peak), and those that are to be joined.
        self._windows: list[deque[tuple[float, float]]] = [
            deque(maxlen=_MOST) for _ in range(_WIDTHS)
        ]
        self._peak = self._open_end = self._last = -inf
        self.slope, self.rise, self.steady = 0.0, 0.0, False

    def push(self, time: float, value: float) -> bool:
        """Take a sample; return whether there is a new judgement."""
        if not (isfinite(value) and isfinite(time)):
            return False
        pause = time - self._last
        if pause < -1.0 or pause > max(_SILENT_SECS, _SILENT_WINDOWS * self._first_secs):
            self.forget()
            self._open_end = time + self._first_secs
        self._last = max(self._last, time)
        if time < self._open_end:
            self._peak = max(self._peak, value)
            return False
        self._close()
        missed = (time - self._open_end) // self._first_secs + 1
        self._open_end += missed * self._first_secs
        self._peak = value
        self._judge()
        return True

    def _close(self) -> None:
        """Put the open window to the shortest ones, and six of those together into a longer one."""
        window = (self._open_end, self._peak)
        for number, windows in enumerate(self._windows):
            windows.append(window)
            end, width = window[0], self._first_secs * _JOINED ** (number + 1)
            if end // width == (end - width / _JOINED) // width:
                return
            peaks = [peak for ended, peak in windows if ended > end - width]
            window = (end, max(peaks))

    def _judge(self) -> None:
        """Judge by the longest windows that tell of a steady rise."""
        self.slope, self.rise, self.steady = 0.0, 0.0, False
        for windows in reversed(self._windows):
            if len(windows) < _LEAST:
                continue
            ends = [end for end, _ in windows]
            peaks = [peak for _, peak in windows]
            if peaks[-1] > peaks[0] and _is_steady(peaks) and mann_kendall(peaks) < _BY_CHANCE:
                self.slope = theil_sen(ends, peaks)
                self.rise = peaks[-1] - peaks[0]
                self.steady = self.slope > 0
                return


def _is_steady(peaks: list[float]) -> bool:
    """Return whether each sixth lies above the one before by a good part of the mean rise."""
    count = len(peaks)
    levels = [
        median(peaks[n * count // _SIXTHS : (n + 1) * count // _SIXTHS]) for n in range(_SIXTHS)
    ]
    mean = (levels[-1] - levels[0]) / (_SIXTHS - 1)
    rises = [later - earlier for earlier, later in pairwise(levels)]
    return mean > 0 and sum(rise > mean / 4 for rise in rises) >= 4 and rises[-1] > mean / 4
