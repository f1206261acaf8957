"""The page: one Markdown document with everything that was scored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from detection import ours, sums
from detection.bars import BARS
from detection.bench import Results, Systems
from detection.faults import FAULTS
from detection.final import Errors
from detection.healthy import ANY, KIND_ROLES
from detection.predicted import predictions
from detection.remaining import EtaErrors
from detection.tables import cell, table

__all__ = ["page"]

Row = Sequence[object]
_COLUMNS = ("cases", "cancelled", "precision", "recall", "F1", "delay", "p90", "vs spec")


def page(results: Results, tested: Systems, head: Sequence[str]) -> str:
    """Return the whole page; parts without figures are left out."""
    parts = ["# Detection bench\n", _head(head, tested)]
    parts += [*_bars(results), *_detectors(results, tested), *_heard(results)]
    parts += [*_events(results, tested)]
    parts += [*predictions(results, tested), *_churn(results), *_costs(results, tested)]
    return "\n".join(parts)


def _head(head: Sequence[str], tested: Systems) -> str:
    lines = [*head, *(f"not scored: {text}" for text in tested.missing)]
    return "\n".join(f"- {line}" for line in lines) + "\n"


def _bars(results: Results) -> Iterator[str]:
    rows = []
    for bar in BARS:
        value = bar.read(results, ours.NAME)
        row = [bar.measure, value, bar.floor, bar.verdict(value, bar.floor), bar.aim]
        row.append(bar.verdict(value, bar.aim))
        rows.append([*row, *(f"{cell(bar.read(results, name))} ({name})" for name in bar.beside)])
    yield "## Bars\n"
    yield table(("measure", ours.NAME, "floor", "", "aim", "", "specifications", "others"), rows)
    if without := [str(row[0]) for row in rows if row[3] == "-"]:
        yield f"No figure, as no curve here tells: {'; '.join(without)}.\n"


def _detectors(results: Results, tested: Systems) -> Iterator[str]:
    for kind in dict.fromkeys(fault.kind for fault in FAULTS):
        rows = list(_rows_of(results, tested, kind))
        if not rows:
            continue
        sizes = _sizes(kind)
        columns = ("detector", "series", *_COLUMNS, *sizes, "FA/10k", "no cool-down", "runs")
        yield f"## {kind}: injected\n"
        yield table(columns, rows)
        if kind in ("spike", "slowdown"):
            label = "12 sigma" if kind == "spike" else "x1.15"
            yield f"### {kind} by source: recall at {label}, false alarms per 10k\n"
            yield _by_source(results, tested, kind, label)
    rows = list(_alone(results, tested))
    if rows:
        yield "## Healthy runs, kinds that are not injected\n"
        columns = ("detector", "kind", "series", "points", "FA/10k", "no cool-down", "runs")
        yield table(columns, rows)


def _rows_of(results: Results, tested: Systems, kind: str) -> Iterator[Row]:
    for role in _roles(kind):
        spec = _spec(results, tested, kind, role)
        for detector in tested.detectors:
            one = sums.tally(results, detector.name, kind, role=role)
            if not one.cases:
                continue
            calm = sums.quiet(results, detector.name, kind, role=role)
            against = 100 * (one.worth - spec) / (1 - spec) if spec < 1 else math.nan
            yield [
                detector.name, role, one.cases, one.cancelled / one.cases, one.precision,
                one.recall, one.f1, one.delay(0.5), one.delay(0.9), round(against, 1),
                *(
                    sums.tally(results, detector.name, kind, role=role, label=size).recall
                    for size in _sizes(kind)
                ),
                calm.per_10k, calm.raw_per_10k, calm.run_share,
            ]  # fmt: skip


def _spec(results: Results, tested: Systems, kind: str, role: str) -> float:
    """Return what the first rule of the specifications is worth; NaN: they have none."""
    for detector in tested.detectors:
        if detector.name.startswith("S") and detector.name[1:2].isdigit():
            one = sums.tally(results, detector.name, kind, role=role)
            if one.cases:
                return one.worth
    return math.nan


def _roles(kind: str) -> list[str]:
    return sorted({role for fault in FAULTS if fault.kind == kind for role in fault.roles})


def _sizes(kind: str) -> list[str]:
    labels = (fault.label.split(",")[0] for fault in FAULTS if fault.kind == kind)
    sizes = list(dict.fromkeys(labels))
    return sizes if len(sizes) > 1 else []


def _by_source(results: Results, tested: Systems, kind: str, label: str) -> str:
    places = sorted({(key[3], key[4]) for key in results.injected if key[1] == kind})
    rows = []
    for detector in tested.detectors:
        if kind not in detector.kinds:
            continue
        cells = []
        for source, role in places:
            one = sums.tally(results, detector.name, kind, label=label, source=source, role=role)
            calm = sums.quiet(results, detector.name, kind, source=source, role=role)
            cells.append(f"{cell(one.recall)} / {cell(calm.per_10k)}")
        rows.append([detector.name, *cells])
    return table(("detector", *(f"{source} {role}" for source, role in places)), rows)


def _alone(results: Results, tested: Systems) -> Iterator[Row]:
    injected = {fault.kind for fault in FAULTS}
    for detector in tested.detectors:
        for kind in sorted(detector.kinds - injected):
            for role in KIND_ROLES.get(kind, ()):
                calm = sums.quiet(results, detector.name, kind, role=role)
                if calm.points:
                    yield [detector.name, kind, role, calm.points, calm.per_10k, calm.raw_per_10k,
                           calm.run_share]  # fmt: skip


def _heard(results: Results) -> Iterator[str]:
    """Yield what a user of ours would hear on healthy runs, whatever it is called."""
    total = sums.quiet(results, ours.NAME, "any", role=ANY)
    kinds = {key[1] for key in results.quiet if key[0] == ours.NAME and key[3] == ANY}
    rows: list[Row] = []
    for kind in sorted(kinds, key=lambda kind: (kind != "any", kind)):
        one = sums.quiet(results, ours.NAME, kind, role=ANY)
        rows.append([kind, one.raw, one.raw / total.runs, one.runs_with_alarm / total.runs])
    if rows:
        yield f"## All that {ours.NAME} says on {total.runs:,} healthy runs\n"
        yield table(("severity and kind", "findings", "a run", "share of runs"), rows)
        yield "Healthy runs may have spikes that are real.\n"


def _events(results: Results, tested: Systems) -> Iterator[str]:
    kinds = dict.fromkeys(key[1] for key in results.events)
    rows: list[Row] = []
    for kind in kinds:
        for detector in tested.detectors:
            one = sums.events(results, detector.name, kind)
            if one.events or one.clean:
                delays = one.delays or [math.nan]
                rows.append(
                    [
                        kind, detector.name, one.events, one.recall, one.precision, one.early,
                        one.clean, one.false_share, float(np.median(delays)),
                        float(np.quantile(delays, 0.9)),
                    ]
                )  # fmt: skip
    if rows:
        yield "## Real events\n"
        yield table(
            ("event", "detector", "events", "recall", "precision", "early", "clean runs",
             "of them alarmed", "delay", "p90"),
            rows,
        )  # fmt: skip
        yield "Labels are rules over whole curves, not human eyes. A negative delay is a lead.\n"


def _churn(results: Results) -> Iterator[str]:
    if results.states:
        rows = [
            [name, family, len(counts), float(np.median(counts)), float(np.quantile(counts, 0.9)),
             max(counts), float(np.mean([count > 6 for count in counts]))]
            for (name, family), counts in sorted(results.states.items())
        ]  # fmt: skip
        yield "## State machine: transitions per healthy run\n"
        columns = ("machine", "family", "runs", "median", "p90", "most", "share over 6")
        yield table(columns, rows)


def _costs(results: Results, tested: Systems) -> Iterator[str]:
    rows: list[Row] = [
        [detector.name, ", ".join(sorted(detector.kinds)), sums.cost(results, detector.name)]
        for detector in tested.detectors
        if detector.name in results.costs
    ]
    if rows:
        yield "## Cost\n"
        yield table(("detector", "kinds", "microseconds a point"), rows)
        yield "Points of all series of a run count, also those that a rule does not look at.\n"
    yield from _prediction_cost("final value", results.final)
    yield from _prediction_cost("remaining time", results.etas)


def _prediction_cost(
    what: str, found: Mapping[tuple[str, float, str, str], Errors | EtaErrors]
) -> Iterator[str]:
    own = [errors for key, errors in found.items() if key[0] == ours.NAME]
    count = sum(errors.asked for errors in own)
    if count:
        spent = 1e3 * sum(errors.seconds for errors in own) / count
        yield f"A prediction of the {what} takes {spent:.2f} ms.\n"
