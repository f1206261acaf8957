"""Which metrics matter most, for a prompt that cannot hold them all."""

from __future__ import annotations

from dataclasses import dataclass

from training_monitor.detect.headline import understand
from training_monitor.detect.meaning import History

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from training_monitor.answers import Metric
    from training_monitor.detect.meaning import Meaning
    from training_monitor.machine import Finding
    from training_monitor.query import RunView

__all__ = ["Known", "by_importance"]

_NO_NUMBERS = ("text", "none")
_JUDGED = ("loss", "score", "error", "reward")
_LEADING = ("lr", "grad_norm", "kl", "entropy", "mfu", "throughput", "step_time")
# Of more metrics the values of the unclear ones are not read to find out what they are.
_ASKED = 300


@dataclass(frozen=True, slots=True)
class Known:
    """One metric, and what is known of it.

    Attributes:
        metric: The metric in a few numbers.
        meaning: What it was taken for.
        found: Whether a finding about it stands.
    """

    metric: Metric
    meaning: Meaning
    found: bool

    @property
    def name(self) -> str:
        """Its name."""
        return self.metric.name

    @property
    def has_numbers(self) -> bool:
        """Whether its values are numbers."""
        return self.metric.kind not in _NO_NUMBERS

    @property
    def within_kind(self) -> tuple[bool, int, int, str]:
        """Return its place among those of its kind; lower says more."""
        return self.meaning.minor, self.meaning.rank, len(self.name), self.name


def by_importance(run: RunView, findings: Iterable[Finding] = ()) -> list[Known]:
    """Return the metrics of a run: the headline, losses, what was found, rate, gradients, the rest.

    Args:
        run: The run.
        findings: What was found in it.
    """
    metrics = run.metrics()
    found = {one.source for one in findings if one.stands}
    meanings = run.meanings() if len(metrics) <= _ASKED else _by_name(run, metrics)
    known = [Known(one, meanings[one.name], one.name in found) for one in metrics]
    # Of rates, norms and clocks there may be one for each layer: the first of each kind counts.
    first: dict[str, Known] = {}
    for one in known:
        best = first.setdefault(one.meaning.kind, one)
        if one.within_kind < best.within_kind:
            first[one.meaning.kind] = one
    leading = {id(first[kind]): at for at, kind in enumerate(_LEADING) if kind in first}
    return sorted(known, key=lambda one: (_class_of(one, leading.get(id(one))), *one.within_kind))


def _class_of(one: Known, leading: int | None) -> tuple[int, int]:
    """Return how important a metric is by what it is; lower is more.

    Args:
        one: The metric.
        leading: Its place among the first ones of the other kinds; None: it is not among them.
    """
    if one.meaning.headline:
        return 0, 0
    if one.meaning.kind in _JUDGED and not one.meaning.minor:
        return 1, 0
    if one.found:
        return 2, 0
    if leading is not None:
        return 3, leading
    return (4, 0) if one.has_numbers else (5, 0)


def _by_name(run: RunView, metrics: list[Metric]) -> dict[str, Meaning]:
    """Return what metrics are without reading their points."""
    return understand({one.name: _history(one) for one in metrics}, run.definitions())


def _history(metric: Metric) -> History | None:
    if metric.min is None or metric.max is None:
        return None
    last = metric.last_value
    last = float(last) if isinstance(last, (int, float)) else metric.max
    return History(metric.count, metric.min, last, metric.min, metric.max)
