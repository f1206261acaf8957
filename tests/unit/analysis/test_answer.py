"""What a model may send as its report, and what is made of it."""

from __future__ import annotations

import json
import random
from contextlib import suppress

import pytest

from training_monitor.analysis.answer import (
    REPORT_TOOL,
    Evidence,
    Report,
    ReportError,
    read_report,
    report_of_text,
)

WHOLE = {
    "status": "warning",
    "summary": "val_loss rises.",
    "issues": [
        {
            "title": "Overfitting",
            "severity": "warning",
            "explanation": "val_loss rose while loss fell.",
            "evidence": [
                {"metric": "val_loss", "step": 500, "value": 1.31},
                {"file": "train.py", "line": 42, "quote": "weight_decay=0.0"},
            ],
        }
    ],
    "recommendations": ["Add weight decay."],
}


def test_a_whole_report_comes_back_as_it_was_given() -> None:
    for arguments in (WHOLE, json.dumps(WHOLE)):
        report = read_report(arguments)
        assert (report.status, report.summary) == ("warning", "val_loss rises.")
        (issue,) = report.issues
        assert issue.evidence == (
            Evidence(metric="val_loss", step=500, value=1.31),
            Evidence(file="train.py", line=42, quote="weight_decay=0.0"),
        )
        assert report.recommendations == ("Add weight decay.",)


@pytest.mark.parametrize(
    "text",
    [
        "Here it is:\n```json\n%s\n```\nThat is all.",
        "%s",
        "Sure! %s",
        "```\n%s",
    ],
)
def test_json_is_found_in_text_and_fences(text: str) -> None:
    assert report_of_text(text % json.dumps(WHOLE, indent=1)) == read_report(WHOLE)


def test_commas_too_many_single_quotes_and_python_words_are_read() -> None:
    text = "{'status': 'ok', 'summary': 'All is well.', 'issues': [], 'recommendations': None,}"
    assert read_report(text) == Report("ok", "All is well.", (), ())


def test_what_was_cut_off_is_read_as_far_as_it_goes() -> None:
    text = json.dumps(WHOLE)
    for end in range(text.index("val_loss rises") + 5, len(text)):
        report = read_report(text[:end])
        assert report.status == "warning"
        assert WHOLE["summary"].startswith(report.summary.rstrip("\\"))


def test_numbers_may_be_texts_and_lists_may_be_one_item() -> None:
    report = read_report(
        {
            "status": "Critical!",
            "summary": ["Two", "lines"],
            "issues": {
                "name": "Loss",
                "severity": "HIGH",
                "description": "It is high.",
                "evidence": {"metric": "loss", "step": "1,200", "value": "57.3"},
                "confidence": 3,
            },
            "recommendations": "Lower the learning rate.",
        }
    )
    assert report.summary == "Two\nlines"
    assert report.issues[0].severity == "critical"
    assert report.issues[0].evidence == (Evidence(metric="loss", step=1200, value=57.3),)
    assert report.recommendations == ("Lower the learning rate.",)
    # A word that nobody knows counts as the worst of the issues.
    assert report.status == "critical"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("train.py:42", Evidence(file="train.py", line=42)),
        ("model/net.py:10-20", Evidence(file="model/net.py", line=10, last_line=20)),
        ("loss@80=0.54", Evidence(metric="loss", step=80, value=0.54)),
        ({"file": "train.py:42"}, Evidence(file="train.py", line=42)),
        ({"file": "a.py", "line": "3-5"}, Evidence(file="a.py", line=3, last_line=5)),
        ({"file": "a.py", "lines": [3, 5]}, Evidence(file="a.py", line=3, last_line=5)),
        ({"metric": "acc", "value": "93.2%"}, Evidence(metric="acc", value=0.932)),
        ({"metric": "loss", "step": 80.0}, Evidence(metric="loss", step=80)),
        ({"metric": "loss", "step": -1}, Evidence(metric="loss")),
    ],
)
def test_evidence_is_read_in_many_forms(given: object, expected: Evidence) -> None:
    report = read_report({"summary": "s", "issues": [{"title": "t", "evidence": [given]}]})
    (evidence,) = report.issues[0].evidence
    assert evidence == pytest.approx(expected) if expected.value is None else True
    for name in Evidence.__dataclass_fields__:
        assert getattr(evidence, name) == pytest.approx(getattr(expected, name))


def test_a_call_may_be_wrapped_in_its_own_name() -> None:
    assert read_report({"name": "report_analysis", "arguments": json.dumps(WHOLE)}) == read_report(
        WHOLE
    )


def test_plain_text_is_the_summary() -> None:
    report = report_of_text("The loss falls.\n\nStatus: **warning**")
    assert report == Report("warning", "The loss falls.\n\nStatus: **warning**", (), ())
    assert report_of_text("The loss falls.").status == "ok"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, "got nothing"),
        ([], "got a list"),
        (7, "got a int"),
        ("", "got the text ''"),
        ("not json", "got the text 'not json'"),
        ({}, 'needs "summary"'),
        ({"summary": {}, "loss": 1}, "got an object, and the fields loss, summary"),
    ],
)
def test_the_error_says_what_is_wrong(given: object, why: str) -> None:
    with pytest.raises(ReportError, match="report_analysis") as caught:
        read_report(given)
    assert why in str(caught.value)


def test_an_empty_answer_is_an_error() -> None:
    with pytest.raises(ReportError, match="empty"):
        report_of_text("  \n")


def test_whatever_is_sent_is_a_report_or_a_report_error() -> None:
    draw = random.Random(5)
    text = json.dumps(WHOLE)
    for _ in range(3000):
        chars = list(text)
        for _ in range(draw.randint(1, 30)):
            at = draw.randrange(len(chars))
            chars[at] = draw.choice(['"', "{", "}", "[", "]", ",", ":", "\\", "\n", "'", "9", ""])
        mangled = "".join(chars)
        for read in (read_report, report_of_text):
            try:
                report = read(mangled)
            except ReportError:
                continue
            assert report.status in ("ok", "warning", "critical")
            assert report.summary
    for nasty in ("[" * 100_000, "{" * 100_000, '{"a":' * 50_000, "\x00", "{'summary': '\\u12"):
        for read in (read_report, report_of_text):
            with suppress(ReportError):
                read(nasty)


def test_the_schema_asks_for_what_the_reader_reads() -> None:
    parameters = REPORT_TOOL["function"]["parameters"]
    assert set(parameters["properties"]) == set(Report.__dataclass_fields__)
    issue = parameters["properties"]["issues"]["items"]["properties"]
    assert set(issue["evidence"]["items"]["properties"]) == set(Evidence.__dataclass_fields__)
    json.dumps(REPORT_TOOL)
