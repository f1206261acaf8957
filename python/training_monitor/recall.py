"""What happened lately in a run: with it a process that was restarted goes on where it was."""

from __future__ import annotations

import time
from dataclasses import dataclass

from training_monitor import _core
from training_monitor.machine import count_samples

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.analyses import Analysis, Message
    from training_monitor.answers import Alert, Step
    from training_monitor.machine import Finding, SystemSeries
    from training_monitor.query import RunView

__all__ = ["Recalled", "recall"]

_MOST_STEPS = 2000
_MOST_POINTS = 50_000
# A sample a second for an hour, of each series.
_MOST_SAMPLES = 3600


@dataclass(frozen=True, slots=True)
class Recalled:
    """The last minutes of a run.

    Attributes:
        view: The run.
        since: Wall clock, in seconds since 1970; nothing here is older, but for findings.
        steps: The last steps of each rank, merged, the oldest first; 2,000 at most.
        findings: Those that stand.
        alerts: What was told to the user.
        analyses: What was said of the run, by a model or by the rules.
        messages: The conversation about it.
    """

    view: RunView
    since: float
    steps: list[Step]
    findings: list[Finding]
    alerts: list[Alert]
    analyses: list[Analysis]
    messages: list[Message]

    @property
    def points(self) -> int:
        """How many points the steps hold."""
        return sum(len(step.metrics) for step in self.steps)

    @property
    def keys(self) -> set[str]:
        """The metrics in the steps."""
        return {name for step in self.steps for name in step.metrics}

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened lately."""
        return not (self.steps or self.findings or self.alerts or self.analyses or self.messages)

    def system(self) -> dict[str, SystemSeries]:
        """Return the samples of the machine, by name; what is much is thinned. Needs numpy."""
        series = self.view.system(since=self.since, max_points=_MOST_SAMPLES)
        return {name: one for name, one in series.items() if len(one)}

    def sample_count(self) -> int:
        """Return how many samples of the machine there are; without numpy."""
        return count_samples(_core.RunReader(self.view.database), since=self.since)


def recall(
    view: RunView, *, max_age_min: float, most_points: int = _MOST_POINTS, now: float | None = None
) -> Recalled:
    """Return what happened in a run in the last minutes.

    Args:
        view: The run.
        max_age_min: What is older stays out, but for findings that stand.
        most_points: Of steps with many metrics there are fewer, so that these hold about so many.
        now: Wall clock; None means that of this moment.
    """
    since = (time.time() if now is None else now) - 60.0 * max_age_min
    width = max(len(view.metrics()) * len(view.ranks()), 1)
    most_steps = min(max(most_points // width, 1), _MOST_STEPS)
    return Recalled(
        view=view,
        since=since,
        steps=[step for step in view.steps(most_steps) if step.time >= since],
        findings=[finding for finding in view.findings() if finding.stands],
        alerts=[alert for alert in view.alerts() if alert.time >= since],
        analyses=[one for one in view.analyses() if one.time >= since],
        messages=[one for one in view.messages() if one.time >= since],
    )
