"""The table of `show`: what metrics were taken for, as far as a line holds it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.metrics import METRICS
from training_monitor.cli import show
from training_monitor.detect.headline import understand

GOLDEN = Path(__file__).parents[1] / "golden"


def test_table_says_what_metrics_were_taken_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    meanings = understand(dict.fromkeys(metric.name for metric in METRICS))
    show.print_metrics(METRICS, meanings)
    show.print_headline(meanings)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 120
    assert text.isascii()
    path = GOLDEN / "show_meanings.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"UPDATE_GOLDEN=1 writes {path}"


def test_table_leaves_out_what_the_line_does_not_hold(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    meanings = understand(dict.fromkeys(metric.name for metric in METRICS))
    for columns, said in ((120, "less is better"), (96, "grad norm"), (80, None)):
        monkeypatch.setenv("COLUMNS", str(columns))
        show.print_metrics(METRICS, meanings)
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= columns
        assert ("TAKEN FOR" in text) == (said is not None)
        assert said is None or said in text
        assert columns == 120 or "is better" not in text
