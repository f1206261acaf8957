"""Statements in a text: which number is said of which metric, at which step, and as what."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from training_monitor.analysis import phrases
from training_monitor.analysis.facts import spoken
from training_monitor.analysis.lexicon import Mention
from training_monitor.analysis.numerals import Numeral, numerals_in
from training_monitor.analysis.stepping import Place, Steps, steps_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Claim", "Grounded", "Sentence", "Statement", "read_sentence"]

STRUCK = "[struck]"
_BETWEEN_LISTED = re.compile(
    r"[\s`*_]*(?:,|/|&|\band\b|\bor\b|,\s*and\b|\bas well as\b)[\s`*_]*(?:the\s+)?$"
)
_LISTED = re.compile(
    r"\s*(?:,|/|&|and|or|,\s*and|,\s*then|->|\u2192|=>|to)\s*(?:~|about |to )?\s*$"
)
_ADDED = re.compile(r"\s*(?:,|/|&|and|or|,\s*and)\s*(?:~|about )?\s*", re.IGNORECASE)
_ASIDE = re.compile(
    r"\b(?:unlike|as opposed to|in contrast (?:to|with)|compared (?:to|with)|relative to|versus|vs\.?|against|"
    r"despite|regardless of|than|alongside|together with)\W+(?:the\W+|its\W+)?[`*]*$",
    re.IGNORECASE,
)
_RIGHT = re.compile(
    r"^\W{0,2}(?:in|of|for|on|as)\W+(?:the\W+|its\W+|your\W+|mean\W+|average\W+|overall\W+)*[`*]*$",
    re.IGNORECASE,
)
_NEXT_TO = re.compile(r"^\W{0,3}(?:the )?[`*]*$")
_STEP_RIGHT = re.compile(
    r"^[\s,)(\[*`]*(?:(?:[\w'-]+\s+){0,4}?(?:at|by|on|around|near|in|over|during|after|before|from|between|since|until|for|"
    r"through|across|within|to|of|@|the|last|first|past|final|previous|recent|spanning|:)\s*)?(?:the\s+|about\s+|around\s+|roughly\s+|approximately\s+|last\s+|first\s+|past\s+|~\s*|@\s*|only\s+|just\s+|final\s+|previous\s+|recent\s+|initial\s+|training\s+)*[(\[*`]*$",
    re.IGNORECASE,
)
_CUT = re.compile(
    r"[;]|\b(?:while|whereas|but|although|though|now|currently|since then)\b|\. ", re.IGNORECASE
)
_BARE_STEP = re.compile(r"(?:\bat|@|\bby|\bto|\bafter)\s*(?:about |around |~)?\s*$", re.IGNORECASE)
_RANGE = re.compile(r"^\s*(?:-|\u2013|\bto\b|\band\b|\.\.\.?)\s*(?:about |around |~)?\s*$")
_IN_RANGE = re.compile(
    r"\b(?:between|range[sd]?(?:\W+from|\W+of|\W+is|\W+between)?|in the range(?:\W+of)?|from|oscillat\w+|fluctuat\w+|"
    r"hover\w*|var(?:y|ies|ied)|vary(?:ing)?|band(?:\W+of)?|interval|stay\w*|bounces?|bouncing)\W+(?:\w+\W+){0,2}?$",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"\bepochs?\W{0,2}(?:#|=|:|number|of|about|around)?\W{0,2}$", re.IGNORECASE)
_EPOCH_AFTER = re.compile(r"^[\s-]*(?:full |more |total |training )?epochs?\b", re.IGNORECASE)
_INDEX = re.compile(
    r"\b(gpu|rank|node|worker|attempt|device|cuda|host)s?\W{0,2}(?:#|:)?$", re.IGNORECASE
)
_MASK = "\x1f"
# What is said of a step that opens a sentence reaches over its "while" and "but".
_OPENING_CHARS = 24
_MOST_LISTED = 8


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that was checked.

    Attributes:
        kind: number, step, citation or metric.
        text: The words in question.
        start: Where they start in the text; -1: in a field of the evidence.
        end: Where they end.
        holds: Whether it is so.
        why: What it was compared with.
    """

    kind: str
    text: str
    start: int
    end: int
    holds: bool
    why: str


@dataclass(frozen=True, slots=True)
class Grounded:
    """A text in which what does not hold is struck.

    Attributes:
        text: The text.
        claims: Everything that was checked, in the order of the text.
    """

    text: str
    claims: tuple[Claim, ...]

    @property
    def checked(self) -> int:
        """How many statements were checked."""
        return len(self.claims)

    @property
    def struck(self) -> int:
        """How many of them do not hold."""
        return sum(not claim.holds for claim in self.claims)

    @property
    def score(self) -> float | None:
        """The share that holds; None: there was nothing to check."""
        return None if not self.claims else 1.0 - self.struck / self.checked


@dataclass(slots=True)
class Statement:
    """A number as it is said of something.

    Attributes:
        numeral: The number.
        role: What it is said to be, as `phrases.role_of` has it, and at, low, high.
        subjects: What may be meant; each group of them one reading, the likeliest first.
        place: The step that it is said of.
        around: Whether that step is not exact.
        window: The steps over which it is said.
        maybe: The only steps of the sentence, where these are said of another number in it.
        side: "since" or "until" where the window is open on one side.
        about: Whether the number is not exact.
        present: Whether it is said of now.
        inherited: Whether the subjects stand in the sentence before.
        every: Whether it is said of all subjects.
        words: The words around it.
        true: The value that was found for it.
        after: What follows it in the text.
    """

    numeral: Numeral
    role: str
    subjects: list[Mention]
    before: str = ""
    after: str = ""
    place: Place | None = None
    around: bool = False
    window: Steps | None = None
    side: str | None = None
    maybe: Steps | None = None
    about: bool = False
    present: bool = False
    inherited: bool = False
    every: bool = False
    index: str = ""
    epoch: bool = False
    words: frozenset[str] = frozenset()
    true: list[tuple[str, float, float | None]] = field(default_factory=list)
    holds: bool | None = None
    why: str = ""


@dataclass(slots=True)
class Sentence:
    """One sentence, read.

    Attributes:
        statements: Its numbers that are said of the run, in order.
        steps: Its phrases about steps.
        mentions: The names in it.
        paired: The starts of the places to which a number belongs.
        aside: Numbers that are proposed or supposed, and not checked.
        cited: The numbers in the lines of code that it cites.
    """

    start: int
    text: str
    statements: list[Statement]
    steps: list[Steps]
    mentions: list[Mention]
    paired: set[int] = field(default_factory=set)
    aside: list[Numeral] = field(default_factory=list)
    subjects: list[Mention] = field(default_factory=list)
    advised: bool = False
    cited: tuple[float, ...] = ()


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
    binder = _Binder(bare, own, numerals, steps)
    words = spoken(text)
    for at, numeral in enumerate(numerals):
        left, right = binder.beside(at)
        if phrases.is_proposal(bare[: numeral.start], right, advised=advised):
            sentence.aside.append(numeral)
            continue
        statement = Statement(
            numeral,
            phrases.role_of(numeral.kind, left, right),
            [],
            before=left,
            after=right,
            about=phrases.is_about(left),
            present=phrases.is_present(left),
            words=words,
        )
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
        if (
            whole
            and earlier
            and left
            and left[-1].end < one.start
            and earlier[-1].start < left[-1].start
            and re.search(
                r"(?:\bat|@|\bby)\s*(?:about |around |~)?\s*$", text[left[-1].end : one.start]
            )
            and one.value > earlier[-1].places[-1].value
        ):
            place = Place(one.start, one.end, one.value, one.half if one.half > 0.5 else 0.0)
            steps.append(Steps(one.start, one.end, "at", (place,)))
        else:
            left.append(numerals[at])
    return left, sorted(steps, key=lambda phrase: phrase.start)


class _Binder:
    """Finds the subject and the step of each number of a sentence."""

    def __init__(
        self, text: str, mentions: list[Mention], numerals: list[Numeral], steps: list[Steps]
    ) -> None:
        self._text = text
        self._mentions = mentions
        self._numerals = numerals
        self._steps = steps
        self._taken: set[int] = set()
        self._asides = {
            one.start for one in mentions if _ASIDE.search(text[max(0, one.start - 40) : one.start])
        }

    def beside(self, at: int) -> tuple[str, str]:
        """Return the words before and after a number, to the next number."""
        numeral = self._numerals[at]
        start = self._numerals[at - 1].end if at else 0
        end = self._numerals[at + 1].start if at + 1 < len(self._numerals) else len(self._text)
        return self._text[start : numeral.start], self._text[numeral.end : end]

    # --- steps

    def give_steps(self, at: int, statement: Statement, sentence: Sentence) -> None:
        phrase = self._right_step(at)
        if phrase is None and statement.role not in ("first", "count", "level"):
            phrase = self._left_step(at)
        if phrase is None:
            places = [one for one in self._steps if one.kind in ("at", "range")]
            statement.maybe = places[0] if len(places) == 1 else None
            return
        numeral = self._numerals[at]
        before = self._text[max(0, phrase.start - 40) : phrase.start]
        if phrase.kind in ("at", "position", "ago") and len(phrase.places) == 1:
            side = phrases.of_window(before)
            if side is not None and not phrase.kind == "position":
                statement.window, statement.side = phrase, side
            if phrase.kind != "ago" and (
                side is None or phrase.kind == "position" or phrase.end <= numeral.start or True
            ):
                statement.place = phrase.places[0]
                statement.around = phrase.about or phrase.places[0].half > 0 or side is not None
                sentence.paired.add(phrase.places[0].start)
        elif phrase.kind == "at":
            self._zip(at, phrase, statement, sentence)
        else:
            statement.window = phrase
            if phrase.kind == "range":
                sentence.paired |= {place.start for place in phrase.places}

    def _zip(self, at: int, phrase: Steps, statement: Statement, sentence: Sentence) -> None:
        """Pair "0.8, 0.6 and 0.5" with "steps 0, 40 and 80"."""
        group = self._group(at)
        if len(group) == len(phrase.places):
            statement.place = phrase.places[group.index(at)]
            sentence.paired.add(statement.place.start)
        else:
            statement.window = phrase

    def _group(self, at: int) -> list[int]:
        """Return the numbers that stand in one list with a number."""
        group = [at]
        while group[0] > max(0, at - _MOST_LISTED) and self._listed(group[0] - 1):
            group.insert(0, group[0] - 1)
        last = min(len(self._numerals) - 1, at + _MOST_LISTED)
        while group[-1] < last and self._listed(group[-1]):
            group.append(group[-1] + 1)
        return group

    def _added(self, group: list[int]) -> bool:
        """Whether the numbers of a list stand side by side, and not as from and to."""
        ends = [self._numerals[at].end for at in group[:-1]]
        starts = [self._numerals[at].start for at in group[1:]]
        return all(
            _ADDED.fullmatch(self._text[end:start]) for end, start in zip(ends, starts, strict=True)
        )

    def _listed(self, at: int) -> bool:
        one, other = self._numerals[at], self._numerals[at + 1]
        return bool(_LISTED.match(self._text[one.end : other.start]))

    def _right_step(self, at: int) -> Steps | None:
        group = self._group(at)
        end = self._numerals[at].end
        limit = self._numerals[at + 1].start if at + 1 < len(self._numerals) else len(self._text)
        for phrase in self._steps:
            if phrase.start < end:
                continue
            many = len(group) > 1 and (len(phrase.places) > 1 or self._added(group))
            if many and phrase.start >= self._numerals[group[-1]].end:
                end = self._numerals[group[-1]].end
            elif phrase.start > limit:
                return None
            gap = self._text[end : phrase.start]
            if not _STEP_RIGHT.match(gap) or any(
                end <= one.start < phrase.start for one in self._mentions
            ):
                return None
            parted = re.search(r",|\band\b|;", gap) and not gap.rstrip().endswith("(")
            if parted and self._left_step(at) is not None:
                return None
            self._taken.add(phrase.start)
            return phrase
        return None

    def _left_step(self, at: int) -> Steps | None:
        numeral = self._numerals[at]
        before = [phrase for phrase in self._steps if phrase.end <= numeral.start]
        if not before or before[-1].start in self._taken:
            return None
        phrase = before[-1]
        between = self._text[phrase.end : numeral.start]
        opening = phrase.start < _OPENING_CHARS and not any(
            one.end <= phrase.start for one in self._numerals
        )
        if (_CUT.search(between) and not opening) or phrase.kind in (
            "future",
            "every",
            "total",
            "span",
        ):
            return None
        return phrase

    # --- subjects

    def give_subjects(self, at: int, statement: Statement) -> None:
        numeral = self._numerals[at]
        left = [one for one in self._mentions if one.end <= numeral.start]
        right = [one for one in self._mentions if one.start >= numeral.end]
        near = self._attached(at, right, alone=not left)
        ahead = [one for one in left if one.start not in self._asides] or left
        if ahead:
            statement.subjects = self._coordinated(ahead, at, statement)
        if near is not None:
            statement.subjects = [near, *statement.subjects]
        if not statement.subjects and right:
            statement.subjects = [right[0]]

    def _attached(self, at: int, right: list[Mention], *, alone: bool) -> Mention | None:
        if not right:
            return None
        numeral = self._numerals[at]
        gap = self._text[numeral.end : right[0].start]
        if _RIGHT.match(gap):
            return right[0]
        article = re.search(
            r"\b(?:a|an|the)\W*$",
            self._text[max(0, numeral.start - 8) : numeral.start],
            re.IGNORECASE,
        )
        return right[0] if (alone or article) and _NEXT_TO.match(gap) else None

    def _coordinated(self, ahead: list[Mention], at: int, statement: Statement) -> list[Mention]:
        """Return the subjects before a number: the nearest, or its part of a list of them."""
        listed = [ahead[-1]]
        for one in reversed(ahead[-_MOST_LISTED:-1]):
            if not _BETWEEN_LISTED.fullmatch(self._text[one.end : listed[0].start]):
                break
            listed.insert(0, one)
        if len(listed) == 1:
            return listed
        first = next((i for i, one in enumerate(self._numerals) if one.start >= listed[-1].end), at)
        group = self._group(first)
        if len(group) == len(listed) and at in group:
            return [listed[group.index(at)]]
        between = self._text[listed[0].start : self._numerals[at].start]
        statement.every = (
            bool(re.search(r"\b(?:both|all|each)\b", self._text[: self._numerals[at].start]))
            or "both" in between
        )
        return listed if at == first or len(listed) < 2 else listed


def _give_special(statement: Statement, text: str) -> None:
    """See whether a number counts epochs, or names a rank or a GPU."""
    before = text[max(0, statement.numeral.start - 24) : statement.numeral.start]
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
    _mark_arrows(text, sentence)
    chain: list[Statement] = []
    for one in [*sentence.statements, None]:
        if one is not None and one.place is None and one.role in ("plain", "from", "to", "listed"):
            if not chain or _LISTED.match(text[chain[-1].numeral.end : one.numeral.start]):
                chain.append(one)
                continue
        if len(chain) > 2:
            for link in chain:
                link.role = "listed"
                link.subjects, link.inherited = chain[0].subjects, chain[0].inherited
        chain = [] if one is None or one.place is not None else [one]


def _mark_arrows(text: str, sentence: Sentence) -> None:
    """Let "from" reach over a list with arrows: the first is where it began, the last where it is."""
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
