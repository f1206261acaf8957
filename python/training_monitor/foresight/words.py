"""What is to come of a run, in words."""

from __future__ import annotations

from training_monitor.predict.wording import duration, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.judge.prospect import Prospect
    from training_monitor.predict.eta import Eta
    from training_monitor.predict.total import Total

__all__ = ["eta_text", "final_text", "stop_text", "total_text"]


def total_text(total: Total, step: int | None) -> str:
    """Say "step 30,000 (config max_steps), 51% done"."""
    done = "" if step is None else f", {min(step / total.steps, 1.0):.0%} done"
    about = "" if total.exact else "about "
    return f"{about}step {total.steps:,.0f} ({total.where}){done}"


def eta_text(eta: Eta) -> str:
    """Say "1h 20m (1h 5m to 1h 40m)"."""
    low, high = duration(eta.low[80]), duration(eta.high[80])
    between = low if low == high else f"{low} to {high}"
    return f"{duration(eta.seconds)} ({between})"


def final_text(prospect: Prospect) -> str:
    """Say "val/loss 2.65 (2.61 to 2.70)"."""
    ahead = prospect.forecast
    if ahead is None:
        return prospect.metric
    between = f"{number(ahead.low_80)} to {number(ahead.high_80)}"
    return f"{prospect.metric} {number(ahead.value)} ({between})"


def stop_text(prospect: Prospect) -> str:
    """Say that going on will hardly help, and which checkpoint to use."""
    advice = prospect.advice
    if advice is None:
        return ""
    return (
        f"stop: P(gain > {100 * advice.gain:.3g}%) is {advice.p_gain:.0%}; the best "
        f"{prospect.metric} is {number(advice.best_value)}, at step {advice.best_step:,.0f}"
    )
