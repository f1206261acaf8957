"""The phases of a recorded run: as they were stored, or worked out anew."""

from __future__ import annotations

from training_monitor.found import read_phases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.foresight.recorded import Recorded
    from training_monitor.found import PhaseChange

__all__ = ["phases_of"]


def phases_of(run: Recorded) -> list[PhaseChange]:
    """Return the changes of the phase, the oldest first; where none is stored, by a replay."""
    stored = read_phases(run._reader)
    if stored:
        return stored
    from training_monitor.foresight.replay import replay_run

    return replay_run(run).phases
