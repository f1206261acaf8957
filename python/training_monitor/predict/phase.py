"""The phase that a training is in, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import isfinite, nan

from training_monitor.predict.decay import Decay
from training_monitor.predict.velocity import Trail, Velocity
from training_monitor.predict.wording import number
from training_monitor.predict.wording import step as said_step

__all__ = ["Phase", "PhaseRules", "Phases", "Transition"]


class Phase(Enum):
    """The eight phases of a training."""

    INITIALIZING = "INITIALIZING"
    WARMUP = "WARMUP"
    LEARNING_FAST = "LEARNING_FAST"
    STABLE_CONVERGENCE = "STABLE_CONVERGENCE"
    PLATEAU = "PLATEAU"
    OVERFITTING_RISK = "OVERFITTING_RISK"
    DIVERGING = "DIVERGING"
    CONVERGED = "CONVERGED"


# Of these a slope decides; the others are decided by the learning rate, by findings and by the end.
MOVING = (Phase.LEARNING_FAST, Phase.STABLE_CONVERGENCE, Phase.PLATEAU)

# A metric has never moved when all its way is less than so many standard deviations of its noise,
# and after so many points that is no accident.
NOISE_WAY = 5.0
NOISE_POINTS = 50
# Learning is fast again when the gain is beyond the bound by this factor.
AGAIN = 1.5


@dataclass(frozen=True, slots=True)
class PhaseRules:
    """When a phase begins.

    Without `epoch_steps`, `fast` and `flat` are shares of all that was gained so far, and what
    counts is the gain in the last third of the steps. With it they are relative improvements of the
    value per epoch, as 0.05 and 0.01.

    Attributes:
        fast: Above it, learning is fast.
        flat: Below it, or below `flat_noise`, it is a plateau.
        flat_noise: A gain of so many standard deviations of an average of neighbours is none.
        epoch_steps: How many steps an epoch has; None: epochs are not asked.
        enter_sigma: A phase begins when the gain is beyond its bound by so many standard errors.
        leave_sigma: A phase ends when the gain is beyond its bound by so many standard errors.
        checks: So many looks in a row must agree; four times as many with each change beyond the
            third, so that a run on the border does not go to and fro.
        look_share: A look is taken after this share of the points so far.
        least_points: Below so many points it is initializing, unless the slope is beyond doubt.
        least_flat_points: A plateau needs so many points.
        least_flat_done: And this share of the run, where its end is known.
    """

    fast: float = 0.10
    flat: float = 0.02
    flat_noise: float = 0.5
    epoch_steps: float | None = None
    enter_sigma: float = 2.0
    leave_sigma: float = 1.0
    checks: int = 3
    look_share: float = 0.03
    least_points: int = 10
    least_flat_points: int = 12
    least_flat_done: float = 0.1


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of the phase; `reason` is one sentence or two, with numbers."""

    step: float
    time: float
    before: Phase
    after: Phase
    reason: str

    def __str__(self) -> str:
        return f"Training went from {self.before.value} to {self.after.value}. {self.reason}"


class Phases:
    """Follows one run by its headline metric, or by its training loss where it has no other.

    Points, learning rates, findings and progress are given as they come. Memory is bounded.
    """

    def __init__(
        self,
        metric: str = "loss",
        *,
        goal: str = "min",
        rules: PhaseRules | None = None,
        decays: bool | None = None,
    ) -> None:
        """Begin at INITIALIZING.

        Args:
            metric: The name of the metric, for the reasons.
            goal: Whether "min" or "max" is better.
            rules: When a phase begins.
            decays: Whether the schedule lowers the learning rate before the end; None: not known.
        """
        self.phase = Phase.INITIALIZING
        self.since_step = nan
        self._metric = metric
        self._rules = rules or PhaseRules()
        self._trail = Trail(goal=goal)
        self._decay = Decay(decays=decays)
        self._next_look = 1
        self._wanted: Phase | None = None
        self._agreed = 0
        self._moves = 0
        self._flags: dict[str, str] = {}
        self._done: float | None = None
        self._held = False
        self._last = (nan, nan)

    @property
    def flat_but_decay_ahead(self) -> bool:
        """Whether it would be a plateau, had the learning rate not its decay still ahead."""
        return self._held

    def push(self, step: float, value: float, time: float = nan) -> Transition | None:
        """Take the next point of the metric; a value that is not finite is left out."""
        if not (isfinite(step) and isfinite(value)):
            return None
        self._last = (step, time)
        self._trail.push(step, value)
        if self._trail.count < self._next_look:
            return None
        self._next_look = self._trail.count + max(
            1, int(self._rules.look_share * self._trail.count)
        )
        return self._settle()

    def push_lr(self, step: float, rate: float, time: float = nan) -> Transition | None:
        """Take the next learning rate."""
        was = self._decay.warming
        self._decay.push(rate)
        if self._decay.warming == was or not isfinite(step):
            return None
        self._last = (step, time)
        return self._settle()

    def progress(
        self, done: float | None, *, step: float = nan, time: float = nan
    ) -> Transition | None:
        """Say which share of the run is done, from 0 to 1; None: the end is not known."""
        ended = self._done is not None and self._done >= 1.0
        self._done = done if done is not None and isfinite(done) else None
        if ended or self._done is None or self._done < 1.0:
            return None
        self._last = (step if isfinite(step) else self._last[0], time)
        return self._settle()

    def flag(
        self, kind: str, text: str | None, *, step: float = nan, time: float = nan
    ) -> Transition | None:
        """Say that a finding stands, with its sentence, or that it is over: None.

        Args:
            kind: "divergence", "non_finite" or "overfitting"; others change nothing.
            text: The sentence of the finding; None: it is over.
            step: Where that was found.
            time: When that was found.
        """
        if kind not in ("divergence", "non_finite", "overfitting"):
            return None
        if text is None:
            self._flags.pop(kind, None)
        else:
            self._flags[kind] = text
        self._last = (step if isfinite(step) else self._last[0], time)
        return self._settle()

    def _settle(self) -> Transition | None:
        """Look at everything and change the phase where that is called for."""
        velocity = self._trail.velocity()
        at_once = self._at_once(velocity)
        if at_once is not None:
            return self._go(*at_once)
        if velocity is None or (self.phase is Phase.WARMUP and self._decay.warming):
            return None
        wanted = self._by_slope(velocity)
        if wanted is None or wanted is self.phase:
            self._wanted, self._agreed = None, 0
            return None
        self._agreed = self._agreed + 1 if wanted is self._wanted else 1
        self._wanted = wanted
        if self.phase in MOVING:
            if self._agreed < self._rules.checks * 4 ** min(max(self._moves - 2, 0), 5):
                return None
            self._moves += 1
        return self._go(wanted, self._reason(wanted, velocity))

    def _at_once(self, velocity: Velocity | None) -> tuple[Phase, str] | None:
        """Return the phase that no slope decides, and why; None: slopes decide."""
        for kind in ("non_finite", "divergence"):
            if kind in self._flags:
                return Phase.DIVERGING, self._flags[kind]
        if self._done is not None and self._done >= 1.0:
            value = "" if velocity is None else f" {self._metric} is {number(velocity.after)}."
            return Phase.CONVERGED, f"All steps are done.{value}"
        if "overfitting" in self._flags:
            return Phase.OVERFITTING_RISK, self._flags["overfitting"]
        if self._decay.warming and self.phase in (Phase.INITIALIZING, Phase.WARMUP):
            return Phase.WARMUP, f"The learning rate is rising: {self._decay} so far."
        return None

    def _by_slope(self, velocity: Velocity) -> Phase | None:
        """Return the phase that the slope asks for; None: it does not say."""
        rules, gain = self._rules, velocity.gain
        fast, flat = self._bounds(velocity)
        beyond = rules.enter_sigma * velocity.error
        is_flat = gain + beyond <= flat or (_never_moved(velocity) and gain <= beyond)
        may_be_flat = self._may_be_flat(velocity)
        self._held = is_flat and may_be_flat and self._decay.ahead
        if is_flat and may_be_flat and not self._decay.ahead:
            return Phase.PLATEAU
        if self.phase not in MOVING:
            return self._first(velocity, fast, flat)
        if self.phase is not Phase.LEARNING_FAST and gain - beyond > AGAIN * fast:
            return Phase.LEARNING_FAST
        surely = rules.leave_sigma * velocity.error
        left = {
            Phase.LEARNING_FAST: gain + surely < fast,
            Phase.STABLE_CONVERGENCE: False,
            Phase.PLATEAU: gain - surely > flat,
        }[self.phase]
        return Phase.STABLE_CONVERGENCE if left else None

    def _first(self, velocity: Velocity, fast: float, flat: float) -> Phase | None:
        """Return the phase to begin with, or to go on with when something else is over."""
        gain, beyond = velocity.gain, self._rules.enter_sigma * velocity.error
        if gain - beyond > fast:
            return Phase.LEARNING_FAST
        if gain - beyond > flat and gain + beyond < fast:
            return Phase.STABLE_CONVERGENCE
        if velocity.points < self._rules.least_points and self.phase is not Phase.WARMUP:
            return None
        if self.phase is Phase.INITIALIZING and gain <= self._rules.leave_sigma * velocity.error:
            return None
        return Phase.LEARNING_FAST if gain > fast else Phase.STABLE_CONVERGENCE

    def _bounds(self, velocity: Velocity) -> tuple[float, float]:
        """Return which gain is fast and which is none."""
        rules = self._rules
        if rules.epoch_steps:
            epoch = velocity.unit * velocity.span / rules.epoch_steps
            return rules.fast * epoch, rules.flat * epoch
        flat = max(rules.flat * velocity.way, rules.flat_noise * velocity.noise)
        return max(rules.fast * velocity.way, 2.0 * flat), flat

    def _may_be_flat(self, velocity: Velocity) -> bool:
        if velocity.points < self._rules.least_flat_points:
            return False
        return self._done is None or self._done >= self._rules.least_flat_done

    def _go(self, after: Phase, reason: str) -> Transition | None:
        if after is self.phase:
            return None
        before, self.phase = self.phase, after
        self._wanted, self._agreed = None, 0
        step, time = self._last
        self.since_step = step
        return Transition(step, time, before, after, reason)

    def _reason(self, after: Phase, velocity: Velocity) -> str:
        """Say what the slope shows, with numbers."""
        name, since = self._metric, said_step(round(velocity.since))
        now, then = number(velocity.after), number(velocity.before)
        share = max(velocity.gain, 0.0) / velocity.way if velocity.way > 0.0 else 0.0
        moved = f"{name} went from {then} to {now} since step {since}"
        part = f"{share:.0%}" if share >= 0.01 else "less than 1%"
        if after is Phase.LEARNING_FAST:
            return f"{moved}."
        if velocity.gain < -self._rules.leave_sigma * velocity.error:
            return f"{name} gets worse: {then} to {now} since step {since}."
        if after is Phase.STABLE_CONVERGENCE:
            if self.phase is Phase.PLATEAU:
                return f"{name} gets better again: {then} to {now} since step {since}."
            slowed = "Learning slowed: " if self.phase is Phase.LEARNING_FAST else ""
            return f"{slowed}{moved}, {part} of its way so far."
        rate = " The learning rate has its decay behind it." if self._decay.spent else ""
        return f"{name} has stayed near {now} since step {since}: {part} of its way so far.{rate}"


def _never_moved(velocity: Velocity) -> bool:
    """Whether all that the metric did so far is noise."""
    return velocity.points >= NOISE_POINTS and velocity.way < NOISE_WAY * velocity.jitter
