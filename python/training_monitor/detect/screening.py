"""The detectors that look at every point of a series: they run in the extension."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite

import numpy as np

from training_monitor import _core
from training_monitor.detect.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from training_monitor.detect.thresholds import Thresholds

__all__ = ["Screening"]

# What a series of this kind is looked at for, and how its slowdown is called.
_SLOW = {"step_time": "slowdown", "throughput": "throughput_drop", "mfu": "mfu_drop"}
_RATES = frozenset(("throughput", "mfu"))
_BACK = 9

_ADVICE = {
    "non_finite": "Look at the first metric of this step that is not finite; with mixed precision "
    "at the loss scale. Go back to the last good checkpoint, with a lower learning rate or "
    "gradient clipping.",
    "spike": "Look at the data of this step and at the gradient norm just before it. If it does "
    "not come back: an earlier checkpoint, and skip these batches.",
    "divergence": "Stop, go back to the checkpoint of the best step, and lower the learning rate "
    "or clip the gradients.",
    "slowdown": "Look at the data loader, at clocks and temperature of the GPUs, and for other "
    "processes on the machine.",
}


class Screening:
    """Looks at one series.

    Args:
        metric: Its name.
        kind: What it is: loss, grad_norm, step_time, throughput, mfu; of others only what is not
            finite is told.
        rank: Whose points these are.
        thresholds: When something is said.
        minor: Whether it says little of the run: then jumps are info.
        diverges: Whether to look for divergence as well.
    """

    __slots__ = (
        "_after",
        "_kind",
        "_metric",
        "_minor",
        "_ok",
        "_rank",
        "_screen",
        "_slow",
        "_standing",
    )

    def __init__(
        self,
        metric: str,
        kind: str,
        *,
        rank: int | None,
        thresholds: Thresholds,
        minor: bool = False,
        diverges: bool = False,
    ) -> None:
        self._metric = metric
        self._kind = kind
        self._rank = rank
        self._ok = thresholds
        self._minor = minor or kind == "grad_norm"
        jumps = kind in ("loss", "grad_norm")
        self._screen = _core.Screen(
            spike=thresholds.spike.bounds if jumps else None,
            divergence=thresholds.divergence.bounds if diverges else None,
            slowdown=thresholds.slowdown.bounds if kind in _SLOW else None,
        )
        # What a spike that did not come back has to come back to.
        self._standing: tuple[float, int] | None = None
        self._after: list[float] = []
        # A slowdown that has not lasted long enough to be told.
        self._slow: Finding | None = None

    def feed(
        self, steps: NDArray[np.int64], times: NDArray[np.float64], values: NDArray[np.float64]
    ) -> list[Finding]:
        """Look at columns of one length, in the order of arrival."""
        if self._kind in _RATES:
            with np.errstate(all="ignore"):
                inverse = np.where(values > 0, 1.0 / values, 0.0)
            values = np.where(np.isfinite(values), inverse, values)
        found: list[Finding] = []
        place = 0
        for one in self._screen.feed(steps.tobytes(), times.tobytes(), values.tobytes()):
            if self._standing is not None or (one[0] == "not_recovered" and not self._minor):
                until = _place(steps, values, one[1], one[3], place)
                found += self._back(steps[place:until], times[place:until], values[place:until])
                place = until
            found += self._said(*one)
        if self._kind in _SLOW:
            found = self._lasting(found, steps, times)
        return found + self._back(steps[place:], times[place:], values[place:])

    def _lasting(
        self, found: list[Finding], steps: NDArray[np.int64], times: NDArray[np.float64]
    ) -> list[Finding]:
        """Return what is to be told now: a slowdown that is soon over is nothing to tell."""
        told = []
        for finding in found:
            if finding.kind != _SLOW[self._kind]:
                told.append(finding)
            elif not finding.over:
                self._slow = finding
            elif self._slow is None:
                told.append(finding)
            else:
                lasted = self._lasted(steps, times, finding.time)
                told += [*lasted, finding] if lasted else []
                self._slow = None
        return told + self._lasted(steps, times, inf)

    def _lasted(
        self, steps: NDArray[np.int64], times: NDArray[np.float64], before: float
    ) -> list[Finding]:
        """Return the slowdown that waits, if it has lasted long enough `before` it was over."""
        slow = self._slow
        if slow is None:
            return []
        if not isfinite(slow.time):
            self._slow = None
            return [slow]
        late = np.flatnonzero(
            (times >= slow.time + self._ok.slowdown.lasts_secs) & (times < before)
        )
        if not len(late):
            return []
        self._slow = None
        at = int(late[0])
        return [replace(slow, step=int(steps[at]), time=float(times[at]))]

    def _said(
        self,
        what: str,
        step: int,
        time: float,
        value: float,
        since: int,
        reference: float,
        sigma: float,
        threshold: float,
    ) -> list[Finding]:
        """Return the finding that an event is."""
        kind, severity, text, over = self._words(what, step, value, since, reference, sigma)
        if kind in _RATES_LOST:
            value, reference = 1.0 / value, 1.0 / reference
        return [
            Finding(
                kind, severity, self._metric, step, time, text,
                "" if over else _ADVICE.get(kind, _ADVICE["slowdown"]),
                rank=self._rank, value=value, reference=reference, sigma=sigma,
                threshold=threshold, since=since, over=over,
            )
        ]  # fmt: skip

    def _words(
        self, what: str, step: int, value: float, since: int, reference: float, sigma: float
    ) -> tuple[str, str, str, bool]:
        """Return kind, severity, text, and whether it is over."""
        name, at = self._metric, f"at step {step:,}"
        self._standing = None if what == "spike" else self._standing
        if what == "non_finite":
            before = f": {reference:.4g} before" if isfinite(reference) else ""
            severity = "warning" if self._minor else "critical"
            if not before and self._minor and self._kind == "other":
                # As a score before the first episode has ended.
                severity = "info"
            return "non_finite", severity, f"{name} is {value} {at}{before}", False
        if what == "finite_again":
            return "non_finite", "info", f"{name} is finite again, {at}", True
        if what == "spike":
            text = f"{name} jumped to {value:.4g} {at}: {reference:.4g} before ({sigma:.0f} sigma)"
            return "spike", self._spike_severity(value, reference, sigma), text, False
        if what in ("recovered", "recovered_late"):
            took = f"{step - since:,} steps after its jump at {since:,}"
            return "spike", "info", f"{name} is back at {value:.4g} {took}", True
        if what == "not_recovered" and self._minor:
            # Norms of gradients move to other levels in runs that are well.
            text = f"{name} stays at {value:.4g} since its jump at step {since:,}"
            return "spike", "info", text, True
        if what == "not_recovered":
            self._standing = (reference, since)
            self._after.clear()
            text = (
                f"{name} has not come back from its jump at step {since:,}: {value:.4g} {at}, "
                f"{reference:.4g} before"
            )
            return "spike", "critical", text, False
        if what == "divergence":
            text = (
                f"{name} has left its best of {reference:.4g}: {value:.4g} {at}, and far above "
                f"since step {since:,}"
            )
            return "divergence", "critical", text, False
        if what == "converging":
            return "divergence", "info", f"{name} is near its best again: {value:.4g} {at}", True
        return self._slow_words(what, value, since, reference, at)

    def _spike_severity(self, value: float, reference: float, sigma: float) -> str:
        if self._minor:
            return "info"
        ok = self._ok.spike
        is_huge = sigma > ok.critical_sigma and value > ok.critical_ratio * abs(reference)
        return "critical" if is_huge else "warning"

    def _slow_words(
        self, what: str, value: float, since: int, reference: float, at: str
    ) -> tuple[str, str, str, bool]:
        kind, name, ok = _SLOW[self._kind], self._metric, self._ok.slowdown
        if kind in _RATES_LOST:
            now, before, lost = 1.0 / value, 1.0 / reference, 1.0 - reference / value
            by = f"{lost:.0%} lower"
            bad, worse = lost >= ok.mfu_drop_warning, lost >= ok.mfu_drop_critical
        else:
            now, before, ratio = value, reference, value / reference
            by = f"{ratio - 1.0:.0%} longer"
            bad, worse = ratio >= ok.step_time_warning, ratio >= ok.step_time_critical
        if what == "up_to_speed":
            return kind, "info", f"{name} is as it was: {now:.4g} {at}, {before:.4g} before", True
        severity = "critical" if worse else "warning" if bad else "info"
        text = f"{name} is {now:.4g} since step {since:,}, {by}: {before:.4g} before"
        return kind, severity, text, False

    def _back(self, steps: Any, times: Any, values: Any) -> list[Finding]:
        """Return that a spike is over which had not come back in time, if that is so.

        Nine points at a time, counted from when it was given up: the cuts make no difference.
        """
        if self._standing is None:
            return []
        reference, since = self._standing
        for at in range(len(values)):
            self._after.append(float(values[at]))
            if len(self._after) < _BACK:
                continue
            level = float(np.median(self._after))
            self._after.clear()
            if level <= reference:
                self._standing = None
                text = f"{self._metric} is back at {level:.4g} at step {int(steps[at]):,}"
                return [
                    Finding(
                        "spike", "info", self._metric, int(steps[at]), float(times[at]), text,
                        rank=self._rank, value=level, reference=reference, threshold=inf,
                        since=since, over=True,
                    )
                ]  # fmt: skip
        return []


def _place(steps: Any, values: Any, step: int, value: float, start: int) -> int:
    """Return where behind `start` the point lies that was noticed."""
    same = (steps[start:] == step) & ((values[start:] == value) | np.isnan(values[start:]))
    return start + int(np.argmax(same)) if same.any() else start


_RATES_LOST = frozenset(_SLOW[kind] for kind in _RATES)
