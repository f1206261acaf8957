"""What is known of a run from its end: read from labels.tsv, or made by the same rules."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detection import roles
from detection.curves import Floats, Run, Series

__all__ = ["Label", "collapse_index", "hacked", "held_out_loss", "label", "labels_of"]

# A loss on held-out data that ends this much above its best is overfitting.
OVERFIT_RATIO = 1.05
# A headline metric that keeps less of its gain than this has diverged.
KEPT_SHARE = 0.5
MIN_EVALUATIONS = 10


@dataclass(frozen=True, slots=True)
class Label:
    """What happened in a run.

    Attributes:
        nonfinite: The first step with a NaN or an infinity; None: all values are finite.
        diverged: Whether the run lost most of what it had gained.
        overfit: Whether the held-out loss rose while the training loss fell; None: nobody can say.
        overfit_from: The step of the best held-out loss of an overfit run.
        collapse: The step from which a reward has lost half of what it had gained, to the end.
    """

    nonfinite: float | None = None
    diverged: bool = False
    overfit: bool | None = None
    overfit_from: float | None = None
    collapse: float | None = None

    @property
    def healthy(self) -> bool:
        """Return whether nothing is known against the run."""
        trouble = (self.nonfinite, self.overfit_from, self.collapse)
        return not self.diverged and all(item is None for item in trouble)


def labels_of(runs: list[Run], folder: Path) -> dict[str, Label]:
    """Return the label of every run: from labels.tsv of the folder where it stands there."""
    given: Mapping[str, Mapping[str, str]] = {}
    path = folder / "labels.tsv"
    if path.is_file():
        with path.open() as lines:
            rows = csv.DictReader(lines, delimiter="\t")
            given = {row["id"]: row for row in rows if row.get("id")}
    return {run.id: _read(given[run.id], run) if run.id in given else label(run) for run in runs}


@np.errstate(over="ignore", invalid="ignore")
def label(run: Run) -> Label:
    """Return the label of a run by the rules alone."""
    overfit, since = _overfit(run)
    # A held-out loss that rises while the training loss falls has not diverged.
    trained = run.family != "samplesize" and not _rewarded(run)
    diverged = trained and not overfit and _diverged(run)
    return Label(
        nonfinite=_nonfinite(run),
        diverged=diverged,
        overfit=overfit,
        overfit_from=since if overfit else None,
        collapse=_collapse(run),
    )


def _read(row: Mapping[str, str], run: Run) -> Label:
    def number(name: str) -> float | None:
        try:
            return float(row[name]) if row.get(name) else None
        except ValueError:
            return None

    overfit = {"1": True, "0": False}.get(row.get("overfit", ""))
    return Label(
        # Scores without an episode are written as NaN: that is no failure.
        nonfinite=_nonfinite(run),
        diverged=row.get("diverged") == "1",
        overfit=overfit,
        overfit_from=number("overfit_from_step") if overfit else None,
        collapse=_collapse(run),
    )


def _rewarded(run: Run) -> bool:
    return run.family in ("rl", "grpo")


def _nonfinite(run: Run) -> float | None:
    firsts = []
    for name, series in run.series.items():
        if roles.role(name) in ("loss", "grad_norm"):
            bad = np.flatnonzero(~np.isfinite(series.values))
            firsts += [float(series.steps[bad[0]])] if len(bad) else []
    return min(firsts, default=None)


def _overfit(run: Run) -> tuple[bool | None, float | None]:
    name = held_out_loss(run)
    twin = roles.twin_of(run, name) if name else None
    if name is None or twin is None:
        return None, None
    held, train = run.series[name].finite(), run.series[twin].finite()
    if len(held) < MIN_EVALUATIONS or len(train) < MIN_EVALUATIONS:
        return None, None
    best = int(held.values.argmin())
    since = float(held.steps[best])
    at_best = _level(train, since)
    rose = float(np.median(held.values[-3:])) > OVERFIT_RATIO * float(held.values[best])
    fell = float(np.median(train.values[-3:])) < at_best
    return rose and fell and best < len(held) - 3, since


def _level(train: Series, step: float) -> float:
    place = int(np.clip(np.searchsorted(train.steps, step, side="right"), 1, len(train)))
    return float(np.median(train.values[max(0, place - 3) : place]))


def held_out_loss(run: Run) -> str | None:
    """Return the loss on validation data; None: there is none."""
    names = [name for name in roles.of_role(run, "loss") if roles.held_out(name)]
    names = [name for name in names if "test" not in name.lower() and "bpb" not in name.lower()]
    return names[0] if names else None


def _diverged(run: Run) -> bool:
    headline = run.headline
    if headline is None or len(headline) < MIN_EVALUATIONS:
        return False
    gained = -headline.values if run.goal == "min" else headline.values
    last = float(np.median(gained[-3:]))
    best, first = float(gained.max()), float(np.median(gained[:1]))
    worst = min(float(gained.min()), first)
    return last - worst < KEPT_SHARE * (best - worst) and best > worst


def _collapse(run: Run) -> float | None:
    headline = run.headline
    if headline is None or not _rewarded(run):
        return None
    index = collapse_index(headline.values if run.goal == "max" else -headline.values)
    return None if index is None else float(headline.steps[index])


def collapse_index(rewards: Floats) -> int | None:
    """Return where a smoothed reward goes below half of its way up for good; None: nowhere.

    The way up has to stand out of the noise: three times the spread around the smoothed curve.
    """
    width = max(10, math.ceil(0.05 * len(rewards)))
    if len(rewards) < 3 * width:
        return None
    smooth = np.convolve(rewards, np.ones(width) / width, mode="valid")
    noise = float(np.std(rewards[width - 1 :] - smooth))
    best = int(smooth.argmax())
    way = float(smooth[best] - smooth[: best + 1].min())
    if way <= 3 * noise or best == len(smooth) - 1:
        return None
    below = smooth < smooth[best] - way / 2
    if not below[-1]:
        return None
    last_above = int(np.flatnonzero(~below)[-1])
    return last_above + width  # the end of the first window below


def hacked(run: Run) -> bool:
    """Return whether the rewarded score rose by a tenth while the true one did not follow.

    Known only where the run says which series is which.
    """
    proxy, true = (
        run.series.get(str(run.meta.get("proxy"))),
        run.series.get(str(run.meta.get("true"))),
    )
    if proxy is None or true is None or min(len(proxy), len(true)) < MIN_EVALUATIONS:
        return False
    rose = [float(np.mean(s.values[-5:]) - np.mean(s.values[:5])) for s in (proxy, true)]
    return rose[0] > 0.1 and rose[1] < 0.2 * rose[0]
