"""Whether something fills up, from samples over seconds or days; bounded memory."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from math import inf, isfinite

from training_monitor.detect.robust import mann_kendall, median, theil_sen

__all__ = ["Trend"]

# So many windows of each width are kept, and are needed to judge.
_WINDOWS = 36
# So many of one width make one of the next; four widths: 20 s, 2 min, 12 min, 72 min.
_JOINED = 6
_WIDTHS = 4
_SIXTHS = 6
_BY_CHANCE = 0.001
# So many judgements in a row, since there are so many of them.
_IN_A_ROW = 9
# The newer half rises no slower than this share of the older one: what fills up ever more slowly
# stops by itself.
_STRAIGHT = 0.75
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

    __slots__ = ("_first_secs", "_last", "_open_end", "_peak", "_rises", "_streak", "_windows",
                 "rise", "slope", "steady")  # fmt: skip

    def __init__(self, *, first_secs: float = 20.0) -> None:
        self._first_secs = first_secs
        self.forget()

    def forget(self) -> None:
        """Start anew."""
        # Of each width (end, peak), and those that are to be joined.
        self._windows: list[deque[tuple[float, float]]] = [
            deque(maxlen=_WINDOWS) for _ in range(_WIDTHS)
        ]
        self._peak = self._open_end = self._last = -inf
        self._rises: list[tuple[float, float] | None] = [None] * _WIDTHS
        self._streak = 0
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
        return True

    def _close(self) -> None:
        """Put the open window to the shortest ones, and six of those together into a longer one."""
        window = (self._open_end, self._peak)
        for number, windows in enumerate(self._windows):
            windows.append(window)
            self._rises[number] = _rise(windows)
            end, width = window[0], self._first_secs * _JOINED ** (number + 1)
            if end // width == (end - width / _JOINED) // width:
                break
            window = (end, max(peak for ended, peak in windows if ended > end - width))
        # The longest windows that tell of a rise are the surest.
        known = [rise for rise in self._rises if rise is not None]
        self._streak = self._streak + 1 if known else 0
        self.steady = self._streak >= _IN_A_ROW
        self.slope, self.rise = known[-1] if self.steady else (0.0, 0.0)


def _rise(windows: deque[tuple[float, float]]) -> tuple[float, float] | None:
    """Return the slope and the height of a steady rise; None: there is none."""
    if len(windows) < _WINDOWS or windows[-1][1] <= windows[0][1]:
        return None
    ends, peaks = [end for end, _ in windows], [peak for _, peak in windows]
    if not _is_steady(peaks) or mann_kendall(peaks) > _BY_CHANCE:
        return None
    half = len(ends) // 2
    if theil_sen(ends[half:], peaks[half:]) < _STRAIGHT * theil_sen(ends[:half], peaks[:half]):
        return None
    slope = theil_sen(ends, peaks)
    return (slope, peaks[-1] - peaks[0]) if slope > 0 else None


def _is_steady(peaks: list[float]) -> bool:
    """Return whether each sixth lies above the one before by a good part of the mean rise."""
    count = len(peaks)
    levels = [
        median(peaks[n * count // _SIXTHS : (n + 1) * count // _SIXTHS]) for n in range(_SIXTHS)
    ]
    mean = (levels[-1] - levels[0]) / (_SIXTHS - 1)
    rises = [later - earlier for earlier, later in pairwise(levels)]
    return mean > 0 and rises[-1] > mean / 4 and sum(rise > mean / 4 for rise in rises) >= 4
