"""The brain has the run analysed: on time, when forced, when something critical was found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import training_monitor as tm
from harness import processes
from harness.openai_server import OpenAIServer, ServerReply, calls, fails, openai_server, says

CODE = """\
import math, os, sys, time
import training_monitor as tm

tm.init("run", root_dir=sys.argv[1], quiet=True, config={"lr": 0.1})
for step in range(200):
    tm.log({"loss": 2.0 * math.exp(-step / 50)}, step, force_analysis=step == 150)
    time.sleep(0.002)
print("logged", flush=True)
while not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
tm.close()
"""
REPORT = {
    "status": "warning",
    "summary": "loss was 2 at step 0 and 77 at step 150.",
    "issues": [
        {
            "title": "slow",
            "severity": "warning",
            "explanation": "the loop at train.py:5 sleeps",
            "evidence": [{"file": "train.py", "line": 7, "quote": "time.sleep(0.002)"}],
        }
    ],
    "recommendations": ["sleep less"],
}


def good(_messages: list[Any], tools: list[Any] | None) -> ServerReply:
    names = [tool["function"]["name"] for tool in tools or []]
    if "report_analysis" in names:
        return calls(
            ("report_analysis", REPORT), usage={"prompt_tokens": 2000, "completion_tokens": 50}
        )
    if "describe_metrics" in names:
        return calls(
            ("describe_metrics", {"descriptions": [{"metric": "loss", "description": "the loss"}]})
        )
    return says("It trains (train.py:5).")


def start(tmp_path: Path, server: OpenAIServer, **variables: str) -> subprocess.Popen[str]:
    (tmp_path / "train.py").write_text(CODE)
    environ = {
        "TM_BRAIN_AFTER_SECS": "0.2",
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": "sk-of-a-test-0123456789",
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, "train.py", str(tmp_path / "root"), str(tmp_path / "stop")],
        cwd=tmp_path,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(tmp_path: Path, process: subprocess.Popen[str]) -> None:
    (tmp_path / "stop").touch()
    process.communicate(timeout=60)
    assert process.returncode == 0


def analyses(tmp_path: Path) -> list[Any]:
    try:
        return tm.open_run("run", root_dir=tmp_path / "root").analyses()
    except (tm.RunNotFoundError, tm.StoreError):
        return []  # the database is being made


def told(tmp_path: Path) -> str:
    path = tmp_path / "root" / "run" / "training_monitor.alerts.log"
    return path.read_text() if path.exists() else ""


def test_a_forced_analysis_is_made_checked_and_kept(tmp_path: Path) -> None:
    with openai_server(good) as server:
        process = start(tmp_path, server)
        processes.until(lambda: analyses(tmp_path), "an analysis", within_secs=60)
        finish(tmp_path, process)
    (made,) = analyses(tmp_path)
    assert (made.trigger, made.status, made.rung) == ("forced", "warning", "tools")
    assert made.summary == "loss was 2 at step 0 and [struck] at step 150."
    assert [one.text for one in made.struck] == ["77"]
    run_dir = tmp_path / "root" / "run"
    line = json.loads((run_dir / "analyses.jsonl").read_text())
    assert (line["id"], line["score"]) == (made.id, made.score)
    assert json.loads((run_dir / "metric_descriptions.json").read_text()) == {"loss": "the loss"}
    assert "train.py:5" in (run_dir / "code_summary.md").read_text()
    processes.until(lambda: "analysis" in told(tmp_path), "an alert")


def test_the_key_is_in_no_file_of_the_run(tmp_path: Path) -> None:
    with openai_server(good) as server:
        process = start(tmp_path, server)
        processes.until(lambda: analyses(tmp_path), "an analysis", within_secs=60)
        finish(tmp_path, process)
        assert {one.headers["authorization"] for one in server.requests} == {
            "Bearer sk-of-a-test-0123456789"
        }
    for path in processes.files_below(tmp_path / "root", "*"):
        assert b"sk-of-a-test" not in Path(path).read_bytes(), path


@pytest.mark.parametrize("variables", [{"TM_PRIVACY": "off"}, {"TM_MODE": "offline"}])
def test_nothing_is_asked_where_that_is_not_wanted(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with openai_server(good) as server:
        process = start(tmp_path, server, **variables)
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"
        finish(tmp_path, process)
        processes.until(
            lambda: tm.open_run("run", root_dir=tmp_path / "root").findings() is not None, "it ends"
        )
        assert not server.requests


def test_a_server_that_refuses_ends_nothing_and_is_told_once(tmp_path: Path) -> None:
    with openai_server([fails(401, "invalid key")]) as server:
        process = start(tmp_path, server)
        processes.until(lambda: analyses(tmp_path), "an analysis by the rules", within_secs=60)
        finish(tmp_path, process)
    (made,) = analyses(tmp_path)
    assert (made.rung, made.trigger) == ("rules", "forced")
    assert "OPENAI_API_KEY" in made.trouble
    processes.until(lambda: "check OPENAI_API_KEY" in told(tmp_path), "an alert")
    processes.until(lambda: processes.have_left(tmp_path / "root"), "all of ours are gone")
    assert told(tmp_path).count("check OPENAI_API_KEY") == 1
    series = tm.open_run("run", root_dir=tmp_path / "root").series("loss")
    assert len(series) == 200
