"""A prompt of sections, each within its share of the room there is."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Section", "clipped", "packed"]

_CUT = "\n[cut here: {left:,} more characters]"
# A section with less room than this says nothing that helps.
_LEAST_CHARS = 80


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a prompt.

    Attributes:
        title: Its heading.
        share: Its part of the room, beside the shares of the others.
        render: Returns its text in at most so many characters; "" where it has nothing to say.
    """

    title: str
    share: float
    render: Callable[[int], str]


def packed(sections: Sequence[Section], max_chars: int) -> str:
    """Return the sections under their headings, in at most so many characters.

    Each first gets its share. What some leave unused goes to those that were cut, the first ones
    first.

    Args:
        sections: In the order in which they stand.
        max_chars: The room for all of them, headings included.
    """
    room = max_chars - sum(len(_headed(one.title, "")) for one in sections)
    whole = sum(one.share for one in sections) or 1.0
    rooms = [int(room * one.share / whole) for one in sections]
    texts = [_rendered(one, chars) for one, chars in zip(sections, rooms, strict=True)]
    spare = room - sum(map(len, texts))
    for at, one in enumerate(sections):
        is_full = len(texts[at]) > 0.8 * rooms[at] or not texts[at]
        if spare <= _LEAST_CHARS or not is_full:
            continue
        better = _rendered(one, len(texts[at]) + spare)
        spare -= len(better) - len(texts[at])
        texts[at] = better
    parts = [_headed(one.title, text) for one, text in zip(sections, texts, strict=True) if text]
    return "".join(parts)[: max(max_chars, 0)]


def clipped(text: str, max_chars: int) -> str:
    """Return a text in at most so many characters; what is cut is said."""
    if len(text) <= max_chars:
        return text
    mark = _CUT.format(left=len(text))
    kept = max_chars - len(mark)
    if kept < 1:
        return ""
    return text[:kept] + _CUT.format(left=len(text) - kept)


def _rendered(section: Section, max_chars: int) -> str:
    if max_chars < _LEAST_CHARS:
        return ""
    return clipped(section.render(max_chars).strip(), max_chars)


def _headed(title: str, text: str) -> str:
    return f"## {title}\n{text}\n\n"
