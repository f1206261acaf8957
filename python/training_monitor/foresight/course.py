"""The course of a recorded run: how far it is, how long it takes, how it ends, what it costs."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from functools import cached_property

from training_monitor.bounds import TOTAL
from training_monitor.errors import SettingError
from training_monitor.foresight.evenly import evenly
from training_monitor.machine import latest
from training_monitor.settings import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from training_monitor.answers import Attempt
    from training_monitor.detect.meaning import Meaning
    from training_monitor.foresight.recorded import Recorded
    from training_monitor.judge.prospect import Prospect
    from training_monitor.predict.cost import Cost
    from training_monitor.predict.eta import Eta
    from training_monitor.predict.learning_rate import LearningRate
    from training_monitor.predict.total import Total

    Points = tuple[NDArray[np.int64], NDArray[np.float64]]

__all__ = ["Course"]

# Points that tell the pace: the newest ones.
_PACE_POINTS = 100_000
_MOST_POINTS = 4000
_CLOCKS = ("loss", "reward", "lr", "grad_norm")
_FAR = ("epoch", "progress")
_JUDGED = frozenset(("loss", "score", "error", "reward"))
# The word to stop needs a low chance twice in a row: after these shares of the points, and now.
_LOOKS = (0.9, 0.95, 1.0)
_LEAST_POINTS = 5
_GPU = re.compile(r"gpu\d+")


class Course:
    """How a run goes, worked out of its stored points; each answer is worked out once.

    Args:
        run: The run.
        now: Wall clock; None means that of this moment.
    """

    def __init__(self, run: Recorded, *, now: float | None = None) -> None:
        self._run = run
        self.now = time.time() if now is None else now

    @cached_property
    def meanings(self) -> dict[str, Meaning]:
        """What the metrics mean."""
        return self._run.meanings()

    @cached_property
    def attempts(self) -> list[Attempt]:
        """The attempts, the first one first."""
        return self._run.attempts

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings of the newest attempt that says some, as they were recorded."""
        for row in reversed(self._run._reader.attempts()):
            facts = json.loads(row["config"]) if row["config"] else {}
            settings = facts.get("settings") if isinstance(facts, dict) else None
            if isinstance(settings, dict):
                return settings
        return {}

    @cached_property
    def last_step(self) -> int | None:
        """The highest step that is stored; None: there is none."""
        step: int | None = self._run._reader.counts().get("last_step")
        return step

    @property
    def headline(self) -> str | None:
        """The metric by which the run is judged; None: there is none."""
        heads = (name for name, meaning in self.meanings.items() if meaning.headline)
        return next(heads, None)

    def of_kind(self, kind: str) -> str | None:
        """Return the metric of this kind that says most; None: there is none."""
        found = [(one.minor, one.rank, name) for name, one in self.meanings.items()
                 if one.kind == kind and not one.held_out]  # fmt: skip
        return min(found)[2] if found else None

    # --- how far, and how long

    def total(self, given: float | None = None) -> Total | None:
        """Return the step at which the run ends, and who says so; None: nobody knows."""
        from training_monitor.predict.total import total_steps

        if given is not None:
            given = TOTAL.take("total", given)
        said = self.settings.get("total_steps")
        if given is None and isinstance(said, (int, float)):
            given = float(said)
        config, step = self._run.config, self.last_step
        # The metrics are asked, and numpy loaded for it, where nobody has said it.
        found = total_steps(config, given=given, step=step)
        if found is not None:
            return found
        far = {kind: self._points(name) for kind in _FAR if (name := self.of_kind(kind))}
        return total_steps(config, given=given, step=step, **far) if far else None

    def eta(self, total: float | None = None) -> Eta | None:
        """Return how long the run still takes; None: its end, or its pace, is not known."""
        end = self.total(total)
        clock = self._clock()
        if end is None or clock is None:
            return None
        from training_monitor.detect.headline import generates
        from training_monitor.predict.eta import GENERATING, EtaEstimator

        estimator = EtaEstimator(GENERATING if generates(self.meanings) else None)
        for name in self._evaluated():
            estimator.evaluated(self._run.series(name, rank=0, last=64).step)
        points = self._run.series(clock, rank=self._first_rank(clock), last=_PACE_POINTS)
        for attempt in sorted(set(points.attempt.tolist())):
            chosen = points.attempt == attempt
            estimator.push_many(points.step[chosen], points.time[chosen])
            estimator.resumed()
        found = estimator.estimate(end.steps, now=None if self.is_over else self.now)
        if found is None or not self.is_over or found.seconds <= 0:
            return found
        # It has ended before: so long it would take if somebody went on with it.
        return replace(found, confidence="low")

    @property
    def is_over(self) -> bool:
        """Whether the newest attempt has ended."""
        return bool(self.attempts) and self.attempts[-1].ended is not None

    def _clock(self) -> str | None:
        """Return the metric whose points tell the pace: of those that come most often."""
        metrics = [
            one for one in self._run.metrics()
            if one.name in self.meanings and not self.meanings[one.name].held_out
            and one.kind not in ("text", "none")
        ]  # fmt: skip
        most = max((one.count for one in metrics), default=0)
        if most < 2:
            return None
        often = [one.name for one in metrics if one.count >= most / 2]
        kinds = {name: self.meanings[name].kind for name in often}
        ranked = sorted(often, key=lambda name: (kinds[name] not in _CLOCKS, name))
        return ranked[0]

    def _evaluated(self) -> list[str]:
        return [name for name, one in self.meanings.items() if one.held_out][:8]

    def _first_rank(self, name: str) -> int:
        """Return the lowest rank that has logged a metric: mostly 0."""
        ranks = self._run.series(name, last=_MOST_POINTS).rank
        return int(ranks.min()) if len(ranks) else 0

    # --- how it ends

    def prospect(self, metric: str | None = None, *, total: float | None = None) -> Prospect | None:
        """Return how a metric will end; None: too little of it is known.

        Args:
            metric: Its name; None means the headline.
            total: The step at which the run ends; None: as the run says.

        Raises:
            KeyError: There is no metric of that name.
            SettingError: Nobody knows which way of it is better.
        """
        name = self.headline if metric is None else metric
        if name is None:
            return None
        if name not in self.meanings:
            raise KeyError(f"no metric {name!r} in run {self._run.name!r}")
        meaning = self.meanings[name]
        if meaning.kind not in _JUDGED or meaning.goal is None:
            if metric is None:
                return None
            raise SettingError(
                f"{name!r} was taken for {meaning}: nobody knows which way is better; "
                f"say it with define_metric({name!r}, kind='loss') or another kind"
            )
        steps, values = self._points(name)
        if len(steps) < _LEAST_POINTS:
            return None
        from training_monitor.found import read_phases
        from training_monitor.judge.prospect import prospect_of
        from training_monitor.predict.advice import Stopper

        end, stopper, rate = self.total(total), Stopper(), self._rate()
        phases = read_phases(self._run._reader)
        diverges = bool(phases) and phases[-1].after == "DIVERGING"
        found = None
        for share in _LOOKS:
            seen = max(int(share * len(steps)), _LEAST_POINTS)
            found = prospect_of(
                name,
                meaning,
                (steps[:seen], values[:seen]),
                end=None if end is None else end.steps,
                lr=rate,
                stopper=stopper,
                diverges=diverges,
            )
        return found

    def _rate(self) -> LearningRate | None:
        name = self.of_kind("lr")
        if name is None:
            return None
        from training_monitor.predict.learning_rate import LearningRate

        steps, values = self._points(name)
        return LearningRate(steps, values) if len(steps) > 1 else None

    def _points(self, name: str) -> Points:
        """Return steps and values of a metric, thinned where there are many; of one rank alone."""
        return evenly(self._run, name, _MOST_POINTS)

    # --- what it costs

    def has_gpus(self) -> bool:
        """Whether a GPU was sampled."""
        return bool(self._gpus())

    def gpu_count(self) -> int:
        """Return how many GPUs were seen, on all machines; 1 where none was sampled."""
        return len(self._gpus()) or 1

    def _gpus(self) -> set[tuple[str, str]]:
        sources = {(one.host, one.source) for one in latest(self._run._reader)}
        return {one for one in sources if _GPU.fullmatch(one[1])}

    def seconds(self) -> float:
        """Return how long the run has taken, in all attempts together."""
        return sum(end - begin for begin, end in self.spans().values())

    def spans(self) -> dict[int, tuple[float, float]]:
        """Return when each attempt began and ended; an end that nobody knows is its last point."""
        newest = self._run._reader.counts().get("last_time")
        found = {}
        for at, attempt in enumerate(self.attempts):
            is_last = at + 1 == len(self.attempts)
            end = attempt.ended
            if end is None:
                end = newest if is_last else self.attempts[at + 1].started
            found[attempt.number] = attempt.started, max(end or 0.0, attempt.started)
        return found

    def price(self, given: float | None = None) -> float | None:
        """Return what a GPU costs for an hour; None: nobody has said it."""
        row = TABLE["cost_per_gpu_hour"]
        if given is not None:
            return row.take(given)  # type: ignore[no-any-return]
        if os.environ.get(row.variable):
            return row.from_environment()  # type: ignore[no-any-return]
        recorded = self.settings.get("cost_per_gpu_hour")
        return float(recorded) if isinstance(recorded, (int, float)) else None

    def cost(self, cost_per_gpu_hour: float | None = None) -> Cost:
        """Return what the run has cost, and what the rest of it will."""
        from training_monitor.predict.cost import cost_of

        return cost_of(
            self.seconds(),
            gpus=self.gpu_count(),
            cost_per_gpu_hour=self.price(cost_per_gpu_hour),
            eta=None if self.is_over else self.eta(),
        )
