"""What is done with each answer of a model: its calls of tools, its words, its final call."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from training_monitor.analysis.model.reply import read_arguments, whole_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training_monitor.analysis.model.bounds import Conversation
    from training_monitor.analysis.model.reply import Reply, ToolCall
    from training_monitor.analysis.model.transcript import Transcript

__all__ = ["Tools", "Turns"]

_REFUSALS = 2
_REMINDERS = 2
_SAME_CALLS = 3
# The tools keep their own, smaller bounds; this one holds whoever wrote the tool.
_MOST_RESULT_CHARS = 100_000
_GOOD_ID = re.compile(r"[A-Za-z0-9_\-]{1,64}")


class _Tool(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def parameters(self) -> dict[str, Any]: ...


class Tools(Protocol):
    """What a model may call; `tools.Toolbox` is one."""

    @property
    def tools(self) -> Sequence[_Tool]:
        """The tools."""

    def call(self, name: str, arguments: object) -> str:
        """Return the answer of a tool; what is wrong is told as text."""


class Turns:
    """Takes answers until the conversation is over.

    Args:
        toolbox: What the model may call; None: nothing.
        final_tool: The tool by which it ends; None: it ends with a text.
        read_final: Raises ValueError for arguments that do not do.
        allowed: The bounds of this conversation.

    Attributes:
        text: The last words of the model.
        final: The arguments of the final tool; None: not called.
        stopped: Why it ends early; empty: it does not.
        results: What the tools answered.
    """

    def __init__(
        self,
        toolbox: Tools | None,
        final_tool: dict[str, Any] | None,
        read_final: Callable[[object], object] | None,
        allowed: Conversation,
    ) -> None:
        self.text = ""
        self.final: dict[str, Any] | None = None
        self.stopped = ""
        self.results: list[str] = []
        self._toolbox = toolbox
        self._final = None if final_tool is None else _as_function(final_tool)
        self._final_name = "" if self._final is None else str(self._final["function"]["name"])
        self._read_final = read_final
        self._allowed = allowed
        self._asked: Counter[str] = Counter()
        self._made_ids = 0
        self._refusals = 0
        self._reminders = 0
        self._closing = ""

    @property
    def tools(self) -> list[dict[str, Any]] | None:
        """What the model may call now; None: nothing."""
        if self._closing and self._final is not None:
            return [self._final]
        found = [
            _as_function(
                {"name": one.name, "description": one.description, "parameters": one.parameters}
            )
            for one in (() if self._toolbox is None else self._toolbox.tools)
        ]
        # Without a final tool they stay until the end: some servers refuse a conversation in which
        # tools were called and none are named. What is called then is not answered any more.
        return [*found, *([] if self._final is None else [self._final])] or None

    def close(self, transcript: Transcript, why: str) -> None:
        """Ask the model to end with its next answer; without a word where it has said nothing."""
        if self._closing:
            return
        self._closing = why
        end = f"Call {self._final_name} now" if self._final_name else "Answer in words now"
        transcript.tell(f"No more calls of tools: {why}. {end}, with what you know.")

    def take(self, reply: Reply, transcript: Transcript) -> bool:
        """Take an answer; tell whether the conversation is over."""
        was_closing = self._closing
        self.take_words(reply)
        over = self._calls(reply, transcript) if reply.calls else self._words(reply, transcript)
        if was_closing and not over:
            self.stopped, over = was_closing, True
        return over

    def take_words(self, reply: Reply) -> None:
        """Keep the words of an answer."""
        self.text = reply.text.strip() or self.text
        if not self.text and not reply.calls:
            self.stopped = "the model answered nothing"

    def _words(self, reply: Reply, transcript: Transcript) -> bool:
        """Take an answer without calls: the end, or a reason to remind the model of it."""
        said = bool(reply.text.strip())
        if said and self._final is None:
            self.stopped = self._closing
            return True
        if self._closing or self._reminders >= _REMINDERS:
            want = f"the model did not call {self._final_name}"
            self.stopped = self._closing or (
                want if self._final_name else "the model answered nothing"
            )
            return True
        self._reminders += 1
        transcript.model_says(reply.text.strip() or "(nothing)")
        end = f"by a call of {self._final_name}" if self._final_name else "in words"
        transcript.tell(f"Please end {end}.")
        return False

    def _calls(self, reply: Reply, transcript: Transcript) -> bool:
        calls = self._with_ids(reply.calls)
        transcript.model_calls(reply.text, calls)
        why = ""
        for call in calls:
            if call.name == self._final_name and self._final_name:
                refused = self._finish(call)
                if not refused:
                    return True
                answer = f"error: {refused}"
            else:
                answer, closes = self._answer(call)
                why = why or closes
            transcript.tool_answers(call.id, answer)
        if self._refusals > _REFUSALS:
            return True
        if why:
            self.close(transcript, why)
        return False

    def _finish(self, call: ToolCall) -> str:
        """Take the final call; return what is wrong with it, empty where it does."""
        try:
            arguments = read_arguments(call.arguments)
            if self._read_final is not None:
                self._read_final(arguments)
            if isinstance(arguments, dict):
                self.final, self.stopped = arguments, ""
                return ""
            refused = "the arguments are not an object"
        except Exception as error:  # noqa: BLE001 -- a model may send anything; protects the loop
            refused = str(error)[:1000] or type(error).__name__
        self._refusals += 1
        self.stopped = f"{self._final_name} was refused: {refused}"[:300]
        self.text = self.text or call.arguments[:_MOST_RESULT_CHARS]
        return refused

    def _answer(self, call: ToolCall) -> tuple[str, str]:
        """Return what a tool answers, and why the conversation has to end; empty: it has not."""
        if self._allowed.tool_calls_left <= 0:
            return "error: no more calls", "the calls of this conversation are used up"
        if self._allowed.seconds_left <= 0:
            return "error: no more time", "the time of this conversation is over"
        self._allowed.tool_calls += 1
        try:
            arguments = read_arguments(call.arguments or "{}")
            key = json.dumps([call.name, arguments], sort_keys=True)
        except (ValueError, TypeError, RecursionError):
            arguments, key = call.arguments, f"{call.name} {call.arguments}"
        self._asked[key] += 1
        if self._asked[key] >= _SAME_CALLS:
            answer = "you asked this before, and the answer is above"
            return (
                answer,
                f"{call.name} was called {self._asked[key]} times with the same arguments",
            )
        answer = self._of_toolbox(call.name, arguments)
        self.results.append(answer)
        return answer, ""

    def _of_toolbox(self, name: str, arguments: object) -> str:
        names = [one.name for one in (() if self._toolbox is None else self._toolbox.tools)]
        if self._toolbox is None or name not in names:
            there = f"there are: {', '.join(names)}" if names else "there are none"
            return f"error: no tool {name!r}; {there}"
        try:
            answer = whole_text(str(self._toolbox.call(name, arguments)))
        except Exception as error:  # noqa: BLE001 -- a tool that fails is told of, and the loop goes on
            return f"error: {name} failed: {type(error).__name__}"
        return answer[:_MOST_RESULT_CHARS]

    def _with_ids(self, calls: Sequence[ToolCall]) -> list[ToolCall]:
        """Return the calls with names that differ, as the answers are told apart by them."""
        found: list[ToolCall] = []
        for call in calls:
            known = {one.id for one in found}
            if not _GOOD_ID.fullmatch(call.id) or call.id in known:
                # Nine letters and digits: some servers take nothing else.
                self._made_ids += 1
                call = replace(call, id=f"call{self._made_ids:05}")  # noqa: PLW2901
            found.append(call)
        return found


def _as_function(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") == "function" and "function" in tool:
        return tool
    return {"type": "function", "function": tool}
