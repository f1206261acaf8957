"""The desk: findings come in, alerts go out, and a crash in between neither loses nor doubles."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from training_monitor.notify.memory import restored, to_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from training_monitor.notify.alert import Alert, Found, Notice
    from training_monitor.notify.courier import Courier
    from training_monitor.notify.outbox import Outbox, SinkHealth
    from training_monitor.notify.policy import Rules

__all__ = ["Desk"]


class Desk:
    """Policy, outbox and courier together, with the state of the policy in a file.

    What is decided goes into the outbox first and into the state then. After a crash in between
    the same findings, given in once more, make the same alert with the same id, which the outbox
    knows. `position` travels with the state: how far the caller's findings were taken in.

    Args:
        run: The name of the run.
        outbox: Where alerts go.
        path: The file of the state.
        rules: The bounds of the policy.
        courier: Brings alerts to the sinks; None: nobody does, yet.

    Attributes:
        position: What the caller gave with the findings that the state knows; None: nothing.
    """

    def __init__(
        self,
        run: str,
        outbox: Outbox,
        path: str,
        *,
        rules: Rules | None = None,
        courier: Courier | None = None,
    ) -> None:
        self._outbox = outbox
        self._courier = courier
        self._path = path
        stored, troubles = _read(path)
        state = stored.get("policy") if stored is not None else None
        self._policy, further = restored(run, state, rules=rules)
        self._troubles = troubles + further
        position = stored.get("position") if stored is not None else None
        self.position = position if isinstance(position, int) else None
        self._is_saved = True

    def take(
        self,
        findings: Iterable[Found],
        notices: Iterable[Notice] = (),
        *,
        now: float,
        position: int | None = None,
    ) -> list[Alert]:
        """Take in what is new, and put into the outbox what is due; return the new alerts.

        To be called with each batch, and without any once a second or when `next_due()` says.

        Args:
            findings: Findings, in their order.
            notices: What else is to be told.
            now: The wall clock.
            position: How far the caller is; the state keeps it with what was taken in.
        """
        for finding in findings:
            self._policy.take(finding, now)
            self._is_saved = False
        for notice in notices:
            self._policy.announce(notice, now)
            self._is_saved = False
        alerts = self._policy.due(now)
        new = [alert for alert in alerts if self._outbox.put(alert, now)]
        if position is not None and position != self.position:
            self.position, self._is_saved = position, False
        if alerts or not self._is_saved:
            self._save()
        if new and self._courier is not None:
            self._courier.wake()
        return new

    def next_due(self) -> float | None:
        """Return the wall clock at which to call `take` again; None: not before news."""
        return self._policy.next_due()

    def health(self) -> dict[str, SinkHealth]:
        """Return what became of the alerts, by sink."""
        return self._outbox.health()

    @property
    def troubles(self) -> list[str]:
        """What of the state could not be read or written, and which sinks do not get alerts."""
        return self._troubles + [
            f"alerts do not reach the {name.replace('_', ' ')}: {one.trouble}"
            for name, one in self.health().items()
            if one.trouble
        ]

    def is_idle(self) -> bool:
        """Return whether there is nothing to tell and nothing on its way."""
        waiting = sum(one.waiting for one in self._outbox.health().values())
        return not waiting and self._policy.next_due() is None

    def close(self, *, within_secs: float) -> bool:
        """Deliver what is due, for so long at most; return False where a sink hangs."""
        return self._courier is None or self._courier.close(within_secs=within_secs)

    def counts(self) -> dict[str, int]:
        """Return how many findings were taken, told, attached, folded and so on."""
        return dict(self._policy.counts)

    def _save(self) -> None:
        state = {"policy": to_state(self._policy), "position": self.position}
        draft = f"{self._path}.new"
        try:
            with open(draft, "w", encoding="utf-8", opener=_private) as file:
                json.dump(state, file, allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._path)
        except OSError as error:
            # Told all the same: a full disk is no reason to be silent.
            self._troubles = [f"{self._path} cannot be written: {error.strerror}"]
            with contextlib.suppress(OSError):
                os.unlink(draft)
        else:
            self._is_saved = True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _read(path: str) -> tuple[dict[str, Any] | None, list[str]]:
    try:
        with open(path, encoding="utf-8") as file:
            stored = json.load(file)
    except FileNotFoundError:
        return None, []
    except (OSError, ValueError, RecursionError) as error:
        return None, [f"{path} cannot be read: {type(error).__name__}"]
    if not isinstance(stored, dict):
        return None, [f"{path} cannot be read: it is no state"]
    return stored, []
