"""What every receiver of alerts has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from training_monitor.notify.outbox import Outcome

__all__ = ["Sink"]


class Sink(Protocol):
    """Tells alerts somewhere. It is called by one thread of its own, in order."""

    @property
    def name(self) -> str:
        """The name, which the outbox keeps; it holds no secret."""

    def deliver(self, alert: Mapping[str, Any], sending: Callable[[], None]) -> Outcome:
        """Tell one alert, within a time limit of its own.

        Args:
            alert: What `Alert.to_json` gives.
            sending: To be called when all is ready and the alert leaves next. If the process ends
                after that and before the outcome is known, the alert may arrive twice. A sink that
                can see by itself what it has need not call it.
        """
