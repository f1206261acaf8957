"""What a monitor that follows another one takes up again, and the line about it."""

from __future__ import annotations

from training_monitor.errors import RunNotFoundError, StoreError
from training_monitor.query import RunView
from training_monitor.recall import recall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.monitor.journal import Journal
    from training_monitor.recall import Recalled

__all__ = ["recover"]


def recover(run_dir: str, journal: Journal, *, max_age_min: float) -> Recalled | None:
    """Return the last minutes of a run and say how much that is; None where there is nothing."""
    try:
        recalled = recall(RunView(run_dir), max_age_min=max_age_min)
        samples = recalled.sample_count()
    except RunNotFoundError:
        return None
    except (StoreError, OSError) as error:
        journal.error(f"cannot read what happened lately: {error}")
        return None
    if recalled.is_empty and not samples:
        return None
    journal.info(
        f"recovered: {recalled.points:,} points of {len(recalled.keys):,} keys, "
        f"{samples:,} samples, {len(recalled.findings)} findings of the last {max_age_min:g} min"
    )
    return recalled
