"""What the live view shows of a run at this moment, as sections of lines."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from training_monitor.answers import numbers
from training_monitor.cli import machine, render
from training_monitor.cli.course import Ahead, course_lines, look_ahead, standing
from training_monitor.cli.outline import take_outline
from training_monitor.cli.ranks import ranks_of
from training_monitor.errors import TrainingMonitorError
from training_monitor.query import RunView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from training_monitor.cli.outline import Outline
    from training_monitor.detect.meaning import Meaning
    from training_monitor.ranks import Rank

__all__ = ["Line", "Painter", "Section", "fitted", "sparkline"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=+*#@"
_HOLE = " "
_CURVES = 8
_NAME_CHARS = 24
_VALUE_CHARS = 10
_LEAST_CURVE_CHARS = 10
_TOLD_ALERTS = 3
_SLOW = 1.2
# Machine and findings, and the end of the run, are looked at anew so often; the rest each time.
_SEEN_SECS = 2.0
_AHEAD_SECS = 10.0
_MEANINGS_SECS = 10.0
_ORDER = ("loss", "score", "error", "reward", "lr", "grad_norm", "mfu", "throughput", "step_time")


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and how it looks: plain, dim, good, warning or critical."""

    text: str
    style: str = "plain"


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under a title; a section that matters less is cut sooner."""

    title: str
    lines: list[Line] = field(default_factory=list)


def sparkline(values: Sequence[float], width: int, *, is_ascii: bool = False) -> str:
    """Return a curve in one line of text; a blank stands where there is no number.

    Args:
        values: In order; of those that share a place the mean of the finite ones counts.
        width: In characters.
        is_ascii: Whether to do without block characters.
    """
    signs = _ASCII if is_ascii else _BLOCKS
    width = min(width, len(values))
    shares: list[list[float]] = [[] for _ in range(width)]
    for at, value in enumerate(values):
        if math.isfinite(value):
            shares[at * width // len(values)].append(value)
    cells = [sum(one) / len(one) if one else math.nan for one in shares]
    finite = [cell for cell in cells if math.isfinite(cell)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    # Halves: the whole of two that are far apart is no number.
    span = high / 2 - low / 2
    places = [(cell / 2 - low / 2) / span if span else 0.0 * cell for cell in cells]
    return "".join(
        signs[round(place * (len(signs) - 1))] if math.isfinite(place) else _HOLE
        for place in places
    )


def fitted(sections: Sequence[Section], height: int, *, frame: int) -> list[Section]:
    """Return the sections that a screen holds: lines go from the longest one first.

    Args:
        sections: The most important first.
        height: Lines of the screen.
        frame: Lines that each section takes beside its own.
    """
    kept = [section for section in sections if section.lines]
    while len(kept) > 1 and sum(1 + frame for _ in kept) > height:
        kept.pop()
    counts = [len(section.lines) for section in kept]
    while sum(counts) + frame * len(kept) > height and max(counts, default=0) > 1:
        # Of equal ones the last: it matters least.
        longest = max(range(len(counts)), key=lambda at: (counts[at], at))
        counts[longest] -= 1
    return [
        Section(section.title, section.lines[:count])
        for section, count in zip(kept, counts, strict=True)
    ]


class Painter:
    """Looks at one run again and again.

    Args:
        path: The run.
        is_ascii: Whether the terminal knows ASCII alone.
    """

    def __init__(self, path: str, *, is_ascii: bool = False) -> None:
        self._path = path
        self._is_ascii = is_ascii
        self._view: RunView | None = None
        self._ahead = Ahead()
        self._ahead_at = -math.inf
        self._meanings: dict[str, Meaning] = {}
        self._meanings_at = -math.inf
        self._seen = machine.Seen()
        self._seen_at = -math.inf

    def look(self, width: int, *, now: float | None = None) -> list[Section]:
        """Return what is to be shown on lines of this width."""
        now = time.time() if now is None else now
        outline = take_outline(self._path)
        sections = [Section(outline.name, self._state(outline))]
        try:
            if self._view is None:
                self._view = RunView(self._path)
            self._refresh(outline, now)
            sections += [
                Section("course", self._course()),
                Section("findings", self._found(self._view)),
                Section("metrics", self._curves(self._view, width)),
                Section("machine", self._machine()),
                Section("ranks", _ranks(ranks_of(self._path))),
            ]
        except TrainingMonitorError as error:
            sections.append(Section("trouble", [Line(render.safe(error), "warning")]))
        return sections

    def _refresh(self, outline: Outline, now: float) -> None:
        """Work out anew what takes long, now and then."""
        if not 0.0 <= now - self._ahead_at < _AHEAD_SECS:
            self._ahead = look_ahead(self._path, is_live=outline.state == "recording")
            self._ahead_at = now
        if not 0.0 <= now - self._seen_at < _SEEN_SECS:
            self._seen, self._seen_at = machine.look(self._path), now
        if self._view is not None and not 0.0 <= now - self._meanings_at < _MEANINGS_SECS:
            self._meanings = self._view.meanings()
            self._meanings_at = now

    def _state(self, outline: Outline) -> list[Line]:
        good = outline.state in ("recording", "draining", "ended")
        step = render.whole(outline.last_step)
        points = f"{render.whole(outline.points)} points"
        last = f"last {render.ago(outline.last_point_at)}"
        text = f"{outline.state}   step {step}   {points}   {last}"
        lines = [Line(text, "good" if good else "critical")]
        if outline.error:
            lines.append(Line(render.safe(outline.error), "critical"))
        return lines

    def _course(self) -> list[Line]:
        return [
            Line(f"{word:<12}{render.safe(text)}", "warning" if word == "advice" else "plain")
            for word, text in course_lines(self._ahead)
        ]

    def _found(self, view: RunView) -> list[Line]:
        found = [one for one in standing(self._seen.findings) if one.by == "detector"]
        lines = [Line(f"{one.severity:<12}{render.safe(one.text)}", one.severity) for one in found]
        told = view.alerts()[-_TOLD_ALERTS:]
        for alert in reversed(told):
            text = f"{render.ago(alert.time):<12}{alert.level} {render.safe(alert.title)}"
            lines.append(Line(text, "dim"))
        return lines

    def _curves(self, view: RunView, width: int) -> list[Line]:
        room = max(width - _NAME_CHARS - _VALUE_CHARS - 2, _LEAST_CURVE_CHARS)
        known = {metric.name: metric for metric in view.metrics()}
        names = sorted(
            (name for name, one in known.items() if one.kind not in ("text", "none")),
            key=self._place,
        )
        lines = []
        for name in names[:_CURVES]:
            points = view.series(name, max_points=2 * room)
            first = points.rank == points.rank.min(initial=2**32 - 1)
            curve = sparkline(numbers(points.value)[first].tolist(), room, is_ascii=self._is_ascii)
            shown = render.cut(render.safe(name), _NAME_CHARS)
            value = render.number(known[name].last_value)
            lines.append(Line(f"{shown:<{_NAME_CHARS}} {value:>{_VALUE_CHARS}} {curve}"))
        if len(names) > _CURVES:
            lines.append(Line(f"and {len(names) - _CURVES} more", "dim"))
        return lines

    def _place(self, name: str) -> tuple[bool, int, int, str]:
        """Return the sorting key: the headline first, then as people ask for them."""
        meaning = self._meanings.get(name)
        if meaning is None:
            return True, len(_ORDER), 0, name
        known = meaning.kind in _ORDER
        order = _ORDER.index(meaning.kind) if known else len(_ORDER)
        return not meaning.headline, order, meaning.rank + 10 * meaning.minor, name

    def _machine(self) -> list[Line]:
        lines = machine.machine_lines(self._seen)
        first = [line for line in lines if "gpu" in line[0]]
        rest = [line for line in lines if "gpu" not in line[0]]
        return [Line(f"{word:<12}{render.safe(text)}") for word, text in (*first, *rest)]


def _ranks(ranks: Sequence[Rank]) -> list[Line]:
    """Return how many there are, and those that stand out."""
    if len(ranks) < 2:
        return []
    steps = [rank.last_step for rank in ranks if rank.last_step is not None]
    reach = f", steps {min(steps):,} to {max(steps):,}" if steps else ""
    lines = [Line(f"{len(ranks)} ranks{reach}")]
    for rank in ranks:
        if rank.silent or (rank.ended_how == "died" and rank.exit_code != 0):
            what = "silent" if rank.silent else rank.end or "died"
            lines.append(Line(f"rank {rank.rank:<6} {render.safe(what)}", "critical"))
        elif (rank.straggler or 0.0) >= _SLOW:
            slow = f"rank {rank.rank:<6} {rank.straggler:.2f} times as slow as the others"
            lines.append(Line(slow, "warning"))
    return lines
