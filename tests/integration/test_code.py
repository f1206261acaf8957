"""The code of each attempt, from init() to the commands: kept by the monitor, read by anybody."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes, reading
from harness.planted import make
from harness.trees import git, names, plant
from training_monitor.snapshot.snapshot import Snapshot

RECORD = """
    lr = {lr}
    with tm.init("one", root_dir=sys.argv[1], quiet=True{more}):
        for step in range(20):
            tm.log({{"loss": 1.0}}, step)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return plant(tmp_path / "project", {"model/net.py": "class Net:\n    depth = 3\n"})


def record(project: Path, root: Path, *, lr: float = 0.1, more: str = "") -> None:
    processes.run_script(project, RECORD.format(lr=lr, more=more), root)
    reading.settled(root / "one")


def kept(root: Path, attempt: int | None = None) -> Snapshot:
    found = tm.open_run(root / "one").snapshot(attempt)
    assert found is not None, (root / "one/training_monitor.log").read_text()
    return found


def code(root: Path, *words: str) -> str:
    done = processes.training_monitor("code", "one", *words, "--root-dir", root)
    assert not done.stderr, done.stderr
    return done.stdout


def test_a_run_that_lasts_a_moment_has_its_code(project: Path, root: Path) -> None:
    record(project, root)
    assert names(kept(root)) == ["model/net.py", "train.py"]
    assert (root / "one/code/model/net.py").read_text() == "class Net:\n    depth = 3\n"
    rows = tm.open_run(root / "one").sql("SELECT detail FROM events WHERE kind = 'snapshot'")
    ((detail,),) = list(rows)
    note = json.loads(detail)
    assert (note["attempt"], note["hash"], note["files"]) == (1, kept(root).hash, 2)
    assert (note["how"], note["git"], note["skipped"]) == ("script", None, {})


def test_attempts_are_compared(project: Path, root: Path) -> None:
    git(project, "init", "-q")
    record(project, root)
    record(project, root, lr=0.5)
    assert "lr = 0.1" in kept(root, 1).text("train.py")
    assert "lr = 0.5" in kept(root).text("train.py")
    assert "of attempt 2" in code(root)
    assert "git without a commit" in code(root)
    listed = json.loads(code(root, "--json"))
    assert [row["path"] for row in listed["files"]] == ["model/net.py", "train.py"]
    assert code(root, "model/net.py") == "class Net:\n    depth = 3\n"
    diff = processes.training_monitor("code", "one", "--diff", "1", "--root-dir", root)
    assert diff.returncode == 1
    assert "\n-lr = 0.1\n+lr = 0.5\n" in diff.stdout
    same = processes.training_monitor("code", "one", "--diff", "2", "--root-dir", root)
    assert (same.returncode, same.stdout) == (0, "")


def test_the_settings_of_init_choose_the_files(project: Path, root: Path) -> None:
    record(project, root, more=', code_snapshot_paths=["model"]')
    assert names(kept(root)) == ["model/net.py"]
    (project / "mine.txt").write_text("train.py\n")
    record(project, root, more=', code_snapshot_manifest="mine.txt"')
    assert names(kept(root)) == ["train.py"]


def test_secrets_are_listed_and_never_shown(project: Path, root: Path) -> None:
    secret = make("gitlab", random.Random(2))
    plant(project, {"conf.yaml": f"gl: {secret.text}\n", ".env": "A=1\n"})
    record(project, root)
    listed = code(root)
    assert "redacted, conf.yaml:1: GitLab token" in listed
    assert secret.text not in listed + code(root, "conf.yaml")
    for path in (root / "one").rglob("*"):
        assert not path.is_file() or secret.text.encode() not in path.read_bytes(), path


def test_what_is_not_there_is_said(project: Path, root: Path) -> None:
    record(project, root)
    for words, message in [
        (("net.py",), "no file 'net.py' in the snapshot; did you mean 'model/net.py'?"),
        (("--attempt", "7"), "the code of attempt 7 was not kept"),
        (("--diff", "other"), "other"),
    ]:
        done = processes.training_monitor("code", "one", *words, "--root-dir", root)
        assert done.returncode == 1
        assert message in done.stderr


def test_rm_takes_the_code_with_the_run(project: Path, root: Path) -> None:
    record(project, root)
    done = processes.training_monitor("rm", "one", "--root-dir", root, "--yes")
    assert done.returncode == 0, done.stderr
    assert not (root / "one").exists()


def test_a_large_tree_does_not_hold_the_training_up(project: Path, root: Path) -> None:
    for folder in range(100):
        (project / f"d{folder}").mkdir()
        for number in range(100):
            (project / f"d{folder}" / f"{number}.dat").touch()
    record(project, root)
    assert {"train.py", "model/net.py"} <= set(names(kept(root)))
