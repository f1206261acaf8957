"""What is kept of code, and how it is read."""

import hashlib
import json
import os
import random
import stat
from pathlib import Path

import pytest

from harness.planted import make
from harness.trees import names, plant, taken
from training_monitor import QueryError, StoreError, _core
from training_monitor.snapshot.difference import difference
from training_monitor.snapshot.snapshot import open_snapshot

FILES: dict[str, str | bytes] = {
    "train.py": "import os\n\nloss = 1\nlr = 0.1",
    "model/net.py": "class Net:\r\n    pass\r\n",
    "model/__init__.py": "",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    (run / ".spool").mkdir(parents=True)
    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return plant(tmp_path / "code", FILES)


def test_there_is_none_before_one_is_taken(run: Path) -> None:
    assert open_snapshot(str(run)) is None


def test_files_lie_read_only_in_the_run_directory(run: Path, root: Path) -> None:
    _, kept = taken(run, root)
    for path in [*(run / "code").rglob("*"), *(run / ".code").rglob("*"), run / "code"]:
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert mode == 0o700, path
        elif path.name not in ("attempts.jsonl", "shown"):
            assert mode == 0o400, path
    assert (run / "code/train.py").read_text() == FILES["train.py"]
    assert names(kept) == ["model/__init__.py", "model/net.py", "train.py"]


def test_the_hash_is_of_paths_and_contents_alone(run: Path, root: Path, tmp_path: Path) -> None:
    _, kept = taken(run, root)
    whole = hashlib.sha256()
    for path in sorted(FILES):
        content = FILES[path]
        digest = hashlib.sha256(content.encode() if isinstance(content, str) else content)
        whole.update(f"{path}\0{digest.hexdigest()}\n".encode())
    assert kept.hash == whole.hexdigest()
    other = plant(tmp_path / "other", FILES)
    assert taken(tmp_path / "run2", other)[1].hash == kept.hash
    (other / "train.py").write_text("lr = 2\n")
    assert taken(tmp_path / "run2", other, attempt=2)[1].hash != kept.hash


def test_lines_are_given_by_path_or_number(run: Path, root: Path) -> None:
    _, kept = taken(run, root)
    assert kept.lines("train.py") == ["import os", "", "loss = 1", "lr = 0.1"]
    assert kept.lines(3, 3, 3) == ["loss = 1"]
    assert kept.lines("train.py", -5, 1) == ["import os"]
    assert kept.lines("train.py", 9) == kept.lines("train.py", 3, 2) == []
    assert kept.lines("model/net.py") == ["class Net:", "    pass"]
    assert kept.lines("model/__init__.py") == []
    assert [(entry.id, entry.lines, entry.size) for entry in kept.entries] == [
        (1, 0, 0), (2, 2, 22), (3, 4, 28),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("net.py", "no file 'net.py' in the snapshot; did you mean 'model/net.py'?"),
        ("trian.py", "did you mean 'train.py'?"),
        ("../code/train.py", "no file '../code/train.py'"),
        ("/etc/passwd", "no file '/etc/passwd'"),
        ("", "no file ''"),
        (0, "no file 0: there are 1 to 3"),
        (4, "no file 4: there are 1 to 3"),
        (-1, "no file -1"),
    ],
)
def test_a_file_that_is_not_there_is_answered_with_the_nearest(
    named: str | int, message: str, run: Path, root: Path
) -> None:
    _, kept = taken(run, root)
    with pytest.raises(KeyError) as caught:
        kept.lines(named)
    assert message in caught.value.args[0]


def test_a_search_gives_lines_and_whether_there_are_more(run: Path, root: Path) -> None:
    _, kept = taken(run, root)
    hits, more = kept.search("lr = ")
    assert [(hit.path, hit.line, hit.text) for hit in hits] == [("train.py", 4, "lr = 0.1")]
    assert not more
    assert kept.search(r"^\w+", regex=True, limit=2)[1]
    assert [hit.path for hit in kept.search("NET", ignore_case=True)[0]] == ["model/net.py"]
    assert kept.search("s", glob="*.yaml") == ([], False)
    assert {hit.path for hit in kept.search("s", glob="model/")[0]} == {"model/net.py"}
    with pytest.raises(QueryError, match="not a regular expression"):
        kept.search("(", regex=True)


def test_identical_code_costs_nothing_twice(run: Path, root: Path) -> None:
    taken(run, root)
    before = sorted(path for path in run.rglob("*") if path.is_file())
    said, kept = taken(run, root, attempt=2)
    assert sorted(path for path in run.rglob("*") if path.is_file()) == before
    assert (kept.attempt, kept.hash) == (2, said.hash)
    objects = {path.stat().st_ino for path in (run / ".code/objects").iterdir()}
    assert (run / "code/train.py").stat().st_ino in objects, "the tree is of links"


def test_older_attempts_stay_readable(run: Path, root: Path) -> None:
    taken(run, root)
    (root / "train.py").write_text("import os\n\nloss = 1\nlr = 0.5\n")
    (root / "new.py").write_text("n = 1\n")
    (root / "model/net.py").unlink()
    _, new = taken(run, root, attempt=2)
    old = open_snapshot(str(run), 1)
    assert old is not None
    assert old.lines("train.py")[-1] == "lr = 0.1"
    assert sorted(str(path.relative_to(run / "code")) for path in (run / "code").rglob("*.py")) == [
        "model/__init__.py", "new.py", "train.py",
    ]  # fmt: skip
    text = difference(old, new)
    assert "-lr = 0.1" in text
    assert "+lr = 0.5" in text
    assert "--- /dev/null\n+++ b/new.py" in text
    assert "--- a/model/net.py\n+++ /dev/null" in text
    assert difference(old, old) == ""
    assert (
        "not shown" in difference(old, new, max_bytes=10)
        or len(difference(old, new, max_bytes=10)) < 500
    )
    assert open_snapshot(str(run), 3) is None


def test_secrets_are_left_out_before_they_are_stored(run: Path, root: Path) -> None:
    secret = make("github", random.Random(1))
    (root / "train.py").write_text(f'import os\nTOKEN = "{secret.text}"\nlr = 1\n')
    said, kept = taken(run, root)
    assert said.redactions == 1
    assert [(one.path, one.line, one.kind) for one in kept.redactions] == [
        ("train.py", 2, "GitHub token")
    ]
    assert kept.lines("train.py") == ["import os", 'TOKEN = "[redacted]"', "lr = 1"]
    stored = b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file())
    assert secret.text.encode() not in stored


def test_what_was_damaged_is_told_and_mended_by_the_next(run: Path, root: Path) -> None:
    _, kept = taken(run, root)
    path = run / ".code/objects" / kept.entry("train.py").sha256
    path.chmod(0o600)
    path.write_text("something else")
    with pytest.raises(StoreError, match="is damaged"):
        kept.lines("train.py")
    _, again = taken(run, root, attempt=2)
    assert again.lines("train.py")[0] == "import os"
    (run / ".code" / f"{kept.hash}.json").unlink()
    with pytest.raises(StoreError, match="cannot read"):
        open_snapshot(str(run))


@pytest.mark.parametrize(
    "sha256", ["../../../../etc/hostname", "/etc/hostname", "", None, 7, "A" * 64, "0" * 63]
)
def test_a_list_that_was_tampered_with_reads_nothing_else(
    sha256: object, run: Path, root: Path
) -> None:
    _, kept = taken(run, root)
    path = run / ".code" / f"{kept.hash}.json"
    manifest = json.loads(path.read_text())
    manifest["files"][2]["sha256"] = sha256
    path.chmod(0o600)
    path.write_text(json.dumps(manifest))
    opened = open_snapshot(str(run))
    assert opened is not None
    with pytest.raises(StoreError):
        opened.lines("train.py")
    with pytest.raises(StoreError):
        opened.search("x")


def test_lines_about_attempts_that_are_cut_off_are_passed_over(run: Path, root: Path) -> None:
    _, kept = taken(run, root)
    with (run / ".code/attempts.jsonl").open("a") as log:
        log.write('{"attempt": 2, "hash": "ab\n[]\n{}\nnull\n\xff\n')
    opened = open_snapshot(str(run))
    assert opened is not None
    assert opened.attempt == kept.attempt


def test_a_directory_of_somebody_else_stays_as_it_is(run: Path, root: Path) -> None:
    plant(run / "code", {"mine.txt": "mine\n"})
    said, kept = taken(run, root)
    assert "is not of training_monitor" in said.trouble
    assert [path.name for path in (run / "code").iterdir()] == ["mine.txt"]
    assert kept.lines("train.py")[0] == "import os", "what was kept is read all the same"
    assert _core.belongings(str(run)) == ([".code", ".spool"], ["code"])


def test_what_was_kept_belongs_to_the_run(run: Path, root: Path) -> None:
    taken(run, root)
    assert _core.belongings(str(run)) == (["code", ".code", ".spool"], [])
    (run / "code/mine.txt").write_text("mine\n")
    assert "code" in _core.belongings(str(run))[1]


def test_what_a_killed_process_left_is_cleared_away(run: Path, root: Path) -> None:
    taken(run, root)
    plant(run / ".code", {".tree-1/a.py": "", ".old-1/b.py": "", ".new-1-1": "half"})
    taken(run, root, attempt=2)
    assert sorted(path.name for path in (run / ".code").iterdir() if path.name[0] == ".") == []


def test_where_there_are_no_links_the_tree_is_of_copies(
    run: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    taken(run, root)
    assert (run / "code/train.py").read_text() == FILES["train.py"]
    assert stat.S_IMODE((run / "code/train.py").stat().st_mode) == 0o400
