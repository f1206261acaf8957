"""The hand-written types of the extension are those of the extension."""

import subprocess
import sys

import pytest


@pytest.mark.timeout(300)
def test_stub_describes_the_extension() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "training_monitor._core"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
