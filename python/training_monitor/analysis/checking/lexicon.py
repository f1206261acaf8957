"""Names in a text: which metrics, system series and config values the words mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["SPLITS", "Lexicon", "Mention", "words_of"]

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_A-Za-z]+|%")
_BETWEEN = re.compile(r"[\s_/.\-`*]{0,2}|[(:|]|'s | per |_per_")
_MOST_WORDS = 10
# Of runs with more metrics only whole names are known, not their last words alone.
_MOST_SHORTENED = 5000
_SAME = {
    "validation": "val", "valid": "val", "evaluation": "eval", "gradient": "grad",
    "training": "train", "accuracies": "acc", "accuracy": "acc", "losses": "loss",
    "perplexity": "ppl", "memory": "mem", "utilisation": "util", "utilization": "util",
    "temperature": "temp", "average": "mean", "avg": "mean", "minimum": "min", "maximum": "max",
    "reward": "reward", "percent": "percent", "second": "sec", "s": "sec", "learning": "learning",
    "tok": "token", "testing": "test", "epochs": "epoch", "per": "per", "eps": "eps",
    "processor": "cpu", "use": "used", "usage": "used", "steps": "step", "heldout": "val",
    "returns": "return",
}  # fmt: skip
_UNITS = ("percent", "byte", "watt", "celsiu", "celsius", "sec", "ms")
SPLITS = frozenset(("train", "val", "eval", "test", "dev"))
# Words that no metric is meant by unless they stand in backticks.
_COMMON = frozenset(
    [
        "a",
        "all",
        "an",
        "and",
        "are",
        "as",
        "at",
        "average",
        "be",
        "best",
        "by",
        "count",
        "current",
        "data",
        "day",
        "delta",
        "epoch",
        "for",
        "from",
        "gap",
        "global",
        "hour",
        "i",
        "if",
        "in",
        "is",
        "it",
        "iter",
        "iteration",
        "last",
        "line",
        "max",
        "mean",
        "min",
        "n",
        "no",
        "not",
        "now",
        "of",
        "on",
        "or",
        "out",
        "per",
        "percent",
        "rank",
        "run",
        "sec",
        "size",
        "std",
        "step",
        "the",
        "time",
        "to",
        "total",
        "up",
        "value",
        "with",
        "x",
        "y",
        "z",
    ]
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A name in a text.

    Attributes:
        start: Where it starts.
        end: Where it ends.
        metrics: The metrics that may be meant; empty: none.
        config: The keys of the configuration that may be meant.
        system: The series of the machine that may be meant.
        unknown: A name that the run has not.
    """

    start: int
    end: int
    metrics: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    system: tuple[str, ...] = ()
    unknown: bool = False
    text: str = ""

    def covers(self, other: Mention) -> bool:
        """Whether this one lies over another."""
        return self.start <= other.start and other.end <= self.end


@lru_cache(maxsize=20_000)
def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name, one word for what is written in several ways."""
    return tuple(word for word, _, _ in _words(name))


def _words(text: str) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    for match in _WORD.finditer(text):
        word = _plain(match[0])
        if word == "per":
            continue
        if word == "rate" and found and found[-1][0] == "learning":
            found[-1] = ("lr", found[-1][1], match.end())
        else:
            found.append((word, match.start(), match.end()))
    return found


def _plain(word: str) -> str:
    word = word.lower()
    if word in _SAME:
        return _SAME[word]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return _SAME.get(word, word)


@dataclass(slots=True)
class _Index:
    """Names by their words."""

    whole: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    short: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    def add(self, name: str, *, shortened: bool) -> None:
        words = words_of(name)[:_MOST_WORDS]
        if not words:
            return
        self.whole.setdefault(words, []).append(name)
        if not shortened:
            return
        for short in _shorter(name, words):
            names = self.short.setdefault(short, [])
            if name not in names:
                names.append(name)

    def find(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.whole.get(words) or self.short.get(words) or ())


def _shorter(name: str, words: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    """Yield the words by which people may mean a name as well."""
    segments = [part for part in re.split(r"[/|.]", name) if part]
    forms = {words}
    forms |= {words_of("/".join(segments[at:]))[:_MOST_WORDS] for at in range(1, len(segments))}
    forms |= {tuple(one for one in form if one not in ("train", "mean")) for form in forms}
    for split, others in (("eval", ("val", "test")), ("val", ("eval",))):
        for other in others:
            forms |= {tuple(other if one == split else one for one in form) for form in forms}
    forms |= {(form[1], form[0]) for form in forms if len(form) == 2 and form[1] in SPLITS}
    # Tokens per second are no tokens.
    units = _UNITS if "per_" not in name.lower() else ()
    for endings in (units, ("used",)):
        forms |= {form[:-1] for form in forms if len(form) > 1 and form[-1] in endings}
    forms |= {(form[0], *form[2:]) for form in forms if len(form) > 2 and form[1].isdigit()}
    # The host or the GPU alone is no number.
    return sorted(
        form
        for form in forms - {words, ()}
        if form not in (("gpu",), ("host",), ("val",), ("eval",), ("test",))
    )


class Lexicon:
    """The names of one run.

    Args:
        metrics: The names of its metrics.
        config: The keys of its configuration, flattened.
        system: The names of its system series.
    """

    def __init__(
        self, metrics: Iterable[str], config: Iterable[str] = (), system: Iterable[str] = ()
    ) -> None:
        self.metrics = frozenset(metrics)
        self.config = frozenset(config)
        self.system = frozenset(system)
        self._by_kind = (_Index(), _Index(), _Index())
        for index, names in zip(
            self._by_kind, (self.metrics, self.config, self.system), strict=True
        ):
            for name in sorted(names):
                index.add(name, shortened=len(names) <= _MOST_SHORTENED)
        # "training loss" where there is `loss` alone.
        for name in self.metrics:
            words = words_of(name)
            if words and not SPLITS & set(words):
                self._by_kind[0].short.setdefault(("train", *words), []).append(name)

    def look_up(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Return the metrics, config keys and system series that a name means."""
        exact = tuple(
            (name,) if name in known else () for known in (self.metrics, self.config, self.system)
        )
        if any(exact):
            return exact[0], exact[1], exact[2]
        words = words_of(name)
        metrics, config, system = (index.find(words) for index in self._by_kind)
        return metrics, config, system

    def mentions(self, text: str) -> list[Mention]:
        """Return the names in a text, the longest where several begin."""
        words = _words(text)
        found: list[Mention] = []
        at = 0
        while at < len(words):
            mention, length = self._longest(text, words, at)
            if mention is not None:
                found.append(mention)
            at += length
        return found

    def _longest(
        self, text: str, words: list[tuple[str, int, int]], at: int
    ) -> tuple[Mention | None, int]:
        most = 1
        while (
            most < _MOST_WORDS
            and at + most < len(words)
            and _BETWEEN.fullmatch(text, words[at + most - 1][2], words[at + most][1])
        ):
            most += 1
        for length in range(most, 0, -1):
            piece = tuple(word for word, _, _ in words[at : at + length])
            start, end = words[at][1], words[at + length - 1][2]
            if length == 1 and not _may_stand_alone(piece[0], text, start, end):
                continue
            metrics, config, system = (index.find(piece) for index in self._by_kind)
            if length == 1 and not self._alone(piece[0], config):
                config = ()
            if metrics or config or system:
                return Mention(start, end, metrics, config, system, text=text[start:end]), length
        return None, 1

    def _alone(self, word: str, config: tuple[str, ...]) -> bool:
        """Whether one word is enough to mean a key of the configuration."""
        return len(word) > 1 and any(len(words_of(key.rsplit("/", 1)[-1])) == 1 for key in config)


def _may_stand_alone(word: str, text: str, start: int, end: int) -> bool:
    """Whether one word can be a name: not a common one, and not a part of another word."""
    if (word in _COMMON or word.isdigit()) and not _quoted(text, start, end):
        return False
    return not _inside_a_word(text, start, end)


def _quoted(text: str, start: int, end: int) -> bool:
    return text[start - 1 : start] == "`" and text[end : end + 1] == "`"


def _inside_a_word(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    return before.isalnum() or before == "_" or after.isalnum() or after == "_"
