"""Summary and descriptions are kept for the code, and shared by the runs that have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training_monitor.analysis.describing import CodeNotes, read_descriptions


def notes(root: Path, run: str = "a", snapshot: str = "abc") -> CodeNotes:
    (root / run).mkdir(parents=True, exist_ok=True)
    return CodeNotes(str(root), str(root / run), snapshot)


def test_two_runs_of_the_same_code_share_them(tmp_path: Path) -> None:
    first = notes(tmp_path)
    first.keep_summary("It trains.\n")
    first.keep_descriptions({"loss": "cross entropy"})
    second = notes(tmp_path, "b")
    assert (second.summary, second.descriptions) == ("It trains.", {"loss": "cross entropy"})
    second.copy()
    assert (tmp_path / "b" / "code_summary.md").read_text() == "It trains.\n"
    assert read_descriptions(str(tmp_path / "b")) == {"loss": "cross entropy"}


def test_other_code_has_its_own(tmp_path: Path) -> None:
    notes(tmp_path).keep_descriptions({"loss": "cross entropy"})
    assert notes(tmp_path, "a", "def").descriptions == {}


def test_new_metrics_are_added_to_those_that_are_known(tmp_path: Path) -> None:
    kept = notes(tmp_path)
    kept.keep_descriptions({"loss": "cross entropy"})
    kept.keep_descriptions({"lr": "learning rate"})
    assert kept.descriptions == {"loss": "cross entropy", "lr": "learning rate"}
    saved = json.loads((tmp_path / "a" / "metric_descriptions.json").read_text())
    assert list(saved) == ["loss", "lr"]


def test_forgotten_ones_are_asked_anew(tmp_path: Path) -> None:
    kept = notes(tmp_path)
    kept.keep_summary("old")
    kept.forget()
    assert kept.summary == ""


def test_without_code_they_belong_to_the_run_alone(tmp_path: Path) -> None:
    notes(tmp_path, snapshot="").keep_descriptions({"x": "a guess"})
    assert notes(tmp_path, snapshot="").descriptions == {"x": "a guess"}
    assert notes(tmp_path, "b", snapshot="").descriptions == {}


def test_what_a_model_hands_in_is_taken_of_the_metrics_it_was_asked_about() -> None:
    rows = [
        {"metric": "loss", "description": " cross\x1b[31m entropy "},
        {"metric": "other", "description": "x"},
        {"metric": 5},
        "junk",
    ]
    taken = CodeNotes.described({"descriptions": rows}, ["loss", "lr"])
    assert taken == {"loss": "cross\\x1b[31m entropy"}
    assert CodeNotes.described({"descriptions": {"lr": "rate"}}, ["lr"]) == {"lr": "rate"}


@pytest.mark.parametrize("arguments", [None, [], {}, {"descriptions": 3}, {"descriptions": [1]}])
def test_what_is_of_no_use_is_told_to_the_model(arguments: object) -> None:
    with pytest.raises(ValueError, match="none of these was described: loss, lr"):
        CodeNotes.described(arguments, ["lr", "loss"])


def test_damaged_files_are_as_none(tmp_path: Path) -> None:
    kept = notes(tmp_path)
    kept.keep_descriptions({"loss": "x"})
    (tmp_path / ".code_notes" / "abc" / "metric_descriptions.json").write_text("{")
    assert kept.descriptions == {}
