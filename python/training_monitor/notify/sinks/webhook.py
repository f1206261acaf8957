r"""Alerts as HTTP requests: POST with a JSON body.

The body is the alert (see `Alert`), and its words as chat services want them::

    {"text": "[run] critical: values that are not finite in train_loss\n...",
     "content": the same, "allowed_mentions": {"parse": []},
     "alert": {"id": "...", "run": "...", "severity": "critical", "title": "...", ...}}

`text` has the form that Slack asks for (`<`, `>` and `&` escaped), `content` that of Discord;
programs read `alert`. The header `Idempotency-Key` holds the id of the alert, which is the same
when it is sent a second time.
"""

from __future__ import annotations

import json
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from training_monitor.notify.outbox import Outcome, delivered, later, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import requests

__all__ = ["Webhook", "body_of"]

_CONNECT_SECS = 5.0
_ANSWER_SECS = 15.0
_SHOWN_CHARS = 1900  # Discord refuses more than 2,000


class Webhook:
    """Posts alerts to an address that is a secret and never stands in a text of ours.

    Args:
        url: The address.
        connect_secs: So long a connection may take.
        answer_secs: So long the server may be silent.
    """

    name = "webhook"

    def __init__(
        self, url: str, *, connect_secs: float = _CONNECT_SECS, answer_secs: float = _ANSWER_SECS
    ) -> None:
        self._url = url
        self._limits = (connect_secs, answer_secs)

    def deliver(self, alert: Mapping[str, Any], sending: Callable[[], None]) -> Outcome:
        """Post one alert; 429 and 5xx are worth another try, other refusals are not."""
        import requests

        headers = {
            "Content-Type": "application/json",
            "User-Agent": "training_monitor",
            "Idempotency-Key": str(alert["id"]),
        }
        try:
            # The answer's body is never read: it could be endless. A redirect could lead the
            # alert anywhere. `auth` keeps a .netrc from adding a password.
            with requests.post(
                self._url,
                data=_Body(body_of(alert), sending),
                headers=headers,
                timeout=self._limits,
                allow_redirects=False,
                stream=True,
                auth=lambda request: request,
            ) as answer:
                return _outcome(answer)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            return refused(f"the address of the webhook cannot be used: {type(error).__name__}")
        except requests.exceptions.RequestException as error:
            # The texts of these exceptions hold the address.
            return later(f"no answer from the webhook: {type(error).__name__}")


def body_of(alert: Mapping[str, Any]) -> bytes:
    """Return what is posted for an alert."""
    words = f"[{alert['run']}] {alert['title']}\n{alert['text']}"[:_SHOWN_CHARS]
    # Names of metrics come from outside: they must not be able to call a whole channel.
    escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    body = {
        "text": escaped,
        "content": words,
        "allowed_mentions": {"parse": []},
        "alert": dict(alert),
    }
    return json.dumps(body, allow_nan=False).encode()


class _Body:
    """A body that says when it is asked for: the connection stands, and the alert leaves next."""

    def __init__(self, data: bytes, sending: Callable[[], None]) -> None:
        self._data = data
        self._sending = sending

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        self._sending()
        yield self._data


def _outcome(answer: requests.Response) -> Outcome:
    status = answer.status_code
    if 200 <= status < 300:
        return delivered
    why = f"the webhook answered {status}"
    if status in (408, 425, 429) or status >= 500:
        wait = _retry_after(answer.headers.get("Retry-After"))
        # Who says when to come back is well and takes alerts: that is no failed try.
        return later(why, after_secs=wait, answered=status != 429)
    return refused(why)


def _retry_after(text: str | None) -> float | None:
    """Return the seconds that a header asks to wait, which may also be a date."""
    if not text:
        return None
    try:
        return max(0.0, float(text)) if float(text) < float("inf") else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
