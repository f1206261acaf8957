"""The tools of one run together: which there are, and a call of one that never fails."""

from __future__ import annotations

import json

from training_monitor.analysis.fencing import cut, inert, quoted
from training_monitor.analysis.tools.answering import limited
from training_monitor.analysis.tools.beside import compare_tools
from training_monitor.analysis.tools.code import code_tools
from training_monitor.analysis.tools.findings import finding_tools
from training_monitor.analysis.tools.form import Limits, Tool, ToolError
from training_monitor.analysis.tools.logs import log_tools
from training_monitor.analysis.tools.machine import machine_tools
from training_monitor.analysis.tools.metrics import metric_tools
from training_monitor.analysis.tools.sight import Sight
from training_monitor.analysis.tools.timed import Busy, Timed, TookTooLong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training_monitor.analysis.tools.code import Code
    from training_monitor.query import RunView

__all__ = ["Limits", "Tool", "Toolbox"]

_WITH_TEXTS = ("full", "no-code")
_WITH_NUMBERS = (*_WITH_TEXTS, "numbers-only")
_ARGUMENT_CHARS = 100_000
_ERROR_CHARS = 1500


class Toolbox:
    """The tools over one run, and over the code that was kept with it.

    Args:
        run: The run.
        snapshot: Its code; None: none was kept.
        privacy: "full"; "no-code": no tool shows code; "numbers-only": no text of the run, no logs,
            no host names either; "off": there are no tools.
        sig_figs: Significant figures of values.
        log_paths: Log files, or patterns of them, absolute.
        others: Opens another run by its exact name; None: there are none to be seen.
        limits: Of each answer.
    """

    def __init__(
        self,
        run: RunView,
        snapshot: Code | None,
        *,
        privacy: str = "full",
        sig_figs: int = 5,
        log_paths: Sequence[str] = (),
        others: Callable[[str], RunView] | None = None,
        limits: Limits = Limits(),  # noqa: B008 -- frozen
    ) -> None:
        self._limits = limits
        self._timed = Timed()
        sight = Sight(run, privacy, sig_figs, limits, tuple(log_paths), others)
        self.tools: tuple[Tool, ...] = tuple(_allowed(sight, snapshot))
        self._by_name = {tool.name: tool for tool in self.tools}

    def call(self, name: str, arguments: object) -> str:
        """Return the answer of a tool; what is wrong comes back as a text that begins "error: ".

        Args:
            name: Which tool.
            arguments: What a model sent, whatever it is: a dict, or the JSON of one.
        """
        try:
            text = self._answer(name, arguments)
        except ToolError as error:
            text = _error(str(error))
        except TookTooLong:
            text = _error(f"it took longer than {self._limits.seconds:g} s; ask for less")
        except Busy:
            text = _error("calls before this one have not ended yet; try later, or another tool")
        except Exception as error:  # noqa: BLE001 -- the conversation goes on without this answer
            text = _error(f"{type(error).__name__} in the tool; try other arguments")
        return limited(text, self._limits)

    def _answer(self, name: object, arguments: object) -> str:
        tool = self._by_name.get(name) if isinstance(name, str) else None
        if tool is None:
            known = ", ".join(self._by_name) or "none: privacy forbids them"
            raise ToolError(f"no tool {quoted(name)}; there are: {known}")
        given = _read(arguments)
        return self._timed.within(self._limits.seconds, lambda: tool.call(given))


def _allowed(sight: Sight, snapshot: Code | None) -> list[Tool]:
    """Return the tools that a privacy allows; an unknown one allows none."""
    found: list[Tool] = []
    if sight.privacy in _WITH_NUMBERS:
        found += [*metric_tools(sight), *finding_tools(sight), *machine_tools(sight)]
    if sight.privacy in _WITH_TEXTS:
        found += [*log_tools(sight), *compare_tools(sight)]
    if sight.privacy == "full" and snapshot is not None:
        found += code_tools(sight, snapshot)
    return found


def _read(arguments: object) -> dict[str, object]:
    """Return arguments as a dict; what is wrong with its content is said by the tool."""
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return {}
    if isinstance(arguments, str):
        if len(arguments) > _ARGUMENT_CHARS:
            raise ToolError(f"the arguments are too long: {_ARGUMENT_CHARS} characters at most")
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise ToolError("the arguments are not valid JSON") from None
    if not isinstance(arguments, dict):
        raise ToolError('the arguments must be a JSON object, as {"metric": "loss"}')
    return arguments


def _error(text: str) -> str:
    return f"error: {cut(inert(text), _ERROR_CHARS)}"
