"""One way to ask the model of a run: its client, bounds, ladder and gate, wired together."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from training_monitor.analysis.instructions import NO_TOOLS, TOOLS
from training_monitor.analysis.model.bounds import Bounds, Limits
from training_monitor.analysis.model.client import open_client
from training_monitor.analysis.model.conversing import Outcome, converse
from training_monitor.analysis.model.ladder import Ladder
from training_monitor.analysis.model.outgoing import Outgoing
from training_monitor.analysis.model.privacy import allows, secret_values
from training_monitor.analysis.model.state import StateFile
from training_monitor.analysis.prompt import packed
from training_monitor.analysis.tools.beside import RunsBeside
from training_monitor.analysis.tools.tool import Toolbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from training_monitor.analysis.prompt import Section
    from training_monitor.analysis.tools.tool import Tool
    from training_monitor.query import RunView
    from training_monitor.settings import Settings
    from training_monitor.snapshot.snapshot import Snapshot

__all__ = ["Asking"]

# Tools have no place in a prompt of which they would be half.
_MOST_OF_TOOLS = 0.4
_LEAST_CHARS = 300


class Asking:
    """Asks the model that the settings of a run name, within the bounds that they set.

    Args:
        run_dir: The run directory.
        settings: Its settings.
        environ: Where the key and other secrets are.
        impatient: Somebody waits: a server that was down is asked all the same.

    Attributes:
        took_secs: How long the last conversation took.
    """

    def __init__(
        self, run_dir: str, settings: Settings, *, environ: Mapping[str, str], impatient: bool
    ) -> None:
        self._run_dir = run_dir
        self._settings = settings
        state = StateFile(run_dir)
        may_ask = settings.mode == "online" and allows(settings.privacy, "request")
        self._client = (
            open_client(
                model=settings.openai_model,
                base_url=settings.openai_base_url,
                reasoning_effort=settings.reasoning_effort,
                environ=environ,
            )
            if may_ask
            else None
        )
        self._bounds = Bounds(Limits.of(settings), state=state)
        to = "" if self._client is None else self._client.to
        self._ladder = Ladder(model=settings.openai_model, to=to, state=state, impatient=impatient)
        self._outgoing = Outgoing(run_dir, privacy=settings.privacy, secrets=secret_values(environ))
        self.took_secs = 0.0

    @property
    def is_able(self) -> bool:
        """Whether there is a model that may be asked."""
        return self._client is not None

    def notices(self) -> list[str]:
        """Return what people should know of trouble with the model, each once."""
        return self._ladder.take_notices()

    def chars(self, tokens: float) -> int:
        """Return about how many characters so many tokens are."""
        return int(tokens * self._bounds.chars_per_token)

    def ask(
        self,
        instruction: str,
        sections: Sequence[Section],
        said: Sequence[dict[str, str]],
        *,
        run: RunView,
        snapshot: Snapshot | None,
        final_tool: dict[str, Any] | None = None,
        read_final: Callable[[object], object] | None = None,
        purpose: str,
    ) -> Outcome:
        """Hold one conversation; what goes wrong is in the outcome.

        Args:
            instruction: What the model is to do.
            sections: What it is told, which together with all else keeps to max_prompt_len.
            said: The conversation so far, the last word being the user's.
            run: What its tools look at.
            snapshot: The code that they look at; None: none.
            final_tool: The tool by which it ends; None: it ends with a text.
            read_final: Raises ValueError for arguments that do not do.
            purpose: What it is for.
        """
        all_tools = self._toolbox(run, snapshot)
        room = self.chars(self._settings.max_prompt_len) - sum(len(one["content"]) for one in said)
        final = "" if final_tool is None else json.dumps(final_tool)
        of_tools = _chars_of(all_tools.tools) + len(final)
        toolbox = all_tools if of_tools <= _MOST_OF_TOOLS * room else None

        def messages(with_tools: bool) -> list[dict[str, Any]]:
            how = instruction + (TOOLS if with_tools else NO_TOOLS + _as_text(final_tool))
            left = max(room - len(how) - (of_tools if with_tools else 0), _LEAST_CHARS)
            told = packed(sections, left)
            first = {"role": "user", "content": told} if told else None
            return _in_turns(how, first, said)

        began = time.monotonic()
        try:
            return converse(
                self._client,
                messages(toolbox is not None),
                toolbox,
                final_tool=final_tool,
                read_final=read_final,
                bounds=self._bounds,
                ladder=self._ladder,
                outgoing=self._outgoing,
                packed=lambda: messages(False),
                purpose=purpose,
                max_prompt_tokens=max(4 * self._settings.max_prompt_len, 2000),
            )
        finally:
            self.took_secs = time.monotonic() - began

    def _toolbox(self, run: RunView, snapshot: Snapshot | None) -> Toolbox:
        settings = self._settings
        return Toolbox(
            run,
            snapshot,
            privacy=settings.privacy,
            sig_figs=settings.sig_figs,
            log_paths=settings.log_paths or (),
            others=RunsBeside(run),
        )


def _chars_of(tools: Iterable[Tool]) -> int:
    """Return about how much of a prompt the tools take."""
    return sum(
        len(one.name) + len(one.description) + len(json.dumps(one.parameters)) for one in tools
    )


def _as_text(final_tool: dict[str, Any] | None) -> str:
    """Say how a model without tools hands in what it would hand in by the final tool."""
    if final_tool is None:
        return ""
    parameters = final_tool["function"]["parameters"]
    return f"\nAnswer with one JSON object of this form alone:\n{json.dumps(parameters)}\n"


def _in_turns(
    instruction: str, first: dict[str, Any] | None, said: Sequence[dict[str, str]]
) -> list[dict[str, Any]]:
    """Return the messages; what the model is told stands before the first word of the user."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": instruction}]
    rest = [dict(one) for one in said]
    if first is not None and rest and rest[0]["role"] == "user":
        # Some servers refuse two words of the user in a row.
        rest[0]["content"] = f"{first['content']}\n\n{rest[0]['content']}"
    elif first is not None:
        messages.append(first)
    return messages + rest
