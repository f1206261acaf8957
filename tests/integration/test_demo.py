"""`make demo` in short: it finds every point, and its words are those of the golden transcripts."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.transcripts import normalised

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).with_name("golden")
COMMAND = [sys.executable, str(REPOSITORY / "examples" / "demo.py"), "--epochs", "120"]
SHORT_TRAINING = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "COLUMNS": "80",
    "TM_BRAIN_AFTER_SECS": "0",
}


def through_a_pipe(directory: Path, env: dict[str, str]) -> str:
    done = subprocess.run(COMMAND, cwd=directory, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def on_a_terminal(directory: Path, env: dict[str, str]) -> str:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(directory)
        os.execve(COMMAND[0], COMMAND, env)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        shown += piece
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown.decode()
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("where", ["pipe", "terminal", "terminal_no_color"])
def test_demo_says_what_the_golden_transcript_says(tmp_path: Path, where: str) -> None:
    env = {**os.environ, **SHORT_TRAINING, "TERM": "xterm"}
    if where == "terminal_no_color":
        env["NO_COLOR"] = "1"
    shown = through_a_pipe(tmp_path, env) if where == "pipe" else on_a_terminal(tmp_path, env)

    for line in re.split(r"[\r\n]+", re.sub(r"\033\[[0-9;]*[A-Za-z]", "", shown)):
        assert len(line.replace(str(REPOSITORY), "")) <= 80, line
    if where != "terminal":
        assert "\033[1m" not in shown
    there, logged = re.search(r"all there: ([\d,]+) of ([\d,]+) points", shown).groups()
    assert there == logged
    golden = GOLDEN / f"demo_{where}.txt"
    if os.environ.get("REWRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(normalised(shown))
    assert normalised(shown) == golden.read_text()


def test_readme_shows_what_the_demo_prints() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    block = re.search(r"<!-- demo -->\n```text\n(.*?)```", readme, re.DOTALL)
    assert block, "the README has lost its picture of the demo"
    assert normalised(block[1]) == (GOLDEN / "demo_pipe.txt").read_text()
