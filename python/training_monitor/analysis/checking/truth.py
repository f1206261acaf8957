"""What a number must be to hold: the values of a metric that a statement may mean."""

from __future__ import annotations

import re
from math import isfinite

import numpy as np

from training_monitor.analysis.checking.numerals import close, reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from training_monitor.analysis.checking.claims import Statement
    from training_monitor.analysis.checking.facts import Facts
    from training_monitor.analysis.checking.numerals import Numeral
    from training_monitor.analysis.checking.points import Curve
    from training_monitor.machine import SystemSeries

__all__ = [
    "bounds_hold",
    "endpoint",
    "fits",
    "fits_config",
    "fits_machine",
    "span_of",
    "values_for",
]

# "around step 1,200" may be off by this share of the run, or by two intervals of logging.
_AROUND_SHARE = 0.02
_PERCENTILES = {"p5": 5.0, "p95": 95.0, "p99": 99.0}
_QUOTED_SHARE = 0.005
_ALL = re.compile(
    (
        r"\b(?:stay(?:s|ed)?|remain(?:s|ed|ing)?|never|always|throughout|"
        r"not exceed|all|consistently|kept?|held|holds)\b"
    ),
    re.IGNORECASE,
)
_BACK = re.compile(r"\b(?:back|return\w*|recover\w*|settl\w*|revert\w*|normal)\b", re.IGNORECASE)
_LEVEL = re.compile(
    r"\b(?:typical\w*|usual\w*|normal\w*|stable|steady|hover\w*|level|"
    r"baseline|overall|constant|flat|"
    r"plateau\w*|settled|stabiliz\w*|stabilis\w*|consistent\w*)\b",
    re.IGNORECASE,
)
_LISTED = re.compile(
    r"\b(?:recent|last|latest)\b.*\b(?:values?|readings?|points?)\b", re.IGNORECASE
)
_TAIL_POINTS = 50
_SHORT_POINTS = 200
_TAILS = (10, 20, 50, 100, 200)

Values = list[float]


def fits(
    numeral: Numeral, values: Iterable[float], *, about: bool = False, slack: float = 1.0
) -> float | None:
    """Return the value that a number may stand for; None: none of them."""
    for value in values:
        for written, half in reading(numeral):
            if close(
                written,
                half * slack * (_zeros(written) if slack > 1.0 else 1.0),
                value,
                about=about,
            ):
                return value
    return None


def _zeros(value: float) -> float:
    """Return the unit of the last digit that is no zero: 4,140 is taken for rounded to tens."""
    unit = 1.0
    while value >= 100 and value == int(value) and value % (10 * unit) == 0 and unit < value / 100:
        unit *= 10
    return unit


def fits_config(numeral: Numeral, value: object) -> bool:
    """Whether a number is a value of the configuration, which is quoted and not rounded."""
    many = value if isinstance(value, (list, tuple)) else [value]
    known = [number for one in many if (number := _number(one)) is not None]
    for written, half in reading(numeral):
        reach = min(half, _QUOTED_SHARE * abs(written)) if numeral.digits < 3 else half
        if any(close(written, reach, one) for one in known):
            return True
    return False


def _number(value: object) -> float | None:
    """Return a value of the configuration as a number: texts as "3e-4" are some."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def fits_machine(statement: Statement, series: SystemSeries) -> bool:
    """Whether a number is one of a system series: newest, mean, or an extreme."""
    if not len(series):
        return False
    value, low, high = series.value, series.low, series.high
    least, most = float(np.nanmin(low)), float(np.nanmax(high))
    newest = [float(one) for one in value[-5:]]
    middles = [float(np.nanmean(value)), float(np.nanmedian(value))]
    middles += [float(np.nanmean(value[-span:])) for span in (10, 60, 300) if len(value) >= span]
    role = statement.role
    if role in ("below", "above"):
        written = statement.numeral.value
        checked = newest[-1:] if statement.present else [*newest, least, most]
        return any((one < written) if role == "below" else (one > written) for one in checked)
    wanted = {
        "max": [most], "min": [least], "high": [most, *middles], "low": [least, *middles],
        "mean": middles, "median": middles, "last": newest, "first": [float(value[0])],
    }.get(role, [*newest, *middles, least, most])  # fmt: skip
    return fits(statement.numeral, wanted, about=statement.about) is not None


def span_of(statement: Statement, curve: Curve) -> Curve:
    """Return the part of a curve over which something is said; the whole where nothing is."""
    window = statement.window
    if window is None or not len(curve):
        return curve
    first, last = float(curve.step[0]), float(curve.step[-1])
    one = window.places[0].value
    if statement.side == "since":
        return curve.window(one, None)
    if statement.side == "until":
        return curve.window(None, one)
    if window.kind == "range":
        return curve.window(*sorted((one, window.places[-1].value)))
    if window.kind == "last":
        part = curve.window(last - one + 1, None)
        return part if len(part) else curve.window(last, None)
    if window.kind == "first":
        return curve.window(first, first + one)
    return curve


def endpoint(curve: Curve, step: float, *, start: bool) -> Values:
    """Return what a metric was at the end of a range: there, or at the next point inside it."""
    there = curve.at(step)
    if len(there):
        return _finite(there)
    if start:
        inside = curve.window(step, None)
        return [*_finite(curve.carried(step)), *inside.oldest()]
    return _finite(curve.carried(step))


def values_for(statement: Statement, curve: Curve, facts: Facts, name: str) -> Values:
    """Return the values of a metric that a statement may mean."""
    role = statement.role
    if statement.place is not None and not (statement.side is not None and role in _OVER):
        return _at_place(statement, curve, facts)
    part = span_of(statement, curve)
    if not len(part):
        return []
    if role in ("from", "to", "first", "last", "plain") and statement.window is not None:
        ends = _window_ends(statement, curve, part)
        if ends is not None:
            return ends
    return _of_part(statement, part, curve, facts, name)


# Roles that are said over a stretch, not at a step.
_OVER = frozenset(
    ("mean", "median", "std", "max", "min", "best", "low", "high", "p5", "p95", "p99", "spike")
)


def _at_place(statement: Statement, curve: Curve, facts: Facts) -> Values:
    place = statement.place
    if place is None:
        return []
    step, half = place.value, place.half
    # After 800 steps the last one was step 799.
    known = facts.has_step(step) or facts.has_step(step - 1)
    found = _finite(curve.at(step)) or (_finite(curve.carried(step)) if known else [])
    if statement.side is None and not statement.around:
        return found
    first, last = facts.steps
    interval = float(np.median(np.diff(curve.step))) if len(curve) > 1 else 0.0
    reach = max(half, _AROUND_SHARE * (last - first), 2.0 * interval)
    near = curve.window(step - reach, step + reach)
    values = near.finite()
    if len(values):
        found += [float(values.min()), float(values.max()), float(np.median(values))]
    if len(values) <= 5:
        found += _finite(values)
    return found


def _window_ends(statement: Statement, curve: Curve, part: Curve) -> Values | None:
    window, role = statement.window, statement.role
    if (
        window is None
        or statement.side is not None
        or window.kind not in ("range", "last", "first")
    ):
        return None
    if window.kind == "range":
        first, last = window.places[0].value, window.places[-1].value
        if role in ("from", "first"):
            return endpoint(curve, first, start=True)
        if role in ("to", "last"):
            return endpoint(curve, last, start=False)
        return None
    if role in ("from", "first"):
        return [*part.oldest(), *_finite(curve.carried(float(part.step[0]) - 1))]
    if role in ("to", "last"):
        return part.newest()
    return None


def _of_part(statement: Statement, part: Curve, curve: Curve, facts: Facts, name: str) -> Values:
    statistic = _statistic(statement, part)
    if statistic is not None:
        return statistic
    low, high = part.extremes()
    role, said = statement.role, statement.before
    told = _told(facts, name)
    if role == "spike":
        return [*low, *high, *told]
    if role == "from":
        return [*part.oldest(), *high, *low, *told, *_beside(statement, curve, before=True)]
    if role == "to":
        back = [*part.middles(), *part.recents()] if _BACK.search(said) else []
        return [*part.newest(), *low, *high, *told, *back, *_beside(statement, curve, before=False)]
    level = [*part.middles(), *part.recents()] if _is_level(statement) else []
    if statement.present and statement.window is None:
        return [*part.newest(), *level, *told]
    found = [*part.newest(), *part.oldest(), *low, *high, *told, *level]
    if _LISTED.search(said):
        found += [float(one) for one in part.value[-_TAIL_POINTS:]]
    return found


def _statistic(statement: Statement, part: Curve) -> Values | None:
    """Return what a statement about the whole of a part may mean; None: it is none."""
    low, high = part.extremes()
    finite = part.finite()
    role, said = statement.role, statement.before
    if not len(finite):
        return []
    if role in _PERCENTILES:
        return [float(np.percentile(finite, _PERCENTILES[role]))]
    simple = {
        "max": high, "min": low, "best": [*low, *high], "median": part.middles()[1::2],
        "mean": part.middles()[0::2], "first": part.oldest(), "last": part.newest(),
    }  # fmt: skip
    if role == "std":
        return [float(finite.std())]
    if role == "mean" and statement.window is None and re.search("recent", said, re.IGNORECASE):
        return [*simple["mean"], *part.recents()]
    if role == "last" and statement.about:
        return [*part.newest(), *part.recents()]
    if role in simple:
        return simple[role]
    if role in ("low", "high"):
        shares = (0.0, 1.0, 5.0) if role == "low" else (100.0, 99.0, 95.0)
        recent = {"recent", "recently", "lately", "now", "currently"} & statement.words
        parts = [finite, *(finite[-tail:] for tail in (_TAILS if recent else ()))]
        return [float(np.percentile(one, share)) for one in parts for share in shares]
    return _listed(part) if role == "listed" else None


def _listed(part: Curve) -> Values:
    """Return the values that a list may have: all of a short metric, of a long one some."""
    value = part.value
    if len(value) > _SHORT_POINTS:
        even = np.linspace(0, len(value) - 1, 11).astype(int)
        value = np.concatenate((value[:5], value[even], value[-_TAIL_POINTS:]))
        return _finite(np.concatenate((value, *(np.array(ends) for ends in part.extremes()))))
    return _finite(value)


def _beside(statement: Statement, curve: Curve, *, before: bool) -> Values:
    """Return what a metric was beside the step of the number that this one is a pair with."""
    found: Values = []
    for _, _, step in statement.true:
        if step is not None:
            found += curve.around(step)[0 if before else 1]
    return found


def _is_level(statement: Statement) -> bool:
    """Whether a number is said to be a level, not a value."""
    return statement.about or bool(_LEVEL.search(statement.before))


def _told(facts: Facts, name: str) -> Values:
    found = [one for one in facts.findings if one.source == name]
    return [
        value
        for one in found[-20:]
        for value in (one.value, one.reference, one.threshold)
        if isfinite(value)
    ]


def bounds_hold(statement: Statement, curve: Curve, facts: Facts) -> bool:
    """Whether a metric was below or above a number, in the way that is said."""
    part = span_of(statement, curve)
    if statement.place is not None and statement.side is None:
        values = np.array(_at_place(statement, curve, facts))
    else:
        values = part.finite()
    if not len(values):
        return False
    if statement.role == "within":
        reach = [abs(new - old) for new in part.newest() for end in part.extremes() for old in end]
        return any(
            written >= min(reach, default=1e300) for written, _ in reading(statement.numeral)
        )
    every = bool(_ALL.search(statement.before))
    newest = np.array(part.newest() or [np.nan])
    for written, half in reading(statement.numeral):
        if (
            statement.numeral.kind == "percent"
            and abs(written - statement.numeral.value) > 0
            and float(np.abs(values).max()) > 1.5
        ):
            continue
        slack = half * 0.1 if statement.about else 0.0
        checked = newest if statement.present and not every else values
        below = checked <= written + slack if every else checked < written
        above = checked >= written - slack if every else checked > written
        hit = below if statement.role == "below" else above
        negated = bool(
            re.search(r"\b(?:never|not|didn't|hasn't|n't)\b", statement.before, re.IGNORECASE)
        )
        if negated:
            over = (
                values > written
                if statement.role == "above" or "exceed" in statement.before
                else values < written
            )
            if not over.any():
                return True
            continue
        if hit.all() if every else hit.any():
            return True
    return False


def _finite(values: Iterable[float]) -> Values:
    return [float(value) for value in values if isfinite(value)]
