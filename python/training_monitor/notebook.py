"""HTML for notebooks: small tables, every text escaped."""

from __future__ import annotations

from html import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["card_html", "table_html"]

_CELL = ' style="text-align:left;padding:2px 10px 2px 0"'
_TEXT_CHARS = 200


def table_html(
    titles: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str = ""
) -> str:
    """Return a table of cells, and a line below it."""
    head = "".join(f"<th{_CELL}>{_shown(title)}</th>" for title in titles)
    body = "".join(
        "<tr>" + "".join(f"<td{_CELL}>{_shown(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    below = f"<div><small>{escape(caption)}</small></div>" if caption else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def card_html(title: str, facts: Iterable[tuple[str, object]], below: str = "") -> str:
    """Return a title with facts under it; `below` is HTML that follows."""
    body = "".join(
        f"<tr><td{_CELL}><b>{_shown(name)}</b></td><td{_CELL}>{_shown(value)}</td></tr>"
        for name, value in facts
    )
    return f"<div><b>{_shown(title)}</b><table><tbody>{body}</tbody></table>{below}</div>"


def _shown(cell: object) -> str:
    """Return a cell as text that can be nothing but text."""
    text = f"{cell:.6g}" if isinstance(cell, float) else "" if cell is None else str(cell)
    text = text if len(text) <= _TEXT_CHARS else f"{text[: _TEXT_CHARS - 1]}…"
    # A lone surrogate has no place in a page of UTF-8.
    return escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))
