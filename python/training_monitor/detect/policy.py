"""The policy of reinforcement learning: entropy, KL, the length of what it writes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import isfinite, log, nan

from training_monitor.detect.episode import Episode
from training_monitor.detect.robust import median
from training_monitor.detect.share import HighShare
from training_monitor.detect.shift import Shift

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = [
    "ClippedShare",
    "CompletionLength",
    "EntropyCollapse",
    "KlBlowUp",
    "PolicyThresholds",
]

_LEVEL = 9


@dataclass(frozen=True, slots=True)
class PolicyThresholds:
    """When a policy is not well.

    Attributes:
        entropy_first: The own level of the entropy is that of the points from this one
        entropy_last: to this one.
        entropy_low: A warning below this share of it, while it falls.
        entropy_critical: Critical below this share of it.
        entropy_nats: Critical below so many nats, where its own level was twice as high.
        kl_factor: The KL is so many times its highest level of the last hundred points.
        kl_critical: The same for critical.
        kl_sigma: It is so many standard deviations of its logarithm above it, too.
        kl_cap: Critical above this; None: no cap, since estimators differ by orders of magnitude.
        length_factor: Completions are so many times longer or shorter than in the last hundred
            points.
        length_sigma: And by so many standard deviations of the logarithm.
        clipped: A warning above this share of completions that reach the limit of their length.
    """

    entropy_first: int = 10
    entropy_last: int = 30
    entropy_low: float = 0.5
    entropy_critical: float = 0.25
    entropy_nats: float = 0.3
    kl_factor: float = 2.0
    kl_critical: float = 5.0
    kl_sigma: float = 2.0
    kl_cap: float | None = None
    length_factor: float = 1.5
    length_sigma: float = 3.0
    clipped: float = 0.5


class EntropyCollapse:
    """Watches the entropy of a policy against its own early level.

    An entropy that is logged as a loss, with the sign turned, is taken as it is; one that crosses
    zero, as that of a continuous policy may, is not judged.

    Args:
        metric: The series.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_early", "_episode", "_levels", "_metric", "_negative", "_ok", "_recent",
                 "_reference", "_seen")  # fmt: skip

    def __init__(
        self, metric: str, *, rank: int | None = None, thresholds: PolicyThresholds | None = None
    ) -> None:
        self._metric = metric
        self._ok = PolicyThresholds() if thresholds is None else thresholds
        self._episode = Episode("entropy_collapse", metric, rank)
        self._recent: deque[float] = deque(maxlen=_LEVEL)
        self._levels: deque[float] = deque(maxlen=_LEVEL)
        self._early: list[float] = []
        self._reference: float | None = None
        self._negative: bool | None = None
        self._seen = 0

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point."""
        if not isfinite(value) or self._seen < 0:
            return []
        if value != 0:
            if self._negative is None:
                self._negative = value < 0
            elif self._negative != (value < 0):
                self._seen = -1
                return self._episode.end(step, time, f"{self._metric} crossed zero")
        value, ok = abs(value), self._ok
        self._seen += 1
        self._recent.append(value)
        if self._seen <= ok.entropy_last:
            if self._seen > ok.entropy_first:
                self._early.append(value)
            if self._seen == ok.entropy_last:
                self._reference, self._early = median(self._early), []
            return []
        level = median(self._recent)
        self._levels.append(level)
        return self._judge(step, level, time)

    def _judge(self, step: int, level: float, time: float) -> list[Finding]:
        ok, reference = self._ok, self._reference
        if not reference:
            return []
        share = level / reference
        nats = level < ok.entropy_nats and reference > 2 * ok.entropy_nats
        if share < ok.entropy_critical or nats:
            severity = "critical"
        elif share < ok.entropy_low and level < self._levels[0]:
            severity = "warning"
        elif share > 1.2 * ok.entropy_low:
            text = f"{self._metric} is back at {level:.3g} at step {step:,}"
            return self._episode.end(step, time, text, value=level, reference=reference)
        else:
            return []
        if self._episode.said(severity):
            return []
        text = (
            f"{self._metric} fell to {level:.3g} at step {step:,}, {share:.0%} of its early level "
            f"{reference:.3g}"
        )
        return self._episode.say(
            severity,
            step,
            time,
            text,
            advice="The policy stops to explore: raise the entropy bonus or the temperature, "
            "lower the learning rate, or clip higher upwards.",
            value=level,
            reference=reference,
            threshold=ok.entropy_low if severity == "warning" else ok.entropy_critical,
        )


class KlBlowUp:
    """Watches the KL to the reference policy against its own last hundred points.

    Args:
        metric: The series.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_base", "_capped", "_episode", "_metric", "_ok", "_shift")

    def __init__(
        self, metric: str, *, rank: int | None = None, thresholds: PolicyThresholds | None = None
    ) -> None:
        self._metric = metric
        self._ok = PolicyThresholds() if thresholds is None else thresholds
        self._episode = Episode("kl_blow_up", metric, rank)
        self._shift = Shift()
        self._base = 0.0
        self._capped: deque[float] = deque(maxlen=3)

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point."""
        ok, shift = self._ok, self._shift
        if isfinite(value):
            self._capped.append(value)
        if ok.kl_cap is not None and min(self._capped, default=0.0) > ok.kl_cap:
            return self._say("critical", step, median(self._capped), time, ok.kl_cap, nan)
        if not shift.push(value):
            return []
        if self._episode.severity is not None:
            if shift.level < 1.5 * self._base:
                text = f"{self._metric} is back at {shift.level:.3g} at step {step:,}"
                return self._episode.end(step, time, text, value=shift.level, reference=self._base)
            if shift.level > ok.kl_critical * self._base > 0:
                return self._say("critical", step, shift.level, time, self._base, nan)
            return []
        sigmas = log(shift.high) / shift.sigma if shift.sigma > 0 else nan
        if shift.high < ok.kl_factor or sigmas < ok.kl_sigma:
            return []
        self._base = shift.highest
        severity = "critical" if shift.high > ok.kl_critical else "warning"
        return self._say(severity, step, shift.level, time, self._base, sigmas)

    def _say(
        self, severity: str, step: int, level: float, time: float, reference: float, sigma: float
    ) -> list[Finding]:
        text = f"{self._metric} rose to {level:.3g} at step {step:,}: {reference:.3g} is the most "
        text += "that is allowed" if reference == self._ok.kl_cap else "that was usual"
        return self._episode.say(
            severity,
            step,
            time,
            text,
            advice="The policy leaves the reference model: raise the KL coefficient or lower the "
            "learning rate, and look at samples before you trust the reward.",
            value=level,
            reference=reference,
            sigma=sigma,
            threshold=self._ok.kl_factor,
        )


class CompletionLength:
    """Watches how long completions are against the last hundred points.

    Args:
        metric: The series.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_base", "_episode", "_metric", "_ok", "_shift")

    def __init__(
        self, metric: str, *, rank: int | None = None, thresholds: PolicyThresholds | None = None
    ) -> None:
        self._metric = metric
        self._ok = PolicyThresholds() if thresholds is None else thresholds
        self._episode = Episode("length_change", metric, rank)
        self._shift = Shift()
        self._base = 0.0

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next point."""
        ok, shift = self._ok, self._shift
        if not shift.push(value):
            return []
        if self._episode.severity is not None:
            if 1 / ok.length_factor < shift.level / self._base < ok.length_factor:
                text = f"{self._metric} is back at {shift.level:.4g} at step {step:,}"
                return self._episode.end(step, time, text, value=shift.level, reference=self._base)
            return []
        factor = max(shift.high, shift.low)
        sigmas = log(factor) / shift.sigma if shift.sigma > 0 and factor > 0 else nan
        if factor < ok.length_factor or sigmas < ok.length_sigma:
            return []
        longer = shift.high > shift.low
        self._base = shift.highest if longer else shift.lowest
        text = (
            f"{self._metric} went to {shift.level:.4g} at step {step:,}: {factor:.1f} times "
            f"{'longer' if longer else 'shorter'} than in the hundred points before"
        )
        return self._episode.say(
            "warning",
            step,
            time,
            text,
            advice="Read some completions: length is the first thing that a reward is gamed with.",
            value=shift.level,
            reference=self._base,
            sigma=sigmas,
            threshold=ok.length_factor,
        )


class ClippedShare(HighShare):
    """Watches the share of completions that reach the limit of their length.

    Args:
        metric: The series, from 0 to 1.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ()

    def __init__(
        self, metric: str, *, rank: int | None = None, thresholds: PolicyThresholds | None = None
    ) -> None:
        ok = PolicyThresholds() if thresholds is None else thresholds
        super().__init__(
            "length_change",
            metric,
            rank,
            bound=ok.clipped,
            back=0.8,
            what="{level} of the completions reach their limit at step {step}",
            advice="Answers that are cut off get no reward: allow longer ones, or punish length.",
        )
