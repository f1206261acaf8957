"""A mistake in the digits example: rules find it, a scripted model explains it, by the right line.

The document is made of what this test sees: REWRITE_GOLDEN=1 writes it anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import training_monitor as tm
from harness import processes
from harness.openai_server import OpenAIServer, ServerReply, calls, openai_server, says

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY / "docs" / "transcript.md"
USAGE = {"prompt_tokens": 3000, "completion_tokens": 120}
QUESTION = "Which line do I have to change?"
_MOST_SHOWN_LINES = 9
_HEAD = """\
`examples/digits.py --epochs 100 --mistake 700` multiplies its learning rate by 40 from step 700 on.
A test trains it, lets a scripted model look at it, and writes this page. The model asks for what it
wants to see; what it gets, what it says and what is struck is ours.
""".splitlines()

pytestmark = pytest.mark.timeout(400)


class Scripted:
    """Looks for the learning rate as a model would, and says what the tools showed it."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def __call__(self, messages: list[Any], tools: list[Any] | None) -> ServerReply:
        names = {tool["function"]["name"] for tool in tools or []}
        results = [one["content"] for one in messages if one["role"] == "tool"]
        if "describe_metrics" in names:
            row = {"metric": "lr", "description": "learning rate: warm-up, then a cosine (guess)"}
            return calls(("describe_metrics", {"descriptions": [row]}), usage=USAGE)
        if "Summarise this" in messages[-1]["content"]:
            return says("A small network for digits, momentum SGD, warm-up and cosine.")
        if "report_analysis" not in names:
            return self._answer(results)
        if not results:
            return self._call("findings", {})
        if len(results) == 1:
            return self._call("snapshot_search", {"pattern": "lr *="})
        if len(results) == 2:
            return self._call("snapshot_search", {"pattern": "MISTAKE = "})
        return calls(("report_analysis", self._report(results)), usage=USAGE)

    def _call(self, name: str, arguments: dict[str, Any]) -> ServerReply:
        self.said.append((name, json.dumps(arguments)))
        return calls((name, arguments), usage=USAGE)

    def _answer(self, results: list[str]) -> ServerReply:
        if not results:
            return self._call("snapshot_search", {"pattern": "MISTAKE"})
        found = re.search(r"digits\.py:(\d+): *MISTAKE = ([\d.]+)", results[-1])
        assert found
        return says(
            f"`digits.py:{found[1]}`: MISTAKE is {found[2]}. Without it lr is 0.05 at most."
        )

    def _report(self, results: list[str]) -> dict[str, Any]:
        jump = re.search(r"lr went from ([\d.]+) to ([\d.]+) .*?at step ([\d,]+)", results[0])
        used = re.search(r"digits\.py:(\d+): *(lr \*= MISTAKE)", results[1])
        made = re.search(r"digits\.py:(\d+): *(MISTAKE = [\d.]+)", results[2])
        assert jump
        assert used
        assert made
        step = int(jump[3].replace(",", ""))
        return {
            "status": "critical",
            "summary": (
                f"lr went from {jump[1]} to {jump[2]} at step {step:,}, and the loss blew up after "
                f"it. The factor is MISTAKE (digits.py:{made[1]}). The batch size of 512 is not to "
                "blame."
            ),
            "issues": [
                {
                    "title": "the learning rate is multiplied by 40",
                    "severity": "critical",
                    "explanation": (
                        f"`lr *= MISTAKE` at digits.py:{used[1]} multiplies what the schedule says."
                    ),
                    "evidence": [
                        {"file": "digits.py", "line": int(used[1]), "quote": used[2]},
                        {"file": "digits.py", "line": int(made[1]), "quote": made[2]},
                        {"metric": "lr", "step": step, "value": float(jump[2])},
                    ],
                }
            ],
            "recommendations": [f"Remove the factor at digits.py:{used[1]}; start from step 0."],
        }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, OpenAIServer, str]]:
    """Train with the mistake, analyse, ask; yield the directory, the server and the document."""
    directory = tmp_path_factory.mktemp("transcript")
    shutil.copy(REPOSITORY / "examples" / "digits.py", directory)
    model = Scripted()
    with openai_server(model) as server:
        environ = os.environ | {"TM_BRAIN_AFTER_SECS": "0.2", "NO_COLOR": "1", "COLUMNS": "100"}
        environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        train = [sys.executable, "digits.py", "--epochs", "100", "--mistake", "700"]
        subprocess.run(train, cwd=directory, env=environ, check=True, capture_output=True)
        environ |= {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "sk-of-a-test"}
        analysis = command(directory, environ, "analyze", "digits")
        answer = command(directory, environ, "ask", "digits", QUESTION)
        yield directory, server, document(directory, server, analysis, answer)


def command(directory: Path, environ: dict[str, str], *words: str) -> str:
    """Run one of our commands and return what it prints."""
    argv = [sys.executable, "-m", "training_monitor", *words]
    done = subprocess.run(
        argv, cwd=directory, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip()


def document(directory: Path, server: OpenAIServer, analysis: str, answer: str) -> str:
    """Return the page: what was found, what the model asked for and got, what it said."""
    run = tm.open_run("digits", root_dir=directory / "ai_logger")
    # A monitor that is about to leave may be the one that writes them.
    processes.until(lambda: len(run.analyses()) + len(run.messages()) == 3, "all is kept")
    found = [f"{one.severity}: {one.text}" for one in run.findings() if one.by == "detector"]
    return "\n".join(
        [
            "# A transcript",
            "",
            *_HEAD,
            "",
            "## What the rules found",
            "",
            *block(found),
            "## What the model looked at",
            "",
            *looked_at(server),
            "## What came of it",
            "",
            *block(["$ training-monitor analyze digits", *analysis.splitlines()]),
            "The model says that the batch size is 512. The run has 128: that statement is struck.",
            "",
            *block([f'$ training-monitor ask digits "{QUESTION}"', *answer.splitlines()]),
        ]
    )


def looked_at(server: OpenAIServer) -> list[str]:
    """Return the calls of tools with the beginning of each answer."""
    bodies = [one.body for one in server.requests]
    whole = [body for body in bodies if len(body["messages"]) > 6]
    lines = []
    for message in whole[0]["messages"][2:]:
        if message["role"] == "assistant":
            called = message["tool_calls"][0]["function"]
            lines += [f"`{called['name']}` `{called['arguments']}`", ""]
        else:
            shown = message["content"].splitlines()
            more = [] if len(shown) <= _MOST_SHOWN_LINES else ["..."]
            lines += block([*shown[:_MOST_SHOWN_LINES], *more])
    return lines


def block(lines: list[str]) -> list[str]:
    """Return lines as a block of a page."""
    return ["```text", *(line[:160] for line in lines), "```", ""]


def normalised(text: str) -> str:
    """Return a page without what depends on speed: numbers, and how many findings there were."""
    text = re.sub(
        r"## What the rules found.*?## What the model", "## What the model", text, flags=re.DOTALL
    )
    text = re.sub(r"(?m)^\|.*\n|^\.\.\.\n", "", text)
    return re.sub(r"\d[\d.,e+-]*", "#", text)


def test_the_right_line_is_cited_and_the_lie_is_struck(
    trained: tuple[Path, OpenAIServer, str],
) -> None:
    directory, _, _ = trained
    lines = (directory / "digits.py").read_text().splitlines()
    (made,) = tm.open_run("digits", root_dir=directory / "ai_logger").analyses()
    places = {one.quote: one.line for one in made.issues[0].evidence if one.file}
    assert places == {
        text: next(at for at, line in enumerate(lines, 1) if text in line)
        for text in ("lr *= MISTAKE", "MISTAKE = 40.0")
    }
    assert [one.text for one in made.struck] == ["512"]
    assert made.checked > 8
    assert "batch size of [struck] is not to blame" in made.summary


def test_the_question_is_answered_from_the_code(trained: tuple[Path, OpenAIServer, str]) -> None:
    directory, _, _ = trained
    said = tm.open_run("digits", root_dir=directory / "ai_logger").messages()
    assert [one.role for one in said] == ["user", "assistant"]
    assert "MISTAKE is 40.0" in said[1].text
    assert not said[1].struck


def test_the_document_is_what_this_test_sees(trained: tuple[Path, OpenAIServer, str]) -> None:
    _, _, page = trained
    if os.environ.get("REWRITE_GOLDEN"):
        DOCUMENT.write_text(page.rstrip() + "\n")
    assert normalised(DOCUMENT.read_text()).strip() == normalised(page).strip()
