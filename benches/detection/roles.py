"""What a series is, from its name; the scorer's own view, apart from the one under test."""

from __future__ import annotations

import re

import numpy as np

from detection.curves import Run, Series

__all__ = ["held_out", "metric_kind", "of_role", "role", "step_times", "train_loss", "twin_of"]

# The first that matches wins.
_ROLES = (
    ("lr", r"(^|[/_.])(lr|learning_rate)([/_.]|$)"),
    ("grad_norm", r"grad(ient)?_?norm|gnorm"),
    ("entropy", r"entropy(?!_loss)"),
    ("kl", r"(^|[/_.])(approx_)?kl([/_.]|$)"),
    ("loss_scale", r"loss_?scale"),
    ("step_time", r"step_time|iter_time|time/total|seconds_per_step|batch_time"),
    ("throughput", r"tokens_per|tok_?s|throughput|samples_per|it/s"),
    ("mfu", r"(^|[/_.])mfu([/_.]|$)"),
    ("memory", r"mem(ory)?([/_.]|$)"),
    ("length", r"length|ep_len"),
    ("spread", r"reward.*std|std.*reward"),
    ("reward", r"reward|ep_rew|^scores?$|episode_score|(^|[/_.])returns?([/_.]|$)"),
    ("loss", r"loss|nll|bpb"),
    ("error", r"err(or)?([/_.]|$)|perplexity|(^|[/_.])(wer|cer|ppl|mae|mse|rmse)([/_.]|$)"),
)
# The quartiles of the distances of a regular clock are at least this near to each other.
REGULAR = 0.8
_HELD_OUT = re.compile(r"(^|[/_.])(val|valid|validation|eval|dev|test)([/_.]|$)")


def role(name: str) -> str:
    """Return what the series of this name is; score where nothing better is known."""
    lower = name.lower()
    return next((kind for kind, pattern in _ROLES if re.search(pattern, lower)), "score")


def held_out(name: str) -> bool:
    """Return whether the name speaks of data that is not trained on."""
    return _HELD_OUT.search(name.lower()) is not None


def of_role(run: Run, wanted: str) -> dict[str, Series]:
    """Return the series of a run that are of this role."""
    return {name: item for name, item in run.series.items() if role(name) == wanted}


def train_loss(run: Run) -> str | None:
    """Return the loss of each step, else the one with the most points; None: there is none."""
    names = [name for name in of_role(run, "loss") if not held_out(name)]
    return max(names, key=lambda name: (name == "loss", len(run.series[name])), default=None)


def twin_of(run: Run, name: str) -> str | None:
    """Return the training series that belongs to a held-out one; None: there is none."""
    leaf = _HELD_OUT.sub(r"\1train\3", name.lower(), count=1)
    same = [other for other in run.series if other.lower() == leaf]
    if same:
        return same[0]
    return train_loss(run) if role(name) == "loss" else None


def step_times(run: Run) -> Series | None:
    """Return the seconds per step between the entries of the clock.

    None: there is no clock, or its entries are not regular: they are then about episodes, which
    differ in length, and not about steps.
    """
    if run.wall is None or len(run.wall.steps) < 3:
        return None
    seconds = run.wall.parts.get("train", run.wall.seconds)
    ahead, took = np.diff(run.wall.steps), np.diff(seconds)
    good = (ahead > 0) & (took > 0) & np.isfinite(took)
    if good.sum() < 3:
        return None
    shorter, longer = np.quantile(ahead[good], [0.25, 0.75])
    if shorter < REGULAR * longer:
        return None
    return Series(run.wall.steps[1:][good], took[good] / ahead[good])


def metric_kind(run: Run) -> str:
    """Return what the headline metric of a run is: loss, score, error or reward."""
    kind = role(run.metric)
    if run.family in ("rl", "grpo"):
        return "reward"
    return kind if kind in ("loss", "error", "reward") else "score"
