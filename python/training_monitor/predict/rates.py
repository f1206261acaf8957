"""How long steps took, in bounded memory.

A rate is seconds per step. The time between two points is one increment. Increments are taken in
blocks of a fixed number, so that nothing depends on how the points came in; pauses are told from
steps within a block, and what is left is summed into bins that grow as the run does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["Rates", "RatesView"]

BLOCK = 512
# Increments of the block before that help to say what is usual.
REMEMBERED = 64
MAX_BINS = 512
MAX_PAUSES = 256
# An increment is a pause when it took this many times the usual; more of them in a row are slow
# steps.
PAUSE_RATIO = 3.0
PAUSES_IN_A_ROW = 2
# And so many standard deviations of the log rate longer than usual.
PAUSE_SIGMA = 6.0
# Steps that took less than this share of the usual are not believed: a jump of the step, not work.
SKIP_RATIO = 0.1


@dataclass(frozen=True, slots=True)
class RatesView:
    """What is known of a run so far.

    Attributes:
        steps: Steps per bin, oldest first.
        seconds: Seconds per bin without what pauses took beyond the usual.
        excess: What pauses took beyond the usual, in seconds per bin.
        pauses: One row for each of the last pauses: first and last step of its increment, seconds
            beyond the usual.
        granularity: The usual number of steps from one point to the next.
        increments: How many increments are in the bins.
        first_step: The first step that was seen.
    """

    steps: Floats
    seconds: Floats
    excess: Floats
    pauses: Floats
    granularity: float
    increments: int
    first_step: float


class Rates:
    """The history of the rate of one run.

    Points whose step repeats the one before add nothing: their time belongs to the increment that
    ends with the next step. A step that goes back (a restart from a checkpoint) and a clock that
    goes back begin anew behind the gap, and the gap is counted nowhere.
    """

    def __init__(self) -> None:
        self.last_step: float | None = None
        self.last_time = 0.0
        self.first_step = 0.0
        self.rewinds = 0
        self.clock_jumps = 0
        self._gap_ahead = False
        self._pending: list[Floats] = []
        self._pending_rows = 0
        self._before = np.empty((0, 3))
        self._bins = _Bins()
        self._pauses = np.empty((0, 3))
        self._increments = 0

    def break_off(self, gap_seconds: float = 0.0) -> None:
        """Leave the time from the last point to the next one out: another attempt begins.

        Args:
            gap_seconds: How much of it counts as a pause nevertheless, because it will come back.
        """
        self._gap_ahead = True
        if self.last_step is not None and isfinite(gap_seconds) and gap_seconds > 0.0:
            self._bins.add(np.array([[0.0, 0.0, gap_seconds]]))
            self._keep_pauses(np.array([[self.last_step, self.last_step, gap_seconds]]))

    def _keep_pauses(self, pauses: Floats) -> None:
        self._pauses = np.concatenate((self._pauses, pauses))[-MAX_PAUSES:]

    def push_many(self, steps: ArrayLike, times: ArrayLike) -> None:
        """Take the points of a run in the order of arrival."""
        at = np.asarray(steps, dtype=np.float64).ravel()
        when = np.asarray(times, dtype=np.float64).ravel()
        for start in range(0, min(at.size, when.size), 65_536):
            self._take(at[start : start + 65_536], when[start : start + 65_536])

    def _take(self, steps: Floats, times: Floats) -> None:
        size = min(steps.size, times.size)
        good = np.isfinite(steps[:size]) & np.isfinite(times[:size])
        steps, times = steps[:size][good], times[:size][good]
        if steps.size == 0:
            return
        if self.last_step is None:
            self.first_step = float(steps[0])
        elif self._gap_ahead:
            self.rewinds += 1
        else:
            steps = np.concatenate(([self.last_step], steps))
            times = np.concatenate(([self.last_time], times))
        self._gap_ahead = False
        new = np.concatenate(([True], np.diff(steps) != 0.0))
        steps, times = steps[new], times[new]
        self.last_step, self.last_time = float(steps[-1]), float(times[-1])
        width, took = np.diff(steps), np.diff(times)
        valid = (width > 0.0) & (took >= 0.0)
        self.rewinds += int(np.count_nonzero(width < 0.0))
        self.clock_jumps += int(np.count_nonzero(took < 0.0))
        if valid.any():
            self._enqueue(np.column_stack((steps[1:], width, took))[valid])

    def _enqueue(self, rows: Floats) -> None:
        self._pending.append(rows)
        self._pending_rows += len(rows)
        if self._pending_rows < BLOCK:
            return
        rows = np.concatenate(self._pending)
        whole = len(rows) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            self._absorb(rows[start : start + BLOCK])
        self._pending = [rows[whole:]] if whole < len(rows) else []
        self._pending_rows = len(rows) - whole

    def _absorb(self, block: Floats) -> None:
        kept, pauses = split_pauses(block, self._before)
        self._before = block[-REMEMBERED:]
        self._increments += len(kept)
        self._keep_pauses(pauses)
        self._bins.add(kept)

    def view(self) -> RatesView:
        """Return what is known, with the points that do not fill a block yet."""
        pauses, kept, increments = self._pauses, np.empty((0, 3)), self._increments
        recent = self._before
        if self._pending_rows:
            block = np.concatenate(self._pending)
            kept, new = split_pauses(block, self._before)
            pauses = np.concatenate((pauses, new))[-MAX_PAUSES:]
            increments += len(kept)
            recent = np.concatenate((recent, block))
        bins = self._bins.with_open(kept)
        return RatesView(
            steps=bins[:, 0],
            seconds=bins[:, 1],
            excess=bins[:, 2],
            pauses=pauses,
            granularity=float(np.median(recent[:, 1])) if len(recent) else 1.0,
            increments=increments,
            first_step=self.first_step,
        )


def split_pauses(block: Floats, before: Floats) -> tuple[Floats, Floats]:
    """Tell pauses from steps, with the block before as further evidence of what is usual.

    Returns:
        The increments as (steps, seconds as usual, seconds beyond), and the pauses as rows of
        RatesView.pauses.
    """
    known = np.concatenate((before, block)) if len(before) else block
    rates = known[:, 2] / known[:, 1]
    usual = float(np.median(rates))
    end, width, took = block[:, 0], block[:, 1], block[:, 2]
    if not usual > 0.0 or len(known) < 5:
        return np.column_stack((width, took, np.zeros(len(block)))), np.empty((0, 3))
    paused = _short_runs(took > _pause_ratio(rates / usual) * usual * width)
    excess = np.where(paused, took - usual * width, 0.0)
    wide = width > 4.0 * np.median(known[:, 1])
    believed = ~(wide & (took < SKIP_RATIO * usual * width))
    kept = np.column_stack((width, took - excess, excess))[believed]
    return kept, np.column_stack((end - width, end, excess))[paused]


def _pause_ratio(rates: Floats) -> float:
    """Return from which multiple of the usual rate on an increment is a pause: noise is none."""
    logs = np.log(np.maximum(rates, 1e-3))
    sigma = 1.4826 * float(np.median(np.abs(logs)))
    return max(PAUSE_RATIO, exp(min(PAUSE_SIGMA * sigma, 50.0)))


def _short_runs(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave only those flags that stand in runs of at most PAUSES_IN_A_ROW."""
    if not flags.any():
        return flags
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    kept = np.zeros_like(flags)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start <= PAUSES_IN_A_ROW:
            kept[start:stop] = True
    return kept


class _Bins:
    """Sums over `stride` increments each; the stride doubles when there are too many."""

    def __init__(self) -> None:
        self.full = np.empty((0, 3))
        self.stride = 1
        self._open = np.zeros(3)
        self._open_rows = 0

    def add(self, rows: Floats) -> None:
        while len(rows):
            if self._open_rows or len(rows) < self.stride:
                take = self.stride - self._open_rows
                self._open += rows[:take].sum(axis=0)
                self._open_rows += min(take, len(rows))
                rows = rows[take:]
                if self._open_rows == self.stride:
                    self.full = np.concatenate((self.full, self._open[None]))
                    self._open, self._open_rows = np.zeros(3), 0
            else:
                whole = len(rows) // self.stride * self.stride
                sums = rows[:whole].reshape(-1, self.stride, 3).sum(axis=1)
                self.full = np.concatenate((self.full, sums))
                rows = rows[whole:]
        while len(self.full) > MAX_BINS:
            self._coarsen()

    def _coarsen(self) -> None:
        if len(self.full) % 2:
            self._open = self._open + self.full[-1]
            self._open_rows += self.stride
        even = len(self.full) // 2 * 2
        self.full = self.full[:even].reshape(-1, 2, 3).sum(axis=1)
        self.stride *= 2

    def with_open(self, rows: Floats) -> Floats:
        """Return all sums, with the bin that is not full yet and further rows behind them."""
        parts = [self.full]
        if self._open_rows:
            parts.append(self._open[None])
        if len(rows):
            parts.append(np.add.reduceat(rows, np.arange(0, len(rows), self.stride)))
        return np.concatenate(parts)
