"""The words around a number: what they say it is, and whether they say it of the run at all."""

from __future__ import annotations

import re

from training_monitor.analysis.checking.stepping import ABOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DERIVED",
    "bound_of",
    "is_about",
    "is_count",
    "is_present",
    "of_window",
    "role_of",
    "sentences",
]

_FLAGS = re.IGNORECASE
_MOST_CHARS = 1500
# The words that are looked at before and after a number.
_NEAR_CHARS = 200
_SENTENCE_END = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\bapprox)(?<!\bca)(?<!\bno)[.!?][\"')\]*`"
    r"]*\s+(?=[\"'(\[*`]*[A-Z\x1f\d])"
    r"|\n+(?!\s*\n)"
)
_MORE = (
    r"(?:another|a further|further|an additional|only|just|a total of|more than|less than|over|"
    r"at least|up to|well over|as much as)"
)
# A masked name ends what is said before it: "below `val_loss` (1.3)" bounds nothing.
_TAIL = rf"(?:[^\w\x1f]*\b(?:{_MORE})\b|[^\w\x1f]*{ABOUT})*[^\w\x1f]*$"

# Roles whose number is computed from others.
DERIVED = frozenset(("delta", "relative", "ratio", "slope"))

_CHANGE = (
    r"(?:drop|decrease|increase|rise|gain|improvement|reduction|decline|jump|fall|growth|change|"
    r"difference|gap|spread|slide|climb|increment|delta|swing|shift|loss)"
)
_BEFORE: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (role, re.compile(pattern + _TAIL, _FLAGS))
    for role, pattern in (
        ("delta", r"(?:\u0394|\u2206|\bdelta)\W*(?:of|is|was)?"),
        ("delta", rf"\b{_CHANGE}s?(?:\W+(?:in|of|for)\W+(?:the\W+)?\x1f+)?\W+(?:of|is|was|by|:|=)"),
        (
            "delta",
            (
                r"\b(?:gap|difference|margin|spread)\b[^,;.\d]*\b(?:is|was|are|"
                r"to|of|at|by|now|currently|=|:)(?:\W+(?:now|currently|already))*"
            ),
        ),
        (
            "delta",
            (
                r"\b(?:drop|decrease|increase|rise|gain|improvement|reduction|decline|change|fall)\b"
                r"(?:(?!\b(?:from|to)\b)[^,;.])*\b(?:is|was|of)"
            ),
        ),
        ("delta", r"\bby"),
        ("delta", r"\b(?:up|down|off|higher|lower|above|below) by"),
        ("within", r"\b(?:within|to within)"),
        (
            "from",
            (
                r"\bfrom(?:\W+(?:a|an|the|its|initial|initially|starting|value|"
                r"peak|low|high|level|of|best|minimum|maximum|roughly))*"
            ),
        ),
        (
            "to",
            (
                r"(?:\b(?:to|towards?|reach(?:ed|es|ing)?|hit(?:s|ting)?|into|"
                r"onto)|->|\u2192|=>)(?:\W+(?:a|an|the|its|value|of|level|just|"
                r"only|new))*"
            ),
        ),
        (
            "below",
            (
                r"(?:\b(?:below|under|less than|lower than|at most|beneath|no "
                r"more than|smaller than|fewer than|not exceed(?:ed|ing)?|never "
                r"exceed(?:ed|s|ing)?)|<=?|\u2264)"
            ),
        ),
        (
            "above",
            (
                r"(?:\b(?:above|over|exceed(?:s|ed|ing)?|more than|greater than|"
                r"at least|beyond|past|pass(?:ed|es)?|cross(?:ed|es)?|topped|higher "
                r"than|larger than|surpass(?:ed|es|"
                r"ing)?|upwards of|no less than)|>=?|\u2265)"
            ),
        ),
    )
)
_EXTREMES = (
    (
        "max",
        (
            r"\b(?:peak(?:s|ed|ing)?|max(?:imum|ima|ed)?|highest|largest|"
            r"greatest|high (?:of|point)|"
            r"record high|top(?:s|ped|ping)? out|worst|biggest)\b"
        ),
    ),
    (
        "min",
        (
            r"\b(?:min(?:imum|ima)?|lowest|smallest|bottom(?:s|ed)?(?: out)?|"
            r"trough|low (?:of|point)|"
            r"record low|floor|least)\b"
        ),
    ),
    ("best", r"\b(?:best|optimum|optimal)\b"),
    (
        "spike",
        (
            r"\b(?:spik(?:e|es|ed|ing)|outliers?|burst|surg(?:e|ed)|shot up|"
            r"blew up|jump(?:s|ed)?|dip(?:s|ped)?)\b"
        ),
    ),
    ("std", r"\b(?:std|standard deviation|stdev|variance)\b|\u03c3|\u00b1"),
    ("median", r"\b(?:median|p50|50th percentile)\b"),
    ("p95", r"\b(?:p95|95th percentile)\b"),
    ("p99", r"\b(?:p99|99th percentile)\b"),
    ("p5", r"\b(?:p5|5th percentile)\b"),
    ("mean", r"\b(?:mean|averag(?:e|es|ed|ing)|avg)\b"),
    (
        "first",
        (
            r"\b(?:initial(?:ly)?|start(?:s|ed|ing)?|began|begin(?:s|ning)?|"
            r"originally|first (?:value|logged|recorded|point)|at first)\b"
        ),
    ),
    (
        "last",
        (
            r"\b(?:current(?:ly)?|now|latest|last (?:value|logged|recorded|"
            r"point|reading)|final(?:ly)?|ended?|ending|finish(?:ed|es)?|"
            r"most recent(?:ly)?|at present|presently|today|at the moment|"
            r"stands at|sits at|so far)\b"
        ),
    ),
)
_QUALIFIED = tuple((role, re.compile(pattern, _FLAGS)) for role, pattern in _EXTREMES)
_AFTER_DELTA = re.compile(
    rf"^\W{{0,2}}(?:(?!is |was |are |were |has )[\w-]+ )?(?:{_CHANGE}\b|higher\b|lower\b|more\b|"
    rf"less\b|larger\b|smaller\b|faster\b|slower\b"
    r"|worse\b|better\b|above\b|below\b|greater\b|smaller\b|bigger\b|increas|decreas)",
    _FLAGS,
)
_AFTER_RATIO = re.compile(
    r"^\W{0,2}(?:of|that of|what|as|its|the|higher|larger|more|times)\b", _FLAGS
)
_SLOPE = re.compile(
    r"^\W{0,2}(?:per|each|every|/)\W{0,2}(?:[\d,]+ ?)?(?:steps?|iterations?|epochs?|k steps)\b",
    _FLAGS,
)
_TO_RIGHT = re.compile(r"^\W{0,3}(?:->|\u2192|=>)\W*$")
_DIRECTION = re.compile(
    r"\b(?:up|down|off|rose|risen|fell|fallen|dropped|increased|decreased|declined|grew|grown|"
    r"improved|shrank|gained|lost|climbed|jumped|slid|plunged|sank|changed|worsened|widened|"
    rf"narrowed|come down|came down|gone up)(?:\W+by)?{_TAIL}",
    _FLAGS,
)
_PRESENT = re.compile(
    r"\b(?:is|are|'s|sits?|stands?|currently|now|remains?|hovers?|has (?:now )?reached)\b", _FLAGS
)
# "an 80 % interval" says how sure, not how much.
_LEVEL = re.compile(
    (
        r"^\W{0,2}(?:(?:confidence|prediction|credible) )?(?:intervals?|"
        r"CI|confidence|quantile|percentile|probability|chance|sure|certain|"
        r"likely|PI|band)\b"
    ),
    _FLAGS,
)
_COUNTED = re.compile(
    r"^ (?:\w+[ -])?(?:class(?:es)?|layers|heads|blocks|options|things|"
    r"ways|reasons|issues|problems|workers|samples|examples|"
    r"images|tokens|parameters|params|items|actions|evaluations|evals|"
    r"checkpoints|seeds|runs|experiments|bits|features|"
    r"units|channels|neurons|dimensions|categories|labels|tasks|shards|"
    r"nodes|processes|threads|cores|people|"
    r"spikes?|findings?|alerts?|attempts?|metrics|gpus|ranks|warnings?|"
    r"outliers?|nans|restarts?|crash(?:es)?|files)\b"
    r"(?! ?(?:/|per (?!batch|step|device|gpu|rank|epoch)))",
    _FLAGS,
)
_OF_THEM = re.compile(r"^ of (?:them|these|those|which)\b", _FLAGS)
_CLAUSE = re.compile(r"[,;:()]|\bso\b|\band\b", _FLAGS)
_AVERAGE_AFTER = re.compile(r"^[ (]{0,2}(?:on average|in the mean|average\b|mean\b|avg\b)", _FLAGS)
_EXTREME_AFTER = (
    ("mean", _AVERAGE_AFTER),
    (
        "max",
        re.compile(
            (
                r"^[ (]{0,2}(?:at (?:its|the) (?:peak|max|highest)|\(?(?:peak|max(?:imum)?|"
                r"the highest)\b)"
            ),
            _FLAGS,
        ),
    ),
    (
        "min",
        re.compile(
            r"^[ (]{0,2}(?:at (?:its|the) (?:lowest|min|best)|\(?(?:min(?:imum)?|the lowest)\b)",
            _FLAGS,
        ),
    ),
    (
        "first",
        re.compile(
            r"^[ (]{0,2}(?:at the (?:start|beginning|outset)|initially|at first|originally)\b",
            _FLAGS,
        ),
    ),
    (
        "last",
        re.compile(
            (
                r"^[ (]{0,2}(?:now\b|at the end|at present|currently|most recently|"
                r"by the end|as of now|right now|today)"
            ),
            _FLAGS,
        ),
    ),
    ("best", re.compile(r"^[ (]{0,2}(?:at best)\b", _FLAGS)),
)


def sentences(text: str) -> list[tuple[int, int]]:
    """Return where the sentences of a text start and end."""
    found, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        if match.start() > start:
            found.append((start, match.end()))
        start = match.end()
    if start < len(text):
        found.append((start, len(text)))
    return [piece for start, end in found for piece in _pieces(text, start, end)]


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut what is too long for a sentence, between two words where it can."""
    while end - start > _MOST_CHARS:
        space = text.rfind(" ", start + _MOST_CHARS // 2, start + _MOST_CHARS)
        cut = space + 1 if space > 0 else start + _MOST_CHARS
        yield start, cut
        start = cut
    yield start, end


def is_about(before: str) -> bool:
    """Whether a number is said not to be exact, by the words before it."""
    return bool(_ABOUT_END.search(before))


_ABOUT_END = re.compile(rf"(?:{ABOUT})\W*$", _FLAGS)


def is_present(before: str) -> bool:
    """Whether the words before a number are about now."""
    return bool(_PRESENT.search(_CLAUSE.split(before)[-1]))


def is_count(after: str) -> bool:
    """Whether a number counts things: "10 classes"."""
    return bool(_COUNTED.match(after) or _OF_THEM.match(after))


def role_of(kind: str, before: str, after: str) -> str:
    """Return what the words around a number say it is.

    Args:
        kind: The kind of the number.
        before: The words before it, back to the number or the sentence before.
        after: The words after it.

    Returns:
        delta, relative, ratio, slope; from, to, below, above, max, min, best, spike, mean, median,
        std, p5, p95, p99, first, last, within, plain.
    """
    before, after = before[-_NEAR_CHARS:], after[:_NEAR_CHARS]
    if kind == "percent" and _LEVEL.search(after):
        return "level"
    if kind == "number" and is_count(after):
        return "count"
    if _SLOPE.search(after):
        return "slope"
    if kind == "times":
        return "ratio"
    if _RATIO.search(before):
        return "ratio"
    changed = bool(_AFTER_DELTA.search(after) or _DIRECTION.search(before))
    role = next((role for role, words in _BEFORE if words.search(before)), "plain")
    if _VERSUS.match(after) and not _DIRECTION.search(before):
        role, changed = ("plain" if role == "delta" else role), False
    if role == "delta" or (changed and role in ("plain", "below", "above")):
        return "relative" if kind == "percent" else "delta"
    if kind == "percent" and role == "plain" and _is_share(before, after):
        return "share"
    said_after = next((name for name, words in _EXTREME_AFTER if words.search(after)), None)
    if said_after is not None:
        return said_after
    return _qualified(role, before, after)


def _is_share(before: str, after: str) -> bool:
    return bool(re.search(r"\b(?:a|an|of)\W*$", before) and _AFTER_RATIO.search(after))


def _qualified(role: str, before: str, after: str) -> str:
    """Return the role by the nearest word as "peak" or "currently" before a number."""
    found = [(one.end(), name) for name, words in _QUALIFIED for one in words.finditer(before)]
    nearest = max(found)[1] if found else "plain"
    if role == "from":
        owned = nearest in ("max", "min", "best") and _OWNED.search(before)
        return nearest if owned or nearest == "first" else "from"
    if role == "to":
        return nearest if nearest in ("max", "min", "best", "mean", "median") else "to"
    if role != "plain":
        return role
    return "from" if _TO_RIGHT.search(after) else nearest


_RATIO = re.compile(rf"\bratio\b[^,;.\d]*(?:\b(?:is|was|are|of|at|to|now)\b|[=:(]){_TAIL}", _FLAGS)
_VERSUS = re.compile(r"^\W{0,2}(?:vs\.?|versus|against|compared (?:to|with))\W", _FLAGS)
_MORE_THAN = re.compile(
    rf"\b(?:more than|over|at least|well over|exceed\w*|above|upwards of)\W*(?:{ABOUT})?\W*$",
    _FLAGS,
)
_LESS_THAN = re.compile(
    rf"\b(?:less than|under|at most|up to|below|no more than)\W*(?:{ABOUT})?\W*$", _FLAGS
)


def bound_of(before: str) -> str:
    """Return "above" or "below" where a number is a bound: "more than 78 %"; else nothing."""
    before = before[-_NEAR_CHARS:]
    if _MORE_THAN.search(before):
        return "above"
    return "below" if _LESS_THAN.search(before) else ""


_OWNED = re.compile(r"\bfrom\W+(?:a|an|its|the)\W", _FLAGS)
_WINDOW = (
    (
        "since",
        re.compile(
            (
                rf"\b(?:since|after|from|beyond|past|following|starting (?:at|from|"
                rf"around))\W*(?:{ABOUT})?\W*$"
            ),
            _FLAGS,
        ),
    ),
    ("until", re.compile(rf"\b(?:before|until|up to|prior to|through)\W*(?:{ABOUT})?\W*$", _FLAGS)),
)


def of_window(before: str) -> str | None:
    """Return "since" or "until" where the words before a step open a window there."""
    return next((name for name, words in _WINDOW if words.search(before)), None)
