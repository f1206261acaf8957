"""What was said of a run, as it is stored and read back."""

from __future__ import annotations

import json
from math import inf, isnan, nan
from pathlib import Path

import training_monitor as tm
from training_monitor.analyses import (
    Analysis,
    Evidence,
    Issue,
    Struck,
    analysis_line,
    read_analyses,
    write_down,
)


def analysis(**given: object) -> Analysis:
    values = {"id": "a", "time": 5.0, "step": 7, "attempt": 1, "trigger": "asked", "status": "ok",
              "summary": "fine"}  # fmt: skip
    return Analysis(**values | given)  # type: ignore[arg-type]


class Reader:
    """Gives the lines that were handed in as events."""

    def __init__(self, *details: str) -> None:
        self._details = details

    def events(self, kind: str) -> list[tuple[float, str]]:
        return [(0.0, one) for one in self._details] if kind == "analysis" else []


def stored(made: Analysis) -> str:
    return json.dumps(json.loads(analysis_line(made))["note"])


def test_evidence_that_is_not_finite_is_kept_and_comes_back(tmp_path: Path) -> None:
    evidence = tuple(
        Evidence(metric="loss", step=1, value=value) for value in (nan, inf, -inf, 2.0)
    )
    made = analysis(
        issues=(Issue("lost", "critical", "nan", evidence),), struck=(Struck("x", "y"),)
    )
    write_down(str(tmp_path), made)
    assert json.loads((tmp_path / "analyses.jsonl").read_text())["id"] == "a"
    (read,) = read_analyses(Reader(stored(made)))  # type: ignore[arg-type]
    values = [one.value for one in read.issues[0].evidence]
    assert values[1:] == [inf, -inf, 2.0]
    assert values[0] is not None
    assert isnan(values[0])
    assert read.struck == made.struck


def test_a_text_with_half_a_character_is_written(tmp_path: Path) -> None:
    write_down(str(tmp_path), analysis(summary="half \ud800"))
    assert json.loads((tmp_path / "analyses.jsonl").read_text())["summary"] == "half \ud800"


def test_odd_rows_are_left_out() -> None:
    rows = ["{", "[]", "null", '{"id": 1}', '{"time": "x"}', stored(analysis())]
    assert [one.id for one in read_analyses(Reader(*rows))] == ["a"]  # type: ignore[arg-type]


def test_what_a_later_version_adds_is_ignored() -> None:
    row = json.loads(stored(analysis())) | {"new": 1}
    assert read_analyses(Reader(json.dumps(row))) == [analysis()]  # type: ignore[arg-type]


def test_a_run_without_any_has_none(tmp_path: Path) -> None:
    with tm.init("none", root_dir=tmp_path, quiet=True) as run:
        tm.log({"loss": 1.0}, 0)
    assert tm.open_run(run.dir).analyses() == []
