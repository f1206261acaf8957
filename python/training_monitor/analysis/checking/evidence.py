"""The evidence of an issue: each field looked up."""

from __future__ import annotations

from dataclasses import replace
from math import isnan

import numpy as np

from training_monitor.analysis.answer import Evidence
from training_monitor.analysis.checking.citations import look_up
from training_monitor.analysis.checking.claims import Claim
from training_monitor.analysis.checking.numerals import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.analysis.checking.facts import Facts

__all__ = ["ground_evidence"]


def ground_evidence(one: Evidence, facts: Facts) -> tuple[Evidence | None, list[Claim]]:
    """Check one piece of evidence; what does not hold of it becomes None."""
    claims: list[Claim] = []
    if one.metric is not None or one.step is not None or one.value is not None:
        one = _of_metric(one, facts, claims)
    if one.file is not None or one.line is not None:
        one = _of_code(one, facts, claims)
    elif one.quote is not None:
        holds = facts.in_code(one.quote)
        claims.append(
            _claim("citation", one.quote, holds, "the code has it" if holds else "not in the code")
        )
        one = one if holds else replace(one, quote=None)
    return (None if one == Evidence() else one), claims


def _claim(kind: str, text: object, holds: bool, why: str) -> Claim:
    return Claim(kind, str(text), -1, -1, holds, why)


def _of_metric(one: Evidence, facts: Facts, claims: list[Claim]) -> Evidence:
    metrics: tuple[str, ...] = ()
    if one.metric is not None:
        name = one.metric.strip("`'\" ")
        metrics, config, system = facts.lexicon.look_up(name)
        known = bool(metrics or config or system)
        claims.append(_claim("metric", name, known, "known" if known else f"the run has no {name}"))
        if not known:
            # Nothing can be said of a metric that there is not.
            for kind, given in (("step", one.step), ("number", one.value)):
                if given is not None:
                    claims.append(_claim(kind, given, False, f"the run has no {name}"))
            return replace(one, metric=None, step=None, value=None)
        if not metrics:
            return _of_other(one, config, system, facts, claims)
    value_holds, step_holds, why = _looked_up(one, metrics, facts)
    if one.step is not None:
        claims.append(_claim("step", one.step, step_holds, why))
    if one.value is not None:
        claims.append(_claim("number", f"{one.value:g}", value_holds, why))
    return replace(
        one, step=one.step if step_holds else None, value=one.value if value_holds else None
    )


def _of_other(
    one: Evidence,
    config: tuple[str, ...],
    system: tuple[str, ...],
    facts: Facts,
    claims: list[Claim],
) -> Evidence:
    """Check a value of the configuration or of the machine."""
    if one.value is None:
        return one
    value, half = one.value, _half(one.value)
    known = [facts.config[key] for key in config]
    for name in system:
        series = facts.machine[name]
        known += [*series.value.tolist(), *series.low.tolist(), *series.high.tolist()]
    holds = any(
        isinstance(other, (int, float)) and close(value, half, float(other)) for other in known
    )
    claims.append(_claim("number", f"{value:g}", holds, "looked up"))
    return one if holds else replace(one, value=None)


def _looked_up(one: Evidence, metrics: tuple[str, ...], facts: Facts) -> tuple[bool, bool, str]:
    """Return whether the value and the step hold, and why."""
    first, last = facts.steps
    if not metrics:
        inside = one.step is not None and first <= one.step <= last
        return False, inside, "of no metric"
    why = ""
    for name in metrics:
        curve = facts.curve(name) if one.step is None else facts.exact(name, one.step, 100.0)
        if curve is None:
            why = f"{name} has no numbers"
            continue
        if one.step is None:
            values = curve.value if one.value is not None else curve.value[:0]
            low, high = curve.extremes()
            landmarks = [
                *curve.newest(),
                *curve.oldest(),
                *low,
                *high,
                *curve.middles(),
            ]
            held = one.value is not None and (
                _is_one(one.value, landmarks) or (isnan(one.value) and bool(np.isnan(values).any()))
            )
            return held, False, f"{name} {'has' if held else 'has no'} {one.value}"
        there = curve.at(one.step)
        if not len(there):
            why = f"{name} has no point at step {one.step:,}"
            carried = curve.carried(one.step)
            if (
                first <= one.step <= last
                and one.value is not None
                and _is_one(one.value, carried.tolist())
            ):
                return True, True, f"{name} was so at step {one.step:,}"
            continue
        if one.value is None or _is_one(one.value, there.tolist()):
            return True, True, f"{name} at step {one.step:,}"
        elsewhere = len(curve.where(one.value, _half(one.value))) > 0
        return False, not elsewhere, f"{name} at step {one.step:,} is {there[0]:.5g}"
    return False, False, why


def _half(value: float) -> float:
    """Return half a unit of the last digit of a number, as it is written shortest."""
    digits, _, power = f"{value:.12g}".partition("e")
    return 0.5 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def _is_one(value: float, known: list[float]) -> bool:
    if isnan(value):
        return any(isnan(other) for other in known)
    return any(not isnan(other) and close(value, _half(value), other) for other in known)


def _of_code(one: Evidence, facts: Facts, claims: list[Claim]) -> Evidence:
    quotes = (one.quote,) if one.quote else ()
    path = one.file if one.file is not None or len(facts.paths) != 1 else facts.paths[0]
    verdict = look_up(path, one.line, one.last_line, quotes, facts)
    text = f"{one.file or ''}:{one.line}" if one.line is not None else str(one.file)
    claims.append(_claim("citation", text, verdict.holds, verdict.why))
    if verdict.holds:
        return one
    return replace(one, file=None, line=None, last_line=None, quote=None)
