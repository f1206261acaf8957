"""Forgetting: what was learned gets lost while something else is learned."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf, isfinite, log, sqrt

from training_monitor.detect.episode import Episode
from training_monitor.detect.robust import Noise, median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["Forgetting", "ForgettingThresholds"]


@dataclass(frozen=True, slots=True)
class ForgettingThresholds:
    """When a task counts as forgotten.

    Attributes:
        sigma: Its level is so many standard deviations of its noise worse than its best one
            would be by luck,
        share: and by this share of it,
        evaluations: on so many evaluations in a row,
        rise: while another task has become better by so many standard deviations since then.
    """

    sigma: float = 3.0
    share: float = 0.05
    evaluations: int = 2
    rise: float = 2.0


class _Task:
    """One task; inside, more is better."""

    __slots__ = ("best", "best_step", "count", "episode", "level", "low", "noise", "others",
                 "recent", "sign")  # fmt: skip

    def __init__(self, name: str, goal: str, rank: int | None) -> None:
        self.sign = 1.0 if goal == "max" else -1.0
        self.episode = Episode("forgetting", name, rank)
        self.noise = Noise(32)
        self.recent: deque[float] = deque(maxlen=3)
        self.best, self.best_step, self.level = -inf, 0, -inf
        self.count = self.low = 0
        # The level of each other task when this one was at its best.
        self.others: dict[str, float] = {}


class Forgetting:
    """Watches the evaluations of several tasks beside each other; of the first 64 of them.

    Args:
        goals: "max" or "min" by task; a task that is not named is a score, so "max".
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_goals", "_ok", "_rank", "_tasks")

    def __init__(
        self,
        goals: dict[str, str] | None = None,
        *,
        rank: int | None = None,
        thresholds: ForgettingThresholds | None = None,
    ) -> None:
        self._goals = {} if goals is None else dict(goals)
        self._ok = ForgettingThresholds() if thresholds is None else thresholds
        self._rank = rank
        self._tasks: dict[str, _Task] = {}

    def push(self, name: str, step: int, value: float, time: float) -> list[Finding]:
        """Take an evaluation of one task."""
        if not isfinite(value) or (name not in self._tasks and len(self._tasks) >= 64):
            return []
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = _Task(name, self._goals.get(name, "max"), self._rank)
        value *= task.sign
        task.noise.push(value)
        task.recent.append(value)
        task.count += 1
        # The best level, not the best value: that one is luck.
        task.level = median(task.recent)
        if task.count >= 3 and task.level >= task.best:
            task.best, task.best_step, task.low = task.level, step, 0
            task.others = {it: other.level for it, other in self._tasks.items() if it != name}
            text = f"{name} is back at {task.sign * value:.4g} at step {step:,}"
            return task.episode.end(step, time, text, value=task.sign * value)
        return self._judge(name, task, step, value, time) if task.count > 3 else []

    def _judge(self, name: str, task: _Task, step: int, value: float, time: float) -> list[Finding]:
        ok, sigma = self._ok, task.noise.sigma
        fall = task.best - value
        # The best of n levels of pure noise, each a median of three, is so much above the others.
        lucky = 0.67 * sqrt(2 * log(task.count))
        if fall <= max((ok.sigma + lucky) * sigma, ok.share * abs(task.best)):
            task.low = 0
            return []
        task.low += 1
        rising = [it for it in self._tasks if it != name and self._rose(task, it)]
        if task.low < ok.evaluations or not rising or task.episode.said("warning"):
            return []
        best, now = task.sign * task.best, task.sign * task.level
        text = (
            f"{name} is {now:.4g} at step {step:,}, {best:.4g} at its best at step "
            f"{task.best_step:,}, while {rising[0]} became better"
        )
        return task.episode.say(
            "warning",
            step,
            time,
            text,
            advice="Mix data of the old task in, lower the learning rate, or freeze more; the "
            f"checkpoint of step {task.best_step:,} still has it.",
            value=now,
            reference=best,
            sigma=fall / sigma if sigma > 0 else inf,
            threshold=ok.share,
            since=task.best_step,
        )

    def _rose(self, task: _Task, other: str) -> bool:
        now = self._tasks[other]
        before = task.others.get(other)
        if before is None:  # it began after that
            return now.count > 3 and now.level >= now.best
        return now.level - before > self._ok.rise * now.noise.sigma
