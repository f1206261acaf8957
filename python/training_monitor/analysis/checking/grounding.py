"""Grounding: every number, step, place in the code and metric of an answer against the run.

What does not hold is struck. A value and the step it is said of are one statement: where the value
is that of another step, both are struck. Not checked are words without a number ("steady"), what is
proposed, supposed or general ("try 5e-5", "if it exceeds 2", "typical norms are 0.1 to 1"), and
whether a line that is cited without its text is the one that matters.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice

from training_monitor.analysis.checking.citations import citations_in, look_up
from training_monitor.analysis.checking.claims import STRUCK, Claim, Grounded
from training_monitor.analysis.checking.evidence import ground_evidence
from training_monitor.analysis.checking.facts import Facts
from training_monitor.analysis.checking.judging import judge
from training_monitor.analysis.checking.names import names_in
from training_monitor.analysis.checking.numerals import plain_text
from training_monitor.analysis.checking.phrases import sentences
from training_monitor.analysis.checking.reading import read_sentence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from training_monitor.analyses import Evidence, Issue
    from training_monitor.analysis.answer import Report
    from training_monitor.analysis.checking.claims import Sentence
    from training_monitor.analysis.checking.lexicon import Mention

__all__ = ["Claim", "Facts", "Grounded", "ground_report", "ground_text"]

# What is longer, or has more numbers, is no answer to a person: it is cut there.
_MOST_CHARS = 16_000
_MOST_NUMBERS = 500
_DIGITS = re.compile(r"\d+")
_MASK = "\x1f"
_URL = re.compile(r"\b(?:\w+://|www\.)\S+|\b[\w.+-]+@[\w-]+\.\w+\b")
_FENCE = re.compile(r"```(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)(?:```|\Z)", re.DOTALL)
_CODE = re.compile(r"`([^`\n]{2,300})`")
_LANGUAGES = frozenset(
    [
        "python",
        "py",
        "yaml",
        "yml",
        "bash",
        "sh",
        "shell",
        "diff",
        "patch",
        "toml",
        "json",
        "ini",
        "console",
        "zsh",
    ]
)


def ground_text(
    text: str, facts: Facts, *, advised: bool = False, shown: tuple[float, ...] = ()
) -> Grounded:
    """Check a text, and strike what does not hold.

    Args:
        text: What a model wrote.
        facts: The run and its code.
        advised: Whether all of it is advice: then only what it says of the run is checked.
        shown: Numbers of lines of code that are cited beside it.
    """
    text = _bounded(text)
    plain = plain_text(text)
    claims: list[Claim] = []
    plain = _masked(plain, (found.span() for found in _URL.finditer(plain)))
    plain = _without_fences(plain, facts)
    cited: list[tuple[int, float]] = []
    plain = _cited(text, plain, facts, claims, cited)
    plain = _without_quotes(plain, facts)
    mentions = names_in(plain, facts)
    for one, holds, why in mentions.claims:
        claims.append(Claim("metric", text[one.start : one.end], one.start, one.end, holds, why))
    before: Sentence | None = None
    for start, end in sentences(plain):
        inside = [one for one in mentions.mentions if start <= one.start and one.end <= end]
        local = [_moved(one, -start) for one in inside]
        sentence = read_sentence(plain[start:end], start, local, before, advised=advised)
        sentence.cited = (*shown, *(value for at, value in cited if start <= at < end))
        claims += _judged(text, sentence, before, facts)
        before = sentence
    claims.sort(key=lambda claim: (claim.start, claim.end))
    return Grounded(_struck(text, claims), tuple(claims))


def ground_report(report: Report, facts: Facts) -> tuple[Report, Grounded]:
    """Check a report; return it with what does not hold struck, and all that was checked.

    The text of the second is that of the summary. Evidence of which nothing holds is left out.
    """
    claims: list[Claim] = []

    def checked(text: str, *, advised: bool = False, shown: tuple[float, ...] = ()) -> str:
        grounded = ground_text(text, facts, advised=advised, shown=shown)
        claims.extend(grounded.claims)
        return grounded.text

    def checked_issue(issue: Issue) -> Issue:
        found = [ground_evidence(one, facts) for one in issue.evidence]
        claims.extend(claim for _, many in found for claim in many)
        evidence = tuple(one for one, _ in found if one is not None)
        shown = tuple(number for one in evidence for number in _numbers_at(one, facts))
        return replace(
            issue,
            title=checked(issue.title, shown=shown),
            explanation=checked(issue.explanation, shown=shown),
            evidence=evidence,
        )

    summary = checked(report.summary)
    issues = tuple(checked_issue(issue) for issue in report.issues)
    advice = tuple(checked(one, advised=True) for one in report.recommendations)
    whole = replace(report, summary=summary, issues=issues, recommendations=advice)
    return whole, Grounded(summary, tuple(claims))


def _numbers_at(one: Evidence, facts: Facts) -> tuple[float, ...]:
    """Return the numbers in the lines of code that a piece of evidence names."""
    if one.file is None or one.line is None:
        return ()
    return tuple(look_up(one.file, one.line, one.last_line, (), facts).numbers)


def _bounded(text: str) -> str:
    text = text[:_MOST_CHARS]
    starts = (found.start() for found in _DIGITS.finditer(text))
    cut = next(islice(starts, _MOST_NUMBERS, None), len(text))
    return text[:cut]


def _moved(one: Mention, by: int) -> Mention:
    return replace(one, start=one.start + by, end=one.end + by)


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    chars = list(text)
    for start, end in spans:
        chars[start:end] = _MASK * (end - start)
    return "".join(chars)


def _without_fences(plain: str, facts: Facts) -> str:
    """Mask blocks of code: those in a language, and of others the lines that stand in the code."""
    spans: list[tuple[int, int]] = []
    for found in _FENCE.finditer(plain):
        if found["language"].lower() in _LANGUAGES:
            spans.append(found.span())
            continue
        at = found.start("code")
        for line in found["code"].split("\n"):
            if len(line.strip()) > 3 and facts.in_code(line.strip()):
                spans.append((at, at + len(line)))
            at += len(line) + 1
    return _masked(plain, spans)


def _without_quotes(plain: str, facts: Facts) -> str:
    """Mask quoted code that stands in the snapshot."""
    spans = [
        found.span()
        for found in _CODE.finditer(plain)
        if re.search(r"\d", found[1])
        and re.search(r"[=([]", found[1])
        and facts.snapshot is not None
        and facts.in_code(found[1].strip())
    ]
    return _masked(plain, spans)


def _cited(
    text: str, plain: str, facts: Facts, claims: list[Claim], cited: list[tuple[int, float]]
) -> str:
    """Check the places in the code that are cited, and mask them."""
    path: str | None = None
    spans = []
    for one in citations_in(plain):
        path = one.path or path
        if path is None:
            # "line 42" of nothing: there is nothing to look it up in.
            if len(facts.paths) != 1:
                claims.append(
                    Claim("citation", text[one.start : one.end], one.start, one.end, False,
                          "a line of which file?")
                )  # fmt: skip
                spans.append((one.start, one.end))
                continue
            path = facts.paths[0]
        verdict = look_up(path, one.first, one.last, one.quotes, facts)
        claims.append(
            Claim(
                "citation",
                text[one.start : one.end],
                one.start,
                one.end,
                verdict.holds,
                verdict.why,
            )
        )
        cited += [(one.start, value) for value in verdict.numbers]
        spans.append((one.start, one.end))
    return _masked(plain, spans)


def _judged(text: str, sentence: Sentence, before: Sentence | None, facts: Facts) -> list[Claim]:
    places = judge(sentence, before, facts)
    found = []
    for one in sentence.statements:
        if one.holds is not None:
            start, end = sentence.start + one.numeral.start, sentence.start + one.numeral.end
            found.append(Claim("number", text[start:end], start, end, one.holds, one.why))
    for place, holds, why in places:
        start, end = sentence.start + place.start, sentence.start + place.end
        found.append(Claim("step", text[start:end], start, end, holds, why))
    return found


def _struck(text: str, claims: Iterable[Claim]) -> str:
    spans: list[tuple[int, int]] = []
    for claim in claims:
        if claim.holds:
            continue
        if spans and claim.start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], claim.end))
        else:
            spans.append((claim.start, claim.end))
    for start, end in reversed(spans):
        text = text[:start] + STRUCK + text[end:]
    return text
