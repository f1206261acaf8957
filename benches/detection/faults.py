"""Faults put into real series at seeded places, so that their onset is known exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detection.curves import Floats

__all__ = ["FAULTS", "Fault", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fault begins in a series, and what the series is like there."""

    index: int
    level: float
    sigma: float
    start: float  # the level at the beginning of the series
    seed: int


# Clean values in, values with the fault out; nothing before place.index may change.
Injection = Callable[[Floats, Place], Floats]


@dataclass(frozen=True, slots=True)
class Fault:
    """One size of one kind of fault.

    Attributes:
        kind: What a detector should call it.
        label: The size, for the page.
        roles: The series into which it is put.
        window: Within how many points an alarm counts; None: until the end of the series.
        inject: Puts it there.
    """

    kind: str
    label: str
    roles: frozenset[str]
    window: int | None
    inject: Injection


def _spike(sigmas: float, decay: int) -> Injection:
    def inject(values: Floats, place: Place) -> Floats:
        out: Floats = values.copy()
        size = max(sigmas * place.sigma, 0.03 * abs(place.level))
        tail = out[place.index : place.index + decay]
        tail += size * (1 - np.arange(len(tail)) / decay)
        return out

    return inject


def _ramp(length: int) -> Injection:
    def inject(values: Floats, place: Place) -> Floats:
        out: Floats = values.copy()
        size = max(abs(place.level), 20 * place.sigma)
        after = np.arange(1, len(out) - place.index + 1)
        out[place.index :] = place.level + (out[place.index :] - place.level) * np.clip(
            1 - after / length, 0, 1
        )
        out[place.index :] += size * np.clip(after / length, 0, 1)
        out[place.index :] += _noise(place, len(after)) * np.clip(after / length, 0, 1)
        return out

    return inject


def _noise(place: Place, count: int) -> Floats:
    """Return noise as large as that around the place, for what replaces the curve."""
    return np.random.default_rng(place.seed).normal(0, place.sigma, count)


def _not_a_number(values: Floats, place: Place) -> Floats:
    out: Floats = values.copy()
    out[place.index] = np.nan
    return out


def _times(factor: float) -> Injection:
    def inject(values: Floats, place: Place) -> Floats:
        out: Floats = values.copy()
        out[place.index :] *= factor
        return out

    return inject


def _half(length: int) -> Injection:
    def inject(values: Floats, place: Place) -> Floats:
        out: Floats = values.copy()
        after = np.arange(1, len(out) - place.index + 1)
        out[place.index :] -= 0.5 * (place.level - place.start) * np.clip(after / length, 0, 1)
        return out

    return inject


def _decay_to(share: float, length: int) -> Injection:
    def inject(values: Floats, place: Place) -> Floats:
        out: Floats = values.copy()
        after = np.arange(1, len(out) - place.index + 1)
        out[place.index :] *= share ** np.clip(after / length, 0, 1)
        return out

    return inject


def _drift(share: float) -> Injection:
    def inject(values: Floats, place: Place) -> Floats:
        out: Floats = values.copy()
        tail = out[place.index + 1 :]
        local = np.array([np.median(values[max(0, i - 2) : i + 3]) for i in range(len(values))])
        wobble = values[place.index + 1 :] / local[place.index + 1 :]
        tail[:] = values[place.index] * (1 + share * np.arange(1, len(tail) + 1)) * wobble
        return out

    return inject


def _leak(share_per_thousand: float) -> Injection:
    def inject(values: Floats, place: Place) -> Floats:
        out: Floats = values.copy()
        after = np.arange(len(out) - place.index)
        # Traces are shares of the capacity; a card is full at 98 %.
        out[place.index :] = np.minimum(
            out[place.index :] + share_per_thousand * after / 1000, 0.98
        )
        return out

    return inject


def _flat(values: Floats, place: Place) -> Floats:
    out: Floats = values.copy()
    out[place.index :] = place.level
    return out


def _fault(kind: str, label: str, roles: str, window: int | None, inject: Injection) -> Fault:
    return Fault(kind, label, frozenset(roles.split()), window, inject)


FAULTS: tuple[Fault, ...] = (
    *(
        _fault("spike", f"{size} sigma, decay {decay}", "loss grad_norm", 8, _spike(size, decay))
        for size in (5, 8, 12, 20)
        for decay in (1, 8, 50)
    ),
    *(_fault("divergence", f"over {length}", "loss", 50, _ramp(length)) for length in (50, 200)),
    _fault("non_finite", "one NaN", "loss grad_norm", 1, _not_a_number),
    *(
        _fault("slowdown", f"x{factor}", "step_time", 25, _times(factor))
        for factor in (1.15, 1.3, 1.6, 2.2)
    ),
    *(
        _fault(kind, f"-{share} %", role, 25, _times(1 - share / 100))
        for kind, role in (("throughput_drop", "throughput"), ("mfu_drop", "mfu"))
        for share in (10, 20, 40)
    ),
    _fault("overfitting", "+0.5 % per evaluation", "val_loss", 50, _drift(0.005)),
    *(
        _fault("reward_drop", f"to half over {length}", "reward", 50, _half(length))
        for length in (5, 50)
    ),
    *(_fault("kl_blow_up", f"x{factor}", "kl", 25, _times(factor)) for factor in (3, 10)),
    _fault("entropy_collapse", "to 25 % over 50", "entropy", 50, _decay_to(0.25, 50)),
    *(
        _fault("memory_leak", f"{share} % per 1000", "memory", None, _leak(share / 100))
        for share in (1, 3, 10)
    ),
    _fault("flatline", "constant", "reward", 50, _flat),
)
