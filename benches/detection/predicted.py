"""The part of the page about predictions: final value, advice to stop, remaining time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from detection import final, ours, remaining, sums
from detection.bench import Results, Systems
from detection.tables import table

if TYPE_CHECKING:
    from detection.final import Errors

__all__ = ["predictions"]

Row = Sequence[object]
_LEVELS = final.LEVELS
_ERRORS = ("n", "MAE", "NMAE", "median APE", "skill", "CRPS")
_INTERVALS = (*(f"in {level} %" for level in _LEVELS), *(f"width {level} %" for level in _LEVELS))


def predictions(results: Results, tested: Systems) -> Iterator[str]:
    """Yield the tables that have figures."""
    if results.final:
        yield "## Final value\n"
        rows = list(_final(results, tested))
        yield table(
            (
                "family",
                "known",
                "predictor",
                "n",
                "MAE",
                "NMAE",
                "median APE",
                "skill",
                "CRPS",
                *_INTERVALS,
            ),
            rows,
        )
        yield "Errors and widths are in ranges (97th minus 3rd percentile) of the whole curve.\n"
        yield from _by_source(results)
    if results.stops:
        yield "## Advice to stop\n"
        yield table(
            ("family", "advisor", "runs", "advised", "wrong", "saved", "Brier", "base rate"),
            _stops(results, tested),
        )
        yield "Wrong: the best value was beaten by 0.5 % later. Saved: of what could be saved.\n"
        yield from _reliability(results, tested)
    if results.etas:
        yield "## Remaining time\n"
        yield table(
            ("clock", "known", "estimator", "n", "median APE", "p90 APE", *_INTERVALS),
            _etas(results, tested),
        )
        yield "Widths are shares of the true remaining time (medians).\n"


def _final(results: Results, tested: Systems) -> Iterator[Row]:
    families = sorted({key[2] for key in results.final})
    for family in families:
        for share in final.CUTS:
            for name in tested.predictors:
                errors = sums.errors(results, name, share, family=family)
                if errors.asked:
                    yield [family, f"{share:.0%}", name, *_figures(errors)]


def _figures(errors: Errors) -> list[object]:
    return [
        len(errors.nmae), _mean(errors.mae), _mean(errors.nmae), _median(errors.ape),
        errors.skill, _mean(errors.crps),
        *(errors.coverage(level) for level in _LEVELS),
        *(_median(errors.width.get(level, [])) for level in _LEVELS),
    ]  # fmt: skip


def _by_source(results: Results) -> Iterator[str]:
    sources = sorted({key[3] for key in results.final if key[0] == ours.NAME})
    if sources:
        rows = [
            [source, *_figures(sums.errors(results, ours.NAME, 0.3, source=source))]
            for source in sources
        ]
        yield f"### Final value at 30 % by source, {ours.NAME}\n"
        yield table(("source", *_ERRORS, *_INTERVALS), rows)


def _stops(results: Results, tested: Systems) -> Iterator[Row]:
    families = sorted({key[1] for key in results.stops})
    for family in [*families, None]:
        for name in tested.advisors:
            one = sums.stops(results, name, family=family)
            if one.runs:
                yield [
                    family or "all", name, one.runs, one.fired / one.runs, one.wrong_share,
                    one.saved_share, one.brier, one.base_brier,
                ]  # fmt: skip


def _reliability(results: Results, tested: Systems) -> Iterator[str]:
    for name in tested.advisors:
        rows = sums.stops(results, name).reliability()
        if rows:
            yield f"### Reliability of P(gain), {name}\n"
            yield table(("said", "came true", "times"), rows)


def _etas(results: Results, tested: Systems) -> Iterator[Row]:
    sorts = sorted({key[2] for key in results.etas})
    for sort in sorts:
        for share in remaining.CUTS:
            for name in tested.estimators:
                one = sums.eta(results, name, share, sort=sort)
                if one.asked:
                    yield [
                        sort, f"{share:.0%}", name, len(one.ape), _median(one.ape),
                        float(np.quantile(one.ape, 0.9)) if one.ape else math.nan,
                        *(one.coverage(level) for level in _LEVELS),
                        *(_median(one.width.get(level, [])) for level in _LEVELS),
                    ]  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else math.nan
