"""The tool over the samples of the machine: GPUs, processors, memory, disks."""

from __future__ import annotations

import time
from dataclasses import replace

from training_monitor.analysis.digest.figures import figure, kept
from training_monitor.analysis.fencing import quoted
from training_monitor.analysis.tools.form import ToolError
from training_monitor.analysis.tools.parameters import Text, Whole, made_tool
from training_monitor.analysis.tools.sight import nearest
from training_monitor.machine import latest
from training_monitor.predict.wording import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from training_monitor.analysis.tools.form import Tool
    from training_monitor.analysis.tools.sight import Sight
    from training_monitor.machine import Latest
    from training_monitor.query import RunView

__all__ = ["machine_lines", "machine_tools"]

_READ_SAMPLES = 4000


def machine_tools(sight: Sight) -> list[Tool]:
    """Return the tool."""
    of = _Machine(sight)
    return [
        made_tool(
            "system_stats",
            "Show the newest state of the machine (GPU use, memory, power, temperature, processor, "
            "memory, disks), or the history of one of its numbers.",
            (
                Text("metric", "show the history of this number, as gpu0/memory_used_bytes; leave "
                     "out for the newest value of all"),
                Whole("minutes", "of the history: only the last minutes", low=1, high=10**6),
                Whole("max_points", "of the history: how many points at most", 40, low=8,
                      high=300),
            ),
            of.shown,
        )
    ]  # fmt: skip


class _Machine:
    """Answers questions about the machine."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def shown(self, *, metric: str | None, minutes: int | None, max_points: int) -> str:
        """Show the newest samples, or the history of one number."""
        if metric is not None:
            return self._history(metric, minutes, max_points)
        lines = machine_lines(
            self._sight.run, sig_figs=self._sight.sig_figs, texts=not self._sight.only_numbers
        )
        answer = self._sight.answer()
        if not lines:
            raise ToolError("there are no samples of the machine in this run")
        answer.say("the newest samples of each part of the machine; for the history of one number "
                   "call system_stats with metric, as host/cpu_percent")  # fmt: skip
        answer.data(lines, rest=lambda n: f"cut after {n}: ask for one metric")
        return answer.text()

    def _history(self, metric: str, minutes: int | None, most: int) -> str:
        newest = {f"{one.source}/{name}": one for one in latest(self._sight.run._reader)
                  for name in one.numbers}  # fmt: skip
        now = max((one.time for one in newest.values()), default=time.time())
        since = None if minutes is None else now - 60.0 * minutes
        try:
            series = self._sight.run.system(metric, since=since, max_points=_READ_SAMPLES)
        except KeyError:
            near = nearest(metric, sorted(newest))
            raise ToolError(f"no single system metric {quoted(metric)}{near}") from None
        if not len(series):
            raise ToolError(f"{quoted(metric)} has no samples there")
        chosen = kept(series.low, series.high, most)
        figs = self._sight.sig_figs
        name = metric if self._sight.only_numbers else series.name
        answer = self._sight.answer()
        answer.say(f"{quoted(name)}: {len(series)} samples over "
                   f"{duration(float(series.time[-1] - series.time[0]))}; {len(chosen)} shown, "
                   "extremes kept; time is in seconds before the last sample")  # fmt: skip
        lines = ["time,value"]
        for at in chosen.tolist():
            before = float(series.time[at] - series.time[-1])
            lines.append(f"{before:.1f},{figure(series.value[at], figs)}")
        answer.data(lines, rest=lambda n: f"cut after {n}: ask for fewer points")
        return answer.text()


def machine_lines(
    run: RunView, *, sig_figs: int, texts: bool = True, now: float | None = None
) -> list[str]:
    """Return a line per part of the machine with its newest numbers.

    Args:
        run: The run.
        sig_figs: Significant figures.
        texts: Whether names of hosts and devices may be seen.
        now: Wall clock; None means that of this moment.
    """
    now = time.time() if now is None else now
    found = latest(run._reader)
    hosts = list(dict.fromkeys(one.host for one in found))
    if not texts:
        found = [replace(one, host=f"host {hosts.index(one.host) + 1}", facts={}) for one in found]
    return [_line(one, sig_figs, now, several=len(hosts) > 1) for one in found]


def _line(one: Latest, sig_figs: int, now: float, *, several: bool) -> str:
    where = f"{one.host}: {one.source}" if several else one.source
    facts = [f"{name}={value}" for name, value in _plain(one.facts.items())]
    numbers = [f"{name}={figure(value, sig_figs)}" for name, value in sorted(one.numbers.items())]
    return f"{where}, {duration(now - one.time)} ago: {', '.join([*facts, *numbers])}"


def _plain(facts: Iterable[tuple[str, object]]) -> list[tuple[str, object]]:
    return [(name, value) for name, value in facts if isinstance(value, (str, int, float))]
