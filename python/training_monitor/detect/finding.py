"""What a detector says."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

__all__ = ["SEVERITIES", "Finding"]

# The worst last.
SEVERITIES = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a run that a person should know.

    Attributes:
        kind: In one word, as spike.
        severity: One of SEVERITIES.
        metric: The key, or the source on the machine, that it is about.
        step: The step at which it was found; None: it belongs to no step.
        time: Wall clock at which it was found, in seconds since 1970; NaN: unknown.
        text: One sentence with numbers.
        advice: What to do.
        rank: The rank whose points these are; None: all of them.
        value: What was seen.
        reference: What was expected.
        sigma: How far `value` is from `reference`, in standard deviations of the noise; NaN where
            that has no meaning.
        threshold: The bound that was crossed, in the unit of the detector (sigma, a ratio, nats).
        since: The step at which it began, at or before `step`.
        over: Whether this says that an earlier finding of this kind, metric and rank is over.
    """

    kind: str
    severity: str
    metric: str
    step: int | None
    time: float
    text: str
    advice: str = ""
    rank: int | None = None
    value: float = nan
    reference: float = nan
    sigma: float = nan
    threshold: float = nan
    since: int | None = None
    over: bool = False
