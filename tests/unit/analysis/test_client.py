"""A model is asked through any server, and whatever goes wrong is one kind of error, in time."""

import asyncio
import base64
import gzip
import json
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from harness.openai_server import (
    OpenAIServer,
    ServerReply,
    calls,
    completion,
    fails,
    openai_server,
    raw,
    says,
)
from training_monitor.analysis.model.client import ModelClient, ModelError, Reply, open_client
from training_monitor.analysis.model.outgoing import Outgoing, read_sent

KEY = "sk-proj-Zk3vQ8wP1nR5tY7uJ2mB4xC6"
MESSAGES = [{"role": "system", "content": "be short"}, {"role": "user", "content": "why? é ∆"}]
TOOLS = [{"type": "function", "function": {"name": "steps_tail", "parameters": {"type": "object"}}}]


@pytest.fixture
def gate(tmp_path: Path) -> Outgoing:
    return Outgoing(str(tmp_path), privacy="full", secrets=[])


def client_of(server: OpenAIServer, **options: object) -> ModelClient:
    given = {"model": "m", "base_url": server.base_url, "api_key": KEY, "reasoning_effort": None}
    return ModelClient(**(given | {"timeout_secs": 60.0} | options))


def answer(script: list[ServerReply], gate: Outgoing, **options: object) -> Reply:
    with openai_server(script) as server:
        return client_of(server, **options).ask(MESSAGES, TOOLS, outgoing=gate)


def trouble(script: list[ServerReply], gate: Outgoing, **options: object) -> ModelError:
    with pytest.raises(ModelError) as caught:
        answer(script, gate, **options)
    return caught.value


def test_request_is_what_every_server_knows(gate: Outgoing, tmp_path: Path) -> None:
    with openai_server([says("it diverged")]) as server:
        reply = client_of(server, reasoning_effort="xhigh", max_output_tokens=77).ask(
            MESSAGES, TOOLS, outgoing=gate, purpose="question"
        )
    assert reply.text == "it diverged"
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "messages": MESSAGES,
        "model": "m",
        "tools": TOOLS,
        "max_completion_tokens": 77,
        "reasoning_effort": "xhigh",
    }
    (sent,) = read_sent(str(tmp_path))
    assert (sent.content, sent.purpose, sent.to) == (request.raw, "question", server.base_url)


def test_reply_has_calls_usage_and_reason(gate: Outgoing) -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    reply = answer([calls(("a", {"x": 1}), ("b", '{"broken": '), usage=usage)], gate)
    assert [(call.id, call.name, call.arguments) for call in reply.calls] == [
        ("call_0", "a", '{"x": 1}'),
        ("call_1", "b", '{"broken": '),
    ]
    assert (reply.prompt_tokens, reply.completion_tokens, reply.finish) == (12, 3, "tool_calls")
    assert reply.text == ""


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None}, ""),
        ({}, ""),
        ({"content": [{"type": "text", "text": "one "}, {"text": "two"}, 3]}, "one two"),
        ({"content": None, "refusal": "I will not"}, "I will not"),
        ({"content": "<think>hm\nhm</think>\n\nso it is"}, "so it is"),
        ({"content": "half \ud83d a pair"}, "half ? a pair"),
        ({"content": {"wrong": "shape"}, "tool_calls": "none"}, ""),
        ({"content": "x", "tool_calls": [None, 3, {"function": 1}, {}]}, "x"),
    ],
)
def test_message_of_another_shape_is_read_as_far_as_it_goes(
    message: dict[str, object], text: str, gate: Outgoing
) -> None:
    reply = answer(
        [completion(message, usage={"prompt_tokens": -1, "completion_tokens": "9"})], gate
    )
    assert (reply.text, reply.calls, reply.prompt_tokens, reply.completion_tokens) == (
        text,
        (),
        None,
        None,
    )


def test_old_and_odd_ways_to_call_a_tool_are_read(gate: Outgoing) -> None:
    old = {"content": None, "function_call": {"name": "a", "arguments": '{"x": 1}'}}
    assert answer([completion(old)], gate).calls[0].arguments == '{"x": 1}'
    odd = {"tool_calls": [{"id": 7, "function": {"name": "b", "arguments": {"y": [2]}}}]}
    (call,) = answer([completion(odd)], gate).calls
    assert (call.id, call.name, json.loads(call.arguments)) == ("", "b", {"y": [2]})


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (fails(401, "Incorrect API key"), "auth", "check OPENAI_API_KEY"),
        (fails(403, "no"), "auth", "403"),
        (fails(404, "no such model", code="model_not_found"), "unknown_model", "openai_base_url"),
        (fails(400, "`m` does not exist", code="model_not_found"), "unknown_model", "`m`"),
        (raw(b"<html>nginx</html>", status=404), "unknown_model", "a web page"),
        (fails(429, "Rate limit reached"), "rate_limit", "Rate limit reached"),
        (fails(429, "You exceeded", code="insufficient_quota"), "quota", "nothing left"),
        (fails(402, "Insufficient credits"), "quota", "Insufficient credits"),
        (fails(500, "boom"), "server", "500"),
        (fails(503, "overloaded"), "server", "overloaded"),
        (fails(504), "timeout", "504"),
        (fails(400, "maximum context length is 4096 tokens"), "context_length", "max_prompt_len"),
        (fails(400, "too much", code="context_length_exceeded"), "context_length", "too much"),
        (fails(413, "too large"), "context_length", "too large"),
        (
            fails(400, '"auto" tool choice requires --enable-auto-tool-choice and '
                  "--tool-call-parser to be set"), "tools_refused", "--tool-call-parser"
        ),
        (fails(400, "gemma:2b does not support tools"), "tools_refused", "without tools"),
        (fails(404, "No endpoints found that support tool use"), "tools_refused", "tool use"),
        (raw(b'{"detail":[{"loc":["body","tools"],"msg":"Extra inputs are not permitted"}]}',
             status=422), "tools_refused", "body.tools: Extra inputs"),
        (fails(501, "Not Implemented"), "tools_refused", "501"),
        (fails(500, "tools param requires --jinja flag"), "tools_refused", "--jinja"),
        (fails(418, "short and stout"), "request", "short and stout"),
        (raw(b'[{"error": {"code": 429, "message": "in a list"}}]', status=429), "rate_limit",
         "in a list"),
        (raw(b'{"error": {"code": 429, "message": "inside of 200"}}'), "rate_limit",
         "inside of 200"),
        (raw(b'{"error": "inside of 200"}'), "server", "inside of 200"),
        (raw(b""), "bad_answer", "an empty answer"),
        (raw(b"<!doctype html><html>login</html>"), "bad_answer", "a web page"),
        (raw(b'{"choices": [{"mess'), "bad_answer", "no JSON"),
        (raw(b"[1, 2]"), "bad_answer", "list, not an object"),
        (raw(b"{}"), "bad_answer", "without a message"),
        (raw(b'{"choices": []}'), "bad_answer", "without a message"),
        (raw(b'{"choices": [{"message": null}]}'), "bad_answer", "without a message"),
        (raw(b'{"choices": {"0": 1}}'), "bad_answer", "without a message"),
        (raw(b"[" * 100_000), "bad_answer", "no JSON"),
        (raw(b"\xff\xfe\x00"), "bad_answer", "no JSON"),
        (raw(b"x" * 99, headers={"Content-Encoding": "gzip"}), "bad_answer", "cannot be unpacked"),
        (says("x").but(cut=20), "connection", "cannot be asked"),
        (says("x").but(cut=0), "connection", "cannot be asked"),
    ],
)  # fmt: skip
def test_trouble_has_a_kind_and_says_what_to_do(
    reply: ServerReply, kind: str, words: str, gate: Outgoing
) -> None:
    error = trouble([reply], gate)
    assert (error.kind, error.again) == (kind, False)
    assert words in str(error)
    assert "m at http://127.0.0.1:" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 700


def test_nobody_at_the_address_is_a_connection_that_failed(gate: Outgoing) -> None:
    with openai_server() as server:
        client = client_of(server)
    with pytest.raises(ModelError, match="Connect call failed") as caught:
        client.ask(MESSAGES, None, outgoing=gate)
    assert caught.value.kind == "connection"
    client = ModelClient(
        model="m", base_url="http://no-such-host.invalid/v1", api_key=None, reasoning_effort=None
    )
    with pytest.raises(ModelError) as caught:
        client.ask(MESSAGES, None, outgoing=gate)
    assert caught.value.kind == "connection"


@pytest.mark.parametrize(
    "reply",
    [
        says("x").but(never=True),
        says("x").but(drip_secs=0.2),
        says("x").but(after_secs=60.0),
        raw(b"", forever=b" ").but(drip_secs=0.05),
    ],
    ids=["never", "drips", "late", "endless"],
)
def test_answer_is_given_up_after_the_whole_time(reply: ServerReply, gate: Outgoing) -> None:
    start = time.monotonic()
    error = trouble([reply], gate, timeout_secs=1.0)
    assert error.kind == "timeout"
    assert 0.9 <= time.monotonic() - start < 20


def test_time_of_a_conversation_ends_a_request_earlier(gate: Outgoing) -> None:
    never = openai_server([says("x").but(never=True)])
    with never as server, pytest.raises(ModelError) as caught:
        client_of(server).ask(MESSAGES, None, outgoing=gate, within_secs=0.5)
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize(
    "reply",
    [
        raw(b"", forever=b"x" * 65536),
        raw(b"x" * 100_000_000),
        raw(b"x" * 100_000_000, status=500),
        raw(gzip.compress(b" " * 100_000_000), headers={"Content-Encoding": "gzip"}),
    ],
    ids=["endless", "100 MB", "error of 100 MB", "packed"],
)
def test_answer_without_measure_is_not_taken(reply: ServerReply, gate: Outgoing) -> None:
    error = trouble([reply], gate)
    assert error.kind == "bad_answer"
    assert "more than 4 MiB" in str(error)


def test_redirect_is_not_followed(gate: Outgoing) -> None:
    with openai_server([says("elsewhere")]) as other:
        for status in (301, 302, 307, 308):
            reply = raw(b"", status=status, headers={"Location": other.base_url})
            error = trouble([reply], gate)
            assert error.kind == "redirect"
            assert other.base_url in str(error)
    assert not other.requests


def test_refused_name_of_the_cap_is_left_out_from_then_on(gate: Outgoing) -> None:
    no = "Unsupported parameter: '{}' is not supported"
    script = [
        fails(400, no.format("max_completion_tokens")),
        says("one"),
        fails(422, no.format("max_tokens")),
        says("two"),
    ]
    with openai_server(script) as server:
        client = client_of(server)
        for text in ("one", "two"):
            with pytest.raises(ModelError) as caught:
                client.ask(MESSAGES, None, outgoing=gate)
            assert (caught.value.kind, caught.value.again) == ("parameter", True)
            assert client.ask(MESSAGES, None, outgoing=gate).text == text
    caps = [{"max_completion_tokens", "max_tokens"} & set(one.body) for one in server.requests]
    assert caps == [{"max_completion_tokens"}, {"max_tokens"}, {"max_tokens"}, set()]


def test_refused_reasoning_effort_is_left_out_from_then_on(gate: Outgoing) -> None:
    script = [fails(400, "Unrecognized request argument supplied: reasoning_effort"), says("ok")]
    with openai_server(script) as server:
        client = client_of(server, reasoning_effort="high")
        with pytest.raises(ModelError, match="refuses reasoning_effort='high'") as caught:
            client.ask(MESSAGES, None, outgoing=gate)
        assert caught.value.again
        assert client.ask(MESSAGES, None, outgoing=gate).text == "ok"
    assert "reasoning_effort" not in server.requests[1].body


def test_retry_after_is_told(gate: Outgoing) -> None:
    reply = fails(429, "slow down", headers={"Retry-After": "7"})
    assert trouble([reply], gate).retry_after_secs == 7.0
    assert trouble([fails(429, "slow down")], gate).retry_after_secs is None


def test_login_in_the_address_is_sent_and_never_shown(gate: Outgoing, tmp_path: Path) -> None:
    with openai_server([says("ok")]) as server:
        url = server.base_url.replace("//", "//someone:pa55%2Fword@")
        client = client_of(server, base_url=url, api_key=None)
        client.ask(MESSAGES, None, outgoing=gate)
    told = base64.b64decode(server.requests[0].headers["authorization"].removeprefix("Basic "))
    assert told == b"someone:pa55/word"
    assert read_sent(str(tmp_path))[0].to == server.base_url == client.to
    assert "pa55" not in repr(vars(client))


def test_without_key_and_address_there_is_no_client() -> None:
    assert open_client(model="m", base_url=None, environ={}) is None
    client = open_client(model="m", base_url=None, environ={"OPENAI_API_KEY": KEY})
    assert client is not None
    assert client.to == "https://api.openai.com/v1"
    client = open_client(model="m", base_url=None, environ={"OPENAI_BASE_URL": "http://x/v1"})
    assert client is not None
    assert client.to == "http://x/v1"


def test_server_of_ones_own_gets_a_key_that_is_none(gate: Outgoing) -> None:
    with openai_server([says("ok")]) as server:
        client = open_client(model="m", base_url=server.base_url, environ={})
        assert client is not None
        client.ask(MESSAGES, None, outgoing=gate)
    assert server.requests[0].headers["authorization"] == "Bearer not-needed"


def test_client_works_where_a_loop_runs_already_and_from_threads(gate: Outgoing) -> None:
    with openai_server([says("ok")]) as server:
        client = client_of(server)

        async def as_in_a_notebook() -> str:
            return client.ask(MESSAGES, None, outgoing=gate).text

        async def from_threads() -> list[Reply]:
            asked = [asyncio.to_thread(client.ask, MESSAGES, None, outgoing=gate) for _ in range(8)]
            return await asyncio.gather(*asked)

        assert asyncio.run(as_in_a_notebook()) == "ok"
        assert [reply.text for reply in asyncio.run(from_threads())] == ["ok"] * 8


def test_what_cannot_be_sent_is_an_error_like_others(gate: Outgoing) -> None:
    with openai_server([says("ok")]) as server:
        client = client_of(server)
        nan = [{"role": "user", "content": "x", "n": float("nan")}]
        with pytest.raises(ModelError):
            client.ask(nan, None, outgoing=gate)
    for url in ("http://[::1", "http://127.0.0.1:99999/v1", "ftp://x/v1", "http://\x00/v1"):
        client = ModelClient(model="m", base_url=url, api_key=None, reasoning_effort=None)
        with pytest.raises(ModelError):
            client.ask(MESSAGES, None, outgoing=gate)


def test_certificate_that_nobody_vouches_for_is_explained(gate: Outgoing, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with openai_server([says("ok")]) as server:
        plain = server.base_url
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = plain.replace("http://127.0.0.1", "https://localhost")
        client = client_of(server, base_url=url)
        with pytest.raises(ModelError, match="install the package ca-certificates") as caught:
            client.ask(MESSAGES, None, outgoing=gate)
    assert caught.value.kind == "tls"
    with openai_server([says("ok")]) as server:
        client = client_of(server, base_url=server.base_url.replace("http:", "https:"))
        with pytest.raises(ModelError, match="does the server speak https there") as caught:
            client.ask(MESSAGES, None, outgoing=gate)
    assert caught.value.kind == "tls"


def test_proxy_of_the_environment_is_used(gate: Outgoing, monkeypatch: pytest.MonkeyPatch) -> None:
    with openai_server([says("by proxy")]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        client = ModelClient(
            model="m", base_url="http://model.invalid/v1", api_key=KEY, reasoning_effort=None
        )
        assert client.ask(MESSAGES, None, outgoing=gate).text == "by proxy"
        assert proxy.requests[0].path == "http://model.invalid/v1/chat/completions"
        monkeypatch.setenv("HTTP_PROXY", "socks9://user:pa55word@127.0.0.1")
        with pytest.raises(ModelError) as caught:
            client.ask(MESSAGES, None, outgoing=gate)
        assert "pa55word" not in str(caught.value)
