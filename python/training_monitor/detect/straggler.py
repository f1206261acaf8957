"""Ranks that are slower than the others, or that the others wait for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import isfinite, nan

from training_monitor.detect.episode import Episode
from training_monitor.detect.robust import median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from training_monitor.detect.finding import Finding

__all__ = ["StragglerThresholds", "Stragglers"]


@dataclass(frozen=True, slots=True)
class StragglerThresholds:
    """When a rank counts as a straggler.

    Attributes:
        factor: Its step takes so many times the median of the other ranks.
        critical: The same for critical.
        over: Below this it is none any more.
        lag: Or it is late at each step by this share of a step: ranks that wait for each other
            have the same step time.
        lag_secs: And by so many seconds, since clocks of hosts do not agree.
        looks: In the median of so many looks.
    """

    factor: float = 1.3
    critical: float = 2.0
    over: float = 1.15
    lag: float = 0.3
    lag_secs: float = 0.05
    looks: int = 5


class _Rank:
    """One rank over the last looks."""

    __slots__ = ("episode", "factors", "lags")

    def __init__(self, metric: str, rank: int, looks: int) -> None:
        self.episode = Episode("straggler", metric, rank)
        self.factors: deque[float] = deque(maxlen=looks)
        self.lags: deque[float] = deque(maxlen=looks)


class Stragglers:
    """Watches the step times of all ranks beside each other.

    Args:
        metric: What the findings are about.
        thresholds: When it is said.
    """

    __slots__ = ("_metric", "_ok", "_ranks")

    def __init__(
        self, metric: str = "step_time", *, thresholds: StragglerThresholds | None = None
    ) -> None:
        self._metric = metric
        self._ok = StragglerThresholds() if thresholds is None else thresholds
        self._ranks: dict[int, _Rank] = {}

    def push(
        self,
        step: int,
        step_secs: Mapping[int, float],
        time: float,
        *,
        lag_secs: Mapping[int, float] | None = None,
    ) -> list[Finding]:
        """Take one look at the ranks that go on.

        Args:
            step: Of the run.
            step_secs: The usual time from one step to the next, by rank.
            time: Wall clock.
            lag_secs: How much later than the first one a rank is at the same step.
        """
        known = {rank: secs for rank, secs in step_secs.items() if isfinite(secs) and secs > 0}
        for gone in self._ranks.keys() - known.keys():
            del self._ranks[gone]
        if len(known) < 2:
            return []
        ordered = sorted(known.values())
        found = []
        for rank, secs in known.items():
            seen = self._ranks.get(rank)
            if seen is None:
                seen = self._ranks[rank] = _Rank(self._metric, rank, self._ok.looks)
            others = _median_without(ordered, secs)
            if others <= 0:  # rounded down from the smallest number there is
                continue
            seen.factors.append(secs / others)
            late = 0.0 if lag_secs is None else lag_secs.get(rank, 0.0)
            seen.lags.append(late if isfinite(late) else 0.0)
            if len(seen.factors) == self._ok.looks:
                found += self._judge(rank, seen, step, secs, others, time)
        return found

    def _judge(
        self, rank: int, seen: _Rank, step: int, secs: float, others: float, time: float
    ) -> list[Finding]:
        ok, factor, late = self._ok, median(seen.factors), median(seen.lags)
        lags = late > max(ok.lag * others, ok.lag_secs)
        if factor < ok.over and late < max(ok.lag / 2 * others, ok.lag_secs):
            text = f"rank {rank} is as fast as the others again, at step {step:,}"
            return seen.episode.end(step, time, text, value=factor)
        if factor > ok.critical:
            severity = "critical"
        elif factor > ok.factor or lags:
            severity = "warning"
        else:
            return []
        if seen.episode.said(severity):
            return []
        text = f"rank {rank} is {late:.2f} s late at each step, at step {step:,}"
        if factor > ok.factor:
            text = (
                f"rank {rank} takes {secs:.3g} s for a step, {factor:.2f} times the median of the "
                f"others ({others:.3g} s), at step {step:,}"
            )
        return seen.episode.say(
            severity,
            step,
            time,
            text,
            advice="All ranks wait for the slowest: look at its GPU (clocks, heat), its host and "
            "its data.",
            value=factor if factor > ok.factor else late,
            reference=others,
            sigma=nan,
            threshold=ok.factor if factor > ok.factor else ok.lag * others,
        )


def _median_without(ordered: list[float], value: float) -> float:
    """Return the median of sorted values without one of them."""
    count = len(ordered) - 1
    place = ordered.index(value)

    def at(number: int) -> float:
        return ordered[number if number < place else number + 1]

    half = count // 2
    return at(half) if count % 2 else at(half - 1) / 2 + at(half) / 2
