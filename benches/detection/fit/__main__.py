"""Fit the constants of the package from a folder of curves and print cross-fitted figures.

PYTHONPATH=benches python -m detection.fit DATA [--every N] [--write] [--by group|source]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from detection.fit.cases import Case, read_cases
from detection.fit.crossfit import FOLDS, Fitted, fit_kind, fit_odds, folds_of
from detection.fit.report import advice_table, forecast_table, reliability
from detection.fit.write import write_constants


def main() -> None:
    parser = argparse.ArgumentParser(prog="detection.fit", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with *.jsonl.gz")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th run")
    parser.add_argument("--write", action="store_true", help="write predict/constants.py")
    parser.add_argument(
        "--by", choices=("group", "source"), default="group", help="what is left out in fitting"
    )
    options = parser.parse_args()
    cases = [
        case for case in read_cases(options.data, options.every) if case.curve != "pretrain-clip"
    ]
    fit_all(cases, by=options.by, write=options.write)


def fit_all(cases: list[Case], *, by: str, write: bool) -> None:
    labels = [case.group if by == "group" else case.source for case in cases]
    folds = folds_of(labels, FOLDS if by == "group" else None)
    value, width = np.zeros(len(cases)), np.zeros(len(cases))
    bounds = np.zeros((len(cases), 6))
    kinds: dict[str, Fitted] = {}
    for kind in ("loss", "score", "error", "reward"):
        here = np.array([case.kind == kind for case in cases])
        chosen = [case for case in cases if case.kind == kind]
        if not chosen:
            continue
        kinds[kind] = found = fit_kind(chosen, folds[here])
        value[here], width[here], bounds[here] = found.value, found.width, found.bounds
    chance = np.zeros(len(cases))
    odds = {}
    for name in ("reward", "other"):
        here = np.array([(case.kind == "reward") == (name == "reward") for case in cases])
        chosen = [case for case, mine in zip(cases, here, strict=True) if mine]
        if not chosen:
            continue
        odds[name], chance[here] = fit_odds(chosen, value[here], width[here], folds[here])
    print(f"\nFinal value, left out by {by}: mean error in widths of the run;")
    print("rivals, coverage, and width of the 90 % interval: at 30 %\n")
    print("\n".join(forecast_table(cases, value, bounds)))
    print("\nStop advice\n")
    print("\n".join(advice_table(cases, chance)))
    print()
    print("\n".join(reliability(cases, chance)))
    if write and (len(kinds) < 4 or len(odds) < 2):
        raise SystemExit(
            f"nothing written: curves of {', '.join(kinds)} only, all kinds are needed"
        )
    if write:
        write_constants(kinds, odds)


if __name__ == "__main__":
    main()
