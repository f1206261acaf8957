"""What a tool is: a name, words for a model, a schema, a function; the limits of its answers."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Limits", "Tool", "ToolError"]


class ToolError(Exception):
    """What a model asked for is not to be had; the text, which it is told, says what is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one call of a tool may give and take.

    Attributes:
        bytes: Bytes of an answer.
        lines: Lines of an answer.
        line_chars: Characters of one line of data.
        seconds: How long a call may take.
        log_bytes: Bytes that are read of one log file.
    """

    bytes: int = 16_000
    lines: int = 400
    line_chars: int = 500
    seconds: float = 10.0
    log_bytes: int = 8 << 20


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool.

    Attributes:
        name: By which a model calls it.
        description: What it answers, in words for a model.
        parameters: The JSON schema of its arguments.
        call: Answers arguments that are a dict; raises ToolError. `Toolbox.call` takes anything.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    call: Callable[[dict[str, Any]], str]
