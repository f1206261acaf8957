"""The short form of rows of the board that no other test of this room plays; see README.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults.board import rows
from faults.board.row import Stage

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["4", "6", "13", "15", "17", "26", "27"])
def test_a_row_of_the_board_holds_in_short(tmp_path: Path, name: str) -> None:
    result = tmp_path / "result.json"
    # A process of its own: some rows have mounts of their own, and many threads.
    done = subprocess.run(
        [sys.executable, "-m", "faults.board", "--alone", name, "--short", "--seed", "1",
         "--into", str(result)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    figure, outcome = json.loads(result.read_text())
    if outcome == "not here":
        pytest.skip(figure)
    assert outcome == "hit", figure + done.stderr


def test_rows_have_names_of_their_own_and_their_time_is_bounded() -> None:
    assert len(rows.BY_NAME) == len(rows.ALL)
    assert all(0 < row.limit_secs <= 900 for row in rows.ALL)


def test_a_stage_gives_the_same_numbers_for_the_same_seed(tmp_path: Path) -> None:
    def drawn(seed: int, salt: int) -> float:
        return Stage(seed, tmp_path, full=False).rng(salt).random()

    assert drawn(1, 2) == drawn(1, 2)
    assert len({drawn(1, 2), drawn(1, 3), drawn(2, 2)}) == 3
