"""The gate: whatever goes to a model's server passes here, and nowhere else."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

from training_monitor._core import redact
from training_monitor.analysis.model.privacy import PrivacyError, allows, spellings
from training_monitor.analysis.model.reply import whole_text
from training_monitor.analysis.model.sent import Records, Sent, read_sent, sent_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Outgoing", "Sent", "read_sent", "sent_of"]

_MARK = "[redacted]"
_MOST_DEPTH = 100


class Outgoing:
    """Takes secrets out of what is sent, writes down what was sent, and says no.

    Args:
        run_dir: The run, in which what is sent is written down.
        privacy: "full", "no-code", "numbers-only" or "off".
        secrets: Values that must never leave, as `privacy.secret_values` finds them.
        clock: Returns the wall clock.
    """

    def __init__(
        self,
        run_dir: str,
        *,
        privacy: str,
        secrets: Iterable[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        allows(privacy, "request")
        self.privacy = privacy
        self._records = Records(run_dir)
        self._run_dir = run_dir
        self._clock = clock
        self._spellings = spellings(secrets)
        self._places = () if allows(privacy, "paths") else _places(run_dir)

    def check(self) -> None:
        """Raise PrivacyError where nothing may be sent at all."""
        if not allows(self.privacy, "request"):
            raise PrivacyError("privacy is 'off': no model is asked")

    def clean(self, value: Any) -> Any:
        """Return messages or tools without secrets: a copy, in which only texts differ.

        Raises:
            PrivacyError: Nothing may be sent.
        """
        self.check()
        return self._cleaned(value, 0)

    def clean_text(self, text: str) -> str:
        """Return a text as it may leave."""
        text = whole_text(text)
        for spelling in self._spellings:
            if spelling in text:
                text = text.replace(spelling, _MARK)
        for place in self._places:
            text = text.replace(place, "[place]")
        return redact(text)

    def _cleaned(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.clean_text(value)
        if depth > _MOST_DEPTH:
            raise PrivacyError("not sent: a value is nested too deep to be looked through")
        if isinstance(value, dict):
            return {
                self.clean_text(str(key)): self._cleaned(part, depth + 1)
                for key, part in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._cleaned(part, depth + 1) for part in value]
        return value

    def leaving(self, content: bytes, *, purpose: str, to: str) -> None:
        """Write down the body of a request that is about to be sent.

        Raises:
            PrivacyError: It must not be sent: privacy forbids it, there is a secret in it, or it
                could not be written down.
        """
        self.check()
        text = content.decode("utf-8", "replace")
        if any(spelling in text for spelling in self._spellings):
            raise PrivacyError("not sent: the value of a secret variable is in it")
        self.record(content, purpose=purpose, to=to, time=self._clock())

    def record(self, content: bytes, *, purpose: str, to: str, time: float) -> None:
        """Write down a body, byte for byte; `read_sent` gives it back.

        Raises:
            PrivacyError: It could not be written down.
        """
        try:
            self._records.add(content, purpose=purpose, to=to, time=time)
        except OSError as error:
            why = error.strerror or str(error)
            raise PrivacyError(
                f"not sent: what is sent could not be written down in {self._run_dir}: {why}"
            ) from error


def _places(run_dir: str) -> tuple[str, ...]:
    """Return names of this machine and of directories on it."""
    names = {socket.gethostname(), os.path.expanduser("~")}
    names |= {os.path.abspath(run_dir), os.getcwd()}
    return tuple(sorted((name for name in names if len(name) > 3), key=len, reverse=True))
