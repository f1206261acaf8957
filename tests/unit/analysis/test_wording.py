"""An analysis as people read it, and what is left of what a hostile model writes."""

from __future__ import annotations

import random
import re

import pytest

from training_monitor.analysis.answer import Evidence, Issue, Report
from training_monitor.analysis.checking.claims import Claim, Grounded
from training_monitor.analysis.wording import (
    confirmed,
    harmless,
    long_text,
    markdown,
    short_text,
)

REPORT = Report(
    "warning",
    "`val_loss` rose from 1.022 to [struck] while **loss** kept falling.",
    (
        Issue(
            "Overfitting",
            "warning",
            "val_loss rises since step 500.",
            (
                Evidence(metric="val_loss", step=1700, value=1.314),
                Evidence(file="train.py", line=12, quote="weight_decay=0.0"),
                Evidence(file="net.py", line=3, last_line=9),
            ),
        ),
    ),
    ("Add weight decay.", "Stop at step 500."),
)


def grounded(held: int, struck: int) -> Grounded:
    return Grounded(
        "", tuple(Claim("number", "1", 0, 1, at < held, "") for at in range(held + struck))
    )


def test_the_score_is_said_in_words() -> None:
    assert confirmed(grounded(12, 1)) == "12 of 13 statements confirmed, 1 struck"
    assert confirmed(grounded(1, 0)) == "1 of 1 statement confirmed"
    assert confirmed(grounded(0, 0)) == "no statement that could be checked"


def test_the_long_form_has_everything() -> None:
    assert long_text(REPORT, grounded(12, 1)) == (
        "WARNING\n\n"
        "`val_loss` rose from 1.022 to [struck] while **loss** kept falling.\n\n"
        "1. Overfitting (warning)\n"
        "   val_loss rises since step 500.\n"
        "   Evidence: val_loss 1.314 at step 1,700; train.py:12 (weight_decay=0.0); net.py:3-9\n\n"
        "What to do:\n- Add weight decay.\n- Stop at step 500.\n\n"
        "12 of 13 statements confirmed, 1 struck"
    )


def test_markdown_has_headings_of_its_own_only() -> None:
    report = Report("ok", "# Big\nfine", REPORT.issues, REPORT.recommendations)
    text = markdown(report, grounded(3, 0), title="run-7")
    assert text.startswith("## run-7: ok\n\n\\# Big\nfine\n\n### Overfitting (warning)\n")
    assert "- train.py:12 (weight_decay=0.0)\n" in text
    assert text.endswith("\n\n*3 of 3 statements confirmed*\n")


def test_the_short_form_fits_a_lock_screen() -> None:
    text = short_text(REPORT, grounded(12, 1), run="digits")
    assert text == (
        "digits: WARNING. val_loss rose from 1.022 to [struck] while loss kept falling. "
        "(1 of 13 struck)"
    )
    long = Report("critical", "word " * 500, (), ())
    text = short_text(long, grounded(2, 7), run="a-name" * 30)
    assert len(text) <= 240
    assert text.endswith("\u2026 (7 of 9 struck)")
    assert "\n" not in short_text(Report("ok", "a\nb", (), ()), grounded(0, 0))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("see https://evil.example/a?b=1", "see hxxps://evil[.]example/a?b=1"),
        ("HTTP://EVIL.COM", "HXXP://EVIL[.]COM"),
        ("[click](https://evil.com)", "click (hxxps://evil[.]com)"),
        ("![pixel](https://evil.com/p.png?d=secret)", "pixel"),
        ("<img src=x onerror=alert(1)>hello", "hello"),
        ("fine <scr<b>ipt>alert(1)</script>", "fine"),
        ("<script>alert(1)</script>fine", "fine"),
        ("www.evil.com/path and evil.io", "www[.]evil[.]com/path and evil[.]io"),
        ("javascript:alert(1)", "javascript[:]alert(1)"),
        ("tg://resolve?domain=x", "tg[:]//resolve?domain=x"),
        ("mail me@evil.com", "mail me[at]evil[.]com"),
        ("ht\u200btps://evil.com", "hxxps://evil[.]com"),
        ("https\uff1a//evil\u3002com", "hxxps://evil[.]com"),
        ("red \x1b[31m\x07text\u202e", "red [31mtext"),
        ("[a]: https://evil.com\nrest", "rest"),
        ("loss < 0.5 and a <b", "loss < 0.5 and a \u2039b"),
        ("train.py:12, model.to(device), torch.nn, loss.backward()",
         "train.py:12, model.to(device), torch.nn, loss.backward()"),
        ("step 5: lr 1e-4 is 3.5x", "step 5: lr 1e-4 is 3.5x"),
        ("http://10.0.0.1:80/x", "hxxp://10[.]0[.]0[.]1:80/x"),
    ],
)  # fmt: skip
def test_nothing_can_be_followed_or_drawn(given: str, shown: str) -> None:
    assert harmless(given) == shown


def test_no_mixture_of_hostile_pieces_leaves_a_live_one() -> None:
    draw = random.Random(3)
    pieces = [
        "https://",
        "http:",
        "//",
        "evil.com",
        "<a href=",
        ">",
        "<",
        "](",
        "![",
        "[x]",
        ")",
        "\u200b",
        "www.",
        "<!--",
        "-->",
        "<img ",
        "javascript:",
        "\n",
        " ",
        "a@b.org",
        "\uff1a",
        "/",
        "\x1b[",
    ]
    live = re.compile(
        (
            r"https?://|www\.\w|evil\.com(?!\w)|b\.org(?!\w)|<[a-zA-Z/!]|\]\(\s*h|"
            r"javascript:(?=\S)|[\x00-\x09\x0b-\x1f\x7f]"
        ),
        re.IGNORECASE,
    )
    for _ in range(10_000):
        text = "".join(draw.choice(pieces) for _ in range(draw.randint(1, 12)))
        shown = harmless(text)
        assert not live.search(shown), (text, shown)


def test_length_is_bounded() -> None:
    huge = Report(
        "ok",
        "x y " * 50_000,
        tuple(Issue("t " * 500, "info", "e " * 5000, ()) for _ in range(20)),
        ("r " * 5000,) * 20,
    )
    score = grounded(5, 5)
    assert len(long_text(huge, score)) <= 4000
    assert len(markdown(huge, score)) <= 20_000
    assert long_text(huge, score).endswith("5 of 10 statements confirmed, 5 struck")
