"""What leaves the machine at each level of privacy, byte for byte, and how long a prompt is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.openai_server import OpenAIServer, ServerReply, calls, openai_server, says
from training_monitor.analysis.analyst import Analyst
from training_monitor.analysis.model.sent import read_sent
from training_monitor.settings import resolve

CODE = """
import math, sys
import training_monitor as tm

CODE_MARK = "in the code"
config = {"lr": 0.125, "dataset": "CONFIG_MARK", "api_key": "sk-proj-" + "Ab1" * 12}
with tm.init("run_NAME_MARK", root_dir=sys.argv[1], quiet=True, config=config):
    for step in range(200):
        tm.log({"loss": 2.0 * math.exp(-step / 50)}, step)
    tm.log({"note": "TEXT_MARK"}, 200)
    tm.alert("ALERT_MARK", "said the script")
"""
# What may leave at each level, besides names of metrics, numbers and findings.
MARKS = {
    "full": {"CODE_MARK", "CONFIG_MARK", "NAME_MARK", "COMMAND_MARK", "TEXT_MARK", "ALERT_MARK"},
    "no-code": {"CONFIG_MARK", "NAME_MARK", "COMMAND_MARK", "TEXT_MARK", "ALERT_MARK"},
    "numbers-only": set(),
}
TOOLS = [
    ("metrics_list", {}), ("metrics_history", {"metric": "loss"}), ("steps_tail", {}),
    ("findings", {}), ("system_stats", {}), ("log_tail", {}), ("snapshot_manifest", {}),
    ("snapshot_search", {"pattern": "MARK"}), ("metrics_history", {"metric": "note"}),
]  # fmt: skip


def curious(messages: list[Any], tools: list[Any] | None) -> ServerReply:
    """Ask all tools for all they have, then answer."""
    if any(one["role"] == "tool" for one in messages) or not tools:
        return says("loss is falling.")
    return calls(*TOOLS)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dial")
    (directory / "train.py").write_text(CODE)
    argv = [sys.executable, "train.py", "runs", "--COMMAND_MARK"]
    subprocess.run(argv, cwd=directory, check=True, env=os.environ | {"TM_DETECTION": "0"})
    deadline = time.monotonic() + 60
    run = directory / "runs" / "run_NAME_MARK"
    while not (run / "code" / "train.py").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return run


def analyst(run_dir: Path, server: OpenAIServer, privacy: str, **given: Any) -> Analyst:
    settings = resolve(
        {"experiment_name": "x", "openai_base_url": server.base_url, "privacy": privacy, **given},
        {},
    )
    return Analyst(str(run_dir), settings, environ={"OPENAI_API_KEY": "sk-of-a-test-0123456789"})


@pytest.mark.parametrize("privacy", MARKS)
def test_only_what_a_level_allows_leaves(run_dir: Path, privacy: str) -> None:
    with openai_server(curious) as server:
        analyst(run_dir, server, privacy).analyse("asked", now=time.time())
        out = b"\n".join(one.raw for one in server.requests).decode()
    assert server.requests
    marks = {mark for mark in MARKS["full"] if mark in out}
    assert marks == MARKS[privacy]
    assert "0.125" in out
    assert "Ab1Ab1" not in out
    assert "sk-of-a-test" not in out
    if privacy == "numbers-only":
        assert os.uname().nodename not in out or len(os.uname().nodename) <= 3
        assert str(run_dir) not in out


def test_with_off_nothing_leaves(run_dir: Path) -> None:
    with openai_server(curious) as server:
        made = analyst(run_dir, server, "off").analyse("asked", now=time.time())
        assert not server.requests
    assert made.rung == "rules"


def test_what_is_shown_as_sent_is_what_the_server_got(run_dir: Path) -> None:
    before = len(read_sent(str(run_dir)))
    with openai_server(curious) as server:
        analyst(run_dir, server, "full").analyse("asked", now=time.time())
        got = [one.raw for one in server.requests]
    assert [one.content for one in read_sent(str(run_dir))[before:]] == got


@pytest.mark.parametrize("tokens", [2000, 8000, 30_000])
def test_the_first_prompt_keeps_to_its_length(run_dir: Path, tokens: int) -> None:
    with openai_server([says("fine")]) as server:
        analyst(run_dir, server, "no-code", max_prompt_len=tokens).analyse("asked", now=time.time())
        first = server.requests[0].body
    # Three characters are a token until the server has counted some.
    size = sum(len(one["content"]) for one in first["messages"])
    size += sum(
        len(tool["function"]["name"]) + len(tool["function"]["description"])
        + len(json.dumps(tool["function"]["parameters"]))
        for tool in first.get("tools", [])
    )  # fmt: skip
    assert size <= 3 * tokens * 1.1
