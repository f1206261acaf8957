"""At which step a run ends, and who says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Points = tuple[ArrayLike, ArrayLike]

__all__ = ["EPOCHS", "STEPS", "STEPS_PER_EPOCH", "Total", "total_steps"]

# Names under which configurations say how many steps there are, the clearest first. A name may
# stand anywhere in a nested configuration, in any case, with - for _.
STEPS = (
    "max_steps",
    "max_train_steps",
    "num_train_steps",
    "num_training_steps",
    "total_training_steps",
    "total_train_steps",
    "total_steps",
    "train_iters",
    "max_iters",
    "max_iter",
    "max_train_iters",
    "num_iterations",
    "num_iters",
    "total_iterations",
    "total_iters",
    "total_timesteps",
    "total_env_steps",
    "max_updates",
    "max_update",
    "total_updates",
    "training_steps",
    "train_steps",
    "max_duration",
    "iterations",
    "num_steps",
)
EPOCHS = (
    "num_train_epochs",
    "max_epochs",
    "total_epochs",
    "num_epochs",
    "train_epochs",
    "epochs",
    "max_epoch",
    "nb_epochs",
    "max_duration",
    "n_epochs",
)
STEPS_PER_EPOCH = (
    "steps_per_epoch",
    "num_update_steps_per_epoch",
    "updates_per_epoch",
    "iters_per_epoch",
    "iterations_per_epoch",
    "batches_per_epoch",
    "num_batches",
)
# A name below one of these is about a part of the training: asked when nobody else says it.
PARTS = ("lr", "sched", "warmup", "optim", "eval", "val", "test", "decay", "ema", "profil", "sampl")
# A configuration deeper or longer than this is not read to its end: it may hold itself.
DEEPEST = 6
LONGEST = 20_000
# Numbers as people write them: 300k, 1.5M; 20ep and 4000ba are Composer's epochs and batches.
SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9}
# A logged count of what remains counts steps when it falls by one per step, give or take this.
COUNTS_STEPS = 0.05


@dataclass(frozen=True, slots=True)
class Total:
    """The step at which a run ends.

    Attributes:
        steps: That step.
        origin: "user", "config" or "progress".
        where: What said it, as "config trainer.max_steps" or "metric progress".
        exact: False where it was computed from what was logged.
    """

    steps: float
    origin: str
    where: str
    exact: bool

    def __str__(self) -> str:
        about = "" if self.exact else "about "
        return f"{about}{self.steps:,.0f} steps ({self.where})"


def total_steps(
    config: Mapping[str, Any] | None = None,
    *,
    given: float | None = None,
    step: float | None = None,
    epoch: Points | None = None,
    progress: Points | None = None,
    remaining: Points | None = None,
) -> Total | None:
    """Find out at which step a run ends; the first of these that makes sense counts.

    What the user gave, steps in the configuration, a logged count of remaining steps, logged
    progress, and the number of epochs, for which the steps of one epoch stand in the configuration
    or are seen in the logged epoch. A total that the run has already passed is no total.

    Args:
        config: The configuration of the run, nested or flat; numbers may be text.
        given: What the user set.
        step: The last step of the run so far.
        epoch: Steps and values of the metric that counts epochs, whole or in fractions.
        progress: Steps and values of a metric that goes from 0 to 1, or to 100.
        remaining: Steps and values of a metric that counts the steps that are left.

    Returns:
        None where nobody knows.
    """
    for one in _candidates(config or {}, given, epoch, progress, remaining):
        if isfinite(one.steps) and one.steps > 0.0 and (step is None or one.steps >= step):
            return one
    return None


def _candidates(
    config: Mapping[str, Any],
    given: float | None,
    epoch: Points | None,
    progress: Points | None,
    remaining: Points | None,
) -> Iterator[Total]:
    if given is not None:
        yield Total(float(given), "user", "set by the user", True)
    entries = list(islice(_entries(config), LONGEST))
    for where, value, unit in _named(entries, STEPS):
        if unit != "ep":
            yield Total(value, "config", f"config {where}", True)
    if remaining is not None and (end := _end_of_countdown(remaining)) is not None:
        yield Total(end, "progress", "metric that counts the remaining steps", False)
    if progress is not None and (end := _end_of_progress(progress)) is not None:
        yield Total(end, "progress", "metric that says the progress", False)
    for where, count, unit in _named(entries, EPOCHS):
        if unit == "ba":
            continue
        for length, value, _ in _named(entries, STEPS_PER_EPOCH):
            yield Total(count * value, "config", f"config {where} times {length}", True)
        if epoch is not None and (end := _end_of_epochs(epoch, count)) is not None:
            yield Total(end, "progress", f"config {where} and the logged epoch", False)


def _entries(
    config: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], float, str]]:
    """Give every positive number of a nested configuration with its path and its unit."""
    for key, value in config.items():
        here = (*path, *str(key).replace("/", ".").split("."))
        if isinstance(value, Mapping):
            if len(here) < DEEPEST:
                yield from _entries(value, here)
            continue
        number, unit = _number(value)
        if number is not None and number > 0.0:
            yield here, number, unit


def _named(
    entries: list[tuple[tuple[str, ...], float, str]], names: tuple[str, ...]
) -> list[tuple[str, float, str]]:
    """Return those entries that bear one of the names, the most trustworthy first."""
    found = []
    for path, value, unit in entries:
        name = path[-1].lstrip("-").lower().replace("-", "_")
        if name in names:
            about_a_part = any(part in above.lower() for above in path[:-1] for part in PARTS)
            found.append((about_a_part, names.index(name), len(path), ".".join(path), value, unit))
    return [(where, value, unit) for *_, where, value, unit in sorted(found)]


def _number(value: object) -> tuple[float | None, str]:
    """Read a number as people and programs write it, and the unit behind it: "ep", "ba" or none."""
    if isinstance(value, bool) or value is None:
        return None, ""
    text, unit = str(value).strip().lower().replace(",", "").replace("_", ""), ""
    if text.endswith(("ep", "ba")):
        text, unit = text[:-2], text[-2:]
    scale = SUFFIXES.get(text[-1:], 1.0)
    try:
        number = float(text if scale == 1.0 else text[:-1]) * scale
    except ValueError:
        return None, ""
    return (number, unit) if isfinite(number) else (None, "")


def _clean(points: Points) -> tuple[Floats, Floats]:
    """Return what was logged since the last time that steps went back, finite values alone."""
    import numpy as np  # late: a configuration is read without it

    steps = np.asarray(points[0], dtype=np.float64).ravel()
    values = np.asarray(points[1], dtype=np.float64).ravel()
    size = min(steps.size, values.size)
    good = np.isfinite(steps[:size]) & np.isfinite(values[:size])
    steps, values = steps[:size][good], values[:size][good]
    back = np.flatnonzero(np.diff(steps) < 0.0)
    start = int(back[-1]) + 1 if back.size else 0
    return steps[start:], values[start:]


def _end_of_countdown(points: Points) -> float | None:
    """Return where a count of remaining steps reaches zero; None: it does not count steps."""
    steps, left = _clean(points)
    if steps.size < 2 or steps[-1] == steps[0] or left[-1] < 0.0:
        return None
    slope = (left[-1] - left[0]) / (steps[-1] - steps[0])
    return float(steps[-1] + left[-1]) if abs(slope + 1.0) <= COUNTS_STEPS else None


def _end_of_progress(points: Points) -> float | None:
    """Return where progress reaches 1, or 100 where it is beyond 1 already."""
    steps, done = _clean(points)
    if steps.size < 2 or steps[-1] == steps[0]:
        return None
    whole = 100.0 if float(done.max()) > 1.0 else 1.0
    if done[-1] > whole or done[-1] <= done[0] or float(done.min()) < 0.0:
        return None
    rate = (done[-1] - done[0]) / (steps[-1] - steps[0])
    return float(steps[-1] + (whole - done[-1]) / rate)


def _end_of_epochs(points: Points, count: float) -> float | None:
    """Return where so many epochs are over, from an epoch logged as a count or in fractions."""
    import numpy as np

    steps, epochs = _clean(points)
    if steps.size < 2 or steps[-1] == steps[0] or float(epochs.min()) < 0.0:
        return None
    if not np.all(epochs == np.round(epochs)):
        gained = epochs[-1] - epochs[0]
        if gained <= 0.0:
            return None
        return float(steps[-1] + (count - epochs[-1]) * (steps[-1] - steps[0]) / gained)
    changes = np.flatnonzero(np.diff(epochs) > 0.0) + 1
    if changes.size == 0:
        return None
    first = int(changes[0]) if changes.size > 1 else 0
    last = int(changes[-1])
    length = (steps[last] - steps[first]) / (epochs[last] - epochs[first])
    # Where the count begins at one, the first epoch is number one while nothing is done yet.
    base = 1.0 if epochs[last] - steps[last] / length >= 0.5 else 0.0
    return float(steps[last] + (count - (epochs[last] - base)) * length)
