"""When nothing is logged any more, the ranks are asked where they are, once for each silence."""

from __future__ import annotations

import threading

from training_monitor import _core
from training_monitor.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from training_monitor.monitor.asking import Answers
    from training_monitor.monitor.journal import Journal

__all__ = ["Stuck"]

_SHOWN_FRAMES = 3


class Stuck:
    """Watches the status of ingest for a silence; asks in a thread, as that takes seconds.

    Args:
        run_dir: The run directory.
        journal: What happens is told there.
        ask: Asks the processes of a run; None means as `monitor.asking` does.
    """

    __slots__ = ("_answers", "_ask", "_asked_ns", "_journal", "_run_dir", "_told")

    def __init__(
        self, run_dir: str, journal: Journal, ask: Callable[[str], Answers] | None = None
    ) -> None:
        self._run_dir = run_dir
        self._journal = journal
        self._ask = ask
        self._asked_ns: int | None = None
        self._answers: list[Answers] = []
        self._told: set[str] = set()

    def look(self, status: dict[str, Any], ingest: _core.Ingest) -> None:
        """Ask when a silence has begun; hand over what was answered."""
        while self._answers:
            self._store(self._answers.pop(), ingest)
        stuck_ns = status["stuck_ns"]
        if stuck_ns is None or stuck_ns == self._asked_ns:
            return
        self._asked_ns = stuck_ns
        try:
            threading.Thread(target=self._work, name="tm-stuck", daemon=True).start()
        except RuntimeError as error:  # no thread to be had: the recording matters more
            self._journal.error(f"cannot ask for stacks: {error}")

    def _work(self) -> None:
        try:
            # A monitor before this one may have asked because of the same silence.
            if _has_stacks(self._run_dir):
                return
            from training_monitor.monitor import asking

            self._answers.append((self._ask or asking.ask)(self._run_dir))
        except Exception as error:  # noqa: BLE001 -- a thread of the monitor, which goes on
            self._journal.error(f"cannot ask for stacks: {error!r}")

    def _store(self, answers: Answers, ingest: _core.Ingest) -> None:
        from training_monitor.monitor.asking import lines_of

        ingest.add_system(lines_of(answers))
        for stack in answers.stacks:
            where = " < ".join(stack.frames[:_SHOWN_FRAMES]) or "in no Python code"
            self._journal.info(f"rank {stack.rank} (pid {stack.pid}) is in {where}")
        for trouble in answers.troubles:
            if trouble not in self._told:
                self._told.add(trouble)
                self._journal.warn(f"no stacks of {trouble}")


def _has_stacks(run_dir: str) -> bool:
    """Return whether the last word about the steps is a silence whose stacks were taken."""
    from training_monitor.machine import read_findings

    try:
        findings = read_findings(_core.RunReader(run_dir))
    except (FileNotFoundError, StoreError):
        return False
    about = [finding for finding in findings if finding.source == "steps"]
    return bool(about) and about[-1].name == "stuck" and about[-1].stacks is not None
