"""The key of the API stands nowhere: no log, no exception, no traceback with locals, no file."""

import logging
import traceback
from pathlib import Path

import pytest

from harness.openai_server import fails, openai_server, raw, says
from training_monitor.analysis.model.client import ModelClient, ModelError
from training_monitor.analysis.model.outgoing import Outgoing

KEY = "sk-proj-Zk3vQ8wP1nR5tY7uJ2mB4xC6"
MESSAGES = [{"role": "user", "content": "why?"}]
TOOLS = [{"type": "function", "function": {"name": "steps_tail", "parameters": {"type": "object"}}}]


def everything_of(error: BaseException) -> list[str]:
    """Return what the nosiest of tools shows of an exception, and of all that led to it."""
    told: list[str] = []
    seen: list[BaseException | None] = [None]
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        frames = one.__traceback__
        if one is error and frames is not None:
            frames = frames.tb_next  # the first one is the test, which knows the key
        shown = traceback.TracebackException(type(one), one, frames, capture_locals=True)
        told += [repr(one), repr(vars(one)), *shown.format(chain=False)]
        left += [one.__cause__, one.__context__]
    return told


def test_key_stands_nowhere(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    gate = Outgoing(str(tmp_path), privacy="full", secrets=[])
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.DEBUG)
    told: list[str] = []
    kinds = set()
    scripts = [
        [says(f"your key is {KEY}")],
        [fails(401, f"Incorrect API key provided: {KEY}, headers {{'Bearer {KEY}'}}")],
        [fails(500, "x" * 290 + KEY)],
        [raw(b"", status=302, headers={"Location": f"http://x.invalid/?key={KEY}"})],
        [raw(KEY.encode() * 10)],
        [says("x").but(cut=5)],
    ]
    for key in (KEY, f"{KEY}\n", f"{KEY}\nX-Evil: 1", f"é{KEY}"):
        for script in scripts:
            with openai_server(script) as server:
                client = ModelClient(
                    model="m", base_url=server.base_url, api_key=key, reasoning_effort=None
                )
                told += [repr(client), str(client), repr(vars(client))]
                try:
                    told.append(repr(client.ask(MESSAGES, TOOLS, outgoing=gate)))
                except ModelError as error:
                    kinds.add(error.kind)
                    told += everything_of(error)
    told += [record.getMessage() for record in caplog.records]
    told += [repr(vars(record)) for record in caplog.records]
    told += [path.read_text() for path in tmp_path.iterdir() if path.is_file()]
    told += capfd.readouterr()
    assert sum(KEY in text for text in told) == 0
    assert not [text for text in told if KEY[8:24] in text]
    assert len(caplog.records) > 50
    assert kinds == {"auth", "server", "redirect", "bad_answer", "connection"}
