"""The verdict on each step of a sentence, and on counts of steps."""

from __future__ import annotations

import re

import numpy as np

from training_monitor.analysis.checking import phrases
from training_monitor.analysis.checking.lexicon import words_of
from training_monitor.analysis.checking.numerals import close, reading
from training_monitor.analysis.checking.proposals import is_proposal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from training_monitor.analysis.checking.claims import Sentence, Statement
    from training_monitor.analysis.checking.facts import Facts
    from training_monitor.analysis.checking.stepping import Place, Steps

__all__ = ["StepVerdict", "step_verdicts", "totals_of"]

_EVENTS = (
    ("max", re.compile(r"\b(?:peak\w*|max\w*|highest|largest)\b", re.IGNORECASE)),
    ("min", re.compile(r"\b(?:min(?:imum)?|lowest|smallest|bottom\w*)\b", re.IGNORECASE)),
    ("best", re.compile(r"\b(?:best)\b", re.IGNORECASE)),
    ("nan", re.compile(r"\b(?:nan|inf|infinite|non-finite)\b", re.IGNORECASE)),
    (
        "spike",
        re.compile(r"\b(?:spik\w*|jump\w*|outlier|surg\w*|blew up|dip(?:s|ped)?)\b", re.IGNORECASE),
    ),
)
_AROUND_SHARE = 0.02

_AHEAD = re.compile(r"^\W*(?:will|would|should|could|might|may)\b", re.IGNORECASE)

StepVerdict = tuple["Place", bool, str]


def step_verdicts(sentence: Sentence, facts: Facts) -> Iterator[StepVerdict]:
    """Yield for each step of a sentence whether it holds, and why."""
    for phrase in sentence.steps:
        before = sentence.text[: phrase.start]
        if phrase.total is not None:
            yield phrase.total, *_of_total(phrase.total.value, facts)
        proposed = is_proposal(before, sentence.text[phrase.end :], advised=sentence.advised)
        proposed = proposed or bool(_AHEAD.match(sentence.text[phrase.end :]))
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
    if phrase.kind in ("every", "total", "span", "last", "first", "ago", "left"):
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
    if phrase.kind == "left":
        return _of_rest(value, phrase, facts)
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
        if any(value == total for total in (*facts.ahead["total"], *totals_of(facts))):
            return True, "the steps of the run"
        return value <= length + slack, f"the run has {length:,} steps"
    slack = 0.05 * value if phrase.about else phrase.places[0].half
    return value <= length + slack, f"the run has {length:,} steps"


def _of_rest(value: float, phrase: Steps, facts: Facts) -> tuple[bool, str] | None:
    """Check how many steps are left; None where nobody knows how many there will be."""
    totals = [*facts.ahead["total"], *totals_of(facts)]
    rests = [total - facts.steps[1] - less for total in totals for less in (0, 1)]
    slack = 0.05 * value if phrase.about else phrase.places[0].half
    held = any(rest >= 0 and abs(rest - value) <= slack for rest in rests)
    return (held, "the steps that are left") if totals else None


def _spacings(facts: Facts, sentence: Sentence) -> set[float]:
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
    known = {*facts.ahead["total"], *totals_of(facts), float(last), float(last + 1)}
    return value in known, "the steps of the run in all"


def totals_of(facts: Facts) -> Iterator[float]:
    """Yield the numbers of steps that the configuration has."""
    for key, value in facts.config.items():
        if isinstance(value, (int, float)) and {"step", "iter", "iteration"} & set(words_of(key)):
            yield float(value)
