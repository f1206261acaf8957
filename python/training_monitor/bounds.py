"""Which numbers the read side takes: an error names the parameter and what is allowed."""

from __future__ import annotations

from training_monitor.errors import SettingError, shown
from training_monitor.kinds import Generic, Number, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")
else:
    T = None

__all__ = ["COUNT", "RANK", "SECONDS", "STEP", "TOTAL", "Bound", "bounded"]


class Bound(Generic[T]):
    """The numbers that one sort of parameter may have."""

    __slots__ = ("_allowed", "_number")

    def __init__(self, number: Number[T], allowed: str) -> None:
        self._number = number
        self._allowed = allowed

    def take(self, name: str, value: object) -> T:
        """Return the number, or raise a SettingError that names the parameter."""
        try:
            return self._number.take(value)
        except Refused:
            raise self._error(f"{name}={shown(value)}") from None

    def read(self, text: str) -> T:
        """Return the number that a text spells, or raise a SettingError."""
        try:
            return self._number.read(text)
        except Refused:
            raise self._error(shown(text)) from None

    def _error(self, what: str) -> SettingError:
        return SettingError(f"{what} is not valid: expected {self._allowed}")


COUNT = Bound(Number(int, 0, 2**63 - 1), "a whole number, 0 or more")
RANK = Bound(Number(int, 0, 2**32 - 1), "a rank: a whole number, 0 or more")
STEP = Bound(Number(int, -(2**63), 2**63 - 1), "a step: a whole number of 64 bits")
TOTAL = Bound(Number(float, 1, 1e15), "a number of steps, 1 or more")
SECONDS = Bound(Number(float, 0, 1e9, above=True), "a number of seconds above 0")


def bounded(name: str, value: object, bound: Bound[T]) -> T | None:
    """Return the number that `value` is; None where none was given."""
    return None if value is None else bound.take(name, value)
