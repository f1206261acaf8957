"""What a run has cost, and what it will cost."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from training_monitor.predict.wording import money

if TYPE_CHECKING:
    from training_monitor.predict.eta import Eta

__all__ = ["Cost", "cost_of"]

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Cost:
    """GPU hours and money, so far and to the end.

    Attributes:
        gpu_hours: GPU hours so far.
        spent: Money so far; None: the price is not known.
        gpu_hours_left: GPU hours from here to the end; None: the end is not known.
        to_finish: Money from here to the end; None: price or end are not known.
        low: The lower ends of the intervals of `to_finish`, by level in per cent.
        high: Their upper ends.
        currency: What stands before an amount.
    """

    gpu_hours: float
    spent: float | None
    gpu_hours_left: float | None
    to_finish: float | None
    low: dict[int, float]
    high: dict[int, float]
    currency: str = "$"

    @property
    def total(self) -> float | None:
        """Money for the whole run; None: price or end are not known."""
        if self.spent is None or self.to_finish is None:
            return None
        return self.spent + self.to_finish

    def __str__(self) -> str:
        if self.spent is None:
            left = (
                "" if self.gpu_hours_left is None else f", about {self.gpu_hours_left:,.1f} to go"
            )
            return f"{self.gpu_hours:,.1f} GPU hours so far{left}"
        told = f"{money(self.spent, self.currency)} so far"
        if self.to_finish is None or self.total is None:
            return told
        told += f", about {money(self.to_finish, self.currency)} to finish"
        if 80 in self.low:
            low, high = (money(one[80], self.currency) for one in (self.low, self.high))
            told += f" ({low} to {high})"
        return f"{told}, {money(self.total, self.currency)} in all"


def cost_of(
    seconds: float,
    *,
    gpus: int,
    cost_per_gpu_hour: float | None = None,
    eta: Eta | None = None,
    currency: str = "$",
) -> Cost:
    """Compute what a run costs.

    Args:
        seconds: How long it has had its GPUs, in all attempts together.
        gpus: How many GPUs it holds, on all nodes together.
        cost_per_gpu_hour: The price; None: GPU hours alone are told.
        eta: How long it still takes; None: what is to come is not told.
        currency: What to write before an amount.

    Raises:
        ValueError: For a time, a count or a price that cannot be.
    """
    price = cost_per_gpu_hour
    for name, value in (("seconds", seconds), ("gpus", gpus), ("cost_per_gpu_hour", price or 0.0)):
        if not isfinite(value) or value < 0:
            raise ValueError(f"{name} is {value}: expected a number that is not negative")
    hourly = gpus / HOUR
    paid = None if price is None else hourly * price
    priced = paid is not None and eta is not None
    return Cost(
        gpu_hours=seconds * hourly,
        spent=None if paid is None else seconds * paid,
        gpu_hours_left=None if eta is None else eta.seconds * hourly,
        to_finish=None if paid is None or eta is None else eta.seconds * paid,
        low={level: end * (paid or 0.0) for level, end in eta.low.items()}
        if priced and eta
        else {},
        high={level: end * (paid or 0.0) for level, end in eta.high.items()}
        if priced and eta
        else {},
        currency=currency,
    )
