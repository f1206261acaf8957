"""Runs the scenarios of every tracker, one process at a time, and keeps what they tell."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers import adapters
from peers.adapters.floor import LIBRARY
from peers.environments import Ready, last_line
from peers.plan import Plan
from peers.trial import sizes
from process_tree import Ended, run

BENCHES = Path(__file__).resolve().parents[1]
LIMIT_SECS = 90.0
# Nothing here has a reason to leave the machine; what tries finds a closed door at once.
NO_NETWORK = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
}
READ_AFTERWARDS = {"speed", "killed", "killed_paced"}


@dataclass(slots=True)
class Measured:
    """What is known of one tracker.

    Attributes:
        environment: Where its library is.
        results: By scenario, what the trial told and the driver added.
        failures: By scenario, why there is no result.
        empty_steps_ms: The steps beside the empty adapter, just before and just after.
    """

    environment: Ready
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    empty_steps_ms: list[float] = field(default_factory=list)


class Rounds:
    """The measurements of one invocation.

    Attributes:
        empty_steps_ms: What a step took beside the empty adapter, every time that was measured.
    """

    def __init__(self, directory: Path, plan: Plan, floor: Path) -> None:
        self.directory = directory
        self.plan = plan
        self.floor = floor
        self.ours = Ready(Path(sys.executable), "")
        self.empty_steps_ms: list[float] = []

    def measure(self, name: str, ready: Ready) -> Measured:
        """Run all scenarios of one tracker."""
        measured = Measured(ready)
        for scenario in ("stolen", "speed", "latency", "paced", "killed", "killed_paced"):
            # The floor keeps the last lap of its ring, the empty adapter nothing: no loss to count.
            if scenario.startswith("killed") and name in {adapters.EMPTY, adapters.FLOOR}:
                continue
            self._scenario(measured, name, scenario)
            if scenario == "stolen":
                self._scenario(Measured(self.ours), adapters.EMPTY, scenario)
                measured.empty_steps_ms = self.empty_steps_ms[-2:]
        return measured

    def _scenario(self, measured: Measured, name: str, scenario: str) -> None:
        directory = self.directory / f"{name}-{scenario}"
        try:
            result = self._trial(measured.environment, name, scenario, directory)
            if scenario == "stolen" and name == adapters.EMPTY:
                self.empty_steps_ms.append(result["step_ms"])
            if scenario in READ_AFTERWARDS:
                result["readable"] = self._trial(measured.environment, name, "read", directory)[
                    "points"
                ]
            measured.results[scenario] = result
        except TrialError as error:
            measured.failures[scenario] = str(error)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _trial(self, ready: Ready, name: str, scenario: str, directory: Path) -> dict[str, Any]:
        data = directory / "data"
        for part in ("data/tmp", "data/home", "cwd"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        output = directory / f"{scenario}.log"
        ended = run(
            [ready.python, "-m", "peers.trial", name, scenario, data, self.plan.line()],
            cwd=directory / "cwd",
            env=environment_of(name, data) | {LIBRARY: str(self.floor)},
            output=output,
            limit_secs=LIMIT_SECS,
        )
        check(ended, output, killed=scenario.startswith("killed"))
        result: dict[str, Any] = json.loads((directory / f"{scenario}.json").read_text())
        if scenario == "speed":
            result["bytes"] = grown(sizes(data), result.pop("bytes_before"))
        if scenario == "paced":
            services = ended.cpu_secs - result["trainer_secs"] - result["services_before_secs"]
            result["cpu_secs"] = result["logging_secs"] + max(0.0, services)
        return result


def environment_of(name: str, data: Path) -> dict[str, str]:
    """Return all that a trial has in its environment: nothing of this machine but the paths."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ}
    return {
        **kept,
        **NO_NETWORK,
        "PYTHONPATH": f"{BENCHES}:{BENCHES / 'python'}",
        "PYTHONUNBUFFERED": "1",
        "HOME": str(data / "home"),
        "TMPDIR": str(data / "tmp"),
        "TRACKIO_DIR": str(data / "trackio"),
        "OMP_NUM_THREADS": "1",
        **adapters.adapter(name).variables,
    }


class TrialError(Exception):
    """A trial did not end as it should."""


def check(ended: Ended, output: Path, *, killed: bool) -> None:
    """Raise TrialError unless the trial ended as planned."""
    if ended.timed_out:
        raise TrialError(f"took more than {LIMIT_SECS:g} s")
    if ended.code != (-signal.SIGKILL if killed else 0):
        reason = last_line(output.read_text(errors="replace"))
        raise TrialError(f"exit code {ended.code}: {reason}")


def grown(after: Mapping[str, int], before: Mapping[str, int]) -> int:
    """Return by how many bytes files grew; what vanished counts nothing."""
    return sum(size - before.get(name, 0) for name, size in after.items())


def say(text: str) -> None:
    """Tell the progress; the tables alone go to the standard output."""
    print(text, file=sys.stderr, flush=True)
