"""A virtual environment per tracker, made when it is first needed and kept below .tools."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peers import adapters
from peers.adapter import Adapter

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".tools" / "peers"
INSTALL_SECS = 900
# Without a network pip shall say so soon: the other trackers wait.
PATIENCE = ["--retries", "1", "--timeout", "20"]
CONNECTION = "connection broken by"  # as pip words its retries
NO_NETWORK = "cannot be installed: no network, the package index does not answer"
VERSIONS = """
import importlib.metadata, sys
print(*(f"{name} {importlib.metadata.version(name)}" for name in sys.argv[1:]), sep=", ")
"""


@dataclass(frozen=True, slots=True)
class Ready:
    """An environment that has the tracker.

    Attributes:
        python: Its interpreter.
        versions: The packages measured, with their versions.
    """

    python: Path
    versions: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A tracker that cannot be measured here.

    Attributes:
        reason: Why, in one line.
    """

    reason: str


def environments(names: Sequence[str], *, install: bool) -> dict[str, Ready | Missing]:
    """Return the environment of each tracker; without a network pip is asked once only."""
    found: dict[str, Ready | Missing] = {}
    for name in names:
        found[name] = environment(name, adapters.adapter(name), install=install)
        if found[name] == Missing(NO_NETWORK):
            install = False
    return found


def environment(name: str, tracker: Adapter, *, install: bool = True) -> Ready | Missing:
    """Return the environment of a tracker, after making it where there is none.

    Args:
        name: The tracker's name, and that of the directory.
        tracker: Says what has to be installed.
        install: Whether pip may be asked.
    """
    python = Path(sys.executable)
    if tracker.requirements:
        directory = CACHE / name
        python = directory / "bin" / "python"
        wanted, marker = "\n".join(tracker.requirements), directory / ".ready"
        if not marker.exists() or marker.read_text() != wanted:
            if not install:
                return Missing("not installed, and pip was not asked")
            if reason := installed(directory, tracker.requirements):
                return Missing(reason)
            marker.write_text(wanted)
    try:
        return Ready(python, versions(python, tracker.packages))
    except subprocess.CalledProcessError as error:
        return Missing(last_line(error.stderr))


def installed(directory: Path, requirements: tuple[str, ...]) -> str:
    """Install into a new environment; return "" or why that failed."""
    try:
        subprocess.run(
            [sys.executable, "-m", "venv", "--clear", str(directory)],
            check=True, capture_output=True, text=True, timeout=INSTALL_SECS,
        )  # fmt: skip
        subprocess.run(
            [directory / "bin" / "python", "-m", "pip", *PATIENCE, "install", "-q", *requirements],
            check=True, capture_output=True, text=True, timeout=INSTALL_SECS,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        unreachable = CONNECTION in error.stderr
        return NO_NETWORK if unreachable else f"cannot be installed: {last_line(error.stderr)}"
    except subprocess.TimeoutExpired:
        return f"cannot be installed: pip took more than {INSTALL_SECS} s"
    return ""


def versions(python: Path, packages: tuple[str, ...]) -> str:
    """Return the versions of packages in an environment; without packages, that of Python."""
    if not packages:
        return ""
    done = subprocess.run(
        [python, "-c", VERSIONS, *packages], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def last_line(text: str | None) -> str:
    """Return the last line of an error message that says something."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["no message"])[-1][:200]
