"""Random histories: what the policy promises holds, over restarts and damaged state."""

from __future__ import annotations

import json
import random

import pytest

from harness.findings import START, found, over, policy, take, told
from training_monitor.notify.alert import SEVERITIES, Alert
from training_monitor.notify.memory import restored, to_state
from training_monitor.notify.policy import Policy, Rules


def history(seed: int, length: int = 250) -> list[object]:
    """Return findings and their ends as detectors may make them, in the order of time."""
    generator = random.Random(seed)
    kinds = ["spike", "divergence", "non_finite", "slowdown", "mfu_drop", "plateau", "gpu_hot"]
    at, made = 0.0, []
    for number in range(length):
        at += generator.choice([0.0, 0.5, 5.0, 60.0, 700.0])
        make = over if generator.random() < 0.4 else found
        made.append(
            make(
                generator.choice(kinds),
                generator.choice(["loss", "grad_norm", "gpu0"]),
                at=at,
                step=number,
                rank=generator.choice([None, 0, 1]),
                severity=generator.choice(SEVERITIES),
            )
        )
    return made


def play(one: Policy, findings: list[object], *, restart_every: int = 0) -> list[Alert]:
    alerts: list[Alert] = []
    for number, finding in enumerate(findings):
        now = finding.time  # type: ignore[attr-defined]
        while (due := one.next_due()) is not None and due <= now:
            alerts += one.due(due)
        one.take(finding, now)  # type: ignore[arg-type]
        if restart_every and number % restart_every == 0:
            one, troubles = restored("run", json.loads(json.dumps(to_state(one))))
            assert not troubles
    for _ in range(10_000):
        due = one.next_due()
        if due is None:
            break
        alerts += one.due(due)
    assert one.next_due() is None
    return alerts


@pytest.mark.parametrize("seed", range(20))
def test_random_histories_keep_the_promises(seed: int) -> None:
    one, findings = policy(), history(seed)
    alerts = play(one, findings)
    assert len({alert.id for alert in alerts}) == len(alerts)

    # Everything that was worth it is told: by itself, within another one, or counted.
    wanted = {
        (f.kind, f.metric)  # type: ignore[attr-defined]
        for f in findings
        if not f.over and f.severity != "info"  # type: ignore[attr-defined]
    }
    in_alerts = {(one["kind"], one["metric"]) for alert in alerts for one in alert.findings}
    counted = sum(alert.more for alert in alerts)
    assert len(wanted - in_alerts) <= counted + one.counts["attached"]
    assert one.counts["told"] == len(alerts)
    assert one.counts["folded"] == counted

    # An end comes after an alert of the same incident, and is the last one.
    seen: dict[str, list[str]] = {}
    for alert in alerts:
        seen.setdefault(alert.incident, []).append(alert.state)
    for states in seen.values():
        assert "over" not in states[:-1]
        assert states[0] != "over"

    # Never more than the allowance: a full one, and what comes back.
    for name, most in Rules().per_hour().items():
        times = [
            alert.time
            for alert in alerts
            if (alert.severity if alert.state != "over" else None) == name
        ]
        for first in range(len(times)):
            for last in range(first, len(times)):
                passed = times[last] - times[first]
                assert last - first + 1 <= most + most * passed / 3600 + 1


@pytest.mark.parametrize("seed", range(10))
def test_a_restart_at_any_moment_changes_nothing(seed: int) -> None:
    findings = history(seed)
    assert play(policy(), findings) == play(policy(), findings, restart_every=1 + seed)


def test_damaged_state_costs_what_is_damaged_only() -> None:
    one = policy()
    take(one, found("slowdown"), found("plateau", "val"))
    told(one, 60)
    state = json.loads(json.dumps(to_state(one)))
    state["incidents"][0]["symptoms"] = "?"
    state["allowances"] = {"warning": ["x", 1], "critical": [3.0, START]}
    state["cooldowns"].append([1, 2])
    state["counts"] = None
    again, troubles = restored("run", state)
    assert troubles == [
        "incidents: 1 entries cannot be read",
        "cooldowns: 1 entries cannot be read",
        "allowances: 1 entries cannot be read",
        "counts: cannot be read",
    ]
    assert len(again.incidents) == 1
    take(again, found("slowdown", at=70))
    assert not told(again, 100, since=70), "the cooldown is still known"


@pytest.mark.parametrize(
    "state", [None, 3, [], {}, {"version": 99}, {"version": 1, "run": "other"}]
)
def test_state_of_another_kind_gives_a_policy_that_works(state: object) -> None:
    one, troubles = restored("run", state)
    assert bool(troubles) == (state is not None)
    take(one, found("spike"))
    assert len(told(one, 60)) == 1


@pytest.mark.parametrize("seed", range(60))
def test_no_damage_to_the_state_stops_the_policy(seed: int) -> None:
    generator = random.Random(seed)
    one = policy()
    for finding in history(seed, 40):
        one.take(finding, finding.time)  # type: ignore[attr-defined, arg-type]
    state = json.loads(json.dumps(to_state(one)))
    for _ in range(5):
        _damage(state, generator)
    again, _troubles = restored("run", state)
    for finding in history(seed + 1000, 40):
        again.take(finding, finding.time)  # type: ignore[attr-defined, arg-type]
        again.due(finding.time)  # type: ignore[attr-defined]
    take(again, found("unheard_of", at=1e6, severity="critical"))
    alerts = told(again, 1e6 + 5)
    assert any(one["kind"] == "unheard_of" for alert in alerts for one in alert.findings) or any(
        alert.more for alert in alerts
    ), "whatever was damaged, what comes is told"
    json.dumps(to_state(again), allow_nan=False)


def _damage(state: object, generator: random.Random) -> None:
    """Replace something somewhere inside, but the version."""
    while True:
        if isinstance(state, dict):
            key: object = generator.choice(
                [key for key in state if key not in ("version", "run")] or [""]
            )
        elif isinstance(state, list) and state:
            key = generator.randrange(len(state))
        else:
            return
        inner = state[key] if key != "" else None  # type: ignore[index, call-overload]
        if not isinstance(inner, (dict, list)) or generator.random() < 0.3:
            junk = [None, "x", -1, 1e300, [], {}, True, [[]], 2**70]
            state[key] = generator.choice(junk)  # type: ignore[index, call-overload]
            return
        state = inner
