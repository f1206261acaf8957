"""The verdict on each number and step of a sentence."""

from __future__ import annotations

import re
from itertools import pairwise

from training_monitor.analysis.checking import phrases
from training_monitor.analysis.checking.derived import derives
from training_monitor.analysis.checking.lexicon import words_of
from training_monitor.analysis.checking.numerals import close
from training_monitor.analysis.checking.step_judging import StepVerdict, step_verdicts, totals_of
from training_monitor.analysis.checking.truth import (
    bounds_hold,
    endpoint,
    fits,
    fits_config,
    fits_machine,
    values_for,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.analysis.checking.claims import Sentence, Statement
    from training_monitor.analysis.checking.facts import Facts
    from training_monitor.analysis.checking.lexicon import Mention
    from training_monitor.analysis.checking.points import Curve

__all__ = ["judge"]

_MACHINE = (
    (re.compile(r"^ ?(?:\u00b0C?|degrees|celsius)", re.IGNORECASE), ("temp",)),
    (re.compile(r"^ ?(?:W|watts?)\b"), ("watt",)),
)
_PART = re.compile(r"\b(gpu|cpu|ram|memory|disk|swap)s?\b[^,;.]{0,30}$", re.IGNORECASE)
_PER_STEP = re.compile(
    (
        r"^ ?(?:s|secs?|seconds)? ?(?:/|per |a |each )(?:training )?(?:step|"
        r"iteration|it\b)"
    ),
    re.IGNORECASE,
)
_PER_BATCH = re.compile(r"\bper (?:batch|step|device|gpu|rank)\b", re.IGNORECASE)
_PROGRESS = re.compile(
    r"^\W{0,3}(?:done|complete|finished|through|of the (?:run|training|way|total|planned))",
    re.IGNORECASE,
)
# A factor that the code applies, which noise keeps the metric from showing exactly.
_APPLIED = re.compile(
    r"\b(?:multipl\w+|scal\w+|times|factor|divid\w+)\W+(?:\w+\W+){0,2}$", re.IGNORECASE
)
_FEW_METRICS = 20
_PER_SECOND = re.compile(
    r"^\s*(?:tokens?|samples?|steps?|it|iter\w*|images?|examples?)\s*(?:/|per )\s*(?:s\b|sec\w*)",
    re.IGNORECASE,
)


def judge(sentence: Sentence, before: Sentence | None, facts: Facts) -> list[StepVerdict]:
    """Say of each number of a sentence whether it holds; return the same of its steps."""
    ordinary = [one for one in sentence.statements if one.role not in phrases.DERIVED]
    for one in ordinary:
        _bind_ends(one)
        _judge(one, facts)
        metrics = [name for mention in one.subjects for name in mention.metrics]
        if not one.holds and (one.inherited or not metrics) and one.numeral.value in sentence.cited:
            one.holds, one.why = True, "it stands in the line that is cited"
        if one.holds is False and one.numeral.signed and one.role == "plain":
            one.role = "relative" if one.numeral.kind == "percent" else "delta"
    _of_the_pace(sentence)
    for one, other in pairwise(ordinary):
        _from_beside(one, other, facts)
    for one in sentence.statements:
        if one.role in phrases.DERIVED:
            _judge_derived(one, sentence, before, facts)
        applied = _APPLIED.search(one.before) and one.numeral.value in sentence.cited
        if not one.holds and applied:
            one.holds, one.why = True, "the code that is cited applies it"
    return list(step_verdicts(sentence, facts))


# --- numbers


def _bind_ends(one: Statement) -> None:
    """Take the ends of a range of steps for the places of "from" and "to"."""
    window = one.window
    if window is None or window.kind != "range" or one.side is not None or one.place is not None:
        return
    if one.role in ("from", "first"):
        one.place = window.places[0]
    elif one.role in ("to", "last"):
        one.place = window.places[-1]


def _judge(one: Statement, facts: Facts) -> None:
    """Judge a number that is said directly."""
    if one.index or one.epoch:
        _judge_named(one, facts)
        return
    if one.role == "level":
        return
    if one.role == "count":
        one.holds, one.why = _count_holds(one, facts), "the counts of the run"
        return
    reasons: list[str] = []
    verdicts = [_of_mention(one, mention, facts, reasons) for mention in one.subjects]
    if verdicts and (all(verdicts) if one.every and len(verdicts) > 1 else any(verdicts)):
        one.holds, one.why = True, one.why or "the run has it"
    elif any(mention.unknown for mention in one.subjects[:1]):
        one.holds, one.why = False, f"the run has no {one.subjects[0].text}"
    elif _loose(one, facts):
        one.holds, one.why = True, one.why or "the run has it"
    else:
        one.holds = False
        one.why = "; ".join(reasons[:2]) or "nothing in the run says so"


def _of_mention(one: Statement, mention: Mention, facts: Facts, reasons: list[str]) -> bool:
    if mention.unknown:
        return False
    found = [_of_metric(one, name, facts, reasons) for name in mention.metrics]
    if any(found):
        return True
    if one.place is None or not mention.metrics:
        for key in mention.config:
            if one.role not in ("max", "min", "mean") and fits_config(
                one.numeral, facts.config[key]
            ):
                one.why = f"config {key}"
                return True
        if mention.config:
            key = mention.config[0]
            reasons.append(f"config {key} is {facts.config[key]}")
    for name in mention.system:
        if fits_machine(one, facts.machine[name]):
            one.why = name
            return True
        reasons.append(f"{name} was never so")
    names = (*mention.metrics, *mention.config)
    return one.place is None and facts.was_given(one.numeral, names, one.words, about=one.about)


def _of_metric(one: Statement, name: str, facts: Facts, reasons: list[str]) -> bool:
    curve = facts.curve(name)
    if one.place is not None:
        curve = facts.exact(name, one.place.value, 100.0)
    if curve is None:
        reasons.append(f"{name} has no numbers")
        return False
    if one.role in ("below", "above", "within"):
        if bounds_hold(one, curve, facts):
            one.why = name
            return True
        reasons.append(f"{name} was not so")
        return False
    values = values_for(one, curve, facts, name)
    slack = 2.0 if one.role in ("low", "high") else 1.0
    values = [*values, *_of_the_only_steps(one, curve)]
    about = one.about or (one.around and one.place is not None and one.place.half > 0)
    true = fits(one.numeral, values, about=about, slack=slack)
    if true is None and one.place is None and one.role in ("to", "plain", "last"):
        ahead = facts.forecast(name) if _is_forecast(one) else []
        true = fits(one.numeral, ahead, about=True)
    if true is not None:
        one.true.insert(0, (name, true, _step_of(one)))
        one.why = f"{name} {true:.5g}"
        return True
    reasons.append(_reason(one, name, values))
    return False


def _of_the_only_steps(one: Statement, curve: Curve) -> list[float]:
    """Return the values at the only steps of a sentence, where they may be said of all of it."""
    if one.maybe is None or one.role not in ("plain", "from", "to"):
        return []
    places = one.maybe.places
    if one.maybe.kind == "range":
        start = one.role == "from"
        return endpoint(curve, places[0 if start else -1].value, start=start)
    if len(places) > 1 or one.role != "plain" or one.present:
        return []
    return endpoint(curve, places[0].value, start=False)


def _is_forecast(one: Statement) -> bool:
    return bool(
        {"forecast", "predict", "predicted", "expected", "end", "project", "projected", "final"}
        & one.words
    )


def _step_of(one: Statement) -> float | None:
    return None if one.place is None else one.place.value


def _reason(one: Statement, name: str, values: list[float]) -> str:
    where = f" at step {one.place.value:,.0f}" if one.place is not None else ""
    if not values:
        return f"{name} has no value{where}"
    shown = ", ".join(f"{value:.5g}" for value in values[:3])
    return f"{name}{where} is {shown}" if where else f"{name} has {shown}"


def _judge_named(one: Statement, facts: Facts) -> None:
    """Judge an epoch, or the number of a rank, a GPU or an attempt."""
    value = one.numeral.value
    if one.epoch:
        names = [name for name in facts.metrics if "epoch" in words_of(name)]
        keys = [key for key in facts.config if "epoch" in words_of(key)]
        held = any(
            (curve := facts.curve(name)) is not None
            and any(
                len(curve.where(value - less, max(one.numeral.half * 0.02, 1e-9)))
                for less in (0, 1)
            )
            for name in names
        ) or any(fits_config(one.numeral, facts.config[key]) for key in keys)
        held = held or facts.was_given(one.numeral, (), frozenset(("epoch",)), about=one.about)
        held = held or _all_epochs(one, names, facts)
        one.holds, one.why = held, "the epochs of the run"
        return
    if one.index == "attempt":
        one.holds, one.why = 1 <= value <= len(facts.run.attempts), "the attempts of the run"
        return
    prefix = "gpu" if one.index in ("gpu", "device", "cuda") else one.index
    known = {found[1] for name in facts.machine if (found := re.search(rf"\b{prefix}(\d+)/", name))}
    known |= {
        str(found.rank) for found in facts.findings if prefix == "rank" and found.rank is not None
    }
    # Where nothing is known of ranks, or of GPUs, nothing can be held against a number.
    one.holds = f"{value:.0f}" in known if known else None
    one.why = f"known: {', '.join(sorted(known)[:8])}"


def _loose(one: Statement, facts: Facts) -> bool:
    """Judge a number by what is known beside the metrics."""
    numeral = one.numeral
    unbound = not one.subjects or one.inherited
    if _is_progress(one, facts, unbound=unbound) or _is_of_machine(one, facts):
        return True
    told = [value for found in facts.findings for value in (found.value, found.reference)]
    if unbound and fits(numeral, told, about=one.about) is not None:
        one.why = "a finding says so"
        return True
    if _PER_STEP.match(one.after) and _is_pace(one, facts):
        return True
    metrics = [name for mention in one.subjects for name in mention.metrics]
    if one.place is not None and (not metrics or one.inherited):
        return _somewhere(one, facts, anywhere=not metrics)
    if metrics and not one.inherited and numeral.kind not in ("duration", "clock"):
        return False
    if not metrics and _counted(one, facts):
        return True
    return facts.was_given(numeral, (), one.words, about=one.about)


def _is_progress(one: Statement, facts: Facts, *, unbound: bool) -> bool:
    """Whether a number is how long the run has been going, how far it is, or how fast."""
    numeral = one.numeral
    one.why = "how far the run is"
    if numeral.kind == "duration":
        seconds = [*facts.seconds, *facts.ahead["seconds"]]
        return any(close(numeral.value, numeral.half, value, about=True) for value in seconds)
    if numeral.kind == "percent" and (unbound or _PROGRESS.search(one.after)):
        totals = [*facts.ahead["total"], *totals_of(facts)]
        shares = [100.0 * facts.steps[1] / total for total in totals if total]
        return any(close(numeral.value, numeral.half, share, about=one.about) for share in shares)
    if _PER_SECOND.match(one.after):
        rates = [1.0 / rate for rate in facts.ahead["rate"] if rate]
        return any(close(numeral.value, numeral.half, rate, about=True) for rate in rates)
    return False


def _is_of_machine(one: Statement, facts: Facts) -> bool:
    """Whether a number with a unit, or beside "GPU" or "memory", is one of the machine."""
    words: tuple[str, ...] = next((words for form, words in _MACHINE if form.match(one.after)), ())
    if one.numeral.kind == "bytes":
        words = ("byte",)
    elif one.numeral.kind == "percent" and (part := _PART.search(one.before)):
        words = words_of(part[1])
    one.why = "the machine"
    return any(
        fits_machine(one, series)
        for name, series in facts.machine.items()
        if set(words) & set(words_of(name))
    )


def _is_pace(one: Statement, facts: Facts) -> bool:
    """Whether a duration is that of a step."""
    known = [*facts.ahead["rate"]]
    for name in facts.metrics:
        curve = facts.curve(name) if {"step", "time"} <= set(words_of(name)) else None
        known += [*curve.newest(), *curve.middles(), *curve.recents()] if curve is not None else []
    one.why = "the pace of the run"
    return fits(one.numeral, known, about=one.about) is not None


def _of_the_pace(sentence: Sentence) -> None:
    """Take a duration as so that is a number of steps times the duration of one."""
    paces = [one.numeral.value for one in sentence.statements
             if one.holds and _PER_STEP.match(one.after)]  # fmt: skip
    counts = [place.value for phrase in sentence.steps for place in phrase.places]
    for one in sentence.statements:
        if one.holds is False and one.numeral.kind == "duration":
            spans = [pace * count for pace in paces for count in counts]
            one.holds = fits(one.numeral, spans, about=True) is not None


def _somewhere(one: Statement, facts: Facts, *, anywhere: bool) -> bool:
    """Whether a metric was so at the step: one with a finding of that name, or any of a few."""
    told = [
        found.source for found in facts.findings
        if found.source in facts.metrics and (anywhere or found.name in one.words)
    ]  # fmt: skip
    few = list(facts.metrics)[:_FEW_METRICS] if anywhere else []
    return any(_of_metric(one, name, facts, []) for name in dict.fromkeys([*told, *few]))


def _counted(one: Statement, facts: Facts) -> bool:
    """Whether a number counts something of the run, or is a value of the config by its words."""
    following = words_of(one.after[:24])[:2]
    counts = {
        "metric": len(facts.metrics),
        "attempt": len(facts.run.attempts),
        "finding": len(facts.findings),
        "file": len(facts.paths),
        "gpu": len({name.split("/")[0] for name in facts.machine if name.startswith("gpu")}),
    }
    for word in following:
        if counts.get(word) == one.numeral.value:
            one.why = f"{word}s of the run"
            return True
    for key, value in facts.config.items():
        words = set(words_of(key.rsplit("/", 1)[-1]))
        if words & set(following) | (
            words & one.words if len(words & one.words) > 1 else set()
        ) and fits_config(one.numeral, value):
            one.why = f"config {key}"
            return True
    return False


# Fewer things than this are counted as in "three options", and claim nothing of the run.
_FEW = 10


def _count_holds(one: Statement, facts: Facts) -> bool | None:
    """Whether a count of things is so; None: nobody can know."""
    if _counted(one, facts):
        return True
    nouns = words_of(one.after[:32])[:2]
    value = one.numeral.value
    for noun in nouns:
        if noun in ("spike", "outlier"):
            names = {name for mention in one.subjects for name in mention.metrics}
            found = [f for f in facts.findings if f.name == "spike" and not f.over]
            near = [f for f in found if f.source in names] or found
            return value in (len(found), len(near)) if found else None
        if noun in ("metric", "attempt", "finding", "gpu", "file"):
            return False
    if _PER_BATCH.search(one.after):
        return False
    text = f"{value:g}"
    if facts.has_number(text) or facts.was_given(one.numeral, (), one.words, about=one.about):
        return True
    return None if value < _FEW else False


def _from_beside(one: Statement, other: Statement, facts: Facts) -> None:
    """Judge "from" once more by the step of its "to", and the other way round."""
    for failed, held in ((one, other), (other, one)):
        if (
            failed.holds
            or not held.holds
            or not held.true
            or failed.place not in (None, held.place)
        ):
            continue
        if failed.role in ("from", "to") and held.true[0][2] is not None:
            place, failed.place, failed.true = failed.place, None, list(held.true)
            _judge(failed, facts)
            if not failed.holds:
                failed.place, failed.true = place, []


def _judge_derived(
    one: Statement, sentence: Sentence, before: Sentence | None, facts: Facts
) -> None:
    if all(mention.unknown for mention in one.subjects) and one.subjects:
        one.holds, one.why = False, f"the run has no {one.subjects[0].text}"
        return
    names = [name for mention in one.subjects for name in mention.metrics]
    if re.search(r"\bthan\b", one.after):
        others = [name for mention in sentence.mentions for name in mention.metrics]
        names = list(dict.fromkeys([*names, *others]))
    one.holds = derives(one, sentence, before, facts, names)
    one.why = "follows from the values" if one.holds else "does not follow from the values"
    if not one.holds and facts.was_given(one.numeral, names, one.words, about=one.about):
        one.holds, one.why = True, "the prompt gave it"
    if not one.holds and one.role == "delta" and one.numeral.kind in ("duration", "number"):
        # "by 0.54" is a difference, "by 14:30" or "by 3 h" a time.
        one.holds = one.numeral.kind == "duration" and _loose(one, facts)


def _all_epochs(one: Statement, names: list[str], facts: Facts) -> bool:
    """Whether a number is that of all epochs, by the steps of those so far."""
    last = facts.steps[1]
    totals = [*facts.ahead["total"], *totals_of(facts)]
    for name in names:
        curve = facts.curve(name)
        highest = max(curve.extremes()[1], default=0.0) if curve is not None else 0.0
        wanted = [total * (highest + more) / (last + 1) for total in totals for more in (0, 1)]
        if fits(one.numeral, wanted) is not None:
            return True
    return False
