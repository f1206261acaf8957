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
_KINDS = ("loss", "score", "error", "reward")
_NEXT_KINDS = ("lr", "grad_norm")
_CLOCKS = ("kl", "entropy", "mfu", "throughput", "step_time")
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
    def place(self) -> tuple[int, bool, bool, int, str]:
        """Return its place among the others; lower is more important."""
        meaning, name = self.meaning, self.name
        return self._class(), meaning.minor, not self.has_numbers, meaning.rank, name

    def _class(self) -> int:
        kind = self.meaning.kind
        if self.meaning.headline:
            return 0
        if kind in _KINDS and not self.meaning.minor:
            return 1
        if self.found:
            return 2
        if kind in _NEXT_KINDS and not self.meaning.minor:
            return 3
        if kind in _CLOCKS and not self.meaning.minor:
            return 4
        return 5 if self.has_numbers else 6


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
    return sorted(known, key=lambda one: one.place)


def _by_name(run: RunView, metrics: list[Metric]) -> dict[str, Meaning]:
    """Return what metrics are without reading their points."""
    return understand({one.name: _history(one) for one in metrics}, run.definitions())


def _history(metric: Metric) -> History | None:
    if metric.min is None or metric.max is None:
        return None
    last = metric.last_value
    last = float(last) if isinstance(last, (int, float)) else metric.max
    return History(metric.count, metric.min, last, metric.min, metric.max)
