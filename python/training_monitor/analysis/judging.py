"""The verdict on each number and step of a sentence."""

from __future__ import annotations

import re

from training_monitor.analysis import phrases
from training_monitor.analysis.derived import derives
from training_monitor.analysis.lexicon import words_of
from training_monitor.analysis.numerals import close, reading
from training_monitor.analysis.truth import (
    bounds_hold,
    endpoint,
    fits,
    fits_config,
    fits_machine,
    values_for,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from training_monitor.analysis.claims import Sentence, Statement
    from training_monitor.analysis.curve import Curve
    from training_monitor.analysis.facts import Facts
    from training_monitor.analysis.lexicon import Mention
    from training_monitor.analysis.stepping import Place, Steps

__all__ = ["StepVerdict", "judge"]

_PROGRESS = re.compile(
    r"^\W{0,3}(?:done|complete|finished|through|of the (?:run|training|way|total|planned))",
    re.IGNORECASE,
)
_TIMES = frozenset(("time", "sec", "latency", "duration", "ms", "second", "eta", "hour", "minute"))
_EVENTS = (
    ("max", re.compile(r"\b(?:peak\w*|max\w*|highest|largest)\b", re.IGNORECASE)),
    ("min", re.compile(r"\b(?:min(?:imum)?|lowest|smallest|bottom\w*)\b", re.IGNORECASE)),
    ("best", re.compile(r"\b(?:best)\b", re.IGNORECASE)),
    ("nan", re.compile(r"\b(?:nan|inf|infinite|non-finite)\b", re.IGNORECASE)),
    ("spike", re.compile(r"\b(?:spik\w*|jump\w*|outlier|surg\w*|blew up|dip(?:s|ped)?)\b", re.IGNORECASE)),
)  # fmt: skip
_AROUND_SHARE = 0.02
_FEW_METRICS = 20
_PER_SECOND = re.compile(
    r"^\s*(?:tokens?|samples?|steps?|it|iter\w*|images?|examples?)\s*(?:/|per )\s*(?:s\b|sec\w*)",
    re.IGNORECASE,
)

StepVerdict = tuple["Place", bool, str]


def judge(sentence: Sentence, before: Sentence | None, facts: Facts) -> list[StepVerdict]:
    """Say of each number of a sentence whether it holds; return the same of its steps."""
    ordinary = [one for one in sentence.statements if one.role not in phrases.DERIVED]
    for one in ordinary:
        _bind_ends(one)
        _judge(one, facts)
        metrics = [name for mention in one.subjects for name in mention.metrics]
        if not one.holds and (one.inherited or not metrics) and one.numeral.value in sentence.cited:
            one.holds, one.why = True, "it stands in the line that is cited"
    for one, other in zip(ordinary, ordinary[1:], strict=False):
        _from_beside(one, other, facts)
    for one in sentence.statements:
        if one.role in phrases.DERIVED:
            _judge_derived(one, sentence, before, facts)
    return list(_step_verdicts(sentence, facts))


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
    if numeral.kind == "duration":
        seconds = [*facts.seconds, *facts.ahead["seconds"]]
        if any(close(numeral.value, numeral.half, value, about=True) for value in seconds):
            one.why = "the clock of the run"
            return True
    if numeral.kind == "percent" and _PROGRESS.search(one.after):
        last = facts.steps[1]
        totals = [*facts.ahead["total"], *_totals(facts)]
        if any(
            close(numeral.value, numeral.half, 100.0 * last / total, about=one.about)
            for total in totals
            if total
        ):
            one.why = "the progress of the run"
            return True
    if _PER_SECOND.match(one.after):
        rates = [1.0 / rate for rate in facts.ahead["rate"] if rate]
        if any(close(numeral.value, numeral.half, rate, about=True) for rate in rates):
            return True
    metrics = [name for mention in one.subjects for name in mention.metrics]
    if one.place is not None and (not metrics or one.inherited):
        return _somewhere(one, facts, anywhere=not metrics)
    if metrics and not one.inherited and numeral.kind not in ("duration", "clock"):
        return False
    if not metrics and _counted(one, facts):
        return True
    return facts.was_given(numeral, (), one.words, about=one.about)


def _somewhere(one: Statement, facts: Facts, *, anywhere: bool) -> bool:
    """Whether a metric was so at the step: one with a finding of that name, or any of a few."""
    told = [
        found.source for found in facts.findings
        if found.source in facts.metrics and (anywhere or found.name in one.words)
    ]  # fmt: skip
    few = list(facts.metrics)[:_FEW_METRICS] if anywhere else []
    for name in dict.fromkeys([*told, *few]):
        if _of_metric(one, name, facts, []):
            return True
    return False


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
    text = f"{value:g}"
    if facts.has_number(text) or facts.was_given(one.numeral, (), one.words, about=one.about):
        return True
    return None if value < _FEW else False


def _totals(facts: Facts) -> Iterator[float]:
    for key, value in facts.config.items():
        if isinstance(value, (int, float)) and {"step", "iter", "iteration"} & set(words_of(key)):
            yield float(value)


def _from_beside(one: Statement, other: Statement, facts: Facts) -> None:
    """Judge "from" once more by the step of its "to", and the other way round."""
    for failed, held in ((one, other), (other, one)):
        if failed.holds or not held.holds or failed.place is not None or not held.true:
            continue
        if failed.role in ("from", "to") and held.true[0][2] is not None:
            failed.true = list(held.true)
            _judge(failed, facts)
            if not failed.holds:
                failed.true = []


def _judge_derived(
    one: Statement, sentence: Sentence, before: Sentence | None, facts: Facts
) -> None:
    if all(mention.unknown for mention in one.subjects) and one.subjects:
        one.holds, one.why = False, f"the run has no {one.subjects[0].text}"
        return
    names = [name for mention in one.subjects for name in mention.metrics]
    one.holds = derives(one, sentence, before, facts, names)
    one.why = "follows from the values" if one.holds else "does not follow from the values"
    if not one.holds and facts.was_given(one.numeral, names, one.words, about=one.about):
        one.holds, one.why = True, "the prompt gave it"
    if not one.holds and one.role == "delta" and one.numeral.kind in ("duration", "number"):
        # "by 0.54" is a difference, "by 14:30" or "by 3 h" a time.
        one.holds = one.numeral.kind == "duration" and _loose(one, facts)


# --- steps


def _step_verdicts(sentence: Sentence, facts: Facts) -> Iterator[StepVerdict]:
    for phrase in sentence.steps:
        before = sentence.text[: phrase.start]
        if phrase.total is not None:
            yield phrase.total, *_of_total(phrase.total.value, facts)
        proposed = phrases.is_proposal(
            before, sentence.text[phrase.end :], advised=sentence.advised
        )
        for place in phrase.places:
            bound = [one for one in sentence.statements if _concerns(one, place)]
            verdict = _of_place(place, phrase, sentence, bound, facts, proposed=proposed)
            if verdict is not None:
                yield place, *verdict


def _concerns(one: Statement, place: Place) -> bool:
    if one.place is not None:
        return one.place == place
    return one.window is not None and place in one.window.places


def _of_place(
    place: Place,
    phrase: Steps,
    sentence: Sentence,
    bound: list[Statement],
    facts: Facts,
    *,
    proposed: bool,
) -> tuple[bool, str] | None:
    first, last = facts.steps
    value = place.value
    if phrase.kind == "future":
        return None
    if phrase.kind in ("every", "total", "span", "last", "first", "ago"):
        verdict = _of_count(value, phrase, sentence, facts)
        if verdict is None or (proposed and phrase.kind in ("every", "total", "span")):
            return None
        if (
            verdict[0]
            and bound
            and not any(one.holds for one in bound)
            and phrase.kind in ("last", "first")
        ):
            return False, "what is said of these steps does not hold"
        return verdict
    slack = max(place.half, 0.02 * (last - first) if phrase.about else 0.0)
    inside = first - slack <= value <= last + slack + (1 if phrase.kind == "position" else 0)
    if proposed and not bound:
        return None
    if not inside:
        return False, f"the run has steps {first:,} to {last:,}"
    if (
        bound
        and not any(one.holds or one.holds is None for one in bound)
        and any(_elsewhere(one, facts) for one in bound)
    ):
        return False, "what is said of this step is so at another"
    if not bound:
        return _of_event(value, slack, phrase, sentence, facts)
    return True, "a step of the run"


def _elsewhere(one: Statement, facts: Facts) -> bool:
    """Whether a value that does not hold where it is said holds at another step."""
    if one.place is None:
        return True
    for mention in one.subjects:
        for name in mention.metrics:
            curve = facts.curve(name)
            if curve is None:
                continue
            if not len(curve.at(one.place.value)) and not facts.has_step(one.place.value):
                return True
            if any(len(curve.where(written, half)) for written, half in reading(one.numeral)):
                return True
    return False


def _of_event(
    value: float, slack: float, phrase: Steps, sentence: Sentence, facts: Facts
) -> tuple[bool, str]:
    """Check a step at which something is said to have happened."""
    before = sentence.text[: phrase.start]
    event = next((name for name, words in _EVENTS if words.search(before)), None)
    if phrases.of_window(before) is not None:
        event = None
    names = [name for mention in sentence.subjects for name in mention.metrics]
    near = [mention for mention in sentence.mentions if mention.end <= phrase.start]
    if near:
        names = list(near[-1].metrics)
    if event is None or not names:
        return True, "a step of the run"
    first, last = facts.steps
    reach = max(slack, _AROUND_SHARE * (last - first) if phrase.about else 0.0)
    told = [one for one in facts.findings if one.source in names]
    if any(
        step is not None and abs(step - value) <= max(reach, 1.0)
        for one in told
        for step in (one.step, one.since)
    ):
        return True, "a finding says so"
    for name in names:
        curve = facts.exact(name, value, reach)
        whole = facts.curve(name)
        if curve is None or whole is None:
            continue
        if event == "spike" and curve.stands_out(value, reach):
            return True, f"{name} stands out there"
        if event == "nan" and len(found := curve.at(value, reach)) and not (found == found).all():
            return True, f"{name} has no number there"
        low, high = whole.extremes()
        wanted = {"max": high, "min": low, "best": [*low, *high]}.get(event, [])
        if any(one in wanted for one in curve.at(value, reach)):
            return True, f"{name} is at its {event} there"
    return False, f"{names[0]} has no {event} there"


def _of_count(
    value: float, phrase: Steps, sentence: Sentence, facts: Facts
) -> tuple[bool, str] | None:
    first, last = facts.steps
    length = last - first + 1
    if phrase.kind == "total":
        return _of_total(value, facts)
    if phrase.kind == "every":
        spacings = _spacings(facts, sentence)
        held = value in spacings or any(value == one for one in facts.config.values())
        return held, "the intervals of the run"
    if phrase.kind == "span":
        places = [
            place.value
            for one in sentence.steps
            if one.kind in ("at", "range", "position")
            for place in one.places
        ]
        if len(places) >= 2:
            gaps = [abs(a - b) for i, a in enumerate(places) for b in places[i + 1 :]]
            held = any(
                close(value, phrase.places[0].half, gap + more, about=phrase.about)
                for gap in gaps
                for more in (0, 1)
            )
            return held, "the steps between"
        slack = 0.05 * length if phrase.about else phrase.places[0].half
        if any(value == total for total in (*facts.ahead["total"], *_totals(facts))):
            return True, "the steps of the run"
        return value <= length + slack, f"the run has {length:,} steps"
    slack = 0.05 * value if phrase.about else phrase.places[0].half
    return value <= length + slack, f"the run has {length:,} steps"


def _spacings(facts: Facts, sentence: Sentence) -> set[float]:
    import numpy as np

    names = [name for mention in sentence.subjects for name in mention.metrics] or list(
        facts.metrics
    )[:50]
    found: set[float] = set()
    for name in names:
        curve = facts.curve(name)
        if curve is not None and len(curve) > 1:
            found.add(float(np.median(np.diff(np.unique(curve.step)))))
    return found


def _of_total(value: float, facts: Facts) -> tuple[bool, str]:
    last = facts.steps[1]
    known = {*facts.ahead["total"], *_totals(facts), float(last), float(last + 1)}
    return value in known, "the steps of the run in all"
