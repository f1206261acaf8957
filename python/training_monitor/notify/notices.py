"""Notices: a new phase, advice to stop, and what the user's own code has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from training_monitor.notify.alert import Notice, clean
from training_monitor.notify.texts import duration

__all__ = [
    "PhaseNotice",
    "Remaining",
    "StopAdvice",
    "of_analysis",
    "of_model",
    "of_phase",
    "of_stop",
    "of_user",
]

# What findings say as well; then the phase is a part of their alert.
_KINDS = {
    "DIVERGING": ("divergence", "non_finite"),
    "OVERFITTING_RISK": ("overfitting",),
    "PLATEAU": ("plateau",),
}
_SEVERITIES = {"DIVERGING": "critical", "OVERFITTING_RISK": "warning", "PLATEAU": "warning"}
_LEVELS = {"INFO": "info", "WARN": "warning", "ERROR": "critical"}
_STOP_COOLDOWN_SECS = 6 * 3600.0
_PHASE_COOLDOWN_SECS = 60.0
_ANALYSIS_COOLDOWN_SECS = 60.0
_MODEL_COOLDOWN_SECS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Remaining:
    """The time that is left.

    Attributes:
        secs: The best guess.
        low_secs: At least so long, most probably.
        high_secs: At most so long, most probably.
        trust: How sure that is, in a word, as "medium"; empty: not said.
        reason: Why it may come otherwise.
    """

    secs: float
    low_secs: float | None = None
    high_secs: float | None = None
    trust: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PhaseNotice:
    """The training went from one phase to another.

    Attributes:
        old: The phase before, as STABLE_CONVERGENCE.
        new: The phase now.
        reason: One sentence with numbers.
        time: Wall clock.
        step: The step.
        values: What the metrics are now: name and value as they are shown.
        remaining: The time that is left.
        advice: What to do.
    """

    old: str
    new: str
    reason: str
    time: float
    step: int | None = None
    values: tuple[tuple[str, str], ...] = ()
    remaining: Remaining | None = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class StopAdvice:
    """It is probably better to stop now.

    Attributes:
        metric: The metric that decides.
        time: Wall clock.
        step: The step now.
        p_gain: The probability of a further gain of `gain`.
        gain: As a fraction, as 0.005.
        best: The best value.
        best_at: Where that was, as "epoch 10".
        current: The value now.
        current_at: Where that is.
        since: For how long nothing got better, as "4 epochs".
        saves_secs: Time until the end that a stop saves.
        saves_gpu_hours: The same in hours of GPUs.
        saves_cost: The same in money, with its unit, as "$8.40".
        checkpoint: The checkpoint to keep.
    """

    metric: str
    time: float
    step: int | None
    p_gain: float
    gain: float
    best: float
    best_at: str
    current: float
    current_at: str
    since: str = ""
    saves_secs: float | None = None
    saves_gpu_hours: float | None = None
    saves_cost: str = ""
    checkpoint: str = ""


def of_phase(change: PhaseNotice) -> Notice:
    """Return the notice of a new phase."""
    severity = _SEVERITIES.get(change.new, "info")
    word = change.new.replace("_", " ")
    lines = [f"Change: {change.old} -> {change.new}", f"Reason: {change.reason}"]
    if change.values:
        lines += ["Now:", *(f"  {name}: {value}" for name, value in change.values)]
    if change.remaining is not None:
        lines += _remaining_lines(change.remaining)
    if change.advice:
        lines.append(f"What to do: {change.advice}")
    return Notice(
        key=f"phase:{change.new}",
        severity=severity,
        title=f"{severity}: {word}: training went from {change.old} to {change.new}",
        text="\n".join(lines),
        short=f"{word}: {change.reason}" + (f" {change.advice}" if change.advice else ""),
        time=change.time,
        step=change.step,
        cooldown_secs=_PHASE_COOLDOWN_SECS,
        kinds=_KINDS.get(change.new, ()),
        facts={"phase": change.new, "previous": change.old, "reason": clean(change.reason)},
    )


def of_stop(advice: StopAdvice) -> Notice:
    """Return the notice that says to stop."""
    chance = f"P(gain > {100 * advice.gain:.3g}%) = {advice.p_gain:.0%}"
    lines = [f"No improvement for {advice.since}."] if advice.since else []
    lines += [
        f"Best {advice.metric}: {advice.best:.4g} ({advice.best_at})",
        f"Current: {advice.current:.4g} ({advice.current_at})",
        f"What to do: stop now. {chance}",
    ]
    saves = _savings(advice)
    if saves:
        lines.append(f"Saves: {saves}")
    if advice.checkpoint:
        lines.append(f"Use checkpoint: {advice.checkpoint}")
    facts: dict[str, Any] = {
        "metric": clean(advice.metric, 200),
        "p_gain": advice.p_gain,
        "gain": advice.gain,
        "saves_secs": advice.saves_secs,
        "saves_gpu_hours": advice.saves_gpu_hours,
    }
    tail = f", saves {saves}" if saves else ""
    return Notice(
        key=f"stop:{clean(advice.metric, 50)}",
        severity="warning",
        title="warning: early termination is recommended",
        text="\n".join(lines),
        short=f"Stop now: {chance}{tail}; best {advice.best:.4g} ({advice.best_at})",
        time=advice.time,
        step=advice.step,
        cooldown_secs=_STOP_COOLDOWN_SECS,
        facts=facts,
    )


def of_user(
    title: str, text: str, level: str, *, time: float, wait_secs: float, step: int | None = None
) -> Notice:
    """Return the notice of an alert that the user's code gave; it has a cooldown of its own."""
    severity = _LEVELS.get(level.upper(), "warning")
    title = clean(title, 200)
    return Notice(
        key=f"user:{title}",
        severity=severity,
        title=f"{severity}: {title}",
        text=text,
        short=f"{severity}: {title}" + (f": {clean(text, 200)}" if text else ""),
        time=time,
        step=step,
        cooldown_secs=max(0.0, wait_secs),
        facts={"level": level},
    )


def of_analysis(
    status: str, *, short: str, text: str, time: float, step: int | None = None
) -> Notice:
    """Return the notice of an analysis that says that something is wrong.

    Args:
        status: warning or critical.
        short: In a line.
        text: The whole.
        time: Wall clock.
        step: The step that it looked at last.
    """
    return Notice(
        key="analysis",
        severity=status,
        title=f"{status}: analysis",
        text=text,
        short=short,
        time=time,
        step=step,
        cooldown_secs=_ANALYSIS_COOLDOWN_SECS,
        facts={"status": status},
    )


def of_model(text: str, *, time: float) -> Notice:
    """Return the notice that the model cannot be asked as it should."""
    return Notice(
        key=f"model:{clean(text, 80)}",
        severity="warning",
        title="warning: no analysis by the model",
        text=text,
        short=clean(text, 200),
        time=time,
        step=None,
        cooldown_secs=_MODEL_COOLDOWN_SECS,
        facts={},
    )


def _remaining_lines(remaining: Remaining) -> list[str]:
    line = f"ETA: {duration(remaining.secs)}"
    if remaining.low_secs is not None and remaining.high_secs is not None:
        line += f" (from {duration(remaining.low_secs)} to {duration(remaining.high_secs)})"
    line += f", {remaining.trust} confidence" if remaining.trust else ""
    return [line, f"  {remaining.reason}"] if remaining.reason else [line]


def _savings(advice: StopAdvice) -> str:
    parts = [duration(advice.saves_secs)] if advice.saves_secs is not None else []
    if advice.saves_gpu_hours is not None:
        parts.append(f"{advice.saves_gpu_hours:.3g} GPU hours")
    return ", ".join([*parts, *([advice.saves_cost] if advice.saves_cost else [])])
