"""The short form of the kill oracle; `make faults` runs the long one."""

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_SECS = 240


@pytest.mark.timeout(LIMIT_SECS + 60)
def test_nothing_accepted_is_lost_doubled_or_changed_by_kills(tmp_path: Path) -> None:
    oracle = Path(__file__).with_name("kill_oracle.py")
    report = tmp_path / "report"  # a file: a pipe would be held open by a trainer left behind
    with report.open("wb") as out:
        command = [sys.executable, str(oracle), "--trainer=8", "--monitor=6", "--both=4"]
        command.append(f"--limit-secs={LIMIT_SECS}")
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode
    said = report.read_text(errors="replace")
    print(said)
    assert code == 0, said
    assert "lost 0, twice 0, wrong 0" in said


@pytest.mark.timeout(LIMIT_SECS)
def test_upkeep_that_is_killed_changes_nothing() -> None:
    judge = Path(__file__).with_name("kill_upkeep.py")
    done = subprocess.run([sys.executable, str(judge), "--kills=1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kills, lost 0, twice 0, wrong 0" in done.stdout
