"""The arguments of a tool: one table makes the JSON schema and reads what a model sends.

Small models send "12" or 12.0 for 12, null for what they do not mean, and one text for a list of
one. All of these are understood; the rest is an error that says what is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from training_monitor.analysis.fencing import quoted
from training_monitor.analysis.tools.form import Tool, ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["FileName", "Flag", "Parameter", "Slices", "Text", "Texts", "Whole", "made_tool"]

_MOST_CHARS = 1000
_MOST_TEXTS = 50
_WORDS = {"true": True, "false": False}
# Steps have 64 bits.
_STEP = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool.

    Attributes:
        name: Its name.
        help: What it means, in words for a model.
        default: What stands where it is not given.
        required: Whether it must be given.
    """

    name: str
    help: str
    default: Any = None
    required: bool = False

    def kind(self) -> dict[str, Any]:
        """Return its type for the schema."""
        raise NotImplementedError

    def take(self, value: object) -> Any:
        """Return the value that is meant, or raise ToolError."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """Return its part of the schema."""
        found = {**self.kind(), "description": self.help}
        if self.default is not None and not isinstance(self.default, tuple):
            found["default"] = self.default
        return found

    def refuse(self, allowed: str, value: object) -> ToolError:
        """Return the error for a value."""
        return ToolError(f"{self.name} must be {allowed}, not {_named(value)}")


@dataclass(frozen=True, slots=True)
class Text(Parameter):
    """A text; one of `choices` where there are some."""

    choices: tuple[str, ...] = ()

    def kind(self) -> dict[str, Any]:
        """Return a string, or an enumeration of them."""
        return {"type": "string"} | ({"enum": list(self.choices)} if self.choices else {})

    def take(self, value: object) -> str | None:
        """Accept a text; an empty one means none where it is not required."""
        if not isinstance(value, str):
            raise self.refuse("a text", value)
        if self.choices and value not in self.choices:
            raise self.refuse("one of " + ", ".join(map(quoted, self.choices)), value)
        if len(value) > _MOST_CHARS:
            raise ToolError(f"{self.name} is too long: {_MOST_CHARS} characters at most")
        return value if value or self.required else self.default


@dataclass(frozen=True, slots=True)
class Whole(Parameter):
    """A whole number within bounds."""

    low: int = -_STEP - 1
    high: int = _STEP

    def kind(self) -> dict[str, Any]:
        """Return an integer with its bounds."""
        bounds = {"minimum": self.low, "maximum": self.high}
        return {"type": "integer"} | {
            name: bound for name, bound in bounds.items() if abs(bound) < _STEP
        }

    def take(self, value: object) -> int:
        """Accept an int, and what spells one."""
        number = _whole(value)
        if number is None:
            raise self.refuse("a whole number", value)
        if not self.low <= number <= self.high:
            bounds = f"from {self.low} to {self.high}"
            raise ToolError(f"{self.name} must be {bounds}, not {_named(number)}")
        return number


@dataclass(frozen=True, slots=True)
class Flag(Parameter):
    """True or false."""

    def kind(self) -> dict[str, Any]:
        """Return a boolean."""
        return {"type": "boolean"}

    def take(self, value: object) -> bool:
        """Accept a bool, and the words."""
        if isinstance(value, str):
            value = _WORDS.get(value.strip().lower(), value)
        if not isinstance(value, bool):
            raise self.refuse("true or false", value)
        return value


@dataclass(frozen=True, slots=True)
class Texts(Parameter):
    """A list of texts."""

    most: int = _MOST_TEXTS

    def kind(self) -> dict[str, Any]:
        """Return an array of strings."""
        return {"type": "array", "items": {"type": "string"}, "maxItems": self.most}

    def take(self, value: object) -> list[str]:
        """Accept a list, and one text for a list of one."""
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or (self.required and not items):
            raise self.refuse("a list of texts", value)
        if len(items) > self.most:
            raise ToolError(f"{self.name} is too long: {self.most} texts at most")
        one = Text(f"each of {self.name}", "", required=True)
        return [str(one.take(item)) for item in items]


@dataclass(frozen=True, slots=True)
class FileName(Parameter):
    """A file by its path, or by its number."""

    def kind(self) -> dict[str, Any]:
        """Return a string or an integer."""
        return {"type": ["string", "integer"]}

    def take(self, value: object) -> str | int:
        """Accept a path as it stands in the list, or a number."""
        if isinstance(value, str):
            return Text(self.name, "", required=True).take(value) or ""
        number = _whole(value)
        if number is None or not 0 <= number <= 10**9:
            raise self.refuse("a path or the number of a file", value)
        return number


@dataclass(frozen=True, slots=True)
class Slices(Parameter):
    """A list of objects, each with parameters of its own."""

    parts: tuple[Parameter, ...] = ()
    most: int = 20

    def kind(self) -> dict[str, Any]:
        """Return an array of objects."""
        return {"type": "array", "items": _schema(self.parts), "maxItems": self.most}

    def take(self, value: object) -> list[dict[str, Any]]:
        """Accept a list of objects, and one object for a list of one."""
        items = [value] if isinstance(value, dict) else value
        if not isinstance(items, list) or not items:
            raise self.refuse("a list of objects", value)
        if len(items) > self.most:
            raise ToolError(f"{self.name} is too long: {self.most} at most")
        return [_taken(f"each of {self.name}", self.parts, item) for item in items]


def made_tool(
    name: str,
    description: str,
    parameters: Sequence[Parameter],
    function: Callable[..., str],
) -> Tool:
    """Return a tool that calls a function with the arguments of the table, checked."""

    def call(given: dict[str, Any]) -> str:
        return function(**_taken(name, parameters, given))

    return Tool(name, description, _schema(parameters), call)


def _schema(parameters: Sequence[Parameter]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {one.name: one.schema() for one in parameters},
        "required": [one.name for one in parameters if one.required],
        "additionalProperties": False,
    }


def _taken(what: str, parameters: Sequence[Parameter], given: object) -> dict[str, Any]:
    """Return the arguments by name, or raise ToolError."""
    allowed = ", ".join(one.name + (" (required)" if one.required else "") for one in parameters)
    takes = f"{what} takes {allowed or 'no arguments'}"
    if not isinstance(given, dict):
        raise ToolError(f"the arguments must be a JSON object, not {_named(given)}; {takes}")
    names = {one.name for one in parameters}
    for name in given:
        if name not in names:
            raise ToolError(f"no argument {_named(name)}: {takes}")
    found = {}
    for one in parameters:
        value = given.get(one.name)
        if value is None and one.required:
            raise ToolError(f"{one.name} is missing: {takes}")
        found[one.name] = one.default if value is None else one.take(value)
    return found


def _whole(value: object) -> int | None:
    """Return the whole number that a value is or spells; None: it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        text = value.strip().removeprefix("#")
        is_number = len(text) <= 20 and text.isascii() and text.removeprefix("-").isdigit()
        return int(text) if is_number else None
    if isinstance(value, float) and isfinite(value) and value.is_integer():
        return int(value)
    return None


def _named(value: object) -> str:
    """Return a value for a message, whatever its size."""
    if isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**64):
        return str(value)
    return quoted(value, chars=60)
