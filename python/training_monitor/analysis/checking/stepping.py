"""Steps in a text: "step 80", "steps 0 to 80", "the last 100 steps"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from training_monitor.analysis.checking.numerals import NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ABOUT", "Place", "Steps", "steps_in"]

_WORD = r"(?:global[ _]|training |train[ _]|optimizer |time)?(?:steps?|iterations?|iters?|updates?)"
ABOUT = (
    r"(?:about|around|roughly|approximately|approx\.?|circa|ca\.|nearly|almost|close to|near"
    r"|some|~|an estimated|just (?:over|under|above|below)|slightly (?:over|under|above|below))"
)
# No run has so many steps.
_FAR = 1e18
_N = rf"(?:{NUMBER})(?:[kKM](?!\w))?"
_NAMED = re.compile(
    (
        rf"(?<![\w/])`?(?P<word>{_WORD})`?(?:\s*(?:#|=|:|number|\()|-)?\s*(?P<about>{ABOUT}"
        rf"\s*)?(?P<first>{_N})(?![\w%]|\.\d|/s)"
    ),
    re.IGNORECASE,
)
_NEXT = re.compile(
    rf"(?P<join>\s*(?:-|\u2013|\u2192|->|/|,\s*(?:and|or)|,|&|\.\.\.?|"
    rf"\b(?:to|through|until|till|and|or|of|vs\.?)\b)\s*)"
    rf"(?P<word>(?:{_WORD})\s*)?(?P<about>{ABOUT}\s*)?(?P<next>{_N})(?![\w%]|"
    rf"\.\d|/s| ?(?:%|percent|x\b|times\b|[kMG]?B\b|ms\b|s\b|hours?\b|"
    rf"minutes?\b))",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    rf"(?<![\w.,/])(?P<about>{ABOUT}\s*)?"
    rf"(?:(?P<done>{_N})\s?(?:/|of(?: the| your)?\s)\s?)?(?P<first>{_N})[ -]?"
    rf"(?:(?:more|further|additional|total|consecutive|recorded|logged|"
    rf"completed|earlier|new|extra|planned|warm-?up) )?{_WORD}\b"
    r"(?!\s*(?:/|per\b|a second))",
    re.IGNORECASE,
)
_BRACKETED = re.compile(
    rf"\s*\((?:from )?(?P<first>{_N})\s*(?:-|\u2013|\u2192|->|to)\s*(?P<last>{_N})\)"
)
_RANGE_JOIN = frozenset(
    ("-", "\u2013", "\u2192", "->", "to", "through", "until", "till", "..", "...")
)
_OPENED = re.compile(
    r"\b(?:from|between|over|during|across|through|spanning|range)\W+(?:the\W+)?$", re.IGNORECASE
)
_BETWEEN = re.compile(r"\bbetween\W+(?:the\W+)?$", re.IGNORECASE)
_KINDS = (
    (
        "last",
        re.compile(
            r"\b(?:last|past|previous|recent|preceding|latest|trailing|final)\W+$", re.IGNORECASE
        ),
    ),
    ("first", re.compile(r"\b(?:first|initial|opening)\W+$", re.IGNORECASE)),
    (
        "future",
        re.compile(
            r"\b(?:next|another|further|coming|following|remaining|extra|additional)\W+$",
            re.IGNORECASE,
        ),
    ),
    (
        "every",
        re.compile(r"\b(?:every|each|interval (?:of|is)|once per|frequency of)\W+$", re.IGNORECASE),
    ),
    ("total", re.compile(r"\b(?:of|out of|total of|planned|all|full)\W+(?:the )?$", re.IGNORECASE)),
    (
        "position",
        re.compile(
            (
                r"\b(?:after|at|by|reached|completed|until|since|done|ran for|"
                r"run for|trained for|through)\W+(?:only\W+)?(?:the\W+)?$"
            ),
            re.IGNORECASE,
        ),
    ),
)
_AFTER = (
    ("left", re.compile(r"^\W{0,2}(?:left\b|remain|to go\b)", re.IGNORECASE)),
    ("future", re.compile(r"^\W{0,2}(?:more\b|from now)", re.IGNORECASE)),
    ("total", re.compile(r"^\W{0,2}(?:in total|total|planned|overall)\b", re.IGNORECASE)),
    ("future", re.compile(r"^\W{0,2}(?:of |)?warm-?up\b", re.IGNORECASE)),
    ("ago", re.compile(r"^\W{0,2}(?:ago|earlier|before)\b", re.IGNORECASE)),
)
_MORE = re.compile(r"\b(?:more|further|additional|extra|planned)\b", re.IGNORECASE)
_VAGUE = re.compile(
    rf"\b(?:{ABOUT}|by|shortly after|shortly before|just before|just after)\W*$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Place:
    """One written step number."""

    start: int
    end: int
    value: float
    half: float


@dataclass(frozen=True, slots=True)
class Steps:
    """A phrase about steps.

    Attributes:
        start: Where it starts.
        end: Where it ends.
        kind: at, range; of counts last, first, left, future, every, total, position, ago or span.
        places: The numbers in it.
        about: Whether it says that it is not exact.
        total: A number of steps in all that is part of it: "step 80 of 1000".
    """

    start: int
    end: int
    kind: str
    places: tuple[Place, ...]
    about: bool = False
    total: Place | None = None


def steps_in(text: str) -> list[Steps]:
    """Return the phrases about steps in a plain text, in their order."""
    found = list(_named(text))
    spans = [(one.start, one.end) for one in found]
    for match in _COUNTED.finditer(text):
        start = match.start("done") if match["done"] else match.start("first")
        if any(begin < match.end() and start < end for begin, end in spans):
            continue
        found.append(_counted(text, match))
    brackets = [_BRACKETED.match(text, one.end) for one in found]
    found += [_bracketed(bracket) for bracket in brackets if bracket]
    return sorted(found, key=lambda one: one.start)


def _bracketed(match: re.Match[str]) -> Steps:
    """Return the range in "for 200 steps (500 to 700)"."""
    places = (_place(match, "first"), _place(match, "last"))
    return Steps(match.start("first"), match.end("last"), "range", places)


def _place(match: re.Match[str], group: str) -> Place:
    text = match[group].replace(",", "")
    factor = {"k": 1e3, "K": 1e3, "M": 1e6}.get(text[-1], 1.0)
    digits = text.rstrip("kKM")
    half = (
        0.5 * 10.0 ** -len(digits.partition(".")[2]) * factor
        if factor > 1 or "." in digits
        else 0.0
    )
    value = min(float(digits) * factor, _FAR)
    return Place(match.start(group), match.end(group), value, min(half, _FAR))


def _named(text: str) -> Iterator[Steps]:
    at = 0
    while (match := _NAMED.search(text, at)) is not None:
        places, kind, total = [_place(match, "first")], "at", None
        before = text[max(0, match.start() - 30) : match.start()]
        if "(" in match[0] and re.search(r"\d\s*$", before):
            # "200 steps (500 to 700)" counts them first.
            at = match.end("word")
            continue
        about = bool(match["about"]) or bool(_VAGUE.search(before))
        plural = match["word"].lower().endswith("s")
        end = match.end()
        while (more := _NEXT.match(text, end)) is not None:
            join, place = more["join"].strip().lower(), _place(more, "next")
            if join in ("of", "/") and not plural:
                total, end = place, more.end()
                break
            if not _goes_on(text, more, places[-1], place, plural=plural, before=before):
                break
            if join in _RANGE_JOIN or (join == "and" and _BETWEEN.search(before)):
                kind = "range"
            places.append(place)
            end = more.end()
        at = end
        if len(places) != 2:
            kind = "at"
        yield Steps(match.start(), end, kind, tuple(places), about, total)


def _goes_on(
    text: str, more: re.Match[str], last: Place, place: Place, *, plural: bool, before: str
) -> bool:
    """Whether a number after a step is another step, and not a value."""
    if more["word"]:
        return True
    rest = text[more.end() : more.end() + 12].lower()
    if re.match(r"\W{0,2}(?:at|@|\(|for|in) ?(?:steps?|iter)?", rest) and "step" in rest:
        return False
    if "." in more["next"] and not more["next"].endswith(("k", "K", "M")):
        return False
    join = more["join"].strip().lower()
    if join in ("-", "\u2013", ".."):
        return place.value >= last.value
    return (plural or bool(_OPENED.search(before))) and place.value > last.value


def _counted(text: str, match: re.Match[str]) -> Steps:
    start = (
        match.start("about")
        if match["about"]
        else match.start("done")
        if match["done"]
        else match.start("first")
    )
    before, after = text[max(0, start - 30) : start], text[match.end() : match.end() + 20]
    place = _place(match, "first")
    about = bool(match["about"]) or bool(_VAGUE.search(before))
    if match["done"]:
        of_rest = "left" if _AFTER[0][1].search(after) else "at"
        return Steps(start, match.end(), of_rest, (_place(match, "done"),), about, place)
    kind = next((kind for kind, words in _AFTER if words.search(after)), None)
    if kind is None and _MORE.search(match[0]):
        kind = "future"
    if kind is None:
        bare = re.sub(rf"(?:{ABOUT})\W*$", "", before, flags=re.IGNORECASE)
        kind = next((kind for kind, words in _KINDS if words.search(bare)), "span")
    return Steps(start, match.end(), kind, (place,), about)
