"""How the commands print: tables within the width of the terminal, and strict JSON."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time

from training_monitor.errors import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from training_monitor.answers import Copy

__all__ = [
    "ago",
    "cut",
    "fits",
    "heading",
    "in_bytes",
    "in_nanoseconds",
    "in_seconds",
    "line_chars",
    "moment",
    "number",
    "print_columns",
    "print_json",
    "print_table",
    "safe",
    "span",
    "tell_of_copy",
    "whole",
]

_GAP = "  "
_LEAST_NAME_CHARS = 12
_LONGEST_LINE = 120


def safe(text: object) -> str:
    """Return `text` without line breaks and escape sequences; names come from anywhere."""
    return plain(str(text))


def heading(text: str) -> str:
    """Return `text` bold on a terminal that wants colour, else as it is."""
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return f"\033[1m{text}\033[0m" if wanted and os.environ.get("TERM") != "dumb" else text


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print rows under titles; the first column gives way when the line gets too long.

    Args:
        titles: One per column.
        rows: The cells, ready to print.
        left: So many columns stand flush left, the others flush right.
    """
    cells = [[safe(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - line_chars()
    widths[0] = max(widths[0] - max(excess, 0), min(widths[0], _LEAST_NAME_CHARS))
    print_columns(titles, cells, widths, left=range(left))


def fits(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a line holds these columns, with names that are cut to a readable length."""
    widths = [max(len(safe(cell)) for cell in column) for column in zip(*rows, strict=True)]
    widths[0] = min(widths[0], 2 * _LEAST_NAME_CHARS)
    return sum(widths) + len(_GAP) * (len(widths) - 1) <= line_chars()


def line_chars() -> int:
    """Return how many characters a line of the terminal holds; more than 120 are hard to read."""
    return min(shutil.get_terminal_size((80, 24)).columns, _LONGEST_LINE)


def print_columns(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    *,
    left: Container[int],
) -> None:
    """Print rows under titles in columns of these widths; those in `left` stand flush left."""
    print(heading(_line([safe(title) for title in titles], widths, left)))
    for row in rows:
        print(_line(row, widths, left))


def _line(cells: Sequence[str], widths: Sequence[int], left: Container[int]) -> str:
    parts = [cut(cell, width) for cell, width in zip(cells, widths, strict=True)]
    parts = [
        part.ljust(width) if place in left else part.rjust(width)
        for place, (part, width) in enumerate(zip(parts, widths, strict=True))
    ]
    return _GAP.join(parts).rstrip()


def cut(text: str, width: int) -> str:
    """Shorten a name in the middle: both of its ends tell it from others."""
    if len(text) <= width:
        return text
    head = (width - 2) // 2
    return f"{text[:head]}..{text[len(text) - (width - 2 - head) :]}"


def print_json(value: object) -> None:
    """Print `value` as JSON that every parser reads: numbers that are none become strings."""
    print(json.dumps(_strict(value), indent=2, ensure_ascii=True, allow_nan=False))


def _strict(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    return value


def number(value: object) -> str:
    """Return a value of a metric, short enough for a table."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.5g}"
    text = safe(value)
    if isinstance(value, int) and len(text) > 12:
        return f"{value:.4e}" if abs(value) < 10**300 else f"{text[:2]}e{len(text) - 2}"
    return text if len(text) <= 12 else f"{text[:10]}.."


def whole(value: int | None) -> str:
    """Return a count with its thousands apart; a dash for None."""
    return "-" if value is None else f"{value:,}"


def span(first: int | None, last: int | None) -> str:
    """Return the steps from the first to the last; a dash for None."""
    if first is None or last is None:
        return "-"
    return f"{first}" if first == last else f"{first}..{last}"


def in_bytes(count: int) -> str:
    """Return a number of bytes in the unit that fits."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def in_nanoseconds(count: int | None) -> str:
    """Return a short time in the unit that fits; a dash for None."""
    if count is None:
        return "-"
    if count < 10_000:
        return f"{count} ns"
    return f"{count / 1e3:.0f} us" if count < 10_000_000 else f"{count / 1e6:.0f} ms"


def in_seconds(secs: float | None) -> str:
    """Return a duration in the unit that fits; a dash for None."""
    if secs is None:
        return "-"
    for limit, size, unit in ((60.0, 1.0, "s"), (3600.0, 60.0, "min"), (86400.0, 3600.0, "h")):
        if secs < limit:
            return f"{secs / size:.1f} {unit}" if secs < 10 * size else f"{secs / size:.0f} {unit}"
    return f"{secs / 86400:.0f} d"


def moment(wall_secs: float) -> str:
    """Return date and time of this place; dashes for a time that is not known."""
    if not math.isfinite(wall_secs):
        return "-" * 19
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_secs))


def tell_of_copy(copy: Copy | None) -> None:
    """Say on stderr that the answer is of a copy; what is asked for goes to stdout."""
    if copy is not None:
        print(f"training-monitor: this is {safe(copy)}", file=sys.stderr)


def ago(wall_secs: float | None, now: float | None = None) -> str:
    """Return how long ago a moment was; a dash for None."""
    if wall_secs is None:
        return "-"
    now = time.time() if now is None else now
    return f"{in_seconds(max(now - wall_secs, 0.0))} ago"
