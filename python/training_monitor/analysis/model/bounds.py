"""How much a model may be asked: per conversation, and per hour across all processes of a run."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training_monitor.analysis.model.state import StateFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from training_monitor.analysis.model.reply import Reply
    from training_monitor.settings import Settings

__all__ = ["Bounds", "Conversation", "Limits", "Spent", "Taken"]

_PART = "spent"
_HOUR_MINUTES = 60
_MOST_REAL = 1e12
# Until a server has told how many tokens a text was. Code and tables of digits have this few
# characters for each.
_CHARS_PER_TOKEN = 3.0
_LEAST_CHARS_PER_TOKEN, _MOST_CHARS_PER_TOKEN = 1.0, 8.0
# What a server puts around messages: its template, and tools in its own words.
_TEMPLATE_TOKENS = 1000
_MOST_REAL_CHARS_PER_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds; the last five are settings.

    Attributes:
        requests: Requests of one conversation.
        tool_calls: Calls of tools in one conversation.
        tokens: Tokens of one conversation, sent and answered.
        seconds: Seconds of one conversation.
        calls_per_hour: Requests in an hour.
        tokens_per_hour: Tokens in an hour.
        cost_per_hour: Money in an hour; None: no bound.
        price_in: Price of a million tokens sent; None: nothing.
        price_out: Price of a million tokens answered; None: nothing.
    """

    requests: int = 12
    tool_calls: int = 40
    tokens: int = 400_000
    seconds: float = 300.0
    calls_per_hour: int = 60
    tokens_per_hour: int = 1_000_000
    cost_per_hour: float | None = None
    price_in: float | None = None
    price_out: float | None = None

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the bounds that the settings of a run say."""
        return cls(
            # A conversation sends its prompt again with each request.
            tokens=max(400_000, 20 * settings.max_prompt_len),
            calls_per_hour=settings.llm_calls_per_hour,
            tokens_per_hour=settings.llm_tokens_per_hour,
            cost_per_hour=settings.llm_cost_per_hour,
            price_in=settings.llm_price_in,
            price_out=settings.llm_price_out,
        )

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        """Return what so many tokens cost."""
        price_in, price_out = self.price_in or 0.0, self.price_out or 0.0
        return (tokens_in * price_in + tokens_out * price_out) / 1e6


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used up.

    Attributes:
        calls: Requests.
        tokens_in: Tokens sent.
        tokens_out: Tokens answered.
    """

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def tokens(self) -> int:
        """Tokens sent and answered."""
        return self.tokens_in + self.tokens_out

    def plus(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(
            self.calls + other.calls,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
        )

    def less(self, other: Spent) -> Spent:
        """Return this without the other."""
        return Spent(
            self.calls - other.calls,
            self.tokens_in - other.tokens_in,
            self.tokens_out - other.tokens_out,
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """What was counted for a request before it was sent.

    Attributes:
        spent: So much.
        minute: When.
        why: The bound that it would pass; then nothing was counted. Empty: it may be sent.
    """

    spent: Spent
    minute: int
    why: str


class Bounds:
    """Counts what is asked of models in the last hour, and says when it is enough.

    A request is counted before it is sent, as the most it can be: a token is at least one byte.
    When its answer is there, what the server says counts instead, if it can be true, else an
    estimate. So no bound is passed, also not by a process that dies in between.

    Args:
        limits: The bounds.
        state: Where it is remembered.
        clock: Returns the wall clock.
        elapsed: Returns the seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        state: StateFile | None = None,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = Limits() if limits is None else limits
        self.elapsed = elapsed
        self._state = StateFile(None) if state is None else state
        self._clock = clock

    @property
    def spent(self) -> Spent:
        """What was used in the last hour."""
        return _sum(_minutes(self._state.part(_PART), self._minute()))

    @property
    def cost(self) -> float:
        """What the last hour cost."""
        spent = self.spent
        return self.limits.cost(spent.tokens_in, spent.tokens_out)

    @property
    def chars_per_token(self) -> float:
        """How many characters a token of this run's texts has, as learned from answers."""
        return _ratio(self._state.part(_PART))

    def tokens(self, chars: int) -> int:
        """Estimate how many tokens so many characters are."""
        return math.ceil(chars / self.chars_per_token)

    def begin(self) -> Conversation:
        """Return the bounds of one conversation that begins now."""
        return Conversation(self)

    def _refusal(self, would: Spent) -> str:
        limits = self.limits
        if would.calls > limits.calls_per_hour:
            return f"llm_calls_per_hour={limits.calls_per_hour} is reached"
        if would.tokens > limits.tokens_per_hour:
            return f"llm_tokens_per_hour={limits.tokens_per_hour} is reached"
        most = limits.cost_per_hour
        if most is not None and limits.cost(would.tokens_in, would.tokens_out) > most:
            return f"llm_cost_per_hour={most:g} is reached"
        return ""

    def take(self, wanted: Spent) -> Taken:
        """Count a request before it is sent, or say which bound of the hour it would pass."""
        outcome: list[Taken] = []

        def edit(part: dict[str, Any]) -> dict[str, Any]:
            now = self._minute()
            minutes = _minutes(part, now)
            taken = Taken(wanted, now, self._refusal(_sum(minutes).plus(wanted)))
            outcome.append(taken)
            if not taken.why:
                minutes[now] = minutes.get(now, Spent()).plus(wanted)
            return _as_part(minutes, _ratio(part))

        self._state.change(_PART, edit)
        return outcome[0]

    def settle(self, taken: Taken, used: Spent, *, ratio: float | None) -> None:
        """Count what a request really used in the place of what was taken for it.

        Args:
            taken: What was taken.
            used: What it was.
            ratio: Characters per token, as this answer says; None: it says nothing.
        """

        def edit(part: dict[str, Any]) -> dict[str, Any]:
            now = self._minute()
            minutes = _minutes(part, now)
            then = min(taken.minute, now)
            if then in minutes:
                minutes[then] = minutes[then].plus(used).less(taken.spent)
            known = _ratio(part)
            return _as_part(minutes, known if ratio is None else 0.7 * known + 0.3 * ratio)

        self._state.change(_PART, edit)

    def _minute(self) -> int:
        return int(self._clock() // 60)


class Conversation:
    """The bounds of one conversation.

    Attributes:
        used: What it has used.
        tool_calls: How many tools it has called.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._limits = bounds.limits
        self._start = bounds.elapsed()
        self.used = Spent()
        self.tool_calls = 0

    @property
    def seconds_left(self) -> float:
        """How many seconds it may still take."""
        return self._limits.seconds - (self._bounds.elapsed() - self._start)

    @property
    def requests_left(self) -> int:
        """How many requests it may still make."""
        return self._limits.requests - self.used.calls

    @property
    def tool_calls_left(self) -> int:
        """How many tools it may still call."""
        return self._limits.tool_calls - self.tool_calls

    def take(self, body_bytes: int, max_output_tokens: int) -> Taken:
        """Count a request before it is sent.

        Args:
            body_bytes: How long it is.
            max_output_tokens: How many tokens its answer may have.
        """
        wanted = Spent(1, body_bytes, max_output_tokens)
        would = self.used.plus(wanted)
        limits = self._limits
        why = ""
        if self.seconds_left <= 0:
            why = f"{limits.seconds:g} seconds are over"
        elif would.calls > limits.requests:
            why = f"{limits.requests} requests were made"
        elif would.tokens > limits.tokens:
            why = f"{limits.tokens} tokens might be passed"
        if why:
            return Taken(wanted, 0, why)
        taken = self._bounds.take(wanted)
        if not taken.why:
            self.used = would
        return taken

    def answered(self, taken: Taken, reply: Reply, *, sent_chars: int) -> None:
        """Count what a request really used, by what its answer says, where that can be true.

        Args:
            taken: What was taken for it.
            reply: Its answer.
            sent_chars: The length of the request in characters.
        """
        most = taken.spent
        answered_chars = len(reply.text) + sum(len(call.arguments) for call in reply.calls)
        tokens_in, ratio = self._bounds.tokens(sent_chars), None
        if reply.prompt_tokens and _may_be(reply.prompt_tokens, sent_chars, most.tokens_in):
            tokens_in, ratio = reply.prompt_tokens, sent_chars / reply.prompt_tokens
        tokens_out = self._bounds.tokens(answered_chars)
        said = reply.completion_tokens
        if said is not None and said * _MOST_REAL_CHARS_PER_TOKEN >= answered_chars:
            tokens_out = said
        self._settle(taken, tokens_in, tokens_out, ratio)

    def failed(self, taken: Taken, kind: str, *, sent_chars: int) -> None:
        """Count what a request used that came to nothing.

        Args:
            taken: What was taken for it.
            kind: The kind of the ModelError.
            sent_chars: The length of the request in characters.
        """
        worked = kind in {"timeout", "connection", "bad_answer", "server"}
        tokens_in = self._bounds.tokens(sent_chars) if worked else 0
        # A model that is not waited for any longer may well write on.
        tokens_out = taken.spent.tokens_out if kind == "timeout" else 0
        self._settle(taken, tokens_in, tokens_out, None)

    def _settle(self, taken: Taken, tokens_in: int, tokens_out: int, ratio: float | None) -> None:
        most = taken.spent
        used = Spent(1, min(tokens_in, most.tokens_in), min(tokens_out, most.tokens_out))
        self._bounds.settle(taken, used, ratio=ratio)
        self.used = self.used.plus(used).less(most)


def _may_be(tokens: int, chars: int, most: int) -> bool:
    """Tell whether so many tokens may be that many characters: servers say many things."""
    return chars / _MOST_REAL_CHARS_PER_TOKEN <= tokens <= most + _TEMPLATE_TOKENS


def _minutes(part: dict[str, Any], now: int) -> dict[int, Spent]:
    """Return what was used by the minute; what is older than an hour is left out.

    Of a clock that was set back the minutes to come count as this one: they would never end.
    """
    found: dict[int, Spent] = {}
    told = part.get("minutes")
    for name, numbers in told.items() if isinstance(told, dict) else ():
        try:
            minute = min(int(name), now)
            calls, tokens_in, tokens_out = (int(number) for number in numbers)
        except (ValueError, TypeError, OverflowError):
            continue
        if (
            minute >= now - _HOUR_MINUTES
            and max(map(abs, (calls, tokens_in, tokens_out))) < _MOST_REAL
        ):
            one = Spent(calls, tokens_in, tokens_out)
            found[minute] = found.get(minute, Spent()).plus(one)
    return found


def _sum(minutes: dict[int, Spent]) -> Spent:
    whole = Spent()
    for one in minutes.values():
        whole = whole.plus(one)
    return Spent(max(whole.calls, 0), max(whole.tokens_in, 0), max(whole.tokens_out, 0))


def _ratio(part: dict[str, Any]) -> float:
    told = part.get("chars_per_token", _CHARS_PER_TOKEN)
    if isinstance(told, bool) or not isinstance(told, (int, float)) or not math.isfinite(told):
        return _CHARS_PER_TOKEN
    return min(max(float(told), _LEAST_CHARS_PER_TOKEN), _MOST_CHARS_PER_TOKEN)


def _as_part(minutes: dict[int, Spent], ratio: float) -> dict[str, Any]:
    told = {
        str(minute): [one.calls, one.tokens_in, one.tokens_out] for minute, one in minutes.items()
    }
    return {"minutes": told, "chars_per_token": round(ratio, 3)}
