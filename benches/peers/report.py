"""The measurements as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import page
from peers import adapters
from peers.environments import Missing
from peers.rounds import Measured

Outcome = Measured | Missing
Cell = Callable[[Measured], object]
NOTHING = "-"


def tables(outcomes: Mapping[str, Outcome], empty_steps_ms: Sequence[float]) -> None:
    """Print the tables, then what could not be measured and why."""
    measured = {name: it for name, it in outcomes.items() if isinstance(it, Measured)}
    rows = Rows(measured, empty_steps_ms)
    calls(rows)
    sustained(rows)
    beside_a_training(rows)
    page.table(["tracker", "version", "what was measured"], list(described(outcomes)))
    problems = list(not_measured(outcomes))
    if problems:
        page.table(["not measured", "scenario", "why"], problems)


def calls(rows: Rows) -> None:
    """Print what a call costs."""
    print(
        "Calls of ten floats at full speed. *A call* is the median of chunks of 50 in a "
        "plain loop,\nless that of the empty adapter; single calls include two clock reads.\n"
    )
    rows.print({
        "a call, us": rows.call_us,
        **rows.ratios(rows.call_us, adapters.OURS, adapters.PLAIN, adapters.FLOOR),
        "p50, us": lambda it: value(it, "latency", "p50_us"),
        "p99, us": lambda it: value(it, "latency", "p99_us"),
        "p99.9, us": lambda it: value(it, "latency", "p999_us"),
        "longest, us": lambda it: value(it, "latency", "max_us"),
    })  # fmt: skip


def sustained(rows: Rows) -> None:
    """Print how fast and how large it gets to the disk."""
    print(
        "From the first call to closed and fsynced, which for ours means durable in the database;\n"
        "files at the end less those at the start. *close* brings home what the loop left behind.\n"
    )
    rows.print({
        "k points/s": rows.k_points_per_sec,
        **rows.ratios(rows.k_points_per_sec, adapters.OURS, adapters.PLAIN),
        "points": lambda it: value(it, "speed", "points"),
        "of them readable": lambda it: value(it, "speed", "readable"),
        "bytes/point": rows.bytes_per_point,
        "import, ms": lambda it: value(it, "speed", "import_ms"),
        "init, ms": lambda it: value(it, "speed", "init_ms"),
        "close, ms": lambda it: value(it, "speed", "close_ms"),
    })  # fmt: skip


def beside_a_training(rows: Rows) -> None:
    """Print what a training of 1,000 steps a second notices, and what a kill takes from it."""
    print(
        "Ten floats each millisecond. CPU: all processes of the tracker, start left out, less the "
        "empty adapter.\nSlowdown: of a loop of 1 ms of work and one call, beside the empty "
        "adapter just before and after,\nwhose own "
        f"{len(rows.empty_steps_ms)} measurements spread by {rows.noise_percent():.1f} % (standard "
        "deviation). Lost: points that\ncannot be read back after a SIGKILL of the training "
        "process with its last call.\n"
    )
    rows.print({
        "CPU, us/point": rows.cpu_us_per_point,
        **rows.ratios(rows.cpu_us_per_point, adapters.OURS, adapters.PLAIN),
        "slowdown, %": rows.slowdown_percent,
        "lost at full speed, %": lambda it: lost_percent(it, "killed"),
        "lost at 1,000/s, %": lambda it: lost_percent(it, "killed_paced"),
    })  # fmt: skip


class Rows:
    """Computes the cells; one line per tracker that could be measured at all."""

    def __init__(self, measured: Mapping[str, Measured], empty_steps_ms: Sequence[float]) -> None:
        self.measured = measured
        self.empty_steps_ms = empty_steps_ms

    def print(self, columns: Mapping[str, Cell]) -> None:
        """Print one table."""
        rows = [
            [name, *(cell(it) for cell in columns.values())] for name, it in self.measured.items()
        ]
        page.table(["tracker", *columns], rows)

    def call_us(self, it: Measured) -> object:
        """Return the mean of one call, without the loop around it."""
        call, empty = value(it, "speed", "call_ns"), self._of(adapters.EMPTY, "speed", "call_ns")
        if not isinstance(call, float) or it is self.measured.get(adapters.EMPTY):
            return NOTHING
        return (call - empty) / 1e3

    def k_points_per_sec(self, it: Measured) -> object:
        """Return the sustained rate of a tracker that keeps what it is given."""
        speed = it.results.get("speed", {})
        return speed["points_per_sec"] / 1e3 if speed.get("readable") else NOTHING

    def bytes_per_point(self, it: Measured) -> object:
        """Return the size on disk of a tracker that keeps what it is given."""
        speed = it.results.get("speed", {})
        return speed["bytes"] / speed["readable"] if speed.get("readable") else NOTHING

    def cpu_us_per_point(self, it: Measured) -> object:
        """Return the CPU of all processes, less that of the empty adapter."""
        paced = it.results.get("paced")
        if paced is None or it is self.measured.get(adapters.EMPTY):
            return NOTHING
        empty = self._of(adapters.EMPTY, "paced", "cpu_secs") / self._of(
            adapters.EMPTY, "paced", "points"
        )
        return float((paced["cpu_secs"] / paced["points"] - empty) * 1e6)

    def slowdown_percent(self, it: Measured) -> object:
        """Return how much longer a step takes than beside the empty adapter."""
        step = value(it, "stolen", "step_ms")
        if not isinstance(step, float):
            return step
        return (step / statistics.fmean(it.empty_steps_ms) - 1) * 100

    def noise_percent(self) -> float:
        """Return the spread of the empty adapter's steps."""
        if len(self.empty_steps_ms) < 2:
            return float("nan")
        return statistics.stdev(self.empty_steps_ms) / statistics.fmean(self.empty_steps_ms) * 100

    def ratios(self, cell: Cell, *others: str) -> dict[str, Cell]:
        """Return a column of ratios to each of the others."""
        return {
            f"x {'F' if other == adapters.FLOOR else other}": partial(
                self.ratio, cell=cell, to=other
            )
            for other in others
        }

    def ratio(self, it: Measured, cell: Cell, to: str) -> object:
        """Return a cell over that of another tracker."""
        mine, other = cell(it), cell(self.measured[to]) if to in self.measured else NOTHING
        if isinstance(mine, float) and isinstance(other, float) and other > 0:
            return mine / other
        return NOTHING

    def _of(self, name: str, scenario: str, field: str) -> float:
        return float(self.measured[name].results[scenario][field])


def value(it: Measured, scenario: str, field: str) -> object:
    """Return one figure, or a mark that there is none."""
    return it.results[scenario][field] if scenario in it.results else NOTHING


def lost_percent(it: Measured, scenario: str) -> object:
    """Return which share of the accepted points cannot be read back."""
    result = it.results.get(scenario)
    return NOTHING if result is None else (1 - result["readable"] / result["points"]) * 100


def described(outcomes: Mapping[str, Outcome]) -> list[list[object]]:
    """Return what each tracker is."""
    return [
        [name, it.environment.versions or NOTHING, adapters.adapter(name).note]
        for name, it in outcomes.items()
        if isinstance(it, Measured)
    ]


def not_measured(outcomes: Mapping[str, Outcome]) -> list[list[object]]:
    """Return each hole in the tables with its reason."""
    rows: list[list[object]] = []
    for name, it in outcomes.items():
        if isinstance(it, Missing):
            rows.append([name, "all", it.reason])
        else:
            rows += [[name, scenario, reason] for scenario, reason in it.failures.items()]
    return rows
