"""A conversation with a model that may call tools: always an outcome, always within its bounds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from training_monitor.analysis.model.ladder import PACKED, RULES, TOOLS
from training_monitor.analysis.model.privacy import PrivacyError
from training_monitor.analysis.model.reply import json_text
from training_monitor.analysis.model.transcript import Transcript
from training_monitor.analysis.model.trouble import ModelError
from training_monitor.analysis.model.turns import Turns
from training_monitor.errors import TrainingMonitorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from training_monitor.analysis.model.bounds import Bounds, Conversation
    from training_monitor.analysis.model.client import Gate
    from training_monitor.analysis.model.ladder import Ladder
    from training_monitor.analysis.model.reply import Reply
    from training_monitor.analysis.model.turns import Tools

__all__ = ["Asks", "Outcome", "converse"]

# A request that failed is tried again so often, where the wait is short.
_RETRIES = 2
_RETRY_SECS = (1.0, 4.0)
_LONGEST_WAIT_SECS = 15.0
# A prompt that is too long is made half as long, so often.
_SHRINKS = 2
# Of a request, what stands around messages and tools: the model, the options.
_AROUND_BYTES = 500


class Asks(Protocol):
    """What asks a model: `client.ModelClient`, or what stands in for one."""

    max_output_tokens: int

    def ask(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        *,
        outgoing: Gate,
        purpose: str,
        within_secs: float | None,
    ) -> Reply:
        """Send one request and return the answer, or raise ModelError."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a conversation.

    Attributes:
        text: The last words of the model; empty where it had none.
        final: The arguments of the final tool, as read_final accepted them; None: never called.
        rung: On which rung this stands: "tools", "packed", or "rules" where the model gave nothing.
        calls: Tools called.
        requests: Requests sent.
        prompt_tokens: Tokens sent.
        completion_tokens: Tokens answered.
        trouble: What ended it; None: nothing did.
        stopped: Why it ended early, in words; empty: it did not.
        tool_results: What the tools answered, in order.
    """

    text: str = ""
    final: dict[str, Any] | None = None
    rung: str = RULES
    calls: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    trouble: ModelError | None = None
    stopped: str = ""
    tool_results: tuple[str, ...] = ()


def converse(
    client: Asks | None,
    messages: list[dict[str, Any]],
    toolbox: Tools | None,
    *,
    final_tool: dict[str, Any] | None,
    read_final: Callable[[object], object] | None,
    bounds: Bounds,
    ladder: Ladder,
    outgoing: Gate,
    packed: Callable[[], list[dict[str, Any]]],
    purpose: str = "analysis",
    max_prompt_tokens: int = 8000,
    pause: Callable[[float], object] = time.sleep,
) -> Outcome:
    """Ask a model, answer its calls of tools, and return what came of it.

    Whatever model and server do, this returns, raises nothing, and passes no bound.

    Args:
        client: Asks the model; None: there is none.
        messages: How the conversation begins.
        toolbox: What the model may call; None: nothing.
        final_tool: The tool by which it ends: name, description and parameters, with or without
            `{"type": "function"}` around. None: it ends with a text.
        read_final: Raises ValueError for arguments that do not do; the model is told what it says.
        bounds: How much it may cost.
        ladder: How the model is asked, and who is told of trouble.
        outgoing: What may leave.
        packed: Returns the messages for a model without tools: all it needs is in them.
        purpose: What it is for, as kept with what was sent.
        max_prompt_tokens: When the conversation is longer, old answers of tools are shortened.
        pause: Waits so many seconds.
    """
    rung = RULES if client is None else ladder.rung()
    if client is None or rung == RULES:
        why = "there is no model to ask" if client is None else "the model is left alone for now"
        return Outcome(trouble=ladder.trouble, stopped=why)
    line = _Line(client, bounds.begin(), ladder, outgoing, purpose, pause)
    turns = Turns(toolbox, final_tool, read_final, line.allowed)
    max_chars = max_prompt_tokens * bounds.chars_per_token
    if rung == TOOLS:
        transcript = Transcript(messages, max_chars=int(max_chars))
        rung = _with_tools(line, turns, transcript)
    if rung == PACKED:
        rung = _packed(line, turns, packed())
    if line.trouble is not None and line.failure == "context_length":
        ladder.failed(line.trouble)
    return Outcome(
        text=turns.text,
        final=turns.final,
        rung=rung,
        calls=line.allowed.tool_calls,
        requests=line.allowed.used.calls,
        prompt_tokens=line.allowed.used.tokens_in,
        completion_tokens=line.allowed.used.tokens_out,
        trouble=line.trouble,
        stopped=line.stopped or turns.stopped,
        tool_results=tuple(turns.results),
    )


def _with_tools(line: _Line, turns: Turns, transcript: Transcript) -> str:
    """Converse with tools; return the rung on which it stands, "packed" where it has to go on."""
    done, shrunk = False, 0
    while not done:
        if line.allowed.requests_left <= 1:
            turns.close(transcript, "the requests of this conversation are used up")
        reply = line.request(transcript.fitting(), turns.tools)
        if reply is None:
            if line.failure == "context_length" and shrunk < _SHRINKS and transcript.shrink():
                shrunk += 1
                continue
            if line.failure in {"tools_refused", "context_length"}:
                return PACKED
            return TOOLS if turns.text or turns.final else RULES
        done = turns.take(reply, transcript)
    return TOOLS if turns.text or turns.final else RULES


def _packed(line: _Line, turns: Turns, messages: list[dict[str, Any]]) -> str:
    reply = line.request(messages, None)
    if reply is None:
        return RULES
    turns.take_words(reply)
    return PACKED if turns.text else RULES


class _Line:
    """The line to the model: requests within bounds, tried again where that may help."""

    def __init__(
        self,
        client: Asks,
        allowed: Conversation,
        ladder: Ladder,
        outgoing: Gate,
        purpose: str,
        pause: Callable[[float], object],
    ) -> None:
        self.allowed = allowed
        self.trouble: ModelError | None = None
        self.stopped = ""
        self._client = client
        self._ladder = ladder
        self._outgoing = outgoing
        self._purpose = purpose
        self._pause = pause
        self._retries = 0

    @property
    def failure(self) -> str:
        """The kind of the last trouble; empty: there is none."""
        return "" if self.trouble is None else self.trouble.kind

    def request(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> Reply | None:
        """Return the answer; None where there is none, and `trouble` or `stopped` say why."""
        self.trouble, self.stopped = None, ""
        again = True
        while again:
            reply, error = self._once(messages, tools)
            if reply is not None:
                self._ladder.worked()
                return reply
            again = error is not None and self._may_try_again(error)
            if error is not None and not again:
                self.trouble, self.stopped = error, str(error)
                # Without a request nothing is wrong with the model; of a prompt that is too long
                # it is known later whether there is a shorter one.
                if error.kind not in {"privacy", "context_length"}:
                    self._ladder.failed(error)
        return None

    def _once(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> tuple[Reply | None, ModelError | None]:
        try:
            text = json_text([self._outgoing.clean(messages), self._outgoing.clean(tools or [])])
        except PrivacyError as error:
            return None, ModelError("privacy", str(error))
        taken = self.allowed.take(
            len(text.encode()) + _AROUND_BYTES, self._client.max_output_tokens
        )
        if taken.why:
            self.stopped = taken.why
            if taken.why.startswith("llm_"):
                self._ladder.note("bounds", f"The model is not asked for now: {taken.why}")
            return None, None
        reply, failed = self._ask(messages, tools)
        if reply is not None:
            self.allowed.answered(taken, reply, sent_chars=len(text))
        elif failed is not None:
            self.allowed.failed(taken, failed.kind, sent_chars=len(text))
        return reply, failed

    def _ask(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> tuple[Reply | None, ModelError | None]:
        try:
            reply = self._client.ask(
                messages,
                tools,
                outgoing=self._outgoing,
                purpose=self._purpose,
                within_secs=self.allowed.seconds_left,
            )
        except ModelError as error:
            return None, error
        except PrivacyError as error:
            return None, ModelError("privacy", str(error))
        except TrainingMonitorError as error:
            return None, ModelError("request", str(error))
        return reply, None

    def _may_try_again(self, error: ModelError) -> bool:
        if error.again:
            if error.kind == "reasoning_effort":
                self._ladder.note(error.kind, str(error))
            return True
        wait = error.retry_after_secs
        if wait is None and error.kind in {"server", "connection"} and self._retries < _RETRIES:
            wait = _RETRY_SECS[self._retries]
        if wait is None or self._retries >= _RETRIES or error.kind == "quota":
            return False
        if wait > min(_LONGEST_WAIT_SECS, self.allowed.seconds_left / 2):
            return False
        self._retries += 1
        self._pause(wait)
        return True
