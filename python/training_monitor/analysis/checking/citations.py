"""Places in the code that a text cites: found, and looked up in the snapshot.

A line that is cited together with its text, or with a name of the code beside it, must have that
text. Two lines off is taken as true; further off it does not hold, and the reason says where the
text stands, if it stands on one line of the file only.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches

from training_monitor.analysis.checking.numerals import numerals_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.analysis.checking.facts import Facts

__all__ = ["Citation", "Verdict", "citations_in", "look_up"]

# So many lines off is taken as true: models count from zero, or cite the line of the call.
NEAR_LINES = 2
_MOST_LINES = 20_000
_SUFFIXES = (
    "py|pyi|yaml|yml|json|jsonl|toml|cfg|ini|sh|bash|txt|md|ipynb|"
    "cpp|cc|cu|cuh|c|h|hpp|rs|go|js|ts|jl|"
    "lua|r|scala|java|proto|gin|jsonnet|conf|env|sbatch|slurm|rst|csv|tsv|sql"
)
_PART = r"[\w@+.-]{1,80}"
# A path starts where a word does: looked for from each letter, a long word would take long.
_PATH = (
    rf"(?<![\w@+./-])(?:\.{{0,2}}/)?(?:{_PART}/){{0,12}}{_PART}\.(?:{_SUFFIXES})(?!\w)"
    rf"|(?<![\w@+./-])(?:{_PART}/){{0,12}}(?:Makefile|Dockerfile)(?!\w)"
)
_SPAN = r"(?P<{0}>\d+)(?:\s*(?:-|\u2013|to|through|and|,)\s*(?:L|line )?(?P<{1}>\d+)(?!\.\d))?"
_FORMS = (
    rf"`?(?P<path>{_PATH})`?\s?(?::|#L|@|:L|::)\s?{_SPAN.format('first', 'last')}(?::\d+)?",
    (
        rf"`?(?P<path>{_PATH})`?[\s,:(\[*`]*(?:at |on |around |near |in "
        rf"|see )?\b(?:lines?|L|ln\.?|l\.)[\s.#:~]*{_SPAN.format('first', 'last')}"
    ),
    (
        rf"\blines?\s*[#~]?\s*{_SPAN.format('first', 'last')}\s*(?:of|in|"
        rf"from|at|\()\s*(?:the (?:file|script)\s*)?`?(?P<path>{_PATH})`?"
    ),
    rf"\bL{_SPAN.format('first', 'last')}\s*(?:of|in|from)\s*`?(?P<path>{_PATH})`?",
    rf"`?(?P<path>{_PATH})`?\s*\((?:lines?\s*)?{_SPAN.format('first', 'last')}\)",
)
_CITED = tuple(re.compile(form, re.IGNORECASE) for form in _FORMS)
_LINES_ALONE = re.compile(
    rf"\b(?:on |at )?lines?\s*[#~]?\s*{_SPAN.format('first', 'last')}(?![\w%]|\.\d)", re.IGNORECASE
)
_FILE = re.compile(rf"`?(?P<path>{_PATH})`?", re.IGNORECASE)
_CODE = re.compile(
    r"`([^`\n]{2,200})`|\"([^\"\n]{3,200})\""
    r"|(?<![\w`./])(\w+ ?= ?[\w.'-]*\w|\w+(?:\.\w+)*\(\)|[a-z]\w*_\w+)(?![\w/`]|\.\w)"
)
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Citation:
    """A place in the code that a text cites.

    Attributes:
        start: Where it starts in the text.
        end: Where it ends.
        path: The file, as it is written; None: the one cited before.
        first: The line; None: the file alone.
        last: The last line; None: there is one.
        spans: Where the numbers of the lines stand in the text.
        quotes: Code that is quoted beside it.
    """

    start: int
    end: int
    path: str | None
    first: int | None
    last: int | None
    spans: tuple[tuple[int, int], ...] = ()
    quotes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a citation holds, why, on which line it would hold, and the numbers there."""

    holds: bool
    why: str
    line: int | None = None
    numbers: tuple[float, ...] = ()


def citations_in(text: str) -> list[Citation]:
    """Return the places that a text cites, in their order."""
    found: list[Citation] = []
    for pattern in (*_CITED, _FILE, _LINES_ALONE):
        for match in pattern.finditer(text):
            if any(one.start < match.end() and match.start() < one.end for one in found):
                continue
            found.append(_citation(match))
    found.sort(key=lambda one: one.start)
    return [_with_quotes(text, one, found) for one in found]


def _citation(match: re.Match[str]) -> Citation:
    groups = match.groupdict()
    first, last = groups.get("first"), groups.get("last")
    spans = tuple(match.span(name) for name in ("first", "last") if groups.get(name))
    end = match.end()
    text = match[0]
    # A backtick that opens outside of the match belongs to the prose.
    if text.count("`") % 2:
        end -= text.endswith("`")
    return Citation(
        match.start(), end, groups.get("path"),
        int(first) if first else None, int(last) if last else None, spans,
    )  # fmt: skip


def _with_quotes(text: str, one: Citation, others: list[Citation]) -> Citation:
    """Take the code that stands beside a citation, between its neighbours in the sentence."""
    if one.first is None:
        return one
    low = max((other.end for other in others if other.end <= one.start), default=0)
    high = min((other.start for other in others if other.start >= one.end), default=len(text))
    opened = max(text.rfind(". ", low, one.start), text.rfind("\n", low, one.start), low - 1) + 1
    closed = _sentence_end(text, one.end, high)
    quotes = []
    for match in _CODE.finditer(text, opened, closed):
        quote = (match[1] or match[2] or match[3]).strip()
        apart = match.start() - one.end if match.start() >= one.end else one.start - match.end()
        if one.start <= match.start() < one.end or apart > 80:
            continue
        if match[2] is not None and not re.search(r"[=(_.\[]", quote):
            continue
        quotes.append(quote)
    return Citation(one.start, one.end, one.path, one.first, one.last, one.spans, tuple(quotes[:4]))


def _sentence_end(text: str, start: int, high: int) -> int:
    match = re.compile(r"[.!?]\s+[A-Z]|\n").search(text, start, high)
    return match.start() if match else high


def look_up(
    path: str | None, first: int | None, last: int | None, quotes: tuple[str, ...], facts: Facts
) -> Verdict:
    """Look a place up in the snapshot."""
    if facts.snapshot is None:
        return Verdict(False, "there is no snapshot of the code")
    known = _meant(path, facts)
    if len(known) != 1:
        if known:
            return Verdict(False, f"{path} may be any of {', '.join(known[:4])}")
        near = get_close_matches(path or "", facts.paths, n=1)
        return Verdict(
            False, f"no file {path} in the snapshot" + (f"; nearest: {near[0]}" if near else "")
        )
    if first is None:
        return Verdict(True, f"{known[0]} is in the snapshot")
    lines = _lines(known[0], facts)
    end = last if last is not None else first
    if not 1 <= first <= end <= len(lines):
        return Verdict(False, f"{known[0]} has {len(lines)} lines")
    verdict = _quoted(known[0], lines, first, end, quotes, facts)
    if not verdict.holds:
        return verdict
    around = "\n".join(lines[max(0, first - 1 - NEAR_LINES) : end + NEAR_LINES])
    return replace(verdict, numbers=tuple(one.value for one in numerals_in(around)))


def _meant(path: str | None, facts: Facts) -> list[str]:
    if path is None:
        return []
    path = path.removeprefix("./")
    if path in facts.paths:
        return [path]
    return [
        one
        for one in facts.paths
        if one.endswith("/" + path.lstrip("/")) or path.endswith("/" + one)
    ]


def _lines(path: str, facts: Facts) -> list[str]:
    snapshot = facts.snapshot
    with suppress(KeyError, ValueError, OSError):
        if snapshot is not None:
            return list(snapshot.lines(path, 1, _MOST_LINES))
    return []


def _quoted(
    path: str, lines: list[str], first: int, last: int, quotes: tuple[str, ...], facts: Facts
) -> Verdict:
    """Check what is quoted beside a line: some of it must stand there."""
    wanted = [quote for quote in quotes if _is_of_code(quote, lines, facts)]
    if not wanted:
        return Verdict(True, f"{path} has line {last}")
    flat = [_flat(line) for line in lines]
    near = range(max(1, first - NEAR_LINES), min(len(lines), last + NEAR_LINES) + 1)
    if any(_stands(quote, flat, near) for quote in wanted):
        return Verdict(True, f"it stands at {path}:{first}")
    for quote in wanted:
        places = [at for at in range(1, len(lines) + 1) if _stands(quote, flat, range(at, at + 1))]
        if len(places) == 1:
            return Verdict(False, f"{quote!r} stands at {path}:{places[0]}", places[0])
    return Verdict(False, f"{wanted[0]!r} does not stand at {path}:{first}")


def _is_of_code(quote: str, lines: list[str], facts: Facts) -> bool:
    """Whether words beside a line are meant to stand in it: not the name of a metric alone."""
    if quote in facts.metrics and not any(quote in line for line in lines):
        return False
    if re.search(r"[=(\[]", quote):
        return True
    # A bare word may be of anything; it counts where the file has it, or it looks like code.
    return any(quote in line for line in lines) or bool(re.fullmatch(r"\w+(?:[._]\w+)+", quote))


def _stands(quote: str, flat: list[str], where: range) -> bool:
    wanted = _flat(quote).removesuffix("()").removesuffix("...").rstrip(";,")
    if not wanted:
        return False
    text = "\n".join(flat[at - 1] for at in where if 1 <= at <= len(flat))
    # 0.0 does not stand in 0.01.
    return bool(re.search(rf"(?<!\w)(?<!\d\.){re.escape(wanted)}(?!\w|\.\d)", text)) or (
        not wanted[0].isalnum() and wanted in text
    )


def _flat(text: str) -> str:
    return _BLANKS.sub("", text).replace('"', "'")
