"""The messages of a conversation, kept within the length that a prompt may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training_monitor.analysis.model.reply import json_text, read_arguments

if TYPE_CHECKING:
    from training_monitor.analysis.model.reply import ToolCall

__all__ = ["Transcript"]

_SHORT_CHARS = 200
_MOST_WORDS_CHARS = 8000
_MOST_ARGUMENTS_CHARS = 4000


class Transcript:
    """Grows by what the model says and what tools answer.

    Args:
        messages: How it begins.
        max_chars: When it is longer, old answers of tools are shortened, for good: what a model
            has read changes as seldom as can be.
    """

    def __init__(self, messages: list[dict[str, Any]], *, max_chars: int) -> None:
        self._messages = [dict(message) for message in messages]
        self._begins = len(self._messages)
        self._max_chars = max_chars
        self._newest = self._begins

    def fitting(self) -> list[dict[str, Any]]:
        """Return the messages, shortened where they are too long."""
        self._shorten(self._begins, self._newest, self._max_chars, _SHORT_CHARS)
        # What the model has just asked for it gets whole, unless that alone is too much.
        if self._chars() > 2 * self._max_chars:
            number = max(len(self._messages) - self._newest, 1)
            share = max(self._max_chars // number, _SHORT_CHARS)
            self._shorten(self._newest, len(self._messages), self._max_chars, share)
        return list(self._messages)

    def shrink(self) -> bool:
        """Make it half as long from now on; False where that is not possible."""
        before = self._chars()
        self._max_chars = min(self._max_chars, before) // 2
        self._shorten(self._begins, len(self._messages), 0, _SHORT_CHARS)
        return self._chars() < before

    def model_calls(self, text: str, calls: list[ToolCall]) -> None:
        """Append what the model said and which tools it calls, which are answered next."""
        self._newest = len(self._messages)
        self._messages.append(
            {
                "role": "assistant",
                "content": text[:_MOST_WORDS_CHARS],
                "tool_calls": [_as_sent(call) for call in calls],
            }
        )

    def tool_answers(self, call_id: str, text: str) -> None:
        """Append what a tool answered."""
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": text})

    def model_says(self, text: str) -> None:
        """Append what the model said."""
        self._newest = len(self._messages)
        self._messages.append({"role": "assistant", "content": text[:_MOST_WORDS_CHARS]})

    def tell(self, text: str) -> None:
        """Tell the model something: with the last answer of a tool, or as a message of its own.

        Templates of some models have no message of the user behind one of a tool.
        """
        last = self._messages[-1] if self._messages else {}
        if last.get("role") == "tool":
            self._messages[-1] = last | {"content": f"{last['content']}\n\n{text}"}
        else:
            self._messages.append({"role": "user", "content": text})

    def _chars(self) -> int:
        return sum(len(json_text(message)) for message in self._messages)

    def _shorten(self, first: int, end: int, most: int, to_chars: int) -> None:
        left = self._chars() - most
        for at in range(first, end):
            message = self._messages[at]
            content = str(message.get("content"))
            if left <= 0:
                return
            if message["role"] != "tool" or len(content) <= to_chars + 100:
                continue
            kept = f"{content[:to_chars]}\n[shortened from {len(content)} characters; ask again]"
            self._messages[at] = message | {"content": kept}
            left -= len(content) - len(kept)


def _as_sent(call: ToolCall) -> dict[str, Any]:
    """Return a call as it is told back to the model.

    Templates of some servers fail on arguments that are no JSON: the answer says what was wrong.
    """
    arguments = call.arguments
    try:
        good = len(arguments) <= _MOST_ARGUMENTS_CHARS and isinstance(
            read_arguments(arguments), dict
        )
    except ValueError:
        good = False
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments if good else "{}"},
    }
