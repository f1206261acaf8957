"""The last steps as a table: one line per step, one column per metric, ranks merged."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan

from training_monitor._core import redact
from training_monitor.analysis.digest.figures import NONE, figure, span
from training_monitor.analysis.fencing import inert, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training_monitor.analysis.digest.importance import Known
    from training_monitor.answers import Step
    from training_monitor.query import RunView

__all__ = ["Table", "cell", "recent_steps", "tabled"]

_MOST_COLUMNS = 24
_NAME_CHARS = 200
_TEXT_CHARS = 40


@dataclass(frozen=True, slots=True)
class Table:
    """The last steps.

    Attributes:
        header: The names of the columns, between commas.
        rows: A line per step, the oldest first.
        left_out: How many metrics of these steps have no column.
    """

    header: str
    rows: list[str]
    left_out: int


def cell(name: str) -> str:
    """Return the name of a metric for a line with commas: in quotes where it would be misread."""
    plain = inert(name)
    odd = any(char in ',"' or char.isspace() for char in plain)
    return quoted(name, chars=_NAME_CHARS) if odd or len(plain) > _NAME_CHARS else plain


def recent_steps(run: RunView, last: int, *, rank: int | None = None) -> dict[int, list[Step]]:
    """Return what each rank logged at the last steps, by step, ascending.

    Args:
        run: The run.
        last: How many steps.
        rank: Only what this rank logged.
    """
    rows: dict[int, list[Step]] = {}
    for step in run.steps(last):
        if rank is None or step.rank == rank:
            rows.setdefault(step.step, []).append(step)
    return {at: rows[at] for at in sorted(rows)[-last:]}


def tabled(
    steps: Mapping[int, list[Step]],
    known: Sequence[Known],
    *,
    sig_figs: int,
    columns: int = _MOST_COLUMNS,
    texts: bool = True,
) -> Table:
    """Return steps as a table.

    Args:
        steps: What `recent_steps` has found.
        known: Metrics that may have a column, the most important first.
        sig_figs: Significant figures.
        columns: How many columns at most.
        texts: Whether metrics that hold text may have one.
    """
    there = {name for many in steps.values() for step in many for name in step.metrics}
    named = [one for one in known if one.name in there and (texts or one.has_numbers)]
    names = [one.name for one in named[:columns]]
    lines = [
        ",".join([str(at), *(_merged(many, name, sig_figs, texts=texts) for name in names)])
        for at, many in steps.items()
    ]
    header = ",".join(["step", *map(cell, names)])
    return Table(header, lines if names else [], len(named) - len(names))


def _merged(steps: list[Step], name: str, sig_figs: int, *, texts: bool) -> str:
    """Return what the ranks have of one metric at one step."""
    values = [step.metrics[name] for step in steps if name in step.metrics]
    if not values:
        return NONE
    words = [value for value in values if isinstance(value, str)]
    if words:
        return quoted(redact(words[0][:4000]), chars=_TEXT_CHARS) if texts else "(text)"
    if len(values) == 1 or all(value == values[0] for value in values):
        return figure(values[0], sig_figs)
    numbers = [nan if value is None else float(value) for value in values]
    real = [number for number in numbers if not isnan(number)]
    ends = (min(real), max(real)) if real else (nan, nan)
    return span(*ends, sig_figs, holes=len(real) < len(numbers))
