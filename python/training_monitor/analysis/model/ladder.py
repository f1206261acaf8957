"""Down from a model with tools to a model without and to rules alone, and up again."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from training_monitor.analysis.model.state import StateFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from training_monitor.analysis.model.trouble import ModelError

__all__ = ["PACKED", "RULES", "TOOLS", "Ladder"]

TOOLS, PACKED, RULES = "tools", "packed", "rules"

_PART = "ladder"
_DAY_SECS = 86400.0
_LONGEST_PAUSE_SECS = 3600.0
# After so many answers in a row that are none, a model is asked without tools.
_BAD_ANSWERS = 3

# First and longest pause after trouble of a kind; each further one in a row is twice as long.
_PAUSE_SECS = {
    "rate_limit": (60.0, 3600.0),
    "quota": (3600.0, 4 * 3600.0),
    "timeout": (30.0, 1800.0),
    "connection": (30.0, 1800.0),
    "server": (30.0, 1800.0),
    "bad_answer": (30.0, 1800.0),
    "context_length": (0.0, 1800.0),
}
# What a person has to change: the next process may have another key, so it asks once.
_SETTING_PAUSE_SECS = (600.0, 4 * 3600.0)
_OF_SETTINGS = frozenset({"auth", "unknown_model", "tls", "redirect", "request"})


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered; the names are those in the file."""

    rung: str = TOOLS
    since: float = 0.0
    until: float = 0.0
    failures: int = 0
    asked_to_wait: bool = False
    told: dict[str, float] = field(default_factory=dict)


class Ladder:
    """Says how a model is asked now, and what people are told of trouble with it.

    It is remembered for the run: a server that refuses tools is asked without them for a day, one
    that is down is left alone for longer and longer. Another model or address starts anew.

    Args:
        model: The model.
        to: Its address.
        state: Where it is remembered.
        impatient: Ask a server that was down all the same, because somebody waits. What it asked
            for by Retry-After is kept.
        clock: Returns the wall clock.
    """

    def __init__(
        self,
        *,
        model: str,
        to: str,
        state: StateFile | None = None,
        impatient: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._who = {"model": model, "to": to}
        self._state = StateFile(None) if state is None else state
        self._impatient = impatient
        self._clock = clock
        self._notices: list[str] = []
        self._trouble: ModelError | None = None
        # Of settings, so not remembered beyond this process.
        self._until = 0.0
        self._refusals = 0

    @property
    def trouble(self) -> ModelError | None:
        """What went wrong last; None: nothing since it last worked, or since this process began."""
        return self._trouble

    @property
    def paused_secs(self) -> float:
        """How long nothing is to be asked; 0: it may be."""
        now = self._clock()
        known = self._known(now)
        until = known.until if known.asked_to_wait or not self._impatient else 0.0
        return max(until, 0.0 if self._impatient else self._until, now) - now

    def rung(self) -> str:
        """Return "tools", "packed" (a prompt that holds all, no tools) or "rules" (ask nothing)."""
        return RULES if self.paused_secs > 0 else self._known(self._clock()).rung

    def worked(self) -> None:
        """Note that an answer came."""
        self._trouble, self._until, self._refusals = None, 0.0, 0
        known = self._known(self._clock())
        if known.failures or known.until:
            self._change(lambda known: replace(known, failures=0, until=0.0, asked_to_wait=False))

    def failed(self, error: ModelError) -> None:
        """Note what went wrong: how it goes on from here, and the notice."""
        self._trouble = error
        if error.kind in _OF_SETTINGS:
            self._refusals += 1
            self._until = self._clock() + _pause(_SETTING_PAUSE_SECS, self._refusals)
        elif error.kind in _PAUSE_SECS:
            self._change(lambda known: self._after(known, error))
        elif error.kind == "tools_refused":
            self._change(lambda known: replace(known, rung=PACKED, since=self._clock()))
        self.note(error.kind, f"{error}. {self._goes_on(error)}")

    def note(self, kind: str, text: str) -> None:
        """Tell people something, once a day for each kind."""
        now = self._clock()
        told: list[str] = []

        def edit(known: _Known) -> _Known:
            if abs(now - known.told.get(kind, -_DAY_SECS)) < _DAY_SECS:
                return known
            told.append(text)
            return replace(known, told=known.told | {kind: now})

        self._change(edit)
        self._notices += told

    def take_notices(self) -> list[str]:
        """Return what people are to be told and were not yet."""
        taken, self._notices = self._notices, []
        return taken

    def _after(self, known: _Known, error: ModelError) -> _Known:
        now, failures = self._clock(), known.failures + 1
        asked = error.retry_after_secs
        pause = _pause(_PAUSE_SECS[error.kind], failures)
        if asked is not None:
            pause = min(max(asked, 1.0), _LONGEST_PAUSE_SECS)
        after = replace(
            known, failures=failures, until=now + pause, asked_to_wait=asked is not None
        )
        if error.kind == "bad_answer" and known.rung == TOOLS and failures >= _BAD_ANSWERS:
            return replace(after, rung=PACKED, since=now)
        return after

    def _goes_on(self, error: ModelError) -> str:
        if error.kind == "tools_refused":
            return "What it needs is put into the prompt instead"
        secs = self.paused_secs
        when = f"; it is asked again in {_words(secs)}" if secs > 0 else ""
        return f"Recording, findings and alerts go on without it{when}"

    def _known(self, now: float) -> _Known:
        part = self._state.part(_PART)
        if {name: part.get(name) for name in self._who} != self._who:
            return _Known()
        known = _read(part)
        # A clock that was set back must not make a pause of it.
        until = known.until if known.until - now <= 2 * _PAUSE_SECS["quota"][1] else 0.0
        up = known.rung == PACKED and not 0 <= now - known.since < _DAY_SECS
        return replace(known, until=until, rung=TOOLS if up else known.rung)

    def _change(self, edit: Callable[[_Known], _Known]) -> None:
        def edit_part(part: dict[str, Any]) -> dict[str, Any]:
            ours = {name: part.get(name) for name in self._who} == self._who
            return self._who | asdict(edit(_read(part) if ours else _Known()))

        self._state.change(_PART, edit_part)


def _pause(bounds: tuple[float, float], failures: int) -> float:
    first, longest = bounds
    # The cap on the exponent: a float has an end.
    return float(min(first * 2 ** min(failures - 1, 30), longest))


def _read(part: dict[str, Any]) -> _Known:
    """Return what a file says, as far as it can be true."""
    good: dict[str, Any] = {}
    default = _Known()
    for one in fields(_Known):
        value, usual = part.get(one.name), getattr(default, one.name)
        kinds = (int, float) if isinstance(usual, float) else type(usual)
        if isinstance(value, kinds) and isinstance(value, bool) == isinstance(usual, bool):
            good[one.name] = value
    if good.get("rung") not in {TOOLS, PACKED}:
        good.pop("rung", None)
    told = good.get("told", {})
    good["told"] = {
        str(kind): float(at)
        for kind, at in list(told.items())[:100]
        if isinstance(at, (int, float)) and not isinstance(at, bool)
    }
    return _Known(**good)


def _words(secs: float) -> str:
    if secs < 90:
        return f"{secs:.0f} seconds"
    return f"{secs / 60:.0f} minutes" if secs < 90 * 60 else f"{secs / 3600:.0f} hours"
