"""The short form of the kill oracle; `make faults` runs the long one."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(180)
def test_nothing_accepted_is_lost_doubled_or_changed_by_kills() -> None:
    oracle = Path(__file__).with_name("kill_oracle.py")
    done = subprocess.run(
        [sys.executable, oracle, "--trainer=8", "--monitor=6", "--both=4"],
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost 0, twice 0, wrong 0" in done.stdout
