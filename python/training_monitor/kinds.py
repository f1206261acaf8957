"""What a setting may hold: each kind checks a Python value and reads one from text."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic, TypeVar

    T = TypeVar("T")
else:
    # `typing` alone costs more time than the whole import of this package may take.
    class Generic:
        """Stand in for typing.Generic at run time."""

        def __class_getitem__(cls, item: object) -> type:
            """Ignore the parameter: only the type checker reads it."""
            return cls

    T = None

__all__ = [
    "Flag",
    "Generic",
    "Hyperparameters",
    "Indices",
    "Kind",
    "Maybe",
    "Number",
    "Refused",
    "Size",
    "StartMonitor",
]

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("kmgt", start=1)}


class Refused(Exception):  # noqa: N818 -- an outcome between two rooms, never seen outside
    """The value is not of this kind; the text says why when `allowed` does not."""


class Kind(Generic[T]):
    """One kind of value: `allowed` names it to people."""

    allowed: str = ""

    def take(self, value: object) -> T:
        """Return the value as it is kept, or raise Refused."""
        raise NotImplementedError

    def read(self, text: str) -> T:
        """Return the value that a flag or an environment variable spells."""
        return self.take(text)

    def spell(self, value: T) -> str:
        """Return the text that `read` makes this value of."""
        return str(value)


class Flag(Kind[bool]):
    """True or False."""

    allowed = "expected True or False"

    def take(self, value: object) -> bool:
        """Accept a bool only: 1 and "yes" are more often a mistake than a wish."""
        if not isinstance(value, bool):
            raise Refused
        return value

    def read(self, text: str) -> bool:
        """Read 1/0, true/false, yes/no, on/off."""
        word = text.strip().lower()
        if word not in _YES and word not in _NO:
            raise Refused("as text: 1/0, true/false, yes/no or on/off")
        return word in _YES


class Number(Kind[T]):
    """A finite number within bounds, whole when `of` is int."""

    def __init__(self, of: type[T], low: float, high: float, *, above: bool = False) -> None:
        self.of = of
        self.low = low
        self.high = high
        self.above = above
        noun = "a whole number" if of is int else "a number"
        bound = f"above {low:g}, at most" if above else f"from {low:g} to"
        self.allowed = f"expected {noun} {bound} {high:.10g}"

    def take(self, value: object) -> T:
        """Accept int, float and numpy numbers; never bool, text, a class or an array."""
        if isinstance(value, (bool, str, bytes, type)) or getattr(value, "ndim", 0) != 0:
            raise Refused
        exact = getattr(value, "__index__" if self.of is int else "__float__", None)
        number = None if exact is None else exact()
        if not isinstance(number, self.of):
            raise Refused
        # Written so that NaN fails every comparison and is refused.
        if not (self.low <= number <= self.high) or (self.above and number == self.low):  # type: ignore[operator]
            raise Refused
        return number

    def read(self, text: str) -> T:
        """Read it as Python writes it."""
        try:
            number = int(text) if self.of is int else float(text)
        except ValueError:
            raise Refused from None
        return self.take(number)


class Size(Kind[int]):
    """A number of bytes."""

    allowed = "expected a number of bytes from 1 MiB up, as 8589934592 or '8GiB'"

    def take(self, value: object) -> int:
        """Accept a whole number, or a text with a unit."""
        if isinstance(value, str):
            return self.read(value)
        exact = getattr(value, "__index__", None)
        if exact is None or isinstance(value, (bool, type)) or getattr(value, "ndim", 0) != 0:
            raise Refused
        number = exact()
        if not isinstance(number, int) or not 2**20 <= number <= 2**62:
            raise Refused
        return number

    def read(self, text: str) -> int:
        """Read '8GiB', '500 MB' or plain bytes."""
        digits = text.strip().lower().removesuffix("b")
        number = digits.rstrip("kmgti ")
        unit = digits[len(number) :].strip()
        try:
            return self.take(int(float(number) * _UNITS[unit]))
        except (ValueError, KeyError, OverflowError):
            raise Refused from None


class Indices(Kind["list[int]"]):
    """Numbers of devices."""

    most = 2**16
    allowed = "expected a list of device numbers, as [0, 1] or '0,1'"

    def take(self, value: object) -> list[int]:
        """Accept one int, a list, a tuple or a range of different ints."""
        items = [value] if isinstance(value, int) else value
        if not isinstance(items, (list, tuple, range)) or len(items) > self.most:
            raise Refused
        numbers = [item for item in items if isinstance(item, int) and not isinstance(item, bool)]
        if len(numbers) != len(items) or any(not 0 <= number < self.most for number in numbers):
            raise Refused
        if len(set(numbers)) != len(numbers):
            raise Refused("a number stands twice")
        return numbers

    def read(self, text: str) -> list[int]:
        """Read numbers between commas."""
        try:
            return self.take([int(item) for item in text.split(",") if item.strip()])
        except ValueError:
            raise Refused from None

    def spell(self, value: list[int]) -> str:
        """Return the numbers between commas; a comma alone is the empty list."""
        return ",".join(map(str, value)) or ","


class Hyperparameters(Kind[object]):
    """What the experiment was configured with."""

    allowed = "expected a dict, or an object with named values (Namespace, dataclass)"

    def take(self, value: object) -> object:
        """Accept a mapping or an object with attributes; values may be anything."""
        if isinstance(value, type):
            raise Refused("it is a class, not an object")
        if hasattr(value, "keys") or hasattr(value, "__dataclass_fields__"):
            return value
        if hasattr(value, "__dict__") and not callable(value):
            return value
        raise Refused(f"it is of type {type(value).__name__}")


class StartMonitor(Kind["str | bool"]):
    """Who starts the monitor."""

    allowed = "expected 'auto', True or False"

    def take(self, value: object) -> str | bool:
        """Accept the word or a bool."""
        if isinstance(value, bool) or (isinstance(value, str) and value == "auto"):
            return value
        raise Refused

    def read(self, text: str) -> str | bool:
        """Read the word, or what Flag reads."""
        return "auto" if text.strip().lower() == "auto" else Flag().read(text)


class Maybe(Kind["T | None"]):
    """Another kind, or None."""

    def __init__(self, kind: Kind[T]) -> None:
        self.kind = kind
        self.allowed = f"{kind.allowed}, or None"

    def take(self, value: object) -> T | None:
        """Accept None, and what the other kind accepts."""
        return None if value is None else self.kind.take(value)

    def read(self, text: str) -> T | None:
        """Read `none` as None."""
        return None if text.strip().lower() == "none" else self.kind.read(text)

    def spell(self, value: T | None) -> str:
        """Return `none` for None."""
        return "none" if value is None else self.kind.spell(value)
