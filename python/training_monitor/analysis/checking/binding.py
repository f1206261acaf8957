"""Binding: the subject and the step of each number of a sentence."""

from __future__ import annotations

import re

from training_monitor.analysis.checking import phrases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.analysis.checking.claims import Sentence, Statement
    from training_monitor.analysis.checking.lexicon import Mention
    from training_monitor.analysis.checking.numerals import Numeral
    from training_monitor.analysis.checking.stepping import Steps

__all__ = ["Binder"]

_BETWEEN_LISTED = re.compile(
    r"[\s`*_]*(?:,|/|&|\band\b|\bor\b|,\s*and\b|\bas well as\b)[\s`*_]*(?:the\s+)?$"
)
_LISTED = re.compile(
    r"\s*(?:,|/|&|and|or|,\s*and|,\s*then|->|\u2192|=>|to|then|vs\.?|versus)\s*"
    r"(?:~|about |to )?\s*$"
)
_ADDED = re.compile(r"\s*(?:,|/|&|and|or|,\s*and)\s*(?:~|about )?\s*", re.IGNORECASE)
_ASIDE = re.compile(
    r"\b(?:unlike|as opposed to|in contrast (?:to|with)|compared (?:to|"
    r"with)|relative to|versus|vs\.?|against|"
    r"despite|regardless of|than|alongside|together with)\W+(?:the\W+|its\W+)?[`*]*$",
    re.IGNORECASE,
)
_RIGHT = re.compile(
    r"^\W{0,2}(?:in|of|for|on|as)\W+(?:the\W+|its\W+|your\W+|mean\W+|average\W+|overall\W+)*[`*]*$",
    re.IGNORECASE,
)
_NEXT_TO = re.compile(r"^\W{0,3}(?:the )?[`*]*$")
_STEP_RIGHT = re.compile(
    r"^[\s,)(\[*`]*(?:(?:[\w'-]+\s+){0,4}?(?:at|by|on|around|near|"
    r"in|over|during|after|before|from|between|since|until|for|"
    r"through|across|within|to|of|@|the|last|first|past|final|previous|"
    r"recent|spanning|:)\s*)?(?:the\s+|about\s+|around\s+|roughly\s+|"
    r"approximately\s+|last\s+|first\s+|past\s+|~\s*|@\s*|only\s+|"
    r"just\s+|final\s+|previous\s+|recent\s+|initial\s+|training\s+)*[(\[*`]*$",
    re.IGNORECASE,
)
_APART = re.compile(
    r"\b(?:except|apart|aside|other than|outside|excluding|besides|despite|until)\b", re.IGNORECASE
)
_TURN = re.compile(r";|\b(?:while|whereas|but|although|though)\b|\. ", re.IGNORECASE)
_NOW = re.compile(r"\b(?:now|current|currently|latest|most recent|since then)\b", re.IGNORECASE)
# What is said of a step that opens a sentence reaches over its "while" and "but".
_OPENING_CHARS = 24
_MOST_LISTED = 8


class Binder:
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
        """Find the steps that a number is said of."""
        phrase = self._right_step(at)
        if phrase is None and self._of_several(at, statement, sentence):
            return
        if phrase is None and statement.role not in ("first", "count", "level"):
            phrase = self._left_step(at)
        if phrase is None:
            places = [one for one in self._steps if one.kind in ("at", "range")]
            statement.maybe = places[0] if len(places) == 1 else None
            return
        before = self._text[max(0, phrase.start - 40) : phrase.start]
        if phrase.kind in ("at", "position", "ago") and len(phrase.places) == 1:
            side = phrases.of_window(before)
            if side is not None and phrase.kind != "position":
                statement.window, statement.side = phrase, side
            if phrase.kind != "ago":
                statement.place = phrase.places[0]
                statement.around = phrase.about or phrase.places[0].half > 0 or side is not None
                sentence.paired.add(phrase.places[0].start)
        elif phrase.kind == "at":
            self._zip(at, phrase, statement, sentence)
        else:
            statement.window = phrase
            if phrase.kind == "range":
                sentence.paired |= {place.start for place in phrase.places}

    def _of_several(self, at: int, statement: Statement, sentence: Sentence) -> bool:
        """Pair "(1.3 vs 1.1)" with the steps that stand before it, in their order."""
        group = self._group(at)
        start = self._numerals[group[0]].start
        before = [one for one in self._steps if one.end <= start and one.kind == "at"]
        places = [place for one in before for place in one.places if one.start not in self._taken]
        if len(group) < 2 or len(places) != len(group):
            return False
        if any(places[0].end <= one.start < start for one in self._numerals):
            return False
        if not self._text[:start].rstrip().endswith(("(", ":")):
            return False
        statement.place = places[group.index(at)]
        sentence.paired.add(statement.place.start)
        return True

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
            if (
                not _STEP_RIGHT.match(gap)
                or _APART.search(gap)
                or any(end <= one.start < phrase.start for one in self._mentions)
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
        if (
            _NOW.search(between)
            or (_TURN.search(between) and not opening)
            or phrase.kind
            in (
                "future",
                "every",
                "total",
                "span",
            )
        ):
            return None
        return phrase

    # --- subjects

    def give_subjects(self, at: int, statement: Statement) -> None:
        """Find the names that a number is said of."""
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
        united = numeral.kind in ("percent", "bytes") and gap == " "
        article = united or re.search(
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
            joined = self._text[self._numerals[first].end : self._numerals[group[-1]].start]
            return listed if "vs" in joined or "versus" in joined else [listed[group.index(at)]]
        before = self._text[: self._numerals[at].start]
        statement.every = bool(re.search(r"\b(?:both|all|each)\b", before, re.IGNORECASE))
        return listed
