"""Reading: which number of a sentence is said of which metric, at which step, and as what."""

from __future__ import annotations

import re
from dataclasses import replace

from training_monitor.analysis.checking import phrases
from training_monitor.analysis.checking.binding import Binder
from training_monitor.analysis.checking.claims import Sentence, Statement
from training_monitor.analysis.checking.facts import spoken
from training_monitor.analysis.checking.numerals import Numeral, numerals_in
from training_monitor.analysis.checking.proposals import is_proposal
from training_monitor.analysis.checking.stepping import Place, Steps, steps_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from training_monitor.analysis.checking.lexicon import Mention

__all__ = ["read_sentence"]

_LISTED = re.compile(
    r"\s*(?:,|/|&|and|or|,\s*and|,\s*then|->|\u2192|=>|to)\s*(?:~|about |to )?\s*$"
)
_ASKED = re.compile(r"\W*(?:is|are|should|could|would|can|may|might|will)\b", re.IGNORECASE)
_OTHERWISE = re.compile(
    r"^\W*(?:both )?(?:before and after|before that|afterwards|otherwise|elsewhere)\b",
    re.IGNORECASE,
)
_PER_LONGER = re.compile(
    r"^ ?(?:tokens?|samples?|steps?|iterations?|images?|examples?|\x1f+) ?(?:/|per |an? )"
    r"(h|hour|min|minute|day)\b",
    re.IGNORECASE,
)
_SECONDS = {"h": 3600.0, "hour": 3600.0, "min": 60.0, "minute": 60.0, "day": 86_400.0}
_LAST_FEW = re.compile(r"\b(?:last|recent|latest|evaluations?|evals?|values)\b", re.IGNORECASE)
_RANGE = re.compile(r"^\s*(?:-|\u2013|\bto\b|\band\b|\.\.\.?)\s*(?:about |around |~)?\s*$")
_IN_RANGE = re.compile(
    r"\b(?:between|range[sd]?(?:\W+from|\W+of|\W+is|\W+between)?|in "
    r"the range(?:\W+of)?|from|oscillat\w+|fluctuat\w+|"
    r"hover\w*|var(?:y|ies|ied)|vary(?:ing)?|band(?:\W+of)?|interval|"
    r"stay\w*|bounces?|bouncing)\W+(?:\w+\W+){0,2}?$",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"\bepochs?\W{0,2}(?:#|=|:|number|of|about|around)?\W{0,2}$", re.IGNORECASE)
_EPOCH_AFTER = re.compile(r"^[\s-]*(?:full |more |total |training )?epochs?\b", re.IGNORECASE)
_INDEX = re.compile(
    r"\b(gpu|rank|node|worker|attempt|device|cuda|host)s?\W{0,2}(?:#|:)?$", re.IGNORECASE
)
_MASK = "\x1f"


def read_sentence(
    text: str, start: int, mentions: Sequence[Mention], before: Sentence | None, *, advised: bool
) -> Sentence:
    """Return what one sentence says.

    Args:
        text: The sentence, with all that is no prose masked, and with the names in it.
        start: Where it starts in the whole text; positions below count from there.
        mentions: The names in it, by their places in it.
        before: The sentence before, from which subjects are taken where this one has none.
        advised: Whether all of it is advice.
    """
    bare = text
    for one in mentions:
        bare = bare[: one.start] + _MASK * (one.end - one.start) + bare[one.end :]
    steps = steps_in(bare)
    numerals = [one for one in numerals_in(bare) if not _within(one, steps)]
    numerals, steps = _bare_steps(bare, numerals, steps)
    own = [one for one in mentions if not one.unknown or one.text]
    subjects = own or (list(before.subjects) if before is not None else [])
    sentence = Sentence(start, text, [], steps, list(mentions), advised=advised, subjects=subjects)
    binder = Binder(bare, own, numerals, steps)
    words = spoken(text)
    for at, numeral in enumerate(numerals):
        left, right = binder.beside(at)
        asked = bool(_ASKED.match(text)) and text.rstrip().endswith("?")
        rest = bare[numeral.end :]
        if asked or is_proposal(bare[: numeral.start], rest, advised=advised):
            sentence.aside.append(numeral)
            continue
        statement = Statement(
            numeral,
            phrases.role_of(numeral.kind, left, right),
            [],
            before=left,
            after=right,
            about=phrases.is_about(left),
            bound=phrases.bound_of(left),
            present=phrases.is_present(left),
            words=words,
        )
        if _OTHERWISE.match(right):
            statement.about = True
        else:
            binder.give_steps(at, statement, sentence)
        binder.give_subjects(at, statement)
        if not statement.subjects and not own:
            statement.subjects, statement.inherited = subjects, True
        _give_special(statement, bare)
        sentence.statements.append(statement)
    _mark_ranges(bare, sentence)
    _mark_lists(bare, sentence)
    return sentence


def _within(numeral: Numeral, steps: Sequence[Steps]) -> bool:
    return any(
        one.start <= numeral.start < one.end
        or any(place.start <= numeral.start < place.end for place in _places(one))
        for one in steps
    )


def _places(steps: Steps) -> tuple[Place, ...]:
    return steps.places if steps.total is None else (*steps.places, steps.total)


def _bare_steps(
    text: str, numerals: list[Numeral], steps: list[Steps]
) -> tuple[list[Numeral], list[Steps]]:
    """Take "at 80" for a step where a step was named before it and a value stands between."""
    left: list[Numeral] = []
    steps = list(steps)
    for at, one in enumerate(numerals):
        earlier = [phrase for phrase in steps if phrase.end <= one.start and phrase.kind == "at"]
        whole = one.kind == "number" and one.value == int(one.value) and not one.signed
        if whole and left and _is_bare_step(text[left[-1].end : one.start], one, left[-1], earlier):
            place = Place(one.start, one.end, one.value, one.half if one.half > 0.5 else 0.0)
            steps.append(Steps(one.start, one.end, "at", (place,)))
        else:
            left.append(numerals[at])
    return left, sorted(steps, key=lambda phrase: phrase.start)


def _is_bare_step(between: str, one: Numeral, last: Numeral, earlier: Sequence[Steps]) -> bool:
    if re.fullmatch(r"\s*@\s*", between):
        return True
    if not earlier or earlier[-1].start > last.start:
        return False
    at = re.search(r"(?:\bat|@|\bby)\s*(?:about |around |~)?\s*$", between)
    return bool(at) and one.value > earlier[-1].places[-1].value


def _give_special(statement: Statement, text: str) -> None:
    """See whether a number counts epochs, or names a rank or a GPU."""
    before = text[max(0, statement.numeral.start - 24) : statement.numeral.start]
    longer = _PER_LONGER.match(statement.after)
    if longer:
        one, secs = statement.numeral, _SECONDS[longer[1].lower()]
        statement.numeral = replace(one, value=one.value / secs, half=one.half / secs)
        statement.about = True
    if _EPOCH.search(before) or _EPOCH_AFTER.match(statement.after):
        statement.epoch = True
    found = _INDEX.search(before)
    if found and statement.numeral.kind == "number":
        statement.index = found[1].lower()


def _mark_ranges(text: str, sentence: Sentence) -> None:
    """Find "0.9-1.1" and "between 0.9 and 1.1"."""
    for one, other in zip(sentence.statements, sentence.statements[1:], strict=False):
        between = text[one.numeral.end : other.numeral.start]
        if not _RANGE.match(between):
            continue
        dash = between.strip() in ("-", "\u2013")
        opened = _IN_RANGE.search(one.before)
        if dash or (
            opened
            and ("and" in between)
            == ("between" in opened[0].lower() or "hover" in opened[0].lower())
        ):
            if opened and opened[0].lower().startswith("from") and not dash:
                continue
            one.role, other.role = "low", "high"
            _share(one, other)


def _mark_lists(text: str, sentence: Sentence) -> None:
    """Find lists of three values and more, between commas or arrows."""
    _mark_arrows(text, sentence)
    chain: list[Statement] = []
    for one in [*sentence.statements, None]:
        if one is not None and _continues(one, chain, text):
            chain.append(one)
            continue
        few = len(chain) == 2 and _LAST_FEW.search(text[: chain[0].numeral.start])
        plain = all(link.role == "plain" for link in chain)
        if len(chain) > 2 or (few and plain):
            for link in chain:
                link.role = "listed"
                link.subjects, link.inherited = chain[0].subjects, chain[0].inherited
        chain = [] if one is None or one.place is not None else [one]


def _continues(one: Statement, chain: list[Statement], text: str) -> bool:
    if one.place is not None or one.role not in ("plain", "from", "to", "listed"):
        return False
    return not chain or bool(_LISTED.match(text[chain[-1].numeral.end : one.numeral.start]))


def _mark_arrows(text: str, sentence: Sentence) -> None:
    """Take what stands before an arrow for where it began, and what follows for where it is."""
    for one, other in zip(sentence.statements, sentence.statements[1:], strict=False):
        between = text[one.numeral.end : other.numeral.start]
        if re.match(r"^\s*(?:->|\u2192|=>)\s*$", between):
            one.role = "from" if one.role in ("plain", "from", "last", "first") else one.role
            other.role = "to"
            _share(one, other)
        elif one.role == "from" and other.role in ("to", "last", "min", "max", "best"):
            _share(one, other)


def _share(one: Statement, other: Statement) -> None:
    """Let two numbers of one pair be said of the same subject and window."""
    if other.window is not None and one.window is None and one.place is None:
        one.window, one.side = other.window, other.side
    if one.window is not None and other.window is None and other.place is None:
        other.window, other.side = one.window, one.side
    if not one.subjects or one.inherited:
        one.subjects, one.inherited = other.subjects, other.inherited
    elif not other.subjects or other.inherited:
        other.subjects, other.inherited = one.subjects, one.inherited
