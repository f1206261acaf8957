"""Numbers that follow from others: differences, percentages, ratios, slopes."""

from __future__ import annotations

import re
from itertools import combinations
from math import isfinite

from training_monitor.analysis.checking.lexicon import SPLITS, words_of
from training_monitor.analysis.checking.numerals import close
from training_monitor.analysis.checking.truth import endpoint, fits, span_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from training_monitor.analysis.checking.claims import Sentence, Statement
    from training_monitor.analysis.checking.facts import Facts
    from training_monitor.analysis.checking.points import Curve

__all__ = ["derives"]

Pair = tuple[float, float, float | None, float | None]
# Pairs of numbers that stand in a sentence; more say nothing.
_MOST_OPERANDS = 8
# "More than 50 %" is said of up to 62 %.
_LOOSE_SHARE = 0.25


def derives(
    statement: Statement,
    sentence: Sentence,
    before: Sentence | None,
    facts: Facts,
    names: list[str],
) -> bool:
    """Whether a computed number follows from the numbers beside it, or from the metric."""
    written = list(_operands(statement, sentence))
    base = _base_of(statement, facts, names)
    if base:
        tops = [*(value for value, _ in written), *_extremes_said(statement, facts, names)]
        tops = tops or _newest(facts, names)
        near: list[Pair] = [(a, b, None, None) for a in base for b in tops if a != b]
        if _any_fits(statement, near):
            return True
        tops = _newest(facts, names)
        return _any_fits(statement, [(a, b, None, None) for a in base for b in tops])
    if _GAP.search(statement.before):
        names = [*names, *_counterparts(names, facts)]
    pairs = list(_paired(written))
    pairs += _of_steps(statement, sentence, facts, names)
    if _any_fits(statement, pairs):
        return True
    if pairs and (len(written) >= 4 or statement.window is not None):
        return False
    if before is not None:
        pairs += _paired(list(_operands(statement, before)))
    pairs += _of_landmarks(facts, names)
    if len(written) == 2:
        pairs += _with_one(written[0], facts, names)
    return _any_fits(statement, pairs)


_GAP = re.compile(r"\b(?:gap|difference|margin|spread|ratio)\b", re.IGNORECASE)
_HIGH = ("peak", "max", "high", "spik", "larg", "jump")
_LOW = ("min", "low", "small", "best", "bottom")
_BASE = re.compile(
    r"^\W{0,2}(?:\w+\W+){0,2}?(?:of|above|below|over|under|than|from|"
    r"off|as|its|their|the)?\W*(?:\w+\W+)?(?:its|the|their)\W+"
    r"(?:running |recent |own |overall )?(?:(?P<first>initial|start\w*|"
    r"first|original)|(?P<low>min\w*|lowest|best)|(?P<high>max\w*|"
    r"peak|highest)"
    r"|(?P<middle>median|mean|average|usual|typical|normal|baseline))\b",
    re.IGNORECASE,
)


def _base_of(statement: Statement, facts: Facts, names: list[str]) -> list[float]:
    """Return what a share or a factor is said to be of, where a word says it: "its median"."""
    said = _BASE.match(statement.after) if statement.role in ("ratio", "relative") else None
    found: list[float] = []
    for name in names if said else []:
        curve = facts.curve(name)
        if curve is None or said is None:
            continue
        low, high = curve.extremes()
        if said["first"]:
            found += curve.oldest()
        elif said["low"]:
            found += [*low, *(high if said["low"].lower() == "best" else [])]
        elif said["high"]:
            found += high
        elif said["middle"].lower() == "median":
            found += curve.middles()[1::2]
        elif said["middle"].lower() in ("mean", "average"):
            found += curve.middles()[0::2]
        else:
            found += [*curve.middles(), *curve.recents()]
    return found


def _extremes_said(statement: Statement, facts: Facts, names: list[str]) -> list[float]:
    """Return the extremes where the sentence speaks of a peak or of a low."""
    found: list[float] = []
    for name in names:
        curve = facts.curve(name)
        low, high = curve.extremes() if curve is not None else ([], [])
        found += high if any(word.startswith(_HIGH) for word in statement.words) else []
        found += low if any(word.startswith(_LOW) for word in statement.words) else []
    return found


def _newest(facts: Facts, names: list[str]) -> list[float]:
    curves = [curve for name in names if (curve := facts.curve(name)) is not None]
    return [value for curve in curves for value in curve.newest()]


def _counterparts(names: list[str], facts: Facts) -> list[str]:
    """Return the metrics of training beside those of a held-out split."""
    found = []
    for name in names:
        bare = tuple(word for word in words_of(name) if word not in SPLITS)
        found += [
            other for other in facts.metrics
            if other not in names and tuple(w for w in words_of(other) if w not in SPLITS) == bare
        ]  # fmt: skip
    return found[:4]


Operand = tuple[float, float | None]


def _operands(statement: Statement, sentence: Sentence) -> Iterator[Operand]:
    """Yield the values in a sentence, as they are and as they are written."""
    for one in sentence.statements[:_MOST_OPERANDS]:
        if one is statement or not one.holds or not one.true:
            continue
        _, value, step = one.true[0]
        yield value, step
        yield one.numeral.value * (0.01 if _is_share(one) else 1.0), step


def _is_share(statement: Statement) -> bool:
    true = statement.true[0][1]
    return statement.numeral.kind == "percent" and abs(true) <= 1.5 < abs(statement.numeral.value)


def _paired(values: list[Operand]) -> Iterator[Pair]:
    for at, (a, first) in enumerate(values):
        for b, last in values[at + 1 :]:
            yield a, b, first, last


def _of_steps(
    statement: Statement, sentence: Sentence, facts: Facts, names: list[str]
) -> Iterator[Pair]:
    """Yield the values of the metric at the steps of the sentence."""
    places = [place.value for phrase in sentence.steps if phrase.kind in ("at", "range", "position")
              for place in phrase.places]  # fmt: skip
    for curve in (facts.curve(name) for name in names):
        if curve is None:
            continue
        for one, other in combinations(places[:_MOST_OPERANDS], 2):
            yield from _ends(curve, *sorted((one, other)))
        if statement.window is not None:
            yield from _of_window(curve, statement)
        elif statement.place is not None and len(places) == 1:
            yield from _of_one_step(curve, statement.place.value)


def _of_window(curve: Curve, statement: Statement) -> Iterator[Pair]:
    part = span_of(statement, curve)
    if not len(part) or statement.window is None:
        return
    first, last = float(part.step[0]), float(part.step[-1])
    for start in [*part.oldest(), *_carried(curve, first - 1)]:
        for end in part.newest():
            yield start, end, first, last
    if statement.window.kind != "range":
        low, high = part.extremes()
        yield from ((a, b, None, None) for a in low for b in high)


def _of_one_step(curve: Curve, step: float) -> Iterator[Pair]:
    for there in endpoint(curve, step, start=False):
        for old in [*curve.around(step)[0], *curve.oldest()]:
            yield old, there, None, step
        for new in curve.newest():
            yield there, new, step, float(curve.step[-1])


def _carried(curve: Curve, step: float) -> list[float]:
    return [float(value) for value in curve.carried(step) if isfinite(value)]


def _ends(curve: Curve, first: float, last: float) -> Iterator[Pair]:
    for a in endpoint(curve, first, start=True):
        for b in endpoint(curve, last, start=False):
            yield a, b, first, last


def _of_landmarks(facts: Facts, names: list[str]) -> Iterator[Pair]:
    """Yield from where to where a metric may be said to have gone."""
    newest: list[tuple[str, list[float]]] = []
    for name in names:
        curve = facts.curve(name)
        if curve is None:
            continue
        low, high = curve.extremes()
        first, last = curve.oldest(), curve.newest()
        newest.append((name, last))
        start, end = float(curve.step[0]), float(curve.step[-1])
        for a in [*first, *low, *high]:
            for b in [*last, *low, *high]:
                if a != b:
                    yield a, b, start, end
    for at, (_, values) in enumerate(newest):
        for _, others in newest[at + 1 :]:
            yield from ((a, b, None, None) for a in values for b in others)


def _with_one(operand: Operand, facts: Facts, names: list[str]) -> Iterator[Pair]:
    """Yield a number of the sentence beside the landmarks of the metric."""
    value, step = operand
    for name in names:
        curve = facts.curve(name)
        if curve is None:
            continue
        low, high = curve.extremes()
        others = [*curve.oldest(), *curve.newest(), *low, *high, *curve.middles()]
        if step is not None:
            before, after = curve.around(step)
            others += [*before, *after]
        yield from ((value, other, None, None) for other in others if other != value)


def _any_fits(statement: Statement, pairs: Iterable[Pair]) -> bool:
    numeral, about = statement.numeral, statement.about
    for a, b, first, last in pairs:
        wanted = list(_computed(statement, a, b, first, last))
        if statement.role == "delta" and numeral.kind not in ("percent", "points"):
            if fits(numeral, wanted, about=about) is not None:
                return True
        # A percentage is meant as such, never the same digits as a share.
        elif any(close(numeral.value, numeral.half, value, about=about) for value in wanted):
            return True
        if any(_bounded(statement, value) for value in wanted):
            return True
    return False


def _bounded(statement: Statement, value: float) -> bool:
    """Whether a value is over "more than 50 %", and not so far that one would have said more."""
    written = statement.numeral.value
    if statement.bound == "above":
        return written <= value <= written * (1.0 + _LOOSE_SHARE)
    return statement.bound == "below" and written * (1.0 - _LOOSE_SHARE) <= value <= written


def _computed(
    statement: Statement, a: float, b: float, first: float | None, last: float | None
) -> Iterator[float]:
    numeral, role = statement.numeral, statement.role
    change = b - a
    if role == "slope":
        if first is not None and last is not None and first != last:
            yield from _signed(statement, change / (last - first))
        return
    if role == "delta":
        yield from _signed(statement, change)
        if numeral.kind in ("points", "percent"):
            yield from _signed(statement, 100.0 * change)
        return
    for x, y in ((a, b), (b, a)) if not numeral.signed else ((a, b),):
        if x == 0.0:
            continue
        if role == "relative":
            # Only the percentage itself is meant, never the same digits as a share.
            yield from _signed(statement, 100.0 * (y - x) / abs(x))
            yield from _signed(statement, 100.0 * (y - x))
        else:
            yield y / x


def _signed(statement: Statement, value: float) -> Iterator[float]:
    yield value
    if not statement.numeral.signed:
        yield abs(value)
