"""The independent `@copilotkit/aimock` plays the OpenAI API: what it takes for right, others do.

Runs where AIMOCK_CLI_PATH names its `dist/cli.js` and node is at hand:
`npm pack @copilotkit/aimock && tar xzf copilotkit-aimock-*.tgz`, then `package/dist/cli.js`.
"""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.conversations import Talk
from training_monitor.analysis.model.outgoing import read_sent

OK = {"status": "critical", "summary": "loss is nan from step 3 on"}
FIXTURES = {
    "fixtures": [
        {
            "match": {"hasToolResult": True},
            "response": {"toolCalls": [{"name": "report_analysis", "arguments": OK}]},
        },
        {
            "match": {"userMessage": "two at once"},
            "response": {
                "toolCalls": [
                    {"name": "steps_tail", "arguments": {"last": 3}},
                    {"name": "metrics_list", "arguments": {}},
                ]
            },
        },
        {
            "match": {"userMessage": "in words"},
            "response": {"content": "it fell", "usage": {"prompt_tokens": 60, "total_tokens": 66}},
        },
        {
            "match": {"userMessage": "too fast"},
            "response": {
                "error": {"message": "Rate limit exceeded", "type": "rate_limit_error"},
                "status": 429,
            },
        },
    ]
}


def cli_path() -> str:
    """Return where aimock is, or skip."""
    path = os.environ.get("AIMOCK_CLI_PATH", "")
    if not os.path.isfile(path):
        pytest.skip("AIMOCK_CLI_PATH does not name dist/cli.js of @copilotkit/aimock")
    node = shutil.which("node")
    version = node and subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    if not version or int(version.strip().lstrip("v").partition(".")[0]) < 20:
        pytest.skip("aimock needs node 20 or newer")
    return path


@contextmanager
def aimock(tmp_path: Path, *flags: str) -> Iterator[str]:
    fixtures = tmp_path / "fixtures.json"
    fixtures.write_text(json.dumps(FIXTURES))
    words = ["node", cli_path(), "--port", "0", "--fixtures", str(fixtures), *flags]
    server = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path
    )
    try:
        assert server.stdout is not None
        said = ""
        for line in server.stdout:
            said += line
            if found := re.search(r"listening on (http://\S+)", line):
                yield found[1]
                return
        pytest.fail(f"aimock did not start: {said}")
    finally:
        server.kill()
        server.communicate()


def test_tools_and_the_final_call_go_around(tmp_path: Path) -> None:
    with aimock(tmp_path) as url:
        talk = Talk(tmp_path, f"{url}/v1")
        outcome = talk(messages=[{"role": "user", "content": "two at once"}])
        assert outcome.final == OK
        assert talk.toolbox.called == [("steps_tail", {"last": 3}), ("metrics_list", {})]
        with urllib.request.urlopen(f"{url}/__aimock/journal", timeout=60) as answer:  # noqa: S310
            journal = json.load(answer)
    entries = journal if isinstance(journal, list) else journal["entries"]
    seen = [entry["body"]["messages"] for entry in entries if entry.get("body")]
    assert [one.body["messages"] for one in read_sent(str(tmp_path))] == seen


def test_words_end_a_conversation_without_tools(tmp_path: Path) -> None:
    with aimock(tmp_path) as url:
        talk = Talk(tmp_path, f"{url}/v1")
        outcome = talk(
            messages=[{"role": "user", "content": "in words"}], final_tool=None, read_final=None
        )
    assert (outcome.text, outcome.stopped) == ("it fell", "")


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        (["--chaos-ratelimit", "1"], {"rate_limit"}),
        (["--chaos-malformed", "1"], {"bad_answer"}),
        (["--chaos-disconnect", "1"], {"connection"}),
        (["--chaos-drop", "1"], {"server"}),
        (["--strict"], {"unknown_model", "server", "request"}),
    ],
)
def test_faults_are_told_apart(flags: list[str], kinds: set[str], tmp_path: Path) -> None:
    with aimock(tmp_path, *flags) as url:
        outcome = Talk(tmp_path, f"{url}/v1")(
            messages=[{"role": "user", "content": "what nobody has an answer to"}]
        )
    assert outcome.trouble is not None
    assert outcome.trouble.kind in kinds
    assert outcome.rung == "rules"
