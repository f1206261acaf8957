"""When the detectors of a run say something."""

from __future__ import annotations

from dataclasses import dataclass, field

from training_monitor.detect.forgetting import ForgettingThresholds
from training_monitor.detect.gradients import GradientThresholds
from training_monitor.detect.hacking import HackingThresholds
from training_monitor.detect.logged_memory import LoggedMemoryThresholds
from training_monitor.detect.loss_scale import LossScaleThresholds
from training_monitor.detect.overfitting import OverfittingThresholds
from training_monitor.detect.plateau import PlateauThresholds
from training_monitor.detect.policy import PolicyThresholds
from training_monitor.detect.rewards import RewardThresholds
from training_monitor.detect.schedule import ScheduleThresholds
from training_monitor.detect.silence import SilenceThresholds

__all__ = ["DivergenceThresholds", "SlowdownThresholds", "SpikeThresholds", "Thresholds"]


@dataclass(frozen=True, slots=True)
class SpikeThresholds:
    """When a jump of a series counts as a spike.

    Attributes:
        sigma: A point so many standard deviations of the noise above what was expected counts when
            one of the next two is above `next`.
        at_once: Beyond so many it counts at once.
        next: See `sigma`.
        least: The least jump, as a share of what was expected.
        log_sigma: The least jump of a positive series, in standard deviations of its logarithm.
        habit: The fourth largest jump of the last 300 points, times this, is a bound too.
        critical_sigma: The jump of a loss is critical beyond so many, and when it is also beyond
        critical_ratio: so many times what was expected.
    """

    sigma: float = 5.5
    at_once: float = 8.0
    next: float = 3.5
    least: float = 0.03
    log_sigma: float = 2.5
    habit: float = 1.3
    critical_sigma: float = 20.0
    critical_ratio: float = 2.0

    @property
    def bounds(self) -> tuple[float, float, float, float, float, float]:
        """As the extension takes them."""
        return (self.sigma, self.at_once, self.next, self.least, self.log_sigma, self.habit)


@dataclass(frozen=True, slots=True)
class DivergenceThresholds:
    """When a loss counts as diverging: for two dozen points, and without coming back.

    Attributes:
        sigma: The median of five points is so many standard deviations above its best,
        least: and by this share of it,
        gained: and by this share of the way from the first level to the best.
    """

    sigma: float = 2.5
    least: float = 0.4
    gained: float = 0.07

    @property
    def bounds(self) -> tuple[float, float, float]:
        """As the extension takes them."""
        return (self.sigma, self.least, self.gained)


@dataclass(frozen=True, slots=True)
class SlowdownThresholds:
    """When steps count as slow.

    Attributes:
        ratio: Steps take so many times longer than they did: told as info.
        step_time_warning: So many times longer is a warning,
        step_time_critical: and so many times critical.
        mfu_drop_warning: MFU or throughput lower by this share is a warning,
        mfu_drop_critical: and by this share critical.
        bound: The bound of the CUSUM.
        lasts_secs: What is over before is not told; faster steps have to last as long before slow
            ones are held against them.
    """

    ratio: float = 1.1
    step_time_warning: float = 1.5
    step_time_critical: float = 2.0
    mfu_drop_warning: float = 0.15
    mfu_drop_critical: float = 0.30
    bound: float = 8.0
    lasts_secs: float = 3.0

    @property
    def bounds(self) -> tuple[float, float, float]:
        """As the extension takes them."""
        return (self.ratio, self.bound, self.lasts_secs)


@dataclass(frozen=True, slots=True)
class PhaseThresholds:
    """When a phase begins; more of them are in `predict/phase.py`.

    Attributes:
        fast: Above this gain learning is fast,
        flat: and below that one it is a plateau: shares of all that was gained so far.
        epoch_steps: So many steps are an epoch, and `fast` and `flat` relative improvements per
            epoch (usual: 0.05 and 0.01); none: epochs are not asked.
        least_points: Below so many points it is initializing, unless the slope is beyond doubt.
    """

    fast: float = 0.10
    flat: float = 0.02
    epoch_steps: float | None = None
    least_points: int = 10


@dataclass(frozen=True, slots=True)
class Thresholds:
    """All of them, by detector."""

    spike: SpikeThresholds = field(default_factory=SpikeThresholds)
    divergence: DivergenceThresholds = field(default_factory=DivergenceThresholds)
    slowdown: SlowdownThresholds = field(default_factory=SlowdownThresholds)
    plateau: PlateauThresholds = field(default_factory=PlateauThresholds)
    overfitting: OverfittingThresholds = field(default_factory=OverfittingThresholds)
    gradient: GradientThresholds = field(default_factory=GradientThresholds)
    schedule: ScheduleThresholds = field(default_factory=ScheduleThresholds)
    reward: RewardThresholds = field(default_factory=RewardThresholds)
    policy: PolicyThresholds = field(default_factory=PolicyThresholds)
    hacking: HackingThresholds = field(default_factory=HackingThresholds)
    forgetting: ForgettingThresholds = field(default_factory=ForgettingThresholds)
    silence: SilenceThresholds = field(default_factory=SilenceThresholds)
    phase: PhaseThresholds = field(default_factory=PhaseThresholds)
    loss_scale: LossScaleThresholds = field(default_factory=LossScaleThresholds)
    memory: LoggedMemoryThresholds = field(default_factory=LoggedMemoryThresholds)
