"""What the policy knows, as JSON and back, so that a new process goes on where the last one was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training_monitor.notify.alert import Notice
from training_monitor.notify.allowance import Allowance
from training_monitor.notify.incident import Incident
from training_monitor.notify.policy import Policy, Waiting
from training_monitor.notify.stored import clock, items, real, text_of, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from training_monitor.notify.policy import Rules

__all__ = ["VERSION", "restored", "to_state"]

VERSION = 1


def to_state(policy: Policy) -> dict[str, Any]:
    """Return all that a policy knows, for `json.dumps`."""
    return {
        "version": VERSION,
        "run": policy.run,
        "last": policy.last,
        "shift": policy.shift,
        "incidents": [one.to_state() for one in policy.incidents],
        "notices": [_notice_state(one) for one in policy.notices.values()],
        "cooldowns": policy.cooldowns.to_state(),
        "allowances": {name: allowance.to_state() for name, allowance in policy.allowances.items()},
        "replays": list(policy.replays),
        "dropped": [policy.dropped, policy.dropped_since],
        "counts": dict(policy.counts),
    }


def restored(run: str, state: object, *, rules: Rules | None = None) -> tuple[Policy, list[str]]:
    """Return a policy that goes on from `state`, and what of it could not be read.

    What is damaged is left out, the rest counts. The state of another version, or of another run,
    gives a policy that knows nothing.
    """
    policy = Policy(run, rules=rules)
    if state is None:
        return policy, []
    if not isinstance(state, dict) or state.get("version") != VERSION:
        return policy, ["what was told before is not known: the state has another version"]
    if state.get("run") != run:
        return policy, ["what was told before is not known: the state is of another run"]
    troubles: list[str] = []
    parts: dict[str, Callable[[Policy, Any], int]] = {
        "last": _take_clock,
        "shift": _take_shift,
        "incidents": _take_incidents,
        "notices": _take_notices,
        "cooldowns": lambda policy, part: policy.cooldowns.restore(part),
        "allowances": _take_allowances,
        "replays": _take_replays,
        "dropped": _take_dropped,
        "counts": _take_counts,
    }
    for name, take in parts.items():
        troubles += _taken(name, take, policy, state.get(name))
    return policy, troubles


def _taken(
    name: str, take: Callable[[Policy, Any], int], policy: Policy, part: object
) -> list[str]:
    try:
        damaged = take(policy, part)
    except (TypeError, ValueError, KeyError, AttributeError):
        return [f"{name}: cannot be read"]
    return [f"{name}: {damaged} entries cannot be read"] if damaged else []


def _take_clock(policy: Policy, part: Any) -> int:
    policy.last = None if part is None else clock(part)
    return 0


def _take_shift(policy: Policy, part: Any) -> int:
    policy.shift = clock(part)
    return 0


def _take_incidents(policy: Policy, part: Any) -> int:
    damaged = 0
    known: set[tuple[str, str]] = set()
    for entry in items(part):
        try:
            incident = Incident.from_state(entry)
        except (TypeError, ValueError, KeyError, AttributeError):
            damaged += 1
            continue
        if known.isdisjoint(incident.symptoms):
            policy.incidents.add(incident)
            known |= set(incident.symptoms)
    return damaged


def _notice_state(waiting: Waiting) -> dict[str, Any]:
    notice = waiting.notice
    fields = {name: getattr(notice, name) for name in Notice.__slots__}
    return {"notice": fields, "release": waiting.release, "count": waiting.count}


def _take_notices(policy: Policy, part: Any) -> int:
    damaged = 0
    for entry in items(part):
        try:
            fields = dict(entry["notice"])
            fields["kinds"] = tuple(text_of(kind) for kind in fields["kinds"])
            notice = Notice(**fields)
            for text in (notice.key, notice.severity, notice.title, notice.text, notice.short):
                text_of(text)
            release, count = real(entry["release"]), whole(entry["count"])
        except (TypeError, ValueError, KeyError):
            damaged += 1
            continue
        policy.notices[notice.key] = Waiting(notice, release, count)
    return damaged


def _take_allowances(policy: Policy, part: Any) -> int:
    damaged = 0
    for name, stored in part.items():
        most = policy.rules.per_hour().get(name)
        if most is None:
            damaged += 1
            continue
        allowance = Allowance.full(most, 0.0)
        try:
            allowance.restore(stored)
        except (TypeError, ValueError):
            damaged += 1
            continue
        policy.allowances[name] = allowance
    return damaged


def _take_replays(policy: Policy, part: Any) -> int:
    policy.replays.extend(text_of(mark) for mark in items(part))
    return 0


def _take_dropped(policy: Policy, part: Any) -> int:
    count, since = part
    policy.dropped, policy.dropped_since = whole(count), None if since is None else real(since)
    return 0


def _take_counts(policy: Policy, part: Any) -> int:
    policy.counts.update({text_of(name): whole(count) for name, count in part.items()})
    return 0
