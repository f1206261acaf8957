"""The answer of a model as values, read from bytes that may be anything."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from training_monitor.analysis.model.trouble import ModelError

__all__ = ["Reply", "ToolCall", "json_text", "read_arguments", "read_reply", "whole_text"]

_SHOWN_CHARS = 80
_MOST_CALLS = 64
# What a reasoning model says to itself, where the server does not take it out.
_THOUGHT = re.compile(r"\A\s*<think>.*?(</think>\s*|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool.

    Attributes:
        id: What the server calls it; empty where it gave no name.
        name: The tool.
        arguments: The text that the server sent, which need not be JSON.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered to one request.

    Attributes:
        text: Its text; empty where there is none.
        calls: The tools it calls, in order.
        prompt_tokens: As the server says; None: it does not.
        completion_tokens: The same for the answer.
        seconds: How long it took.
        finish: Why it ended, in the server's words; empty: it does not say.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0
    finish: str = ""


def read_reply(body: bytes, *, asked: str, seconds: float) -> Reply:
    """Return the answer in these bytes.

    Args:
        body: What the server sent with status 200.
        asked: Model and address, for messages.
        seconds: How long it took.

    Raises:
        ModelError: bad_answer: there is none in them.
    """
    told = _parsed(body, asked)
    choices = told.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, dict):
        raise ModelError("bad_answer", f"{asked} sent an answer without a message")
    usage = told.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Reply(
        text=_text_of(message),
        calls=tuple(_calls_of(message)),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        seconds=seconds,
        finish=_word(first.get("finish_reason")),
    )


def _parsed(body: bytes, asked: str) -> dict[str, Any]:
    text = body.decode("utf-8", "replace").strip()
    if not text:
        raise ModelError("bad_answer", f"{asked} sent an empty answer")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        what = "a web page; does openai_base_url end in /v1?" if text[0] == "<" else "no JSON"
        raise ModelError("bad_answer", f"{asked} sent {what}") from None
    if not isinstance(told, dict):
        raise ModelError("bad_answer", f"{asked} sent {type(told).__name__}, not an object")
    return told


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str) or not content:
        refusal = message.get("refusal")
        content = refusal if isinstance(refusal, str) else ""
    return _THOUGHT.sub("", whole_text(content))


def _calls_of(message: dict[str, Any]) -> list[ToolCall]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        # What servers of 2023 send.
        single = message.get("function_call")
        calls = [{"function": single}] if isinstance(single, dict) else []
    found = []
    for call in calls[:_MOST_CALLS]:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            found.append(
                ToolCall(_word(call.get("id")), _word(function.get("name")), _arguments(function))
            )
    return found


def _arguments(function: dict[str, Any]) -> str:
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        return whole_text(arguments)
    return "" if arguments is None else whole_text(json.dumps(arguments))


def _word(value: object) -> str:
    return whole_text(value)[:_SHOWN_CHARS] if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value < 1e12 else None


def whole_text(text: str) -> str:
    """Return the text without halves of surrogate pairs, which no file and no socket takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def json_text(value: object) -> str:
    """Return a value as JSON, for its length; what is no JSON stands in it as text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def read_arguments(text: str) -> object:
    """Return the arguments of a call.

    Raises:
        ValueError: They are no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else "too deep or too large"
        raise ValueError(f"the arguments are no JSON: {why}") from None
