"""One question to a model behind any server that speaks OpenAI's Chat Completions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from training_monitor._core import redact
from training_monitor.analysis.model.address import Hidden, basic, shown_address, without_login
from training_monitor.analysis.model.loops import run_to_end
from training_monitor.analysis.model.privacy import LEAST_SECRET_CHARS, PrivacyError
from training_monitor.analysis.model.reply import Reply, ToolCall, read_reply
from training_monitor.analysis.model.trouble import (
    ModelError,
    causes,
    error_of_cause,
    error_of_status,
)
from training_monitor.errors import MissingLibraryError, plain
from training_monitor.settings import secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Gate", "ModelClient", "ModelError", "Reply", "ToolCall", "open_client"]

OPENAI = "https://api.openai.com/v1"
# Servers of one's own mostly want no key; the library does not go without one.
NO_KEY = "not-needed"
_MOST_ANSWER_BYTES = 4 * 2**20
_CAPS = ("max_completion_tokens", "max_tokens", None)


class Gate(Protocol):
    """What every byte to a server passes; `outgoing.Outgoing` is the one."""

    def clean(self, value: Any) -> Any:
        """Return the messages or tools without secrets, or raise PrivacyError."""

    def leaving(self, content: bytes, *, purpose: str, to: str) -> None:
        """Write down what is about to be sent, or raise PrivacyError and nothing is sent."""


def open_client(
    *,
    model: str,
    base_url: str | None,
    reasoning_effort: str | None = None,
    environ: Mapping[str, str] | None = None,
    timeout_secs: float = 120.0,
    max_output_tokens: int = 2000,
) -> ModelClient | None:
    """Return a client for the server that settings and environment name.

    None where there is neither a key nor an address: then nothing is ever asked.
    """
    environ = os.environ if environ is None else environ
    api_key = secret("openai_api_key", environ)
    base_url = base_url or environ.get("OPENAI_BASE_URL") or None
    if api_key is None and base_url is None:
        return None
    return ModelClient(
        model=model,
        base_url=base_url,
        api_key=api_key,
        reasoning_effort=reasoning_effort,
        timeout_secs=timeout_secs,
        max_output_tokens=max_output_tokens,
    )


class ModelClient:
    """Asks one model at one address; may be used by several threads.

    What a server refuses (`reasoning_effort`, the name of the cap on the answer) is left out from
    then on. No temperature is sent, and no `tool_choice`: not every server knows them.

    Args:
        model: The model, as the server calls it.
        base_url: The address; None means OpenAI's.
        api_key: The key; None means none.
        reasoning_effort: Handed on as it is; None means nothing is said.
        timeout_secs: After so long an answer is given up, whatever has come of it.
        max_output_tokens: Cap on the tokens of an answer.

    Attributes:
        model: The model.
        to: The address without anything secret in it.
        max_output_tokens: Cap on the tokens of an answer.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None,
        api_key: str | None,
        reasoning_effort: str | None,
        timeout_secs: float = 120.0,
        max_output_tokens: int = 2000,
    ) -> None:
        url, self._login = without_login(base_url or OPENAI)
        self.model = model
        self.to = shown_address(url)
        self.timeout_secs = timeout_secs
        self.max_output_tokens = max_output_tokens
        self._url = url
        self._key = Hidden((api_key or "").strip() or NO_KEY)
        self._effort = reasoning_effort
        self._cap = 0
        self._tls: Any = None

    def __repr__(self) -> str:
        return f"ModelClient({self.model!r} at {self.to})"

    def ask(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        *,
        outgoing: Gate,
        purpose: str = "analysis",
        within_secs: float | None = None,
    ) -> Reply:
        """Send one request and return the answer.

        Args:
            messages: The conversation.
            tools: What the model may call; None: nothing.
            outgoing: Cleans what is sent and keeps what was sent.
            purpose: What this is for, as kept with what was sent.
            within_secs: Give up earlier than after `timeout_secs`.

        Raises:
            ModelError: There is no answer. With `again` the same may be asked at once.
            PrivacyError: Nothing may be sent.
        """
        if not (self._key.show().isascii() and self._key.show().isprintable()):
            raise ModelError("auth", "OPENAI_API_KEY has characters in it that no key has")
        seconds = self.timeout_secs if within_secs is None else min(self.timeout_secs, within_secs)
        body = {"messages": outgoing.clean(messages), **self._options()}
        if tools:
            body["tools"] = outgoing.clean(tools)
        start = time.monotonic()
        answer, failed = self._answer(body, outgoing, purpose, max(seconds, 0.001))
        # Raised here and not while handling: what the library raised holds the request and its key.
        if failed is not None:
            raise self._why(failed)
        status = answer.status if answer.status != 200 else _status_inside(answer.content)
        if status != 200:
            raise self._refusal(status, answer, body)
        return read_reply(answer.content, asked=self._asked, seconds=time.monotonic() - start)

    @property
    def _asked(self) -> str:
        return f"{plain(redact(self.model))} at {self.to}"

    def _options(self) -> dict[str, Any]:
        cap = _CAPS[self._cap]
        effort = self._effort
        return {
            "model": self.model,
            **({} if cap is None else {cap: self.max_output_tokens}),
            **({} if effort is None else {"reasoning_effort": effort}),
        }

    def _answer(
        self, body: dict[str, Any], outgoing: Gate, purpose: str, seconds: float
    ) -> tuple[_Answer, BaseException | None]:
        """Return what came back, or why nothing did."""

        def leaving(content: bytes) -> None:
            outgoing.leaving(content, purpose=purpose, to=self.to)

        try:
            openai = _library()
            answer = run_to_end(
                lambda: asyncio.wait_for(self._post(openai, body, leaving, seconds), seconds)
            )
        except Exception as error:  # noqa: BLE001 -- whatever library and server do: the caller hears of it in one way
            return _Answer(0, {}, b""), error
        headers = {name: self._hide(value) for name, value in answer.headers.items()}
        return _Answer(answer.status, headers, self._hidden(answer.content)), None

    async def _post(
        self, openai: Any, body: dict[str, Any], leaving: Callable[[bytes], None], seconds: float
    ) -> _Answer:
        _UNHEARD.begin()
        if self._tls is None:
            self._tls = _http_library(openai).create_ssl_context()
        taken: list[_Answer] = []
        async with _gated(openai, leaving, taken, tls=self._tls) as http:
            client = openai.AsyncOpenAI(
                api_key=self._key.show(),
                base_url=self._url,
                http_client=http,
                max_retries=0,  # `conversing` decides, within its bounds
                timeout=seconds,
                default_headers={"Accept-Encoding": "identity", **basic(self._login.show())},
            )
            try:
                await client.chat.completions.with_raw_response.create(**body)
            except Exception:
                # The library reads statuses in its own way, which changed with its versions.
                if not taken:
                    raise
        return taken[-1]

    def _hidden(self, content: bytes) -> bytes:
        """Return an answer without our key, which a server may well repeat."""
        key = self._key.show().encode()
        # What stands in the place of a key is a word like "EMPTY", and may be one of the answer.
        is_none = key == NO_KEY.encode() or len(key) < LEAST_SECRET_CHARS
        return content if is_none else content.replace(key, b"[redacted]")

    def _hide(self, text: str) -> str:
        return self._hidden(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def _why(self, failed: BaseException) -> Exception:
        for error in causes(failed):
            if isinstance(error, (PrivacyError, MissingLibraryError)):
                error.__cause__ = error.__context__ = None
                return error.with_traceback(None)

        return error_of_cause(failed, asked=self._asked, hide=self._hide)

    def _refusal(self, status: int, answer: _Answer, body: dict[str, Any]) -> ModelError:
        error = error_of_status(
            status,
            answer.headers,
            answer.content,
            now=time.time(),
            asked=self._asked,
            tools="tools" in body,
        )
        said = str(error)
        if error.kind != "request" or status not in {400, 422}:
            return error
        for at, cap in enumerate(_CAPS[:-1]):
            if cap in body and cap in said:
                self._cap = max(self._cap, at + 1)
                return ModelError("parameter", f"{self._asked} refuses {cap}", again=True)
        if "reasoning_effort" in body and "reasoning" in said:
            self._effort = None
            effort = body["reasoning_effort"]
            text = f"{self._asked} refuses reasoning_effort={effort!r}: asked without it"
            return ModelError("reasoning_effort", text, again=True)
        return error


class _Unheard(logging.Filter):
    """Keeps what httpcore logs of our requests out of logs: headers are in it, as they came."""

    def __init__(self) -> None:
        super().__init__()
        self._asking: ContextVar[bool] = ContextVar("asking", default=False)

    def begin(self) -> None:
        """Be silent for the rest of this task, and for those it starts."""
        self._asking.set(True)
        for name in list(logging.root.manager.loggerDict):
            if name.partition(".")[0] in {"httpcore", "httpcore2"}:
                logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 -- the name logging calls
        """Tell whether a record is none of ours."""
        return not self._asking.get()


_UNHEARD = _Unheard()


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    content: bytes


def _library() -> Any:
    """Return the package openai; the one place that imports it, for it takes half a second."""
    try:
        import openai
    except ImportError as error:
        raise MissingLibraryError("the analyst", "openai", "pip install openai") from error
    return openai


def _http_library(openai: Any) -> Any:
    """Return what openai sends with: httpx2, before openai 3 httpx."""
    base = openai.DefaultAsyncHttpxClient.__mro__[1]
    return sys.modules[base.__module__.partition(".")[0]]


def _gated(openai: Any, leaving: Callable[[bytes], None], taken: list[_Answer], *, tls: Any) -> Any:
    """Return a client for HTTP that sends nothing unseen and takes no answer without end.

    Redirects are not followed: key and code would go to an address that nobody named. Proxies
    are those of the environment.

    Args:
        openai: The library.
        leaving: Called with the bytes of each body before they are sent.
        taken: Takes what came back.
        tls: Which certificates are trusted.
    """

    class Gated(openai.DefaultAsyncHttpxClient):  # type: ignore[misc]
        async def send(self, request: Any, **options: Any) -> Any:
            leaving(bytes(request.content))
            options |= {"stream": True, "follow_redirects": False}
            response = await super().send(request, **options)
            try:
                content = await _bounded(response)
            finally:
                await response.aclose()
            taken.append(_Answer(response.status_code, dict(response.headers), content))
            # The library reads a response that is complete; its headers spoke of the raw bytes.
            return type(response)(response.status_code, content=content, request=request)

    return Gated(verify=tls)


async def _bounded(response: Any) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _MOST_ANSWER_BYTES:
            what = f"an answer of more than {_MOST_ANSWER_BYTES >> 20} MiB"
            raise ModelError("bad_answer", f"the server sent {what}")
    return bytes(content)


def _status_inside(content: bytes) -> int:
    """Return the status that an answer with status 200 has in it; 200 where it has none."""
    if b'"error"' not in content:
        return 200
    with contextlib.suppress(ValueError, RecursionError, AttributeError):
        told = json.loads(content)
        error = told.get("error")
        if error and not told.get("choices"):
            code = error.get("code") if isinstance(error, dict) else None
            if isinstance(code, int) and 300 <= code < 600:
                return code
            return 400 if isinstance(code, str) else 500
    return 200
