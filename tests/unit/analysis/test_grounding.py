"""A model that lies: what is false is struck, and nothing that is true."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest

import training_monitor as tm
from harness import sentences
from harness.answering import FakeRun, FakeSnapshot, digits_run, digits_snapshot
from harness.recorder import Recorder
from training_monitor.analysis.answer import Evidence, Issue, Report
from training_monitor.analysis.checking.grounding import Facts, Grounded, ground_report, ground_text

GIVEN = [
    "Time left: 20m (18m to 25m), rate 0.12 s per step",
    "Phase: OVERFITTING since step 500",
    "final val_loss 1.41 (1.38 to 1.45)",
]
SAID = Path(__file__).parents[1] / "data" / "said_of_digits.txt"
MARK = re.compile(r"([{\[])([^{}\[\]]*)[}\]]")
CASES = int(os.environ.get("CASES", "700"))


@pytest.fixture(scope="module")
def facts() -> Facts:
    return Facts(digits_run(), digits_snapshot(), given=GIVEN)


def marked(line: str) -> tuple[str, list[tuple[int, int]], list[tuple[int, int]]]:
    """Return a text without its marks, where it is false, and what may be struck with that."""
    line = line.replace("\\n", "\n")
    text, false, beside, at = "", [], [], 0
    for found in MARK.finditer(line):
        text += line[at : found.start()]
        span = (len(text), len(text) + len(found[2]))
        (false if found[1] == "{" else beside).append(span)
        text += found[2]
        at = found.end()
    return text + line[at:], false, beside


def lines_said() -> list[str]:
    lines = SAID.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def missed_and_wronged(
    grounded: Grounded, false: list[tuple[int, int]], beside: list[tuple[int, int]]
) -> tuple[list[tuple[int, int]], list[str]]:
    """Return the false places that were left, and the claims that were struck without reason."""
    struck = [claim for claim in grounded.claims if not claim.holds]
    missed = [
        span for span in false if not any(overlap(span, (one.start, one.end)) for one in struck)
    ]
    wronged = [
        f"{one.text}: {one.why}"
        for one in struck
        if not any(overlap(span, (one.start, one.end)) for span in [*false, *beside])
    ]
    return missed, wronged


@pytest.mark.parametrize("line", lines_said())
def test_what_models_say_is_struck_where_it_is_false_and_nowhere_else(
    line: str, facts: Facts
) -> None:
    text, false, beside = marked(line)
    grounded = ground_text(text, facts)
    missed, wronged = missed_and_wronged(grounded, false, beside)
    assert not missed, [text[start:end] for start, end in missed]
    assert not wronged
    assert ("[struck]" in grounded.text) == bool(false)


def test_there_are_enough_such_sentences() -> None:
    false = [line for line in lines_said() if "{" in line]
    assert len(false) >= 60
    assert len(lines_said()) - len(false) >= 60


@pytest.fixture(scope="module")
def random_runs() -> list[Facts]:
    return [Facts(sentences.random_run(seed), sentences.CODE) for seed in range(40)]


def test_no_true_sentence_about_a_random_run_is_struck(random_runs: list[Facts]) -> None:
    assert len(sentences.TEMPLATES) >= 60
    struck = []
    for seed in range(CASES):
        draw = random.Random(seed)
        facts = draw.choice(random_runs)
        template = sentences.TEMPLATES[seed % len(sentences.TEMPLATES)]
        case = sentences.make(template, facts.run, draw)
        grounded = ground_text(case.text, facts)
        if grounded.struck or not grounded.checked:
            struck.append(
                (seed, case.text, [claim for claim in grounded.claims if not claim.holds])
            )
    assert not struck


def test_one_false_fact_of_a_sentence_is_struck_and_no_other(random_runs: list[Facts]) -> None:
    wrong = []
    for seed in range(CASES):
        draw = random.Random(1_000_000 + seed)
        facts = draw.choice(random_runs)
        template = sentences.TEMPLATES[seed % len(sentences.TEMPLATES)]
        case, name = sentences.falsified(template, facts.run, draw)
        beside = [case.spans[one] for one in sentences.partners(name) if one in case.spans]
        grounded = ground_text(case.text, facts)
        missed, wronged = missed_and_wronged(grounded, [case.spans[name]], beside)
        if missed or wronged:
            wrong.append((seed, case.text, name, case.facts[name].text, wronged))
    assert not wrong


def test_a_value_of_another_step_is_struck_together_with_its_step(facts: Facts) -> None:
    grounded = ground_text("val_loss was 1.163 at step 500.", facts)
    assert grounded.text == "val_loss was [struck] at step [struck]."
    # A value that the metric never had says nothing against the step.
    assert ground_text("val_loss was 7.5 at step 500.", facts).text == (
        "val_loss was [struck] at step 500."
    )


def test_a_true_number_of_another_metric_is_struck(facts: Facts) -> None:
    assert ground_text("val_loss was 0.629 at step 400.", facts).text == (
        "val_loss was [struck] at step 400."
    )


def test_the_score_is_the_share_that_holds(facts: Facts) -> None:
    grounded = ground_text("val_loss was 1.022 at step 500 and 9.9 at step 700.", facts)
    assert (grounded.checked, grounded.struck, grounded.score) == (4, 1, 0.75)
    (claim,) = (one for one in grounded.claims if not one.holds)
    assert (claim.kind, claim.text, claim.why) == (
        "number", "9.9", "val_loss at step 700 is 1.314",
    )  # fmt: skip
    assert ground_text("The run looks healthy.", facts).score is None


def test_the_text_is_kept_but_for_what_is_struck(facts: Facts) -> None:
    text = "\u201cLoss\u201d \u2014 currently\u00a00.495 \u2192 fine; accuracy 99\u202f%."
    assert ground_text(text, facts).text == text.replace("99\u202f%", "[struck]")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("train.py:12", True),
        ("train.py:12 has `weight_decay=0.0`", True),
        ("train.py:11 has `weight_decay=0.0`", True),
        ("train.py:20 has `weight_decay=0.0`", False),
        ("train.py:12 has `weight_decay=0.01`", False),
        ("see `train.py`, line 12", True),
        ("see line 12 of `train.py`", True),
        ("see train.py, lines 12\u201314", True),
        ("see train.py#L12", True),
        ("see train.py (line 12)", True),
        ("see train.py:120", False),
        ("see train.py, lines 20-40", False),
        ("see net.py:6", True),
        ("see /home/u/project/model/net.py:6", True),
        ("see model/nets.py:6", False),
        ("see nothing.py", False),
        ("the call of clip_grad_norm_ in train.py:22", True),
        ("the call of clip_grad_norm_ in train.py:9", False),
        ("see line 6 of model/net.py: width=128", True),
        ("see line 6 of model/net.py: width=256", False),
        ("Look at train.py:12. There is also `zero_grad` further down.", True),
    ],
)
def test_places_in_the_code(text: str, holds: bool, facts: Facts) -> None:
    citations = [claim for claim in ground_text(text, facts).claims if claim.kind == "citation"]
    assert [claim.holds for claim in citations] == [holds], citations


def test_without_a_snapshot_no_place_in_the_code_holds() -> None:
    grounded = ground_text("See train.py:12.", Facts(digits_run()))
    assert grounded.text == "See [struck]."
    assert grounded.claims[0].why == "there is no snapshot of the code"


def test_an_ambiguous_file_is_struck() -> None:
    code = FakeSnapshot({"a/net.py": "x = 1\n", "b/net.py": "y = 2\n"})
    facts = Facts(digits_run(), code)
    assert ground_text("See net.py:1.", facts).text == "See [struck]."
    assert ground_text("See a/net.py:1.", facts).text == "See a/net.py:1."


@pytest.mark.parametrize(
    "text",
    [
        "Try lr 5e-5.",
        "Set weight_decay to 0.1 and dropout to 0.2.",
        "Consider a batch size of 64.",
        "Three options, 2 of them cheap.",
        "Look at it again in the next 20 steps.",
        "Adam's beta2 of 0.95 could help.",
        "If val_loss exceeds 1.5, stop at step 2000.",
        "I would lower the learning rate to 1e-5 after step 5000.",
    ],
)
def test_proposals_are_no_claims(text: str, facts: Facts) -> None:
    assert not ground_text(text, facts).struck


def test_what_advice_says_of_the_run_is_a_claim(facts: Facts) -> None:
    def said(text: str) -> str:
        return ground_text(text, facts, advised=True).text

    assert said("Learning rate 1e-5.") == "Learning rate 1e-5."
    assert said("Lower the learning rate from 3e-3 to 1e-4.") == (
        "Lower the learning rate from [struck] to 1e-4."
    )
    assert said("Clip at 1.0 because grad_norm peaked at 99.") == (
        "Clip at 1.0 because grad_norm peaked at [struck]."
    )
    assert said("Batch size 64 is too small.") == "Batch size [struck] is too small."


def test_unknown_metrics_are_struck(facts: Facts) -> None:
    for text in ("`val/bleu` falls.", "The curve of val/bleu falls.", "`grad_norm_ema` is 3."):
        assert "[struck]" in ground_text(text, facts).text, text
    for text in ("It overfits and/or memorises.", "`clip_grad_norm_` is called.", "`loss` falls."):
        assert "[struck]" not in ground_text(text, facts).text, text


def test_evidence_is_looked_up_field_by_field(facts: Facts) -> None:
    given = (
        Evidence(metric="val_loss", step=500, value=1.022),
        Evidence(metric="val_loss", step=500, value=1.5),
        Evidence(metric="val_loss", step=500, value=1.314),
        Evidence(metric="val_loss", step=550, value=1.022),
        Evidence(metric="val_loss", step=9000),
        Evidence(metric="val/bleu", step=500, value=1.022),
        Evidence(metric="lr", value=3e-4),
        Evidence(file="train.py", line=12, quote="weight_decay=0.0"),
        Evidence(file="train.py", line=20, quote="weight_decay=0.0"),
        Evidence(file="train.py", line=12, last_line=9),
        Evidence(metric="gpu0/temperature_celsius", value=68),
        Evidence(metric="batch_size", value=64),
    )
    report = Report("ok", "Fine.", (Issue("Val_loss at 9.9", "info", "", given),), ())
    checked, grounded = ground_report(report, facts)
    assert checked.issues[0].title == "Val_loss at [struck]"
    assert checked.issues[0].evidence == (
        given[0],
        Evidence(metric="val_loss", step=500),
        Evidence(metric="val_loss"),
        given[3],
        Evidence(metric="val_loss"),
        given[6],
        given[7],
        given[10],
        Evidence(metric="batch_size"),
    )
    assert grounded.checked - grounded.struck == sum(one.holds for one in grounded.claims)
    assert {one.start for one in grounded.claims if one.kind == "citation"} == {-1}


def test_a_report_is_checked_whole(facts: Facts) -> None:
    report = Report(
        "warning",
        "Loss fell to 0.495, val_loss rose to 1.9.",
        (Issue("Overfitting since step 500", "warning", "val_loss was 1.022 at step 500.", ()),),
        ("Lower lr from 3e-4 to 1e-4.", "Your batch size is 64, use 128."),
    )
    checked, grounded = ground_report(report, facts)
    assert checked.summary == "Loss fell to 0.495, val_loss rose to [struck]."
    assert checked.issues == report.issues
    assert checked.recommendations == (
        "Lower lr from 3e-4 to 1e-4.",
        "Your batch size is [struck], use 128.",
    )
    assert grounded.struck == 2


def test_the_last_value_is_that_of_the_prompt_or_a_later_one() -> None:
    run = FakeRun({"loss": (np.arange(100), 5.0 - 0.03 * np.arange(100))})
    shown = 5.0 - 0.03 * 80
    now = Facts(run)
    then = Facts(run, since=1_700_000_000.0 + 8.05)
    text = f"The current loss is {shown:.3f}."
    assert ground_text(text, now).struck == 1
    assert ground_text(text, then).struck == 0
    assert ground_text("The current loss is 4.4.", then).struck == 1


def test_series_are_read_once_and_only_those_in_question() -> None:
    run = digits_run()
    facts = Facts(run, digits_snapshot())
    ground_text("loss was 0.629 at step 400. The loss is now 0.495. " * 20, facts)
    assert run.reads == 1


def test_hostile_text_takes_no_long_time(facts: Facts) -> None:
    draw = random.Random(9)
    pieces = [
        "loss ",
        "`",
        "step ",
        "1",
        "0.5",
        ",",
        " to ",
        "-",
        "(",
        ")",
        "train.py",
        ":",
        "lines ",
        "%",
        "x ",
        "\n",
        "|",
        "```",
        "/",
        "between ",
        "and ",
        "from ",
        "e-4",
        "~",
        ". ",
        "A" * 40,
        "1," * 30,
        "\x1f",
        "->",
    ]
    began = time.monotonic()
    for _ in range(100):
        text = "".join(draw.choice(pieces) for _ in range(draw.randint(1, 120)))
        grounded = ground_text(text, facts)
        assert grounded.struck <= grounded.checked
    for piece in pieces:
        ground_text(piece * 500, facts)
    # Seconds; a pattern that backtracks without end takes hours.
    assert time.monotonic() - began < 300


def test_a_recorded_run_is_checked_as_it_is_stored(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    recorder = Recorder(run_dir)
    from training_monitor import _core

    for step in range(0, 1000, 10):
        _core.log({"loss": 2.0 - step / 1000, "note": "text"}, step)
    recorder.stored()
    facts = Facts(tm.open_run(run_dir))
    text = "Loss fell from 2.00 at step 0 to 1.50 at step 500 and is now 1.01."
    assert ground_text(text, facts).text == text
    assert ground_text("Loss was 1.25 at step 500.", facts).struck == 2


def test_a_long_series_is_exact_at_the_step_that_is_said(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    recorder = Recorder(run_dir)
    from training_monitor import _core

    for step in range(30_000):
        _core.log({"loss": 2.0 - step / 30_000 + (step % 7) * 1e-3}, step)
    recorder.stored()
    facts = Facts(tm.open_run(run_dir), most_points=1000)
    value = 2.0 - 12_345 / 30_000 + (12_345 % 7) * 1e-3
    curve = facts.curve("loss")
    assert curve is not None
    assert len(curve) < 30_000
    assert not ground_text(f"Loss was {value:.5f} at step 12,345.", facts).struck
    assert ground_text(f"Loss was {value + 0.01:.5f} at step 12,345.", facts).struck
