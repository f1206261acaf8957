"""The words of an alert: title, whole text, and a short form for a lock screen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from training_monitor.notify.alert import Alert, clean, rank_of
from training_monitor.notify.causes import can_follow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from training_monitor.notify.alert import Notice
    from training_monitor.notify.incident import Incident, Symptom

__all__ = [
    "Rest",
    "duration",
    "line_of",
    "notice_alert",
    "phrase",
    "rank_list",
    "told_alert",
    "when",
]

_TITLE_CHARS = 120
_SHORT_CHARS = 178
_MOST_NOTICE_LINES = 200
_PHRASES = {
    "crashed": "a rank that crashed",
    "data_stall": "stalling data",
    "disk_exhaustion": "a disk that is nearly full",
    "divergence": "divergence",
    "entropy_collapse": "collapsing entropy",
    "exception": "an exception that nobody caught",
    "exited": "a rank that ended with an error",
    "exploding_gradient": "exploding gradients",
    "flatline": "a flat line",
    "forgetting": "forgetting",
    "gpu_hot": "a hot GPU",
    "gpu_idle": "an idle GPU",
    "gpu_lost": "a lost GPU",
    "gpu_power_drop": "a drop of GPU power",
    "gpu_throttled": "a throttled GPU",
    "killed": "a rank that was killed",
    "kl_blow_up": "growing KL divergence",
    "length_change": "a change of lengths",
    "loss_scale_drop": "a falling loss scale",
    "lr_jump": "a jump of the learning rate",
    "lr_zero": "a learning rate of zero",
    "memory_leak": "a memory leak",
    "metric_silent": "silence",
    "mfu_drop": "a drop of MFU",
    "non_finite": "values that are not finite",
    "out_of_memory": "memory that ran out",
    "out_of_memory_risk": "GPU memory that is about to run out",
    "outlier": "an outlier",
    "overfitting": "overfitting",
    "plateau": "a plateau",
    "ram_exhaustion": "host memory that is nearly full",
    "reward_drop": "a drop of reward",
    "reward_hacking": "signs of reward hacking",
    "shm_exhaustion": "shared memory that is nearly full",
    "slowdown": "a slowdown",
    "spike": "a spike",
    "straggler": "a rank that lags behind",
    "stuck": "a training that hangs",
    "throughput_drop": "a drop of throughput",
    "vanishing_gradient": "vanishing gradients",
}


@dataclass(frozen=True, slots=True)
class Rest:
    """What was not told for itself, and goes along with the next alert.

    Attributes:
        count: How many incidents and notices.
        since: Wall clock at which the first began.
        texts: Some of them in a few words, the worst first.
    """

    count: int = 0
    since: float | None = None
    texts: tuple[str, ...] = ()


def phrase(kind: str, metric: str = "") -> str:
    """Return a kind in words, with its metric."""
    words = _PHRASES.get(kind, kind.replace("_", " "))
    return f"{words} in {metric}" if metric else words


def when(at: float, now: float) -> str:
    """Return a time of day on the clock of this machine, with the date if it is another day."""
    try:
        then, today = time.localtime(at), time.localtime(now)
    except (OverflowError, OSError, ValueError):
        return "an unknown time"
    is_today = then[:3] == today[:3]
    return time.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M", then)


def duration(seconds: float) -> str:
    """Return a time as a person says it: 45s, 12m, 1h 20m, 3d 4h."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h {minutes}m" if minutes else f"{hours}h"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h" if hours else f"{days}d"


def rank_list(ranks: Iterable[int]) -> str:
    """Return numbers with stretches drawn together: 0-3, 7."""
    parts: list[str] = []
    start = last = None
    for rank in [*sorted(ranks), None]:
        if last is not None and rank == last + 1:
            last = rank
            continue
        if start is not None:
            parts.append(str(start) if start == last else f"{start}-{last}")
        start = last = rank
    return ", ".join(parts if len(parts) <= 12 else [*parts[:12], "..."])


def line_of(alert: Mapping[str, Any], *, with_id: bool = False) -> str:
    """Return an alert on one line: for a terminal, or (`with_id`) for a file."""
    body = clean(" | ".join(str(alert["text"]).splitlines()), 20_000)
    then = time.localtime(alert["time"])
    if with_id:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z", then)
        head = f"{stamp} {alert['severity']:<8} {alert['id']} [{clean(alert['run'])}]"
    else:
        head = f"{time.strftime('%H:%M:%S', then)} [{clean(alert['run'])}]"
    return f"{head} {clean(alert['title'])} -- {body}"


def told_alert(
    run: str, incident: Incident, *, state: str, id_: str, now: float, rest: Rest
) -> Alert:
    """Return the alert that tells an incident as it stands."""
    ordered = incident.ordered()
    cause, severity = ordered[0], "info" if state == "over" else incident.severity
    headline = f"over: {_headline(ordered)}" if state == "over" else _headline(ordered)
    return Alert(
        id=id_,
        run=run,
        incident=incident.id,
        revision=incident.revision,
        state=state,
        severity=severity,
        kind=cause.kind,
        metric=cause.metric,
        time=now,
        since=incident.wall,
        step=cause.since,
        ranks=tuple(sorted(cause.ranks)),
        title=clean(headline if state == "over" else f"{severity}: {headline}", _TITLE_CHARS),
        text="\n".join(_incident_lines(incident, ordered, state=state, now=now, rest=rest)),
        short=_short(severity, ordered, state, rest),
        advice="" if state == "over" else _advice(ordered),
        findings=tuple(one.to_json() for one in ordered),
        more=rest.count,
        more_since=rest.since,
    )


def notice_alert(run: str, notice: Notice, *, id_: str, now: float, rest: Rest) -> Alert:
    """Return the alert that tells a notice."""
    title = clean(notice.title, _TITLE_CHARS)
    lines = [_indented(line) for line in notice.text.splitlines()[:_MOST_NOTICE_LINES]]
    return Alert(
        id=id_,
        run=run,
        incident=id_,
        revision=1,
        state="notice",
        severity=notice.severity,
        kind=clean(notice.key, 64),
        metric="",
        time=now,
        since=notice.time,
        step=notice.step,
        title=title,
        text="\n".join([*lines, *_rest_lines(rest, now)]).strip("\n") or title,
        short=clean((notice.short or notice.title) + _rest_words(rest), _SHORT_CHARS),
        findings=(notice.facts,) if notice.facts else (),
        more=rest.count,
        more_since=rest.since,
    )


def _indented(line: str) -> str:
    spaces = len(line) - len(line.lstrip(" "))
    return " " * min(spaces, 8) + clean(line)


def _worst(ordered: list[Symptom]) -> Symptom:
    """Return what is worst; of several that which lies furthest from the cause."""
    return max(enumerate(ordered), key=lambda one: (rank_of(one[1].severity), one[0]))[1]


def _headline(ordered: list[Symptom]) -> str:
    cause, worst = ordered[0], _worst(ordered)
    if worst is cause or not can_follow(worst.role, {cause.role}):
        worst = cause if rank_of(worst.severity) == rank_of(cause.severity) else worst
        others = len(ordered) - 1
        return phrase(worst.kind, worst.metric) + (f" and {others} more" if others else "")
    return f"{phrase(worst.kind, worst.metric)} after {phrase(cause.kind, cause.metric)}"


def _incident_lines(
    incident: Incident, ordered: list[Symptom], *, state: str, now: float, rest: Rest
) -> list[str]:
    cause, others = ordered[0], ordered[1:]
    lines = [_sentence(cause)]
    if others:
        followed = any(can_follow(one.role, {cause.role}) for one in others)
        lines[0] = f"Likely cause: {lines[0]}" if followed else lines[0]
        lines += ["What followed:" if followed else "Also:"]
        lines += _other_lines(others)
    if incident.beyond:
        lines.append(f"{incident.beyond:,} further findings were counted only.")
    lines += incident.notes
    began = when(incident.wall, now)
    if state == "over":
        lines.append(f"Over. It lasted {duration(now - incident.wall)}, from {began} on.")
    else:
        lines.append(f"Since {began}{_at_step(cause)}.")
        if incident.over:
            lines.append("It is over already.")
        if advice := _advice(ordered):
            lines.append(f"What to do: {advice}")
    return lines + _rest_lines(rest, now)


def _other_lines(others: list[Symptom]) -> list[str]:
    """Return a line per kind, for the worst of it: forty metrics may have one trouble."""
    by_kind: dict[str, list[Symptom]] = {}
    for one in others:
        by_kind.setdefault(one.kind, []).append(one)
    lines = []
    for alike in by_kind.values():
        worst = max(alike, key=lambda one: rank_of(one.severity))
        more = f", and {len(alike) - 1:,} more like it" if len(alike) > 1 else ""
        lines.append(f"- {worst.severity}: {_sentence(worst)}{more}")
    return lines


def _advice(ordered: list[Symptom]) -> str:
    return ordered[0].advice or _worst(ordered).advice


def _sentence(symptom: Symptom) -> str:
    words = symptom.text or phrase(symptom.kind, symptom.metric)
    if symptom.ranks:
        several = "ranks" if len(symptom.ranks) > 1 else "rank"
        words += f" ({several} {rank_list(symptom.ranks)})"
    return words + (
        f" ({symptom.count:,} times)" if symptom.count > max(1, len(symptom.ranks)) else ""
    )


def _at_step(symptom: Symptom) -> str:
    return "" if symptom.since is None else f", step {symptom.since:,}"


def _rest_lines(rest: Rest, now: float) -> list[str]:
    if not rest.count:
        return []
    since = f" since {when(rest.since, now)}" if rest.since is not None else ""
    line = f"And {rest.count:,} more{since}"
    return [f"{line}: {'; '.join(rest.texts)}" if rest.texts else line]


def _rest_words(rest: Rest) -> str:
    return f" (and {rest.count:,} more)" if rest.count else ""


def _short(severity: str, ordered: list[Symptom], state: str, rest: Rest) -> str:
    cause, others = ordered[0], ordered[1:]
    tail = ""
    if others:
        worst = _worst(others)
        tail = f"; then {phrase(worst.kind, worst.metric)}"
        tail = clean(tail + (f" and {len(others) - 1} more" if len(others) > 1 else ""), 80)
    tail += _rest_words(rest)
    word = "over" if state == "over" else severity
    head = clean(f"{word}: {cause.text or phrase(cause.kind, cause.metric)}", _SHORT_CHARS)
    return clean(head, _SHORT_CHARS - len(tail)) + tail
