"""Gradients that vanish, explode for good, or are clipped all the time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import exp, inf, isfinite, log, nan

from training_monitor.detect.episode import Episode
from training_monitor.detect.robust import Noise, Summary, median

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["GradientNorm", "GradientThresholds"]

_LEVEL = 9


@dataclass(frozen=True, slots=True)
class GradientThresholds:
    """When the norm of the gradient is not well.

    Attributes:
        vanish_ratio: The level is below this share of its usual level, and
        vanish: below this value; exact zeros need neither.
        explode_ratio: The level is so many times its usual level, and
        explode_sigma: so many standard deviations of its logarithm above it.
        explode: Above this level it is exploding whatever was usual; None: no such bound.
        hold: For so many points in a row.
        warm_up: Not before so many points.
        clipped: A warning above this share of clipped steps.
        clipped_points: Over so many steps, after as many.
    """

    vanish_ratio: float = 1e-3
    vanish: float = 1e-4
    explode_ratio: float = 10.0
    explode_sigma: float = 6.0
    explode: float | None = 1e4
    hold: int = 10
    warm_up: int = 50
    clipped: float = 0.9
    clipped_points: int = 200


class GradientNorm:
    """Watches the norm of the gradient over all parameters, or those of one layer.

    Args:
        metric: The series.
        clip_at: The norm to which it is clipped; None: not known, or the norm is logged after
            that.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_clip_at", "_clipped", "_clipping", "_exploding", "_high", "_low", "_metric",
                 "_noise", "_ok", "_recent", "_seen", "_summary", "_usual", "_vanishing",
                 "_zeros")  # fmt: skip

    def __init__(
        self,
        metric: str,
        *,
        clip_at: float | None = None,
        rank: int | None = None,
        thresholds: GradientThresholds | None = None,
    ) -> None:
        self._metric = metric
        self._ok = GradientThresholds() if thresholds is None else thresholds
        self._clip_at = clip_at
        self._vanishing = Episode("vanishing_gradient", metric, rank)
        self._exploding = Episode("exploding_gradient", metric, rank)
        self._clipping = Episode("gradient_clipping", metric, rank)
        self._recent: deque[float] = deque(maxlen=_LEVEL)
        self._noise = Noise(64)
        self._summary = Summary(32)
        self._usual = nan
        self._seen = self._low = self._high = self._zeros = 0
        self._clipped = 0.0

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take the next norm; one that is not finite is for others to tell."""
        if not isfinite(value) or value < 0:
            return []
        self._seen += 1
        found = self._judge_clipping(step, value, time) if self._clip_at is not None else []
        self._zeros = self._zeros + 1 if value == 0 else 0
        if value == 0:
            return found + self._judge_zeros(step, time)
        point = log(value)
        self._recent.append(point)
        self._noise.push(point)
        level = median(self._recent)
        if self._seen >= self._ok.warm_up:
            found += self._judge(step, level, time)
        # What is usual is learned while all is well, else a disaster would be usual soon.
        if not (self._low or self._high) and self._summary.push(step, point):
            self._usual = median(self._summary.values)
        return found

    def _judge_zeros(self, step: int, time: float) -> list[Finding]:
        if self._zeros < self._ok.hold or self._vanishing.said("critical"):
            return []
        text = f"{self._metric} has been exactly zero for {self._zeros} points at step {step:,}"
        advice = (
            "No gradient arrives: is the loss detached, all of the model frozen, or the loss scale "
            "too small?"
        )
        return self._vanishing.say("critical", step, time, text, advice=advice, value=0.0)

    def _judge(self, step: int, level: float, time: float) -> list[Finding]:
        ok, usual = self._ok, self._usual
        if not isfinite(usual):
            return []
        low = level - usual < log(ok.vanish_ratio) and level < log(ok.vanish)
        sigma = self._noise.sigma
        high = level - usual > max(log(ok.explode_ratio), ok.explode_sigma * sigma)
        high = high or (ok.explode is not None and level > log(ok.explode) and level > usual + 1)
        self._low = self._low + 1 if low else 0
        self._high = self._high + 1 if high else 0
        if self._low >= ok.hold:
            return self._say(self._vanishing, step, level, time, _VANISHING)
        if self._high >= ok.hold:
            return self._say(self._exploding, step, level, time, _EXPLODING)
        found = []
        text = f"{self._metric} is back at {_exp(level):.3g} at step {step:,}"
        if level - usual > log(ok.vanish_ratio) + 1:
            found += self._vanishing.end(step, time, text, value=_exp(level))
        if level - usual < log(ok.explode_ratio) - 0.7:
            found += self._exploding.end(step, time, text, value=_exp(level))
        return found

    def _say(
        self, episode: Episode, step: int, level: float, time: float, advice: str
    ) -> list[Finding]:
        if episode.said("warning"):
            return []
        sigma, ok = self._noise.sigma, self._ok
        text = (
            f"{self._metric} has been near {_exp(level):.3g} for {ok.hold} points at step "
            f"{step:,}: {_exp(self._usual):.3g} is usual"
        )
        return episode.say(
            "warning",
            step,
            time,
            text,
            advice=advice,
            value=_exp(level),
            reference=_exp(self._usual),
            sigma=(level - self._usual) / sigma if sigma > 0 else nan,
            threshold=ok.vanish_ratio if advice is _VANISHING else ok.explode_ratio,
        )

    def _judge_clipping(self, step: int, value: float, time: float) -> list[Finding]:
        ok, bound = self._ok, self._clip_at or inf
        self._clipped += (float(value > bound) - self._clipped) / ok.clipped_points
        if self._seen < 2 * ok.clipped_points:
            return []
        if self._clipped < 0.8 * ok.clipped:
            text = f"{self._metric} is clipped in {self._clipped:.0%} of the steps, at {step:,}"
            return self._clipping.end(step, time, text, value=self._clipped)
        if self._clipped <= ok.clipped or self._clipping.said("info"):
            return []
        text = f"{self._metric} is clipped to {bound:.3g} in {self._clipped:.0%} of the last steps"
        advice = "The bound sets the size of the steps now: raise it, or lower the learning rate."
        return self._clipping.say(
            "info",
            step,
            time,
            f"{text}, at step {step:,}",
            advice=advice,
            value=self._clipped,
            threshold=ok.clipped,
        )


_VANISHING = (
    "Look for dead or saturated units, a learning rate that killed them, too small an "
    "initialisation, or a loss that is satisfied."
)
_EXPLODING = (
    "Lower the learning rate or clip the gradient, and look at the batches since it began; a "
    "checkpoint from before it is the safe way back."
)


def _exp(value: float) -> float:
    return exp(min(value, 700.0))
