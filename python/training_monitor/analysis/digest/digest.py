"""The numbers of a run as compact text for a prompt, within so many characters.

Every value is a stored one rounded to `sig_figs`, or says what was worked out of them. What does
not fit is left out by importance, and it is said how much that is.
"""

from __future__ import annotations

from functools import cached_property
from itertools import islice

from training_monitor.analysis.digest.band import band_of
from training_monitor.analysis.digest.figures import NONE, figure
from training_monitor.analysis.digest.importance import by_importance
from training_monitor.analysis.digest.recent import cell, recent_steps, tabled
from training_monitor.analysis.fencing import CLOSED, OPENED, cut, inert
from training_monitor.analysis.tools.machine import machine_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from training_monitor.analysis.digest.band import Band
    from training_monitor.analysis.digest.importance import Known
    from training_monitor.query import RunView

__all__ = ["Digest"]

_LINE_CHARS = 700
_FENCE_CHARS = len(OPENED) + len(CLOSED) + 2
# For the words before and after the data.
_RESERVED_CHARS = _FENCE_CHARS + 200
_HISTORY_POINTS = 12
# So many metrics are read; of the others only what is kept of them without their points.
_WITH_HISTORY = 8
_READ = 40
_MOST_LINES = 400
# Shares of the room: first what is said at length, then what is said in short.
_AT_LENGTH, _IN_SHORT = 0.6, 0.9
_MACHINE_SHARE, _STEPS_SHARE = 0.15, 0.55
# Rows, as shares of those that were wanted, and columns: the first that fit are taken.
_SHAPES = ((1, 24), (1, 16), (1, 12), (1, 8), (2, 12), (2, 8), (4, 8), (4, 5), (8, 4), (99, 4),
           (99, 2), (99, 1))  # fmt: skip


class Digest:
    """The numbers of a run, read once, as text of any length.

    Args:
        run: The run.
        sig_figs: Significant figures.
        privacy: With "numbers-only" there is no text of the run in it but names of metrics.
        now: Wall clock; None means that of this moment.
    """

    def __init__(
        self, run: RunView, *, sig_figs: int = 5, privacy: str = "full", now: float | None = None
    ) -> None:
        self._run = run
        self._sig_figs = sig_figs
        self._texts = privacy in ("full", "no-code")
        self._now = now

    @cached_property
    def _known(self) -> list[Known]:
        return by_importance(self._run, self._run.findings())

    def text(self, max_chars: int, *, last: int = 20) -> str:
        """Return last steps, metrics and machine in so many characters at most.

        Args:
            max_chars: The room.
            last: How many steps.
        """
        machine = self.machine(int(max_chars * _MACHINE_SHARE))
        left = max_chars - len(machine) - 4
        steps = self.steps(int(left * _STEPS_SHARE), last=last)
        metrics = self.metrics(left - len(steps))
        return "\n\n".join(part for part in (steps, metrics, machine) if part)

    def steps(self, max_chars: int, *, last: int = 20) -> str:
        """Return the last steps as a table; empty where there are none, or no room for one."""
        steps = recent_steps(self._run, last)
        for share, columns in _SHAPES:
            rows = max(len(steps) // share, 1)
            newest = dict(islice(steps.items(), len(steps) - rows, None)) if steps else {}
            table = tabled(newest, self._known, sig_figs=self._sig_figs, columns=columns,
                           texts=self._texts)  # fmt: skip
            if not table.rows:
                return ""
            head = f"The last {len(table.rows)} steps, merged ({NONE}: not logged at that step; "
            head += "a..b: ranks differ, least..greatest)"
            left = f"{table.left_out} further metrics of these steps are left out."
            text = _block(head, [table.header, *table.rows], left if table.left_out else "")
            if len(text) <= max_chars:
                return text
        return ""

    def metrics(self, max_chars: int) -> str:
        """Return a line per metric, the most important first; empty where there is no room."""
        room = max_chars - _RESERVED_CHARS
        lines: list[str] = []
        for at, one in enumerate(self._known[:_MOST_LINES]):
            used = sum(map(len, lines)) + 3 * len(lines)
            line = next((line for share, line in self._lines(at, one)
                         if used + len(line) + 3 <= share * room), None)  # fmt: skip
            if line is None:
                break
            lines.append(line)
        if not lines:
            return ""
        left = len(self._known) - len(lines)
        head = f"{len(self._known)} metrics, the most important first (value @step)"
        return _block(head, lines, f"{left} further metrics are left out." if left else "")

    def machine(self, max_chars: int) -> str:
        """Return the newest samples of the machine; empty without any, or without room."""
        lines = machine_lines(self._run, sig_figs=self._sig_figs, texts=self._texts, now=self._now)
        for count in range(len(lines), 0, -1):
            left = len(lines) - count
            words = f"{left} further parts of the machine are left out." if left else ""
            text = _block("The machine, newest samples", lines[:count], words)
            if len(text) <= max_chars:
                return text
        return ""

    def _lines(self, at: int, one: Known) -> Iterator[tuple[float, str]]:
        """Yield what can be said of a metric, the longest first, with its share of the room."""
        if one.has_numbers and at < _READ:
            band = band_of(self._run, one.name, points=one.metric.count)
            if len(band):
                short = self._in_short(one, band)
                if (at < _WITH_HISTORY or one.found) and not _is_constant(band):
                    yield _AT_LENGTH, self._fit(short + self._history(one, band))
                yield _IN_SHORT, self._fit(short)
        yield 1.0, self._fit(self._known_only(one))

    def _fit(self, line: str) -> str:
        return cut(inert(line), _LINE_CHARS)

    def _in_short(self, one: Known, band: Band) -> str:
        """Say where a metric begins, ends and has its extremes."""
        figs, end = self._sig_figs, len(band) - 1
        count = f"{self._name(one)}: {one.metric.count} points"
        if _is_constant(band):
            always = f"always {band.cell(0, figs)}"
            return f"{count}, {always} from @{band.step[0]} to @{band.step[end]}"
        said = [
            f"{name} {band.cell(at, figs)} @{band.step[at]}"
            for name, at in (("first", 0), ("last", end))
        ]
        extremes = (("min", band.low, band.lowest()), ("max", band.high, band.highest()))
        said += [
            f"{name} {figure(values[at], figs)} @{band.step[at]}"
            for name, values, at in extremes
            if at is not None
        ]
        stats = self._run.stats(one.name)
        if stats.mean is not None:
            said.append(f"mean {figure(stats.mean, self._sig_figs)}")
        if stats.non_finite:
            said.append(f"not finite {stats.non_finite}")
        return f"{count}, {', '.join(said)}"

    def _name(self, one: Known) -> str:
        words = [str(one.meaning)] if one.meaning.kind != "other" else []
        words += ["headline"] if one.meaning.headline else []
        words += ["a finding stands"] if one.found else []
        return cell(one.name) + (f" ({'; '.join(words)})" if words else "")

    def _history(self, one: Known, band: Band) -> str:
        """Say which way a metric goes: means of quarters, and some points with all extremes."""
        stretches = self._run.zoom(one.name, buckets=4)
        means = [figure(mean, self._sig_figs) for mean in stretches.mean.tolist()]
        text = f"; means of quarters {' '.join(means)}" if len(means) > 1 else ""
        seen = band.thinned(_HISTORY_POINTS)
        steps = map(int, seen.step.tolist())
        points = [f"{step}:{seen.cell(at, self._sig_figs)}" for at, step in enumerate(steps)]
        return f"{text}; history {' '.join(points)}"

    def _known_only(self, one: Known) -> str:
        """Say what is known of a metric without its points."""
        metric = one.metric
        if not one.has_numbers:
            return f"{self._name(one)}: {metric.count} texts, last at step {metric.last_step}"
        said = {"last": metric.last_value, "min": metric.min, "max": metric.max}
        values = [f"{name} {figure(value, self._sig_figs)}" for name, value in said.items()
                  if value is not None]  # fmt: skip
        return f"{self._name(one)}: {metric.count} points, {', '.join(values)}"


def _is_constant(band: Band) -> bool:
    """Return whether all values are one."""
    return not band.holes.any() and bool(band.low.min() == band.high.max())


def _block(head: str, lines: Sequence[str], left: str) -> str:
    """Return words of ours, lines of data behind bars, and what is left out."""
    data = [f"| {inert(line)}" for line in lines]
    return "\n".join([head, OPENED, *data, CLOSED, *([left] if left else [])])
