"""The name of a metric, taken apart into words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

from training_monitor.detect.vocabulary import (
    ACTIVITIES,
    KNOWN,
    SAME,
    SPLITS,
    STATISTICS,
    UNITS,
)

__all__ = ["Words", "taken_apart"]

# `loss vs samples` of Megatron: the second half is the axis.
_AXIS = re.compile(r"[ _]vs[ _].*$")
_POSSESSIVE = re.compile(r"'s\b")
_RATE = re.compile(r"/\s*(?:s|secs?|seconds?)\b", re.IGNORECASE)
_INVERSE_RATE = re.compile(
    r"\b(ms|s|secs?|seconds?)/(it|iter|iteration|step|batch)\b", re.IGNORECASE
)
_SEGMENT = re.compile(r"[/|]|\.(?=\D)|(?<=\D)\.")
_BRACKETS = re.compile(r"[(\[]([^)\]]*)[)\]]")
_RUN = re.compile(r"[^\W_]+|%")
_HUMP = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_A-Za-z]+")
_DIGITS = re.compile(r"^(.*?[^\W\d_])(\d+)k?$")
_RANGE = re.compile(r"\d[-:]\d")
_NUMBER = re.compile(r"^\d+(?:e\d+)?k?$")
# A letter in brackets tells boxes from masks (`mAP50(B)`); as a word it would be a unit.
_MARKS = frozenset("BMPO")
# As words of their own they are units, and mean nothing.
_TICKS = frozenset(("s", "ms", "us"))
_MOST_CHARS = 400


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a name, in lower case, one word for what is written in several ways.

    Attributes:
        words: Without numbers, and without what the other fields hold.
        segments: Of each of them, in which part of the name between slashes it stands.
        split: train, val or test, where the name says it.
        unit: As s, ms, % or GB, where the name says it.
        statistic: mean, min, max or std, where the name says it.
        numbers: The numbers in it, as texts.
        is_range: Whether there is a range in it: "50-95".
    """

    words: tuple[str, ...]
    segments: tuple[int, ...]
    split: str | None
    unit: str | None
    statistic: str | None
    numbers: tuple[str, ...]
    is_range: bool


def taken_apart(name: str) -> Words:
    """Take the name of a metric apart."""
    text = _AXIS.sub("", _POSSESSIVE.sub("", name[:_MOST_CHARS]))
    text = _INVERSE_RATE.sub(r"\1 per \2", text)
    text, unit = _without_brackets(text)
    text = _RATE.sub(" per second", text)
    words: list[tuple[str, int]] = []
    numbers: list[str] = []
    split = None
    for segment, part in enumerate(_SEGMENT.split(text)):
        found = _words(part)
        for word, following in zip_longest(found, found[1:]):
            if _NUMBER.match(word):
                numbers.append(word)
            elif word in _TICKS:
                unit = unit or word
                words += [("second", segment)] * (following == "per")
            elif word in SPLITS and not (word == "training" and following in ACTIVITIES):
                split = split or SPLITS[word]
            else:
                unit = unit or UNITS.get(word)
                words.append((word, segment))
    if split is None and len(words) > 1 and words[0] == ("metric", 0) and words[1][1] > 0:
        # Ultralytics writes what it measures on validation data below `metrics/`.
        split = "val"
    return Words(
        words=tuple(word for word, _ in words),
        segments=tuple(segment for _, segment in words),
        split=split,
        unit=unit,
        statistic=next((STATISTICS[word] for word, _ in words[::-1] if word in STATISTICS), None),
        numbers=tuple(numbers),
        is_range=_RANGE.search(text) is not None,
    )


def _without_brackets(text: str) -> tuple[str, str | None]:
    """Return the text without what stands in brackets, where that is a unit or a mark."""
    unit = None

    def replaced(match: re.Match[str]) -> str:
        nonlocal unit
        inner = match[1].strip()
        if inner.lower() in UNITS:
            unit = UNITS[inner.lower()]
            return " "
        if inner in _MARKS or not re.search(r"[^\W\d_]{2}", inner):
            return " "
        return f" {inner} "

    return _BRACKETS.sub(replaced, text), unit


def _words(part: str) -> list[str]:
    return [word for run in _RUN.findall(part) for word in _split_run(run)]


@lru_cache(maxsize=4096)
def _split_run(run: str) -> tuple[str, ...]:
    """Split `AverageEpRet`, `lr0` and `top5`, and leave `mAP`, `f1` and `ROUGE` whole."""
    whole = _plain(run.lower())
    if whole in KNOWN or " " in whole:
        return tuple(whole.split())
    if digits := _DIGITS.match(run):
        return (*_split_run(digits[1]), digits[2])
    humps = [hump.lower() for hump in _HUMP.findall(run)]
    return tuple(word for hump in humps for word in _plain(hump).split())


def _plain(word: str) -> str:
    """Return the one word for this one: the singular, the long form."""
    word = SAME.get(word, word)
    if word in KNOWN:
        return word
    for ending, instead in (("ies", "y"), ("es", ""), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            single = word[: -len(ending)] + instead
            single = SAME.get(single, single)
            if single in KNOWN and single not in SPLITS:
                return single
    return word
