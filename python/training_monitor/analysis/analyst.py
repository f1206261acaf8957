"""The analyst of one run: gathers what is known, asks a model within bounds, checks its words."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training_monitor.analyses import Analysis, Message, Struck
from training_monitor.analysis.answer import (
    REPORT_TOOL,
    Report,
    ReportError,
    read_report,
    report_of_text,
)
from training_monitor.analysis.asking import Asking
from training_monitor.analysis.briefing import Briefing
from training_monitor.analysis.checking.facts import Facts
from training_monitor.analysis.checking.grounding import ground_report, ground_text
from training_monitor.analysis.coding import Coding
from training_monitor.analysis.describing import CodeNotes
from training_monitor.analysis.history import turns
from training_monitor.analysis.instructions import ANALYSE, ANSWER
from training_monitor.analysis.model.privacy import LEVELS, allows
from training_monitor.analysis.model.reply import whole_text
from training_monitor.analysis.rules import (
    issues_of,
    recommendations_of,
    status_of,
    summary_of,
)
from training_monitor.query import RunView
from training_monitor.snapshot.snapshot import open_snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from training_monitor.analysis.checking.grounding import Grounded
    from training_monitor.analysis.model.conversing import Outcome
    from training_monitor.settings import Settings
    from training_monitor.snapshot.snapshot import Snapshot

__all__ = ["Analyst", "Answer"]

_NO_ANSWER = "I cannot answer that now"


@dataclass(frozen=True, slots=True)
class Answer:
    """A question and what was said to it."""

    question: Message
    answer: Message


class Analyst:
    """Looks at one run; each call sees what is durable at that moment.

    Args:
        run_dir: The run directory.
        settings: Model, bounds, privacy.
        environ: Where the key is; None means the environment of this process.
        impatient: Somebody waits: a server that was down is asked all the same.
    """

    def __init__(
        self,
        run_dir: str,
        settings: Settings,
        *,
        environ: Mapping[str, str] | None = None,
        impatient: bool = False,
    ) -> None:
        self._run_dir = run_dir
        self._settings = settings
        self._asking = Asking(
            run_dir,
            settings,
            environ=os.environ if environ is None else environ,
            impatient=impatient,
        )
        self._is_anew = bool(settings.regenerate_code_analysis)

    @property
    def is_able(self) -> bool:
        """Whether there is a model that may be asked."""
        return self._asking.is_able

    def notices(self) -> list[str]:
        """Return what people should know of trouble with the model, each once."""
        return self._asking.notices()

    def analyse(self, trigger: str, *, now: float) -> Analysis:
        """Analyse the run.

        Whatever the model does, there is an analysis: without it, one by the rules.

        Args:
            trigger: Why: interval, forced, finding or asked.
            now: Wall clock.
        """
        look = self._look(now)
        outcome = self._asking.ask(
            ANALYSE,
            look.briefing.sections(),
            [],
            run=look.run,
            snapshot=look.code,
            final_tool=REPORT_TOOL,
            read_final=read_report,
            purpose="analysis",
        )
        report = _report_of(outcome)
        if report is None:
            return self._by_rules(look, outcome, trigger, now)
        report, grounded = ground_report(report, look.facts(now))
        return Analysis(
            **self._about(look, outcome, trigger, now),
            status=report.status,
            summary=report.summary,
            issues=report.issues,
            recommendations=report.recommendations,
            rung=outcome.rung,
            model=self._settings.openai_model,
            checked=grounded.checked,
            struck=_struck(grounded),
        )

    def answer(self, question: str, *, now: float, channel: str = "terminal") -> Answer:
        """Answer a question about the run.

        Args:
            question: What the user wants to know.
            now: Wall clock.
            channel: Where it was asked.
        """
        look = self._look(now, messages=False)
        privacy = self._settings.privacy
        question = whole_text(question)
        asked = Message(uuid.uuid4().hex, now, "user", question, channel, privacy)
        level = LEVELS[LEVELS.index(privacy) :]
        said = [*(one for one in look.run.messages() if one.privacy in level), asked]
        outcome = self._asking.ask(
            ANSWER,
            look.briefing.sections(),
            turns(said, self._history_chars()),
            run=look.run,
            snapshot=look.code,
            purpose="chat",
        )
        if not outcome.text.strip():
            rules = summary_of(look.briefing.progress)
            text = f"{_NO_ANSWER}: {_trouble_of(outcome)}. By the rules alone: {rules}"
            answer = Message(uuid.uuid4().hex, now, "assistant", text, channel, privacy)
            return Answer(asked, answer)
        grounded = ground_text(outcome.text.strip(), look.facts(now, given=(question,)))
        return Answer(
            asked,
            Message(
                uuid.uuid4().hex, now, "assistant", grounded.text, channel, privacy,
                checked=grounded.checked, struck=_struck(grounded),
            ),
        )  # fmt: skip

    def _history_chars(self) -> int:
        """Return the room for what was said before: half of a prompt at most."""
        settings = self._settings
        return self._asking.chars(
            min(settings.max_conversation_history_tokens, settings.max_prompt_len // 2)
        )

    def _look(self, now: float, *, messages: bool = True) -> _Look:
        """Open run and code, and have the code described where that is still to be done."""
        run = RunView(self._run_dir)
        privacy = self._settings.privacy
        code = open_snapshot(self._run_dir) if allows(privacy, "code") else None
        notes = CodeNotes(
            os.path.dirname(self._run_dir), self._run_dir, "" if code is None else code.hash
        )
        if allows(privacy, "code") and self._asking.is_able:
            if self._is_anew:
                notes.forget()
                self._is_anew = False
            Coding(self._asking, run, code, notes).complete(now)
        briefing = Briefing(
            run, notes, privacy=privacy, sig_figs=self._settings.sig_figs,
            history_chars=self._history_chars(), now=now, messages=messages,
        )  # fmt: skip
        return _Look(run, code, briefing)

    def _by_rules(self, look: _Look, outcome: Outcome, trigger: str, now: float) -> Analysis:
        progress = look.briefing.progress
        return Analysis(
            **self._about(look, outcome, trigger, now),
            status=status_of(progress),
            summary=summary_of(progress),
            issues=issues_of(progress),
            recommendations=recommendations_of(progress),
            trouble=_trouble_of(outcome),
        )

    def _about(self, look: _Look, outcome: Outcome, trigger: str, now: float) -> dict[str, Any]:
        return {
            "id": uuid.uuid4().hex,
            "time": now,
            "step": look.briefing.progress.step,
            "attempt": len(look.run.attempts) or 1,
            "trigger": trigger,
            "privacy": self._settings.privacy,
            "requests": outcome.requests,
            "prompt_tokens": outcome.prompt_tokens,
            "completion_tokens": outcome.completion_tokens,
            "seconds": self._asking.took_secs,
            "snapshot": "" if look.code is None else look.code.hash,
        }


@dataclass(frozen=True, slots=True)
class _Look:
    """A run as it is now."""

    run: RunView
    code: Snapshot | None
    briefing: Briefing

    def facts(self, now: float, *, given: tuple[str, ...] = ()) -> Facts:
        """Return what an answer is checked against."""
        told = [line for lines in self.briefing.progress.sections().values() for line in lines]
        return Facts(self.run, self.code, given=(*told, *given), since=now)


def _report_of(outcome: Outcome) -> Report | None:
    """Return what the model reported; None where that is nothing."""
    try:
        if outcome.final is not None:
            return read_report(outcome.final)
        return report_of_text(outcome.text) if outcome.text.strip() else None
    except ReportError:
        return None


def _trouble_of(outcome: Outcome) -> str:
    """Say why there is nothing of the model: what went wrong last counts more than the pause."""
    if outcome.trouble is not None:
        return str(outcome.trouble)
    return outcome.stopped or "the model said nothing of use"


def _struck(grounded: Grounded) -> tuple[Struck, ...]:
    return tuple(Struck(one.text, one.why) for one in grounded.claims if not one.holds)
