"""Every example in the documents runs, and every command in them exists."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness import reading
from harness.kept_code import KeptCode
from harness.openai_server import openai_server, says
from meta import source

DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "benches/README.md",
             "docs/alerts.md", "docs/analysis.md", "docs/code.md", "docs/detection.md",
             "docs/grounding.md", "docs/machine.md", "docs/nodes.md", "docs/tools.md",
             "docs/wire.md"]  # fmt: skip
# Examples that need a run of the one before them, in this order.
IN_ORDER = ["README.md", "docs/nodes.md", "docs/analysis.md"]
PATH_WORDS = re.compile(r"`((?:rust|python|tests|benches|examples|scripts)/[\w./-]+)`")


def blocks(name: str, language: str) -> list[str]:
    text = (source.REPOSITORY / name).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(name: str) -> list[str]:
    lines = "".join(blocks(name, "bash")).splitlines()
    return [line.partition("#")[0].strip() for line in lines if line.partition("#")[0].strip()]


@pytest.fixture
def a_run(tmp_path: Path) -> Path:
    """Return a directory in which there is a run to ask."""
    script = (
        "import training_monitor as tm\n"
        "with tm.init('grpo_v2', quiet=True, config={'max_steps': 400}):\n"
        "    for step in range(300):\n"
        "        tm.log({'loss': 2 + 1 / (step + 1), 'lr': 0.1}, step)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    reading.settled(tmp_path / "ai_logger" / "grpo_v2")
    return tmp_path


def test_examples_about_detection_run(a_run: Path) -> None:
    (example,) = blocks("docs/detection.md", "python")
    words = [[sys.executable, "-W", "error", "-c", example]]
    for command in commands("docs/detection.md"):
        assert command.startswith("training-monitor "), command
        words.append([sys.executable, "-m", "training_monitor", *shlex.split(command)[1:]])
    assert len(words) > 5
    for one in words:
        done = subprocess.run(one, cwd=a_run, capture_output=True, text=True)
        assert done.returncode == 0, (one, done.stdout + done.stderr)
        assert done.stdout or one is words[0]


def test_thresholds_in_the_document_are_those_of_the_detectors() -> None:
    from training_monitor.detect.named import threshold_names

    names = threshold_names()
    text = (source.REPOSITORY / "docs/detection.md").read_text().partition("## Thresholds")[2]
    rows = re.findall(r"^\| (`[a-z_.`, ]+`) \| (.+?) \|", text, re.MULTILINE)
    assert len(rows) > 5
    for first, defaults in rows:
        words = re.findall(r"`([a-z_.]+)`", first)
        group = words[0].rpartition(".")[0]
        full = [group + word if word.startswith(".") else word for word in words]
        told = [None if one == "none" else float(one) for one in defaults.split(", ")]
        told = told * len(full) if len(told) == 1 else told
        assert {name: names[name] for name in full} == dict(zip(full, told, strict=True))


def test_tools_in_the_document_are_those_of_a_model(a_run: Path) -> None:
    from training_monitor.analysis.tools.beside import RunsBeside
    from training_monitor.analysis.tools.tool import Toolbox
    from training_monitor.query import RunView

    text = (source.REPOSITORY / "docs/tools.md").read_text()
    run = RunView(str(a_run / "ai_logger" / "grpo_v2"))
    known = [tool.name for tool in Toolbox(run, KeptCode({}), others=RunsBeside(run)).tools]
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == sorted(known)
    (example,) = blocks("docs/tools.md", "python")
    done = subprocess.run([sys.executable, "-W", "error", "-c", example], cwd=a_run)
    assert done.returncode == 0
    printed = (a_run / "ai_logger/with_logs/output-rank0.log").read_text()
    assert "kept in ai_logger/with_logs/output-rank0.log" in printed


def test_readme_examples_run_in_order(tmp_path: Path) -> None:
    examples = [block for name in IN_ORDER for block in blocks(name, "python")]
    assert len(examples) >= 5
    for example in examples:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, example + done.stdout + done.stderr
    assert (tmp_path / "ai_logger" / "grpo_v2" / "training_monitor.db").exists()
    with openai_server([says("All is well.")]) as server:
        environ = os.environ | {"OPENAI_BASE_URL": server.base_url}
        for command in (*commands("README.md"), *commands("docs/analysis.md")):
            words = shlex.split(command)
            if words[0] != "training-monitor":
                continue
            done = subprocess.run(
                [sys.executable, "-m", "training_monitor", *words[1:]],
                cwd=tmp_path,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, command + done.stdout + done.stderr
            assert done.stdout


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_in_documents_exist(name: str) -> None:
    makefile = (source.REPOSITORY / "Makefile").read_text()
    text = (source.REPOSITORY / name).read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_in_documents_exist(name: str) -> None:
    text = (source.REPOSITORY / name).read_text()
    for path in PATH_WORDS.findall(text):
        base = source.REPOSITORY / ("" if name.count("/") == 0 else Path(name).parent)
        assert (source.REPOSITORY / path).exists() or (base / path).exists(), path


def test_files_that_the_architecture_names_by_their_end_exist() -> None:
    text = (source.REPOSITORY / "ARCHITECTURE.md").read_text()
    known = [f"/{path.relative_to(source.REPOSITORY)}"
             for top in ("rust", "python", "tests", "benches")
             for path in (source.REPOSITORY / top).rglob("*.*")]  # fmt: skip
    named = set(re.findall(r"`([\w/]+\.(?:py|rs|sql|tsv))`", text))
    assert len(named) > 50
    assert not [end for end in named if not any(path.endswith(f"/{end}") for path in known)]


def test_every_room_is_in_the_table_of_the_house() -> None:
    text = (source.REPOSITORY / "ARCHITECTURE.md").read_text()
    house = text.partition("## The house")[2].partition("\n## ")[0]
    firsts = re.findall(r"^\| (`.*?`) \|", house, re.MULTILINE)
    named = {word.strip("/") for first in firsts for word in re.findall(r"`([\w/]+)`", first)}
    modules = {source.module_of(path) for path in source.python_files()}
    rooms = {source.room_of(module) for module in modules} - {source.DOOR, "__main__", "py"}
    assert not rooms - named, "give the new room a row in ARCHITECTURE.md"


def test_tests_in_the_table_of_hazards_exist() -> None:
    text = (source.REPOSITORY / "tests/faults/README.md").read_text()
    wanted = set(re.findall(r"`(?:test_)?[a-z0-9]+(?:_[a-z0-9]+){3,}`", text))
    files = [*source.rust_files(), *(source.REPOSITORY / "tests").rglob("*.py")]
    known = set(re.findall(r"\b(?:def|fn) (\w+)", "\n".join(path.read_text() for path in files)))
    assert len(wanted) > 30
    assert {name.strip("`") for name in wanted} <= known


def test_make_help_lists_every_target() -> None:
    makefile = (source.REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert targets == described


def test_scripts_are_executable() -> None:
    for path in [source.REPOSITORY / ".ci" / "run", *(source.REPOSITORY / "scripts").iterdir()]:
        assert os.access(path, os.X_OK), path
