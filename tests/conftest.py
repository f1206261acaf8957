"""Every test gets a clean environment, a private home and no process left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import processes

SETTINGS = ("TM_", "OPENAI_", "TELEGRAM_", "PUSHOVER_", "SLURM_", "OMPI_", "PMI_", "TORCHELASTIC_")
RANKS = {
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "NO_COLOR",
}


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Take SIGINT as usual: a shell starts what it puts into the background with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove every setting of the machine and shorten the monitor's grace."""
    for name in os.environ:
        if name.startswith(SETTINGS) or name in RANKS:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TM_GRACE_SECS", "0.5")


@pytest.fixture(autouse=True)
def no_process_left(tmp_path: Path) -> Iterator[None]:
    """End whatever a failed test left running."""
    yield
    processes.end_started()
    processes.kill_all_mentioning(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the directory in which this test's runs are made."""
    return tmp_path / "runs"
