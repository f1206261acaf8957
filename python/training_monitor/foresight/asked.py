"""What a run is asked about its course; each answer loads what it needs when it is asked."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from training_monitor.detect.thresholds import Thresholds
    from training_monitor.foresight.recorded import Recorded
    from training_monitor.foresight.replay import Replay
    from training_monitor.found import PhaseChange
    from training_monitor.predict.advice import Advice
    from training_monitor.predict.baseline import Comparison
    from training_monitor.predict.cost import Cost
    from training_monitor.predict.eta import Eta
    from training_monitor.predict.forecast import Forecast
    from training_monitor.predict.total import Total

__all__ = ["Asked"]


class Asked:
    """The questions about the course of a run."""

    __slots__ = ()

    @property
    def phase(self: Recorded) -> str:
        """The phase that the training is in, as LEARNING_FAST, PLATEAU or CONVERGED."""
        from training_monitor.foresight.phases import phases_of

        changes = phases_of(self)
        return changes[-1].after if changes else "INITIALIZING"

    def phases(self: Recorded) -> list[PhaseChange]:
        """Return the changes of the phase with their reasons, the oldest first."""
        from training_monitor.foresight.phases import phases_of

        return phases_of(self)

    def total(self: Recorded) -> Total | None:
        """Return the step at which the run ends, and who says so; None: nobody knows."""
        from training_monitor.foresight.course import Course

        return Course(self).total()

    def eta(self: Recorded, total: float | None = None) -> Eta | None:
        """Return how long the run still takes, with intervals.

        Args:
            total: The step at which it ends; None: as settings, config or metrics say.

        Returns:
            None where its end, or its pace, is not known.
        """
        from training_monitor.foresight.course import Course

        return Course(self).eta(total)

    def forecast(
        self: Recorded, metric: str | None = None, *, total: float | None = None
    ) -> Forecast | None:
        """Return the value at which a metric will end, with intervals.

        Args:
            metric: Its name; None means the headline.
            total: The step at which the run ends; None: as settings, config or metrics say.

        Returns:
            None where the end is not known, or there are fewer than five points.

        Raises:
            KeyError: There is no metric of that name.
            SettingError: Nobody knows which way of it is better.
        """
        from training_monitor.foresight.course import Course

        found = Course(self).prospect(metric, total=total)
        return None if found is None else found.forecast

    def advice(self: Recorded, metric: str | None = None) -> Advice | None:
        """Return the chance that going on still improves a metric, and its best step so far.

        Args:
            metric: Its name; None means the headline.

        Raises:
            KeyError: There is no metric of that name.
            SettingError: Nobody knows which way of it is better.
        """
        from training_monitor.foresight.course import Course

        found = Course(self).prospect(metric)
        return None if found is None else found.advice

    def cost(self: Recorded, cost_per_gpu_hour: float | None = None) -> Cost:
        """Return GPU hours and money, so far and to the end.

        Args:
            cost_per_gpu_hour: The price; None: that of TM_COST_PER_GPU_HOUR, or as recorded.
        """
        from training_monitor.foresight.course import Course

        return Course(self).cost(cost_per_gpu_hour)

    def compare(
        self: Recorded, other: Recorded | str | os.PathLike[str], metric: str | None = None
    ) -> list[Comparison]:
        """Compare with another run at the same step, after the same time, for the same money.

        Args:
            other: The baseline: a run that was opened, a name or a path.
            metric: Which metric; None means the headline.

        Raises:
            KeyError: One of them has no such metric.
            SettingError: Nobody knows which way of it is better.
        """
        from training_monitor.foresight.beside import compare_runs, opened

        if isinstance(other, (str, os.PathLike)):
            other = opened(self, other)
        return compare_runs(self, other, metric=metric)

    def replay(
        self: Recorded,
        thresholds: Thresholds | Mapping[str, float | None] | None = None,
        *,
        metrics: list[str] | None = None,
    ) -> Replay:
        """Judge the stored points anew: what would have been found, and when.

        What only the machine or the ranks beside each other show is not judged anew.

        Args:
            thresholds: When something is said, all of them or some by name, as
                ``{"spike.sigma": 7.0}``; None means the defaults.
            metrics: Only findings about these; None means all.

        Raises:
            SettingError: There is no threshold of that name; the message says which there are.
        """
        from training_monitor.foresight.replay import replay_run

        return replay_run(self, thresholds, metrics=metrics)
