"""Findings as detectors make them, for the tests of what is told of them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from harness import processes
from training_monitor.detect.finding import Finding
from training_monitor.notify.alert import Alert
from training_monitor.notify.policy import Policy, Rules

__all__ = ["START", "alert", "found", "holding", "over", "policy", "take", "told"]

# A fixed wall clock: 2026-01-05 12:00 UTC.
START = 1_767_614_400.0


def found(
    kind: str, metric: str = "loss", *, at: float = 0.0, severity: str = "warning", **fields: Any
) -> Finding:
    """Return a finding `at` seconds after the start, which names what it is about."""
    fields.setdefault("text", f"{kind} of {metric}")
    fields.setdefault("step", int(at))
    return Finding(kind, severity, metric, time=START + at, **fields)


def over(kind: str, metric: str = "loss", *, at: float = 0.0, **fields: Any) -> Finding:
    """Return the word that a finding is over."""
    return found(kind, metric, at=at, over=True, **fields)


def alert(id_: str, **fields: Any) -> Alert:
    """Return an alert with this id."""
    plain: dict[str, Any] = {
        "run": "run",
        "incident": "incident",
        "revision": 1,
        "state": "new",
        "severity": "warning",
        "kind": "spike",
        "metric": "loss",
        "time": START,
        "since": START,
        "step": 7,
        "title": f"title {id_}",
        "text": "first line\nsecond line",
        "short": "short",
    }
    return Alert(id=id_, **{**plain, **fields})


def holding(path: str) -> subprocess.Popen[str]:
    """Start a process that has the outbox at `path`, and wait until it does."""
    script = (
        "import sys, time\nfrom training_monitor.notify.outbox_file import FileStorage\n"
        "storage = FileStorage(sys.argv[1])\nprint('held', flush=True)\ntime.sleep(600)\n"
    )
    process = processes.start_prepared([sys.executable, "-c", script, path], os.environ)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def policy(**rules: float) -> Policy:
    """Return a policy with these rules."""
    return Policy("run", rules=Rules(**rules))


def take(policy: Policy, *findings: Finding) -> None:
    """Give findings in, each at its own time."""
    for finding in findings:
        policy.take(finding, finding.time)


def told(policy: Policy, until: float, *, since: float | None = None) -> list[Alert]:
    """Ask each second what is due and return all alerts; without `since`, from the last call on."""
    alerts = []
    at = since if since is not None else (policy.last or START) - START
    while at <= until:
        alerts += policy.due(START + at)
        at += 1.0
    return alerts
