"""What a conversation with a model needs besides the model: tools, and all parts put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training_monitor.analysis.model.bounds import Bounds, Limits
from training_monitor.analysis.model.client import ModelClient
from training_monitor.analysis.model.conversing import Outcome, converse
from training_monitor.analysis.model.ladder import Ladder
from training_monitor.analysis.model.outgoing import Outgoing
from training_monitor.analysis.model.state import StateFile

__all__ = ["FINAL", "Clock", "FakeToolbox", "Talk", "read_final"]

FINAL = {
    "name": "report_analysis",
    "description": "End with a report.",
    "parameters": {"type": "object", "properties": {"status": {"type": "string"}}},
}


def read_final(arguments: object) -> object:
    """Accept an object with a status, as a report has one."""
    if not isinstance(arguments, dict) or arguments.get("status") not in {"ok", "critical"}:
        raise ValueError("status must be ok or critical")
    return arguments


@dataclass(frozen=True)
class FakeTool:
    name: str
    description: str = "A tool."
    parameters: dict[str, Any] = field(default_factory=lambda: {"type": "object"})


class FakeToolbox:
    """Tools that answer their name and arguments, or what `answers` says; remembers the calls."""

    def __init__(self, *names: str, answers: Callable[[str, object], str] | None = None) -> None:
        self.tools = tuple(FakeTool(name) for name in names or ("metrics_list", "steps_tail"))
        self.called: list[tuple[str, object]] = []
        self._answers = answers

    def call(self, name: str, arguments: object) -> str:
        """Answer a call."""
        self.called.append((name, arguments))
        if self._answers is not None:
            return self._answers(name, arguments)
        return f"{name} of {arguments!r}"


class Clock:
    """A clock that a test sets; a wait moves it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        """Wait in no time."""
        self.waits.append(seconds)
        self.now += seconds


class Talk:
    """A model's client, and everything else that `converse` takes, for one run."""

    def __init__(
        self,
        run_dir: Path,
        base_url: str,
        *,
        limits: Limits | None = None,
        toolbox: FakeToolbox | None = None,
        clock: Clock | None = None,
        privacy: str = "full",
        timeout_secs: float = 60.0,
        reasoning_effort: str | None = None,
        remembered: bool = True,
    ) -> None:
        self.clock = Clock() if clock is None else clock
        self.toolbox = FakeToolbox() if toolbox is None else toolbox
        self.client = ModelClient(
            model="m",
            base_url=base_url,
            api_key="k",
            reasoning_effort=reasoning_effort,
            timeout_secs=timeout_secs,
            max_output_tokens=500,
        )
        state = StateFile(str(run_dir) if remembered else None)
        self.bounds = Bounds(limits, state=state, clock=self.clock)
        self.ladder = Ladder(model="m", to=self.client.to, state=state, clock=self.clock)
        self.outgoing = Outgoing(str(run_dir), privacy=privacy, secrets=[], clock=self.clock)

    def __call__(self, **options: Any) -> Outcome:
        """Converse."""
        given: dict[str, Any] = {
            "final_tool": FINAL,
            "read_final": read_final,
            "bounds": self.bounds,
            "ladder": self.ladder,
            "outgoing": self.outgoing,
            "packed": lambda: [{"role": "user", "content": "all there is: loss is nan"}],
            "pause": self.clock.wait,
        }
        given |= options
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "why?"}]
        return converse(self.client, given.pop("messages", messages), self.toolbox, **given)
