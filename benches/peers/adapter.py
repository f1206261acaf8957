"""What the harness asks of a tracker. It runs in the tracker's environment: stdlib only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

Metrics = Mapping[str, float]
Log = Callable[[Metrics, int], object]


class Adapter(ABC):
    """One tracker: how it is opened, closed and read; `open` returns its call.

    Attributes:
        requirements: What pip installs; empty means that this project's own environment serves.
        packages: The distributions whose versions the report names.
        variables: Documented settings that keep the tracker offline and silent.
        note: What was measured, in a few words.
    """

    requirements: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ()
    variables: ClassVar[Mapping[str, str]] = {}
    note: ClassVar[str]

    def load(self) -> None:  # noqa: B027 -- a tracker without a library has nothing to import
        """Import the library."""

    @abstractmethod
    def open(self, directory: Path) -> Log:
        """Start a run that keeps everything below `directory`; return what logs one dict."""

    @abstractmethod
    def close(self) -> None:
        """End the run; everything accepted is with the kernel when this returns."""

    @abstractmethod
    def readable(self, directory: Path) -> int:
        """Return how many points the tracker's own reader gives back, in another process."""

    def refused(self) -> int:
        """Return how many calls the tracker has refused so far and counted; none says so but us."""
        return 0

    def points(self, directory: Path) -> list[tuple[int, float]]:
        """Return step and value of `loss` as often as the tracker's own reader gives them.

        It is asked in another process, after the training ended as it may.
        """
        raise NotImplementedError(f"{type(self).__module__} is not among those compared by faults")
