"""Which files are the code of a training: listed ones, else those around its script."""

from pathlib import Path

import pytest

from harness.trees import git, names, plant, repository, taken
from training_monitor.snapshot.kinds import is_secret
from training_monitor.snapshot.limits import Limits

FILES: dict[str, str | bytes] = {
    "train.py": "import model\n",
    "model/net.py": "x = 1\n",
    "model/old/net.py": "x = 0\n",
    "config/base.yaml": "lr: 0.1\n",
    "README.md": "# A\n",
    "data/table.csv": "a,b\n",
    "weights.pt": b"\0\1",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_lines_of_a_manifest_name_files_directories_and_globs(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", FILES)
    lines = "# what counts\ntrain.py\n\nmodel/\nconfig/*.yaml\n!model/old\nmissing.py\n"
    (root / "snapshot_files.txt").write_text(lines)
    said, kept = taken(run, root)
    assert said.how == "manifest"
    assert names(kept) == ["config/base.yaml", "model/net.py", "train.py"]
    assert kept.skipped_counts == {"listed, and not there": 1}
    assert [one.path for one in kept.skipped] == ["missing.py"]


def test_a_manifest_may_stand_beside_the_script_and_have_another_name(
    tmp_path: Path, run: Path
) -> None:
    root = plant(tmp_path / "code", FILES)
    (root / "list.txt").write_text("**/*.py\n")
    _, kept = taken(run, root, cwd=tmp_path, manifest="list.txt")
    assert names(kept) == ["model/net.py", "model/old/net.py", "train.py"]


def test_a_manifest_that_was_named_and_is_not_there_is_told_of(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", FILES)
    said, kept = taken(run, root, manifest="mine.txt")
    assert said.trouble == "there is no file 'mine.txt'"
    assert "train.py" in names(kept)


def test_a_manifest_reaches_no_further_than_its_repository(tmp_path: Path, run: Path) -> None:
    root = repository(tmp_path / "code", {"exp/train.py": "", "lib/util.py": "y = 2\n"})
    plant(tmp_path, {"outside.py": "z = 3\n"})
    (root / "exp/snapshot_files.txt").write_text(
        "train.py\n../lib\n../../outside.py\n/etc/hostname\n"
    )
    _, kept = taken(run, root / "exp")
    assert names(kept) == ["lib/util.py", "train.py"]
    assert sum(kept.skipped_counts.values()) == 2
    assert all("outside of" in why for why in kept.skipped_counts)


def test_paths_that_init_was_given_count_wherever_they_are(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", FILES)
    other = plant(tmp_path / "shared", {"a.py": "", "deep/b.py": ""})
    said, kept = taken(run, root, paths=("train.py", "model", str(other)))
    assert said.how == "paths"
    assert names(kept) == [
        "model/net.py", "model/old/net.py", "shared/a.py", "shared/deep/b.py", "train.py",
    ]  # fmt: skip


def test_an_empty_list_of_paths_takes_nothing(tmp_path: Path, run: Path) -> None:
    _, kept = taken(run, plant(tmp_path / "code", FILES), paths=())
    assert kept.entries == ()


def test_in_a_repository_tracked_text_is_taken_and_ignored_files_are_not(
    tmp_path: Path, run: Path
) -> None:
    files = FILES | {".gitignore": "*.log\nsecret_dir/\n"}
    root = repository(tmp_path / "code", files)
    plant(root, {"new.py": "n = 1\n", "out.log": "x\n", "secret_dir/a.py": "", "notes.bak": ""})
    said, kept = taken(run, root)
    assert said.how == "git"
    assert names(kept) == [
        ".gitignore", "README.md", "config/base.yaml", "data/table.csv", "model/net.py",
        "model/old/net.py", "new.py", "train.py",
    ]  # fmt: skip
    assert kept.skipped_counts == {"binary by its name": 1}


def test_what_is_near_the_script_and_code_is_taken_first(tmp_path: Path, run: Path) -> None:
    root = repository(
        tmp_path / "code",
        {
            "exp/a/train.py": "1\n",
            "exp/a/net.py": "2\n",
            "exp/lib.py": "3\n",
            "far/away/x.py": "4\n",
            "exp/a/table.csv": "5\n",
        },
    )
    _, kept = taken(run, root, script="exp/a/train.py", limits=Limits(most_files=3))
    assert names(kept) == ["exp/a/net.py", "exp/a/train.py", "exp/lib.py"]
    assert kept.skipped_counts == {"more than 3 files": 2}


def test_without_a_repository_source_files_around_the_script_are_taken(
    tmp_path: Path, run: Path
) -> None:
    files = FILES | {
        ".venv/lib/x.py": "",
        "env/pyvenv.cfg": "",
        "env/x.py": "",
        "node_modules/a.js": "",
        "ai_logger/r/training_monitor.db": "",
        "ai_logger/r/x.py": "",
        "__pycache__/a.pyc": b"\0",
    }
    said, kept = taken(run, plant(tmp_path / "code", files))
    assert said.how == "script"
    assert names(kept) == [
        "README.md", "config/base.yaml", "model/net.py", "model/old/net.py", "train.py",
    ]  # fmt: skip


def test_a_home_directory_is_not_gone_through(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = repository(tmp_path / "me", {"train.py": "", ".bashrc": "", "mail/letter.md": ""})
    monkeypatch.setenv("HOME", str(home))
    said, kept = taken(run, home)
    assert said.how == "script"
    assert names(kept) == ["train.py"]


def test_a_script_of_an_installation_is_not_the_user_s(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", {"config.yaml": "a: 1\n"})
    tool = plant(tmp_path / "lib/site-packages", {"tool/cli.py": "x\n"})
    _, kept = taken(run, tool, script="tool/cli.py", cwd=root)
    assert names(kept) == ["config.yaml"]


def test_nothing_is_known_and_nothing_taken(tmp_path: Path, run: Path) -> None:
    gone = tmp_path / "gone"
    said, kept = taken(run, gone, script=None)
    assert kept.entries == ()
    assert said.trouble == "neither a script nor a working directory is known"


@pytest.mark.parametrize(
    "name",
    [".env", "prod.env", ".env.local", "id_rsa", "a/b/server.pem", "credentials.json", ".netrc",
     "secrets.yaml", "gcp-service-account.json", "kaggle.json", ".pypirc", "x.kdbx", "token"],
)  # fmt: skip
def test_files_that_are_secret_by_their_names_are_not_taken(
    name: str, tmp_path: Path, run: Path
) -> None:
    assert is_secret(name)
    root = repository(tmp_path / "code", {"train.py": "", name: "HUNTER22=hunter22\n"})
    (root / "snapshot_files.txt").write_text(f"train.py\n{name}\n")
    for manifest in ("snapshot_files.txt", "none.txt"):
        _, kept = taken(run, root, manifest=manifest)
        assert name not in names(kept)
        assert "holds secrets by its name" in kept.skipped_counts
    assert not list(run.rglob(Path(name).name))


def test_names_beside_those_are_taken(tmp_path: Path, run: Path) -> None:
    files: dict[str, str | bytes] = {
        "train.py": "",
        ".env.example": "A=\n",
        "secrets.py": "import os\n",
    }
    root = repository(
        tmp_path / "code", files | {"id_rsa.pub": "ssh-rsa AAAA\n", "tokenizer.py": ""}
    )
    _, kept = taken(run, root)
    assert names(kept) == [".env.example", "id_rsa.pub", "secrets.py", "tokenizer.py", "train.py"]


def test_a_submodule_and_a_link_are_named(tmp_path: Path, run: Path) -> None:
    root = repository(tmp_path / "code", {"train.py": ""})
    (root / "link.py").symlink_to("train.py")
    git(root, "add", "-A")
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor")
    _, kept = taken(run, root)
    assert kept.skipped_counts == {"a submodule": 1, "a link": 1}
