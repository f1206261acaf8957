"""Contact sheets: real curves with what Watch said drawn on them, a page for each kind.

`make bench-sheets DATA=DIR OUT=DIR`. Half of the curves of a page have findings of the kind, a
third are healthy ones of the same sort without, the rest are labelled events that were missed.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detection import curves, healthy, labels, ours, roles, synthetic
from detection.curves import Floats, Run, Series
from detection.labels import Label

__all__ = ["Curve", "Sheet", "collect", "draw"]

CURVES = 60
COLUMNS = 6
# By severity.
COLOURS = {"info": "tab:blue", "warning": "tab:orange", "critical": "tab:red"}
# Behind the curve: why it is on the page.
SHADES = {"found": "white", "healthy": "#eef7ee", "missed": "#fbe9e7"}
# A healthy curve of fewer points shows nothing.
_LEAST_POINTS = 25
# The first points of a series do not set the scale: losses come from far above.
_START = 20
# On a logarithmic scale when the bulk of its values spans so much.
_SPAN = 30.0


@dataclass(frozen=True, slots=True)
class Curve:
    """One series, what was said of it, and why it is on the page."""

    run: str
    source: str
    metric: str
    series: Series
    findings: Sequence[Any]
    why: str


@dataclass(slots=True)
class Sheet:
    """The candidates for the page of one kind, by why, and by source and group."""

    found: dict[str, list[Curve]] = field(default_factory=lambda: defaultdict(list))
    healthy: dict[str, list[Curve]] = field(default_factory=lambda: defaultdict(list))
    missed: dict[str, list[Curve]] = field(default_factory=lambda: defaultdict(list))

    def chosen(self, kind: str, seed: int) -> list[Curve]:
        """Return the curves of the page: each group of runs has its turn, a seed draws in it."""
        parts = []
        for candidates, count in (
            (self.found, CURVES // 2),
            (self.healthy, CURVES // 3),
            (self.missed, CURVES - CURVES // 2 - CURVES // 3),
        ):
            parts += _drawn(candidates, count, f"{kind}/{seed}")
        return parts


def _drawn(candidates: dict[str, list[Curve]], count: int, seed: str) -> list[Curve]:
    def key(curve: Curve) -> int:
        return zlib.crc32(f"{seed}/{curve.run}/{curve.metric}".encode())

    queues = {source: sorted(some, key=key) for source, some in sorted(candidates.items())}
    drawn: list[Curve] = []
    while queues and len(drawn) < count:
        for source in list(queues):
            if not queues[source]:
                del queues[source]
            elif len(drawn) < count:
                drawn.append(queues[source].pop(0))
    return drawn


def collect(runs: Iterable[Run], known: dict[str, Label]) -> dict[str, Sheet]:
    """Replay runs and sort their series under the kinds that were, or should have been, told."""
    watched = ours.watched()
    sheets: dict[str, Sheet] = defaultdict(Sheet)
    # Roles of the series of which a kind was ever told: there it is asked for healthy ones.
    heard: dict[str, set[str]] = defaultdict(set)
    quiet: list[tuple[Run, dict[str, list[Any]]]] = []
    for run in runs:
        if run.family == "samplesize":
            continue
        seen = healthy.watched(run)
        by_metric: dict[str, list[Any]] = defaultdict(list)
        for finding in watched.findings(seen):
            by_metric[finding.metric].append(finding)
        for metric, found in by_metric.items():
            for kind in {finding.kind for finding in found}:
                heard[kind].add(roles.role(metric))
                _add(sheets[kind].found, seen, metric, found, kind, "found")
        _miss(sheets, seen, known[run.id], by_metric)
        if known[run.id].healthy:
            quiet.append((seen, by_metric))
    for kind, where in heard.items():
        for run, by_metric in quiet:
            _spare(sheets[kind].healthy, run, by_metric, kind, where)
    return sheets


def _spare(
    candidates: dict[str, list[Curve]],
    run: Run,
    by_metric: dict[str, list[Any]],
    kind: str,
    where: set[str],
) -> None:
    """Put the series of a healthy run of which a kind was not told to the candidates."""
    for metric, series in run.series.items():
        told = {finding.kind for finding in by_metric.get(metric, ())}
        if kind not in told and roles.role(metric) in where and len(series) >= _LEAST_POINTS:
            _add(candidates, run, metric, (), kind, "healthy")


def _add(
    candidates: dict[str, list[Curve]],
    run: Run,
    metric: str,
    found: Sequence[Any],
    kind: str,
    why: str,
) -> None:
    curve = _curve(run, metric, found, kind, why)
    if curve is not None:
        candidates[f"{run.source} {run.group}"].append(curve)


def _curve(run: Run, metric: str, found: Sequence[Any], kind: str, why: str) -> Curve | None:
    series = run.series.get(metric)
    # What is about several metrics at once, or about the clock, is drawn on the headline.
    series = run.series.get(run.metric) if series is None else series
    if series is None or len(series) < 3:
        return None
    own = [finding for finding in found if finding.kind == kind]
    return Curve(run.id, run.source, metric, series, own, why)


def _miss(
    sheets: dict[str, Sheet], run: Run, label: Label, by_metric: dict[str, list[Any]]
) -> None:
    """Put labelled events of which nothing was said on their pages."""
    main = roles.train_loss(run)
    events = {
        "divergence": main if label.diverged else None,
        "overfitting": labels.held_out_loss(run) if label.overfit_from is not None else None,
        "reward_drop": run.metric if label.collapse is not None else None,
        "reward_hacking": run.metric if labels.hacked(run) else None,
    }
    for kind, metric in events.items():
        said = any(one.kind == kind for found in by_metric.values() for one in found)
        if metric is not None and not said:
            _add(sheets[kind].missed, run, metric, (), kind, "missed")


def draw(curves_of_page: Sequence[Curve], title: str, path: Path) -> None:
    """Draw a page."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = max(1, -(-len(curves_of_page) // COLUMNS))
    with mpl.rc_context({"font.size": 6, "axes.linewidth": 0.4}):
        figure = Figure(figsize=(3.1 * COLUMNS, 2.1 * rows + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=10)
        axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for ax, curve in zip(axes, curves_of_page, strict=False):
            _draw_one(ax, curve)
        for ax in axes[len(curves_of_page) :]:
            ax.set_axis_off()
        figure.savefig(path, dpi=100)


def _draw_one(ax: Any, curve: Curve) -> None:
    steps, values = curve.series.steps, curve.series.values
    good = np.isfinite(values)
    ax.set_facecolor(SHADES[curve.why])
    ax.plot(steps[good], values[good], lw=0.6, color="0.35", marker="." if len(steps) < 80 else "",
            ms=2)  # fmt: skip
    for step in steps[~good][:50]:
        ax.axvline(step, color="magenta", lw=0.3, alpha=0.5)
    _scale(ax, values[good])
    _limit(ax, values[good], curve)
    for finding in curve.findings:
        _mark(ax, finding)
    said = [one for one in curve.findings if not one.over]
    head = (
        f"{curve.source}: {curve.metric}\nsteps {steps[0]:,.0f}-{steps[-1]:,.0f}, {len(steps)} pts"
    )
    text = f"{len(said)}x " + said[-1].text if said else curve.why
    ax.set_title(head + "\n" + _cut(text, 66), fontsize=5.5, loc="left", pad=2)
    ax.tick_params(length=1, width=0.3, labelsize=5, pad=1)


def _cut(text: str, width: int) -> str:
    return "\n".join(
        text[start : start + width] for start in range(0, min(len(text), 2 * width), width)
    )


def _scale(ax: Any, values: Floats) -> None:
    if len(values) and values.min() > 0:
        low, high = np.quantile(values, [0.02, 0.98])
        if high > _SPAN * low or values.max() > 10 * _SPAN * low:
            ax.set_yscale("log")


def _limit(ax: Any, values: Floats, curve: Curve) -> None:
    """Leave what lies above all but the beginning out of the picture."""
    later = values[len(values) // _START :]
    early = any(
        len(values) // _START >= 5
        and f.step is not None
        and f.step < curve.series.steps[len(values) // _START]
        for f in curve.findings
    )
    if len(later) and not early and later.max() < values.max():
        low = float(values.min())
        margin = 0.05 * (float(later.max()) - low)
        bottom = low - margin if ax.get_yscale() == "linear" else low / 1.1
        ax.set_ylim(bottom, float(later.max()) + 4 * margin)


def _mark(ax: Any, finding: Any) -> None:
    if finding.step is None:
        return
    if finding.over:
        ax.axvline(finding.step, color="tab:green", lw=0.8, ls="--")
        return
    colour = COLOURS[finding.severity]
    ax.axvline(finding.step, color=colour, lw=1.0)
    if finding.since is not None and finding.since < finding.step:
        ax.axvspan(finding.since, finding.step, color=colour, alpha=0.15, lw=0)


def main() -> None:
    """Draw the pages."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m detection.sheets")
    parser.add_argument("--data", default="", help="a folder of curves; default: made ones")
    parser.add_argument("--every", type=int, default=1, help="take each n-th run of a file only")
    parser.add_argument("--only", default="", help="kinds of findings; default: all")
    parser.add_argument("--seed", type=int, default=0, help="draws other curves")
    parser.add_argument("--out", type=Path, default=Path("benches/out/sheets"), help="a folder")
    args = parser.parse_args()
    folder = Path(args.data) if args.data else None
    runs = curves.load(folder, every=args.every) if folder else synthetic.make(12)
    known = labels.labels_of(runs, folder or Path())
    sheets = collect(runs, known)
    only = frozenset(args.only.replace(",", " ").split())
    args.out.mkdir(parents=True, exist_ok=True)
    for kind, sheet in sorted(sheets.items()):
        chosen = sheet.chosen(kind, args.seed)
        if (only and kind not in only) or not chosen:
            continue
        counts = {
            why: sum(map(len, some.values()))
            for why, some in (("found", sheet.found), ("missed", sheet.missed))
        }
        title = (
            f"{kind}: {counts['found']} series with it, {counts['missed']} labelled and missed; "
        )
        title += "white: found, green: healthy without, red: missed; line: alarm, band: since, "
        draw(chosen, title + "dashed: over", args.out / f"{kind}.png")
        print(f"{args.out / kind}.png: {len(chosen)} of {counts}", file=sys.stderr)


if __name__ == "__main__":
    main()
