"""Reward hacking: what is rewarded goes up, what is meant does not."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import isfinite, nan

from training_monitor.detect.episode import Episode
from training_monitor.detect.robust import Noise, median
from training_monitor.detect.share import HighShare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.detect.finding import Finding

__all__ = ["HackingThresholds", "RewardHacking", "ZeroSpread"]

_LEVEL = 5


@dataclass(frozen=True, slots=True)
class HackingThresholds:
    """When a reward counts as gamed.

    Attributes:
        rise: The reward rose by so many standard deviations since its start.
        flat_share: The true reward rose by less than this share of that, and
        flat_sigma: by less than so many of its own standard deviations.
        signs: Without a true reward, so many signs are needed.
        entropy: The entropy is below this share of its start: a sign.
        length: Completions are so many times longer or shorter than at the start: a sign.
        spread: The spread of the reward is below this share of its start: a sign.
        points: Not before so many points of the reward.
        zero_spread: A warning above this share of groups whose answers all get the same reward.
    """

    rise: float = 4.0
    flat_share: float = 0.1
    flat_sigma: float = 2.0
    signs: int = 2
    entropy: float = 0.5
    length: float = 1.5
    spread: float = 0.1
    points: int = 15
    zero_spread: float = 0.8


class _Way:
    """One series: where it began, where it is, how noisy it is."""

    __slots__ = ("_first", "_noise", "_recent", "seen", "start")

    def __init__(self) -> None:
        self._first: list[float] = []
        self._recent: deque[float] = deque(maxlen=_LEVEL)
        self._noise = Noise(64)
        self.start = nan
        self.seen = 0

    def push(self, value: float) -> None:
        self.seen += 1
        self._recent.append(value)
        self._noise.push(value)
        if self.seen <= _LEVEL:
            self._first.append(value)
            self.start = median(self._first)

    @property
    def level(self) -> float:
        return median(self._recent)

    @property
    def sigma(self) -> float:
        return self._noise.sigma

    @property
    def judged(self) -> bool:
        return self.seen > 2 * _LEVEL


class RewardHacking:
    """Watches the reward beside what should rise with it, or should not change.

    Args:
        metric: The reward that is optimised.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ("_entropy", "_episode", "_length", "_metric", "_ok", "_parts", "_proxy", "_spread",
                 "_true")  # fmt: skip

    def __init__(
        self, metric: str, *, rank: int | None = None, thresholds: HackingThresholds | None = None
    ) -> None:
        self._metric = metric
        self._ok = HackingThresholds() if thresholds is None else thresholds
        self._episode = Episode("reward_hacking", metric, rank)
        self._proxy = _Way()
        self._true = _Way()
        self._entropy = _Way()
        self._length = _Way()
        self._spread = _Way()
        self._parts: dict[str, _Way] = {}

    def push_true(self, value: float) -> None:
        """Take a point of a held-out or true reward."""
        _push(self._true, value)

    def push_entropy(self, value: float) -> None:
        """Take a point of the entropy of the policy."""
        _push(self._entropy, abs(value))

    def push_length(self, value: float) -> None:
        """Take a point of the length of completions."""
        _push(self._length, value)

    def push_spread(self, value: float) -> None:
        """Take a point of the standard deviation of the reward within groups."""
        _push(self._spread, value)

    def push_part(self, name: str, value: float) -> None:
        """Take a point of one part of the reward; of the first 32 parts, that is."""
        if name in self._parts or len(self._parts) < 32:
            _push(self._parts.setdefault(name, _Way()), value)

    def push(self, step: int, value: float, time: float) -> list[Finding]:
        """Take a point of the reward, after those of the others at this step."""
        if not isfinite(value):
            return []
        self._proxy.push(value)
        proxy, ok = self._proxy, self._ok
        if proxy.seen < ok.points:
            return []
        rise = proxy.level - proxy.start
        if rise <= ok.rise * proxy.sigma or rise <= 0:
            text = f"{self._metric} is back at {proxy.level:.4g} at step {step:,}"
            return self._episode.end(step, time, text) if rise < 0 else []
        if self._episode.severity is not None:
            return []
        if self._true.judged:
            return self._beside_the_truth(step, time, rise)
        signs = self._signs()
        if len(signs) < ok.signs:
            return []
        what = f"{', '.join(signs[:-1])} and {signs[-1]}" if len(signs) > 1 else signs[0]
        return self._say("warning", step, time, what)

    def _beside_the_truth(self, step: int, time: float, rise: float) -> list[Finding]:
        true, ok = self._true, self._ok
        gain = true.level - true.start
        if gain > max(ok.flat_share * rise, 0.0) or gain > ok.flat_sigma * true.sigma > 0:
            return []
        what = f"the true reward went from {true.start:.4g} to {true.level:.4g}"
        return self._say("critical", step, time, what)

    def _signs(self) -> list[str]:
        ok, signs = self._ok, []
        share = _share(self._entropy)
        if share < ok.entropy:
            signs.append(f"the entropy is at {share:.0%} of its start")
        share = _share(self._length)
        if share > ok.length or share < 1 / ok.length:
            signs.append(f"completions are {share:.1f} times as long")
        share = _share(self._spread)
        if share < ok.spread:
            signs.append(f"the spread of the reward is at {share:.0%} of its start")
        judged = {name: way for name, way in self._parts.items() if way.judged}
        up = [name for name, way in judged.items() if _sigmas(way) > ok.rise]
        down = [name for name, way in judged.items() if _sigmas(way) < -ok.rise / 2]
        if up and down:
            signs.append(f"{up[0]} rises while {down[0]} falls")
        return signs

    def _say(self, severity: str, step: int, time: float, what: str) -> list[Finding]:
        proxy = self._proxy
        text = (
            f"{self._metric} rose from {proxy.start:.4g} to {proxy.level:.4g} by step {step:,}, "
            f"while {what}"
        )
        return self._episode.say(
            severity,
            step,
            time,
            text,
            advice="This looks like a reward that is gamed: read samples with a high reward, and "
            "go back to a checkpoint before the two went apart.",
            value=proxy.level,
            reference=proxy.start,
            threshold=self._ok.rise,
        )


class ZeroSpread(HighShare):
    """Watches the share of groups whose answers all get the same reward, and so no gradient.

    Args:
        metric: The series, from 0 to 1.
        rank: Whose points these are.
        thresholds: When it is said.
    """

    __slots__ = ()

    def __init__(
        self, metric: str, *, rank: int | None = None, thresholds: HackingThresholds | None = None
    ) -> None:
        ok = HackingThresholds() if thresholds is None else thresholds
        super().__init__(
            "flatline",
            metric,
            rank,
            bound=ok.zero_spread,
            back=0.9,
            what="in {level} of the groups all answers get the same reward at step {step}",
            advice="Such groups teach nothing: take prompts that are neither solved always nor "
            "never, or more answers for each.",
        )


def _push(way: _Way, value: float) -> None:
    if isfinite(value):
        way.push(value)


def _share(way: _Way) -> float:
    """Return where a positive series is as a share of its start; 1 where that says nothing."""
    return way.level / way.start if way.judged and way.start > 0 else 1.0


def _sigmas(way: _Way) -> float:
    change = way.level - way.start
    return change / way.sigma if way.sigma > 0 else 0.0
