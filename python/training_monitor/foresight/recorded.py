"""A recorded run, as far as its course is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from training_monitor import _core
    from training_monitor.answers import Attempt, Metric, Series
    from training_monitor.detect.definition import Definition
    from training_monitor.detect.meaning import Meaning
    from training_monitor.statistics import Zoom

__all__ = ["Recorded"]


class Recorded(Protocol):
    """What is asked of a run."""

    name: str
    dir: str
    _path: str
    _reader: _core.RunReader

    @property
    def attempts(self) -> list[Attempt]:
        """The attempts, the first one first."""

    @property
    def config(self) -> dict[str, Any]:
        """The hyperparameters."""

    def metrics(self) -> list[Metric]:
        """List the metrics by name."""

    def meanings(self) -> dict[str, Meaning]:
        """Return what each metric was taken for."""

    def definitions(self) -> list[Definition]:
        """Return what was said of metrics."""

    def series(
        self,
        key: str,
        *,
        rank: int | None = None,
        last: int | None = None,
        max_points: int | None = None,
    ) -> Series:
        """Return the points of one metric."""

    def zoom(
        self, key: str, *, buckets: int = 1000, since: int | None = None, rank: int | None = None
    ) -> Zoom:
        """Return one metric in stretches."""
