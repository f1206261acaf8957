"""What goes wrong between us and a model's server, in few kinds and in words for people."""

from __future__ import annotations

import email.utils
import json
import math
import re
import ssl
from typing import TYPE_CHECKING, Any

from training_monitor._core import redact
from training_monitor.errors import TrainingMonitorError, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ModelError", "causes", "error_of_cause", "error_of_status", "pause_of"]

_MOST_PAUSE_SECS = 86400.0
_SHOWN_CHARS = 300

_MODEL = re.compile(r"model", re.IGNORECASE)
_QUOTA = re.compile(r"insufficient.{0,3}(quota|credit|balance|funds)|billing", re.IGNORECASE)
_CONTEXT = re.compile(
    r"context.{0,3}(length|window|size|limit)|maximum context|(prompt|input) is too long"
    r"|too many (input |prompt )?tokens|exceed.{0,40}context|n_ctx",
    re.IGNORECASE,
)
_TOOLS = re.compile(r"\btools?\b|tool[-_ ](use|call|choice)|function.?call", re.IGNORECASE)
# A server that breaks is rarely about tools, so with 5xx more is asked for.
_TOOLS_SURELY = re.compile(
    r"tools? (param|use|call)|tool_(choice|calls)|support\w* tools|param\w*: tools|jinja",
    re.IGNORECASE,
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)")
_MOST_CAUSES = 20
_TIMEOUTS = {"TimeoutError", "APITimeoutError", "ReadTimeout", "ConnectTimeout"}
_UNIT_SECS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class ModelError(TrainingMonitorError):
    """A model could not be asked, or its answer is of no use.

    Attributes:
        kind: auth, unknown_model, quota, rate_limit, timeout, connection, tls, redirect,
            tools_refused, context_length, parameter, reasoning_effort, request, server, bad_answer
            or privacy.
        retry_after_secs: How long the server asked to wait; None: it did not say.
        again: The client has left out what the server refused: the same question may be asked
            again at once.
    """

    def __init__(
        self, kind: str, text: str, *, retry_after_secs: float | None = None, again: bool = False
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.retry_after_secs = retry_after_secs
        self.again = again


def error_of_status(
    status: int, headers: Mapping[str, str], body: bytes, *, now: float, asked: str, tools: bool
) -> ModelError:
    """Return what an answer with this status means.

    Args:
        status: The status of the answer; that of an error inside of it where there is one.
        headers: Its headers.
        body: Its body.
        now: Wall clock, for headers that name a time.
        asked: Model and address, for the text.
        tools: Whether tools were sent.
    """
    code, said = _said(body)
    heading = f"{asked} answered {status}"
    kind = _kind_of(status, code, said, tools=tools)
    pause = pause_of(headers, now=now) if kind in {"rate_limit", "server", "quota"} else None
    advice = _ADVICE.get(kind, "")
    if kind == "redirect":
        said = f"to {_shown(headers.get('location', '?'))}"
    return ModelError(
        kind,
        f"{heading}{': ' if said else ''}{_shown(said)}{'; ' if advice else ''}{advice}",
        retry_after_secs=pause,
    )


_ADVICE = {
    "auth": "check OPENAI_API_KEY",
    "unknown_model": "check openai_model and openai_base_url (which mostly ends in /v1)",
    "quota": "the account has nothing left to spend",
    "redirect": "not followed, the key might go elsewhere: set openai_base_url to the new address",
    "tools_refused": (
        "asked without tools from here on (vLLM needs --enable-auto-tool-choice and "
        "--tool-call-parser, llama.cpp --jinja)"
    ),
    "context_length": "lower max_prompt_len",
}


def _kind_of(status: int, code: str, said: str, *, tools: bool) -> str:  # noqa: C901 -- a table in the order of which rule is surer
    if status in {401, 403}:
        return "auth"
    if status == 402 or ("quota" in code) or (status == 429 and _QUOTA.search(said)):
        return "quota"
    if status == 429:
        return "rate_limit"
    if status == 407:
        return "connection"
    if status in {408, 504, 524}:
        return "timeout"
    if 300 <= status < 400:
        return "redirect"
    if code == "context_length_exceeded" or (status < 500 and _CONTEXT.search(said)):
        return "context_length"
    if tools and (
        status == 501
        or (status in {400, 404, 405, 422} and _TOOLS.search(said))
        or (status >= 500 and _TOOLS_SURELY.search(said))
    ):
        return "tools_refused"
    if status == 404 or code == "model_not_found":
        return "unknown_model"
    if status == 413:
        return "context_length"
    if status >= 500:
        return "context_length" if _CONTEXT.search(said) else "server"
    if status in {400, 422} and _MODEL.search(code):
        return "unknown_model"
    return "request"


def _said(body: bytes) -> tuple[str, str]:
    """Return the code and the message of an error's body, whatever shape it has."""
    text = body[:20_000].decode("utf-8", "replace").strip()
    try:
        told: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "", "a web page" if text.startswith("<") else text
    if isinstance(told, list) and told:
        told = told[0]
    inner = told.get("error", told) if isinstance(told, dict) else told
    if not isinstance(inner, dict):
        return "", str(inner)
    code = inner.get("code") or inner.get("type") or ""
    said = next((inner[key] for key in ("message", "detail", "msg", "title") if inner.get(key)), "")
    if isinstance(said, list):
        # As FastAPI tells of each field; what was sent there stands in it as well.
        said = "; ".join(_field(one) for one in said[:5])
    return str(code), said if isinstance(said, str) else json.dumps(said)


def _field(told: object) -> str:
    if not isinstance(told, dict):
        return str(told)
    place = told.get("loc")
    parts = place if isinstance(place, list) else []
    return f"{'.'.join(map(str, parts))}: {told.get('msg', '')}"


def _shown(text: str) -> str:
    text = plain(redact(text[: 10 * _SHOWN_CHARS])).strip()
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."


def error_of_cause(error: BaseException, *, asked: str, hide: Callable[[str], str]) -> ModelError:
    """Return what it means that no answer came, from the exception and its causes.

    Args:
        error: What was raised.
        asked: Model and address, for the text.
        hide: Takes the key out of a text.
    """
    chain = causes(error)
    told = next((one for one in chain if isinstance(one, ModelError)), None)
    if told is not None:
        return ModelError(told.kind, f"{asked}: {told}")
    tls = next((one for one in chain if isinstance(one, ssl.SSLError)), None)
    if tls is not None:
        return _tls_error(tls, asked)
    names = {type(one).__name__ for one in chain}
    if names & _TIMEOUTS:
        return ModelError("timeout", f"{asked} did not answer in time")
    last = chain[-1]
    said = _shown(hide(f"{type(last).__name__}: {last}".rstrip(": ")))
    if "DecodingError" in names:
        return ModelError("bad_answer", f"{asked} sent what cannot be unpacked: {said}")
    kind = "connection" if isinstance(last, OSError) or _is_transport(names) else "request"
    return ModelError(kind, f"{asked} cannot be asked: {said}")


def _is_transport(names: set[str]) -> bool:
    return "APIConnectionError" in names or any(name.endswith("ProtocolError") for name in names)


def causes(error: BaseException) -> list[BaseException]:
    """Return an exception and what brought it about, the deepest last."""
    chain = [error]
    while (deeper := chain[-1].__cause__ or chain[-1].__context__) and len(chain) < _MOST_CAUSES:
        chain.append(deeper)
    return chain


def _tls_error(error: ssl.SSLError, asked: str) -> ModelError:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "") or "not trusted"
        advice = (
            f"its certificate could not be verified ({why}): install the package ca-certificates, "
            "or let SSL_CERT_FILE name the file with the certificates to trust"
        )
    else:
        why = getattr(error, "reason", None) or error
        advice = f"no secure connection ({why}): does the server speak https there?"
    return ModelError("tls", f"{asked} cannot be asked: {_shown(advice)}")


def pause_of(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return how long the headers of an answer ask to wait; None: they do not say."""
    lower = {name.lower(): value for name, value in headers.items()}
    if (text := lower.get("retry-after-ms")) and (found := _number(text)) is not None:
        return _bounded(found / 1000)
    if text := lower.get("retry-after"):
        found = _number(text)
        if found is None:
            found = _until(text, now)
        if found is not None:
            return _bounded(found)
    found = _reset_of(lower, now)
    return None if found is None else _bounded(found)


def _reset_of(headers: Mapping[str, str], now: float) -> float | None:
    """Return when what is used up comes back, by the headers `x-ratelimit-*`."""
    pauses = []
    for name, text in headers.items():
        if not name.startswith("x-ratelimit-reset"):
            continue
        left = headers.get(name.replace("-reset", "-remaining"))
        if left is not None and (_number(left) or 0) > 0:
            continue
        pause = _duration(text, now)
        if pause is not None:
            pauses.append(pause)
    return max(pauses, default=None)


def _duration(text: str, now: float) -> float | None:
    number = _number(text)
    if number is None:
        parts = _DURATION.findall(text)
        return sum(float(size) * _UNIT_SECS[unit] for size, unit in parts) if parts else None
    # Some servers give the time of the reset: in milliseconds, or in seconds since 1970.
    if number > 1e11:
        return number / 1000 - now
    return number - now if number > 1e8 else number


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _until(text: str, now: float) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _MOST_PAUSE_SECS)
