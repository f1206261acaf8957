"""Commit, branch and difference, without starting anything that a repository names."""

import random
from pathlib import Path

import pytest

from harness.planted import make
from harness.trees import git, names, repository, taken
from training_monitor.snapshot.repository import find_repository

FILES: dict[str, str | bytes] = {
    "train.py": "lr = 0.1\nsteps = 10\n",
    "old.py": "x = 1\n",
    "lib/a.py": "y\n",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_a_clean_checkout_has_its_commit_and_branch(tmp_path: Path, run: Path) -> None:
    root = repository(tmp_path / "code", FILES)
    _, kept = taken(run, root)
    assert kept.git is not None
    assert kept.git.commit == git(root, "rev-parse", "HEAD").strip()
    assert (kept.git.branch, kept.git.dirty, kept.git.diff) == ("main", False, "")


@pytest.mark.parametrize("staged", [False, True])
def test_changes_are_a_diff_to_the_commit(tmp_path: Path, run: Path, staged: bool) -> None:
    root = repository(tmp_path / "code", FILES)
    (root / "train.py").write_text("lr = 0.5\nsteps = 10\n")
    (root / "old.py").unlink()
    if staged:
        git(root, "add", "train.py")
    _, kept = taken(run, root)
    assert kept.git is not None
    assert kept.git.dirty is True
    assert "-lr = 0.1\n+lr = 0.5\n" in kept.git.diff
    assert "--- a/old.py\n+++ /dev/null\n" in kept.git.diff
    assert "lib/a.py" not in kept.git.diff


def test_changes_of_listed_files_are_found_as_well(tmp_path: Path, run: Path) -> None:
    root = repository(
        tmp_path / "code", {"exp/train.py": "lr = 0.1\n", "exp/snapshot_files.txt": "train.py\n"}
    )
    (root / "exp/train.py").write_text("lr = 0.5\n")
    said, kept = taken(run, root / "exp")
    assert said.how == "manifest"
    assert names(kept) == ["train.py"]
    assert kept.git is not None
    assert "+++ b/train.py\n" in kept.git.diff


def test_a_detached_head_packed_references_and_a_further_worktree(
    tmp_path: Path, run: Path
) -> None:
    root = repository(tmp_path / "code", FILES)
    git(root, "pack-refs", "--all")
    assert taken(run, root)[1].git == taken(run, root)[1].git
    git(root, "worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"))
    _, kept = taken(run, tmp_path / "tree")
    assert kept.git is not None
    assert (kept.git.branch, kept.git.dirty) == ("side", False)
    git(root, "checkout", "-q", "--detach")
    _, kept = taken(run, root)
    assert kept.git is not None
    assert kept.git.branch is None
    assert kept.git.commit == git(root, "rev-parse", "HEAD").strip()


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_every_version_of_an_index_is_read(tmp_path: Path, run: Path, version: str) -> None:
    files = {f"deep/er/m{n:02}.py": f"{n}\n" for n in range(30)}
    root = repository(tmp_path / "code", {**FILES, **files})
    git(root, "update-index", f"--index-version={version}")
    (root / "intended.py").write_text("z\n")
    git(root, "add", "-N", "intended.py")
    tracked = find_repository(str(root), ceilings=frozenset())
    assert tracked is not None
    found = tracked.tracked()
    assert found is not None
    expected = git(root, "ls-files", "-z").split("\0")[:-1]
    assert [one.path.decode() for one in found] == expected
    assert taken(run, root)[0].how == "git"


def test_a_split_index_is_not_half_read(tmp_path: Path, run: Path) -> None:
    root = repository(tmp_path / "code", FILES)
    git(root, "update-index", "--split-index")
    _, kept = taken(run, root)
    assert names(kept) == ["lib/a.py", "old.py", "train.py"], "the walk finds them"


def test_a_repository_with_sha256_is_read(tmp_path: Path, run: Path) -> None:
    root = tmp_path / "code"
    root.mkdir()
    git(root, "init", "-q", "--object-format=sha256")
    repository(root, FILES)
    (root / "train.py").write_text("lr = 0.5\n")
    _, kept = taken(run, root)
    assert kept.git is not None
    assert kept.git.commit is not None
    assert len(kept.git.commit) == 64
    assert kept.git.dirty is True
    assert "+lr = 0.5" in kept.git.diff


def test_a_repository_without_a_commit(tmp_path: Path, run: Path) -> None:
    root = tmp_path / "code"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "train.py").write_text("lr = 0.5\n")
    _, kept = taken(run, root)
    assert kept.git is not None
    assert (kept.git.commit, kept.git.branch, kept.git.dirty) == (None, "main", None)


def test_line_ends_of_windows_are_no_change(tmp_path: Path, run: Path) -> None:
    root = repository(tmp_path / "code", FILES)
    (root / "train.py").write_bytes(b"lr = 0.1\r\nsteps = 10\r\n")
    _, kept = taken(run, root)
    assert kept.git is not None
    assert kept.git.dirty is False


def test_secrets_are_in_neither_side_of_the_difference(tmp_path: Path, run: Path) -> None:
    rng = random.Random(4)
    old, new = make("hugging face", rng), make("password", rng)
    key = make("rsa key", rng).text
    before = f'token = "{old.text}"\nKEY = """{key}"""\nlr = 0.1\nseed = 1\n'
    root = repository(tmp_path / "code", {"train.py": before, ".env": "A=1\n"})
    (root / "train.py").write_text(before.replace("seed = 1", f'password = "{new.text}"'))
    (root / ".env").write_text("PASSWORD=hunter22hunter\n")
    _, kept = taken(run, root)
    assert kept.git is not None
    assert "+password = " in kept.git.diff
    stored = b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file()).decode()
    for secret in (old.text, new.text, "hunter22hunter", *key.split("\n")[1:-1]):
        assert secret not in stored
    assert [(one.path, one.line) for one in kept.redactions] == [
        ("train.py", 1), ("train.py", 2), ("train.py", 2 + key.count("\n") + 2),
    ]  # fmt: skip


def test_nothing_that_a_repository_names_is_started(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(
        tmp_path / "code", {**FILES, ".gitattributes": "*.py filter=evil diff=evil\n"}
    )
    marker = tmp_path / "started"
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n")
    evil.chmod(0o755)
    for name in (
        "core.fsmonitor", "core.pager", "core.sshCommand", "diff.external", "filter.evil.clean",
        "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv", "diff.evil.command",
        "core.hooksPath", "alias.cat-file",
    ):  # fmt: skip
        git(root, "config", name, str(evil))
    (root / "train.py").write_text("lr = 0.9\n")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(evil))
    monkeypatch.setenv("GIT_PAGER", str(evil))
    _, kept = taken(run, root)
    assert kept.git is not None
    assert kept.git.dirty is True
    assert not marker.exists()


def test_without_git_there_is_a_commit_and_no_difference(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "code", FILES)
    commit = git(root, "rev-parse", "HEAD").strip()
    monkeypatch.setenv("PATH", str(tmp_path))
    _, kept = taken(run, root)
    assert kept.git is not None
    assert (kept.git.commit, kept.git.dirty, kept.git.diff) == (commit, None, "")
    assert kept.skipped_counts == {"no difference: git is not installed": 1}


def test_a_difference_is_no_longer_than_allowed(tmp_path: Path, run: Path) -> None:
    text = "".join(f"x{n} = {n}\n" for n in range(20_000))
    root = repository(tmp_path / "code", {"train.py": text, "b.py": text})
    for name in ("train.py", "b.py"):
        (root / name).write_text(text.replace("x", "y"))
    _, kept = taken(run, root)
    assert kept.git is not None
    assert len(kept.git.diff) < 300_000
    assert "goes on" in kept.git.diff or "not shown" in kept.git.diff
