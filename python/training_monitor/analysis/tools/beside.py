"""The tool that puts the run beside another one, and which runs it may open: by exact name only."""

from __future__ import annotations

import os

from training_monitor._core import redact
from training_monitor.analysis.digest.band import band_of
from training_monitor.analysis.digest.figures import NONE, figure
from training_monitor.analysis.digest.importance import by_importance
from training_monitor.analysis.digest.recent import cell
from training_monitor.analysis.fencing import quoted
from training_monitor.analysis.tools.form import ToolError
from training_monitor.analysis.tools.parameters import Text, Texts, Whole, made_tool
from training_monitor.analysis.tools.sight import nearest
from training_monitor.catalog import list_runs
from training_monitor.errors import TrainingMonitorError
from training_monitor.foresight.beside import compare_runs
from training_monitor.query import RunView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from training_monitor.analysis.digest.band import Band
    from training_monitor.analysis.digest.importance import Known
    from training_monitor.analysis.tools.form import Tool
    from training_monitor.analysis.tools.sight import Sight

__all__ = ["RunsBeside", "compare_tools"]

_MOST_METRICS = 20
_MOST_DIFFERENCES = 80
_VALUE_CHARS = 80
_DEEPEST = 8


class RunsBeside:
    """Opens the other runs of a root directory by their names.

    Args:
        run: The run beside which the others are.
    """

    def __init__(self, run: RunView) -> None:
        self._root = os.path.dirname(os.path.abspath(run.dir))
        self._own = os.path.basename(os.path.abspath(run.dir))

    def __call__(self, name: str) -> RunView:
        """Open a run.

        Raises:
            KeyError: There is none of exactly this name; the message says which there are.
        """
        # A name is never made a path: it is looked up among those that the catalog lists. A link
        # may lead anywhere, so it is none of them.
        runs = {os.path.basename(path): path for path in list_runs(self._root)
                if not os.path.islink(path)}  # fmt: skip
        runs.pop(self._own, None)
        if name not in runs:
            raise KeyError(f"no other run {quoted(name)}{nearest(name, list(runs))}")
        return RunView(runs[name])


def compare_tools(sight: Sight) -> list[Tool]:
    """Return the tool; none where there are no other runs to be seen."""
    if sight.others is None:
        return []
    of = _Beside(sight)
    return [
        made_tool(
            "compare",
            "Compare this run with another run: what differs in the configuration, and the values "
            "of metrics at the same step.",
            (
                Text("run", "the name of the other run, exactly; a wrong name tells which there "
                     "are", required=True),
                Texts("metrics", "these metrics; leave out for the most important ones both have"),
                Whole("step", "compare at this step; leave out for the last step both have"),
            ),
            of.compared,
        )
    ]  # fmt: skip


class _Beside:
    """Answers questions about two runs."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def compared(self, *, run: str, metrics: list[str] | None, step: int | None) -> str:
        """Compare with another run."""
        other = self._opened(run)
        theirs = {one.name: one for one in by_importance(other)}
        known = self._sight.chosen(metrics) if metrics else self._sight.metrics()
        common = [one for one in known if one.name in theirs and one.has_numbers]
        missing = [one.name for one in known if one.name not in theirs] if metrics else []
        answer = self._sight.answer()
        answer.say(f"this run beside {quoted(run)}")
        differences = list(self._differences(other))
        answer.say(f"{len(differences)} differences of the configuration: name, here, there")
        answer.data(differences[:_MOST_DIFFERENCES], rest=lambda n: f"cut after {n}")
        if missing:
            answer.say(f"not in the other run: {', '.join(map(quoted, missing[:_MOST_METRICS]))}")
        rows = [self._row(other, one, theirs[one.name], step) for one in common[:_MOST_METRICS]]
        answer.say("metrics at the same step; where one has no value there, the one before it")
        answer.data(
            ["metric,step,here,there", *rows], rest=lambda n: f"cut after {n}: ask for fewer"
        )
        if len(common) > _MOST_METRICS:
            answer.say(f"{len(common) - _MOST_METRICS} further metrics: name them in metrics")
        texts = self._course(other)
        if texts:
            answer.data(texts)
        return answer.text()

    def _opened(self, name: str) -> RunView:
        others = self._sight.others
        assert others is not None  # noqa: S101 -- without them there is no such tool
        try:
            return others(name)
        except KeyError as error:
            raise ToolError(str(error.args[0] if error.args else error)) from None
        except TrainingMonitorError:
            # Its message has a path, which is none of the model's business.
            raise ToolError(f"run {quoted(name)} cannot be read") from None

    def _differences(self, other: RunView) -> Iterator[str]:
        """Say which hyperparameters differ."""
        here, there = _flat(self._sight.run.config), _flat(other.config)
        for name in sorted(here.keys() | there.keys()):
            pair = here.get(name, NONE), there.get(name, NONE)
            if pair[0] == pair[1] and (name in here) == (name in there):
                continue
            yield ",".join([cell(name), *map(self._value, pair)])

    def _value(self, value: object) -> str:
        if value is NONE:
            return NONE
        if isinstance(value, str):
            return quoted(redact(value[:4000]), chars=_VALUE_CHARS)
        # A hyperparameter is what was set: rounding would hide the difference.
        return repr(value) if isinstance(value, float) else figure(value, 17)

    def _row(self, other: RunView, mine: Known, theirs: Known, step: int | None) -> str:
        bands = [
            band_of(run, one.name, points=one.metric.count, until=step)
            for run, one in ((self._sight.run, mine), (other, theirs))
        ]
        if not all(map(len, bands)):
            return f"{cell(mine.name)},{NONE},{NONE},{NONE}"
        at = min(int(band.step[-1]) for band in bands) if step is None else step
        values = [_value_at(band, at, self._sight.sig_figs) for band in bands]
        return ",".join([cell(mine.name), str(at), *values])

    def _course(self, other: RunView) -> list[str]:
        """Say how far ahead or behind the headline is."""
        try:
            return [one.text for one in compare_runs(self._sight.run, other)]
        except (KeyError, TrainingMonitorError):
            return []


def _value_at(band: Band, step: int, sig_figs: int) -> str:
    """Return the value at a step, or the last one before it."""
    at = int(band.step.searchsorted(step, side="right")) - 1
    return NONE if at < 0 else band.cell(at, sig_figs)


def _flat(config: Mapping[str, object], prefix: str = "", depth: int = 0) -> dict[str, object]:
    """Return a configuration with names as optimizer/lr."""
    found: dict[str, object] = {}
    for name, value in config.items():
        if isinstance(value, dict) and depth < _DEEPEST:
            found |= _flat(value, f"{prefix}{name}/", depth + 1)
        elif isinstance(value, (list, dict)):
            found[f"{prefix}{name}"] = str(value)[:4000]
        else:
            found[f"{prefix}{name}"] = value
    return found
