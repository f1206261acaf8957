"""What a metric is: its kind, its split and which way is better, from its name and its values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from math import inf, isfinite

from training_monitor.detect.naming import Words, taken_apart
from training_monitor.detect.vocabulary import GOALS, HEADINGS, KINDS, QUALIFIERS, SAME, TABLE, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["KINDS", "History", "Meaning", "infer", "is_open", "possible"]

# So many values tell a clock from a duration.
_ENOUGH = 4
# A clock that is set back more often than once in so many values is none.
_POINTS_A_FALL = 30
_DURATIONS = frozenset(("time", "step_time", "data_time", "eval_time"))
_TIME_UNITS = frozenset(("s", "ms", "us", "min", "h"))
_LAST_RANK = 99
_MINOR = 4
_EXTREMES = frozenset(("min", "max", "std", "last", "ema", "smooth"))
# A best value so far never shows that a run gets worse.
_BEHIND = 6
# Counters, where the values only rise.
_COUNTED = frozenset(("sample", "example", "examples", "image", "images", "frame", "frames"))
# Scores that are shares, of one or of a hundred.
_SHARES = frozenset((
    "accuracy", "precision", "recall", "sensitivity", "specificity", "f1", "fscore", "dice", "iou",
    "miou", "jaccard", "auc", "auroc", "auprc", "aucpr", "prauc", "roc", "map", "ap", "ar", "tpr",
    "tnr", "em", "ndcg", "mrr", "hit", "pass", "rate", "winrate", "correct", "top",
))  # fmt: skip
# Words after which "reward" is one of a pair, and more of it is not better.
_WORSE = frozenset(("rejected", "reject", "lose", "loser", "losing"))


@dataclass(frozen=True, slots=True)
class History:
    """What is known of the values of a metric, without them.

    Attributes:
        count: How many finite values there are.
        first: The first of them.
        last: The last one.
        min: The least.
        max: The greatest.
        rising: Whether they rise, as a clock or a counter: a resumed run may set it back at times.
        whole: Whether all are whole numbers.
    """

    count: int
    first: float
    last: float
    min: float
    max: float
    rising: bool = False
    whole: bool = False

    @property
    def constant(self) -> bool:
        """Whether all values are one."""
        return self.min == self.max

    @classmethod
    def of(cls, values: Iterable[float]) -> History | None:
        """Return the history of some values; None where none of them is finite."""
        finite = [value for value in values if isfinite(value)]
        if not finite:
            return None
        falls = sum(one > other for one, other in pairwise(finite))
        return cls(
            count=len(finite),
            first=finite[0],
            last=finite[-1],
            min=min(finite),
            max=max(finite),
            rising=falls <= len(finite) // _POINTS_A_FALL and finite[-1] >= finite[0],
            whole=all(float(value).is_integer() for value in finite),
        )


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a metric was taken for.

    Attributes:
        kind: One of KINDS.
        split: train, val or test; None: the name does not say it, which mostly means train.
        goal: "min" or "max": which way is better; None: neither is, or nobody knows.
        headline: Whether this is the metric by which the run is judged.
        source: Where this is from: name, history or user.
        unit: As s, ms, % or GB, where the name says it; None where it does not.
        stem: What is left of the name without its split: two metrics with one stem are a pair.
        rank: Of two metrics of one kind the lower one is sooner the headline.
        minor: Whether it says less of a run than the loss: token accuracy, perplexity, recall.
        held_out: Whether it is measured on data that is not trained on, as far as one knows.
        step_metric: The metric that the user has named as its axis; None: the step of log().
        chosen: Whether the user has said which way is better: it may be the headline before others.
    """

    kind: str
    split: str | None = None
    goal: str | None = None
    headline: bool = False
    source: str = "name"
    unit: str | None = None
    stem: str = ""
    rank: int = 0
    minor: bool = False
    held_out: bool = False
    step_metric: str | None = None
    chosen: bool = False

    def __str__(self) -> str:
        """Return it as a person reads it: "loss, val, less is better"."""
        better = {"min": ", less is better", "max": ", more is better"}
        return self.short + better.get(self.goal or "", "")

    @property
    def short(self) -> str:
        """Kind and split, as "loss, val"."""
        kind = self.kind.replace("_", " ")
        return kind if self.split is None else f"{kind}, {self.split}"


def infer(name: str, history: History | None = None) -> Meaning:
    """Say what a metric is.

    Args:
        name: Under which it is logged.
        history: What is known of its values; None: nothing.
    """
    meaning = _from_name(name)
    return meaning if history is None else _corrected(meaning, history)


def possible(meaning: Meaning, low: float, high: float) -> tuple[float, float]:
    """Return the bounds that no value of a metric can be beyond; infinite where none is known.

    Args:
        meaning: What it is.
        low: Its least value so far.
        high: Its greatest.
    """
    if not low >= 0:
        return -inf, inf
    if meaning.kind in ("loss", "error"):
        return 0.0, inf
    if meaning.kind != "score" or _SHARES.isdisjoint(meaning.stem.split()):
        return -inf, inf
    if high <= 1 and meaning.unit != "%":
        return 0.0, 1.0
    return 0.0, 100.0 if high <= 100 else inf


def is_open(meaning: Meaning) -> bool:
    """Whether its values may say that it is something else."""
    double = (meaning.kind, meaning.stem) in (("time", "time"), ("cost", "cost"))
    return double or (meaning.kind == "other" and meaning.stem in _COUNTED)


@dataclass(frozen=True, slots=True)
class _Match:
    """A phrase of the table that was found, and where in the name it begins and ends."""

    row: Row
    begin: int
    end: int

    def within(self, other: _Match) -> bool:
        """Whether the other phrase holds this one and more."""
        longer = other.end - other.begin > self.end - self.begin
        return longer and other.begin <= self.begin and self.end <= other.end


@lru_cache(maxsize=16384)
def _from_name(name: str) -> Meaning:
    words = taken_apart(name)
    match = _best(_without_heading(_matches(words.words), words))
    if match is None:
        return Meaning("other", words.split, unit=words.unit, stem=_stem(words), rank=_LAST_RANK)
    kind, goal = match.row.kind, match.row.goal or GOALS.get(match.row.kind)
    extra = _extra(words, match)
    if kind == "reward":
        if words.statistic == "std":
            kind, goal = "reward_std", None
        elif extra:
            kind = "reward_part"
            goal = None if _WORSE & set(words.words) else goal
    if kind in ("loss", "score", "error") and "std" in words.words:
        # How much it differs from one to the other, which has no better and worse.
        kind, goal = "other", None
    if kind == "time" and words.split in ("val", "test"):
        kind, goal = "eval_time", "min"
    return Meaning(
        kind,
        words.split,
        goal,
        unit=_unit(words.unit, kind),
        stem=_stem(words),
        rank=_rank(match.row.rank + 2 * len(extra), words, match),
        minor=match.row.rank >= _MINOR or "best" in words.words,
        held_out=words.split in ("val", "test") or (match.row.held_out and words.split is None),
    )


def _matches(words: tuple[str, ...]) -> list[_Match]:
    found = [
        _Match(row, begin, end)
        for word in dict.fromkeys(words)
        for row, phrase in _PHRASES.get(word, ())
        for begin, end in _places(words, phrase)
    ]
    return [match for match in found if not any(match.within(other) for other in found)]


def _without_heading(matches: list[_Match], words: Words) -> list[_Match]:
    """Leave out what only heads a group, where something else was found."""
    if not words.words or words.words[0] not in HEADINGS or words.segments.count(0) > 1:
        return matches
    return [match for match in matches if match.end > 1] or matches


def _places(words: tuple[str, ...], phrase: tuple[str, ...]) -> list[tuple[int, int]]:
    """Return where a phrase stands: from which word to which."""
    if "*" in phrase:
        first, last = phrase[0], phrase[-1]
        if first in words and last in words[words.index(first) + 1 :]:
            end = len(words) - words[::-1].index(last)
            return [(words.index(first), end)]
        return []
    if phrase[-1] == "$":
        size = len(phrase) - 1
        return [(len(words) - size, len(words))] if words[-size:] == phrase[:-1] else []
    size = len(phrase)
    return [(i, i + size) for i in range(len(words) - size + 1) if words[i : i + size] == phrase]


def _best(matches: list[_Match]) -> _Match | None:
    return max(
        matches,
        key=lambda found: (found.row.level, found.end, found.end - found.begin),
        default=None,
    )


def _extra(words: Words, match: _Match) -> list[str]:
    """Return the words that make a metric a part of something: "format" in "rewards/format"."""
    at = words.segments[match.begin]
    return [
        word
        for i, word in enumerate(words.words)
        if words.segments[i] >= at
        and not match.begin <= i < match.end
        and word not in QUALIFIERS
        and len(word) > 1
    ]


def _rank(rank: int, words: Words, match: _Match) -> int:
    """Put extremes, single thresholds and the best so far behind the value itself."""
    said = set(words.words[: match.begin] + words.words[match.end :])
    # One of several thresholds (mAP50, top5) stands behind the mean over all, and behind the first.
    threshold = not words.is_range and any(number not in ("0", "1") for number in words.numbers)
    return rank + len(said & _EXTREMES) + threshold + _BEHIND * ("best" in said)


def _unit(unit: str | None, kind: str) -> str | None:
    """Return the unit where it fits; the s in `bbox_mAP_s` means small."""
    return unit if (unit in _TIME_UNITS) == (kind in _DURATIONS) else None


def _stem(words: Words) -> str:
    """Return the words without those that only say how values were gathered."""
    left = [word for word in words.words if word not in ("mean", "epoch", "step", "metric")]
    return " ".join([*(left or words.words), *words.numbers])


def _corrected(meaning: Meaning, history: History) -> Meaning:
    """Return what the values say where the name leaves it open."""
    if history.count < _ENOUGH or history.constant:
        return meaning
    if meaning.kind == "other" and history.rising and history.whole and meaning.stem in _COUNTED:
        return replace(meaning, kind="tokens", source="history")
    if meaning.kind == "time" and meaning.stem == "time" and not history.rising:
        # Each step's own, as MMEngine and detectron2 have it; elsewhere it is a clock.
        return replace(meaning, kind="step_time", goal="min", source="history")
    if meaning.kind == "cost" and meaning.stem == "cost" and not history.rising:
        # Money that is spent does not come back: this is what older scripts call their loss.
        return replace(meaning, kind="loss", goal="min", source="history")
    if meaning.kind == "step_time" and history.rising and history.last > 10 * history.first > 0:
        return replace(meaning, kind="time", goal=None, source="history")
    return meaning


def _by_first_word() -> dict[str, list[tuple[Row, tuple[str, ...]]]]:
    table: dict[str, list[tuple[Row, tuple[str, ...]]]] = {}
    for row in TABLE:
        for phrase in row.phrases.split("|"):
            words = tuple(" ".join(SAME.get(word, word) for word in phrase.split()).split())
            table.setdefault(words[0], []).append((row, words))
    return table


_PHRASES = _by_first_word()
