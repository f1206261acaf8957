"""Compare what a database holds of an attempt with what the judge counted and computes itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import training_monitor as tm
from faults import kill_trainer as trainer

Indices = NDArray[np.int64]


class WrongError(AssertionError):
    """The database is not what was accepted."""


class Evidence:
    """One run as the database tells it, read once per key."""

    def __init__(self, run_dir: Path) -> None:
        reader = tm.open_run(run_dir)
        self.run_dir = run_dir
        self.series = {
            key: reader.series(key, raw=True) for key in [*trainer.WIDE, "index", *trainer.ODD]
        }

    def judge(self, number: int, seed: int, *, accepted: int, was_killed: bool) -> bool:
        """Check one attempt; return whether it holds the one call more that a kill may leave."""
        table = np.array(trainer.table(seed))
        seen = set()
        for key, series in self.series.items():
            steps = np.asarray(series.step) - number * trainer.STRIDE
            chosen = np.flatnonzero((steps >= 0) & (steps < trainer.STRIDE))
            indices = steps[chosen]
            where = f"{self.run_dir} attempt {number} {key}"
            counted = calls_with(key, accepted)
            _check_presence(where, indices, counted, accepted if was_killed else -1)
            if trainer.typed(accepted) == (key in trainer.ODD):
                seen.add(accepted in indices)
            if key in trainer.ODD:
                _check_objects(where, key, indices, [series.value[i] for i in chosen])
            else:
                _check_floats(where, indices, series.value[chosen], _column(key, table, indices))
        if len(seen) > 1:
            raise WrongError(f"{self.run_dir} attempt {number}: call {accepted} is torn")
        return seen.pop()


def calls_with(key: str, calls: int) -> Indices:
    """Return which of the first `calls` calls carry `key`."""
    indices = np.arange(calls)
    odd = indices % trainer.ODD_PERIOD == trainer.ODD_PHASE
    chosen: Indices = indices[odd if key in trainer.ODD else ~odd]
    return chosen


def points_of(calls: int) -> int:
    """Return how many points the first `calls` calls hold."""
    odd = len(calls_with("count", calls))
    return odd * len(trainer.ODD) + (calls - odd) * (len(trainer.WIDE) + 1)


def _check_presence(where: str, indices: Indices, counted: Indices, one_more: int) -> None:
    if np.array_equal(indices, counted):
        return
    unique = np.unique(indices)
    if len(unique) != len(indices):
        raise WrongError(f"{where}: {len(indices) - len(unique)} points twice")
    missing = np.setdiff1d(counted, unique)
    if len(missing):
        raise WrongError(f"{where}: {len(missing)} of {len(counted)} lost, from {missing[0]}")
    extra = np.setdiff1d(unique, counted)
    if len(extra) and extra.tolist() != [one_more]:
        raise WrongError(f"{where}: {len(extra)} were never accepted, from {extra[0]}")


def _column(key: str, table: NDArray[np.float64], indices: Indices) -> NDArray[np.float64]:
    if key == "index":
        return indices.astype(np.float64)
    column: NDArray[np.float64] = table[indices % trainer.ROWS, trainer.WIDE.index(key)]
    return column


def _check_floats(where: str, indices: Indices, values: object, wanted: object) -> None:
    got = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    wrong = np.flatnonzero(got != np.ascontiguousarray(wanted, dtype=np.float64).view(np.int64))
    if len(wrong):
        raise WrongError(f"{where}: {len(wrong)} wrong values, from call {indices[wrong[0]]}")


def _check_objects(where: str, key: str, indices: Indices, values: list[object]) -> None:
    for index, value in zip(indices.tolist(), values, strict=True):
        wanted = trainer.odd_values(index)[key]
        if value != wanted or type(value) is not type(wanted):
            raise WrongError(f"{where}: call {index} is {value!r}, not {wanted!r}")
