"""What a monitor writes into its log about the recording: a line whenever something changes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from training_monitor.monitor.journal import Journal

__all__ = ["Account"]


class Account:
    """Remembers what was said, so that nothing is said twice."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._state = ""
        self._trouble: object = None
        self._quarantined = False
        self._set_aside = 0
        self._dropped = False

    def cannot_open(self, error: Exception) -> None:
        """Say that the store does not open."""
        if str(error) != self._trouble:
            self._journal.error(f"cannot open the store: {error}; trying again")
        self._trouble = str(error)

    def report(self, status: dict[str, Any], *, is_served: bool) -> None:
        """Write a line when the state changed, and when something went wrong or right again.

        Args:
            status: How ingest goes.
            is_served: Whether any producer has come to this monitor.
        """
        alive, backlog = status["producers_alive"], status["backlog_bytes"]
        if alive:
            state = f"recording {alive} of {status['producers']} producers"
        elif not is_served:
            state = "waiting for the first producer"
        else:
            state = "nobody is recording" if not backlog else "bringing home what is left"
        has_looked = status["producers"] or status["idle"] or not is_served
        if state != self._state and has_looked:
            self._journal.info(
                f"{state}; attempt {status['attempts']}, last step {status['last_step']}, "
                f"{status['durable_points']} points durable, backlog {backlog} bytes"
            )
            self._state = state
        self._report_losses(status)
        trouble = status["last_error"]
        if trouble != self._trouble:
            if trouble:
                self._journal.error(str(trouble))
            elif self._trouble:
                self._journal.info("the store works again")
            self._trouble = trouble

    def _report_losses(self, status: dict[str, Any]) -> None:
        """Write a line, once each, for what was moved aside or dropped."""
        if status["quarantined"] and not self._quarantined:
            self._quarantined = True
            self._journal.error(f"the database was damaged and moved to {status['quarantined']}")
        for moved in status["set_aside"][self._set_aside :]:
            self._journal.error(f"not a producer's directory, or a damaged one: moved to {moved}")
        self._set_aside = len(status["set_aside"])
        if status["dropped_samples"] and not self._dropped:
            self._dropped = True
            self._journal.error(
                "the database takes nothing: samples of the machine are dropped after 3,000"
            )
