"""Trees that want to hang, flood or mislead: nothing is waited for, nothing outside is read."""

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from harness.trees import names, plant, repository, taken
from training_monitor.snapshot.limits import Limits, printable
from training_monitor.snapshot.tree import Tree, Unread

OUTSIDE = "what stands outside"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return plant(tmp_path / "elsewhere", {"diary.py": f"{OUTSIDE}\n"})


def stored(run: Path) -> bytes:
    return b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file())


def test_links_are_not_followed_wherever_they_lead(
    tmp_path: Path, run: Path, outside: Path
) -> None:
    root = plant(tmp_path / "code", {"train.py": "x = 1\n", "sub/a.py": "", "listed.txt": ""})
    (root / "diary.py").symlink_to(outside / "diary.py")
    (root / "near.py").symlink_to("train.py")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(".")
    (root / "sub/up").symlink_to("..")
    (root / "self.py").symlink_to("self.py")
    (root / "gone.py").symlink_to("nowhere.py")
    _, kept = taken(run, root)
    assert names(kept) == ["sub/a.py", "train.py"]
    assert kept.skipped_counts == {"a link": 7}
    (root / "snapshot_files.txt").write_text(
        "train.py\ndiary.py\nfolder\nfolder/diary.py\nloop/*.py\n*/*.py\n"
    )
    _, kept = taken(run, root)
    assert names(kept) == ["sub/a.py", "train.py"]
    assert OUTSIDE.encode() not in stored(run)


def test_a_manifest_that_is_a_link_or_a_fifo_is_none(
    tmp_path: Path, run: Path, outside: Path
) -> None:
    root = plant(tmp_path / "code", {"train.py": "x = 1\n"})
    (root / "snapshot_files.txt").symlink_to(outside / "diary.py")
    assert taken(run, root)[0].how == "script"
    (root / "snapshot_files.txt").unlink()
    os.mkfifo(root / "snapshot_files.txt")
    assert taken(run, root)[0].how == "script"


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", {"train.py": "x = 1\n"})
    os.mkfifo(root / "pipe.py")
    with socket.socket(socket.AF_UNIX) as door:
        here = os.getcwd()
        os.chdir(root)
        try:
            door.bind("door.py")
        finally:
            os.chdir(here)
        (root / "snapshot_files.txt").write_text("train.py\npipe.py\ndoor.py\n/dev/zero\n")
        _, kept = taken(run, root)
        listed = dict(kept.skipped_counts)
        (root / "snapshot_files.txt").unlink()
        _, kept = taken(run, root)
    assert names(kept) == ["train.py"]
    assert kept.skipped_counts == {"a FIFO": 1, "a socket": 1}
    assert listed.pop("listed, and a FIFO") == listed.pop("listed, and a socket") == 1
    assert len(listed) == 1


def test_devices_are_not_read_where_any_path_may_be_named(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", {"train.py": "x = 1\n"})
    _, kept = taken(run, root, paths=("train.py", "/dev/zero", "/dev/tty", "/proc/self/environ"))
    assert names(kept) == ["train.py"]
    assert kept.skipped_counts["listed, and a device"] == 2


def test_huge_and_sparse_files_are_not_read(tmp_path: Path, run: Path) -> None:
    root = repository(tmp_path / "code", {"train.py": "", "big.py": "x = 1\n" * 400_000})
    with (root / "sparse.py").open("wb") as file:
        file.truncate(2**42)
    began = time.monotonic()
    _, kept = taken(run, root)
    assert names(kept) == ["train.py"]
    assert kept.skipped_counts == {"larger than 1 MiB": 2}
    assert time.monotonic() - began < 30


def test_all_together_are_no_more_than_allowed(tmp_path: Path, run: Path) -> None:
    files = {f"m{n:02}.py": f"x = {n}\n" + "#" * 2**19 for n in range(8)}
    root = plant(tmp_path / "code", {"train.py": "", **files})
    _, kept = taken(run, root, limits=Limits(most_bytes=2**21))
    assert len(kept.entries) == 4
    assert kept.skipped_counts == {"more than 2 MiB in all": 5}


def test_binary_content_under_a_text_name_is_left_out(tmp_path: Path, run: Path) -> None:
    root = plant(
        tmp_path / "code",
        {
            "train.py": "", "a.py": b"\x7fELF\0\0\1", "b.py": bytes(range(1, 32)) * 9,
            "c.py": "x = 'é'\n".encode("latin-1"), "d.py": "x\n".encode("utf-16"),
        },
    )  # fmt: skip
    _, kept = taken(run, root)
    assert names(kept) == ["c.py", "train.py"]
    assert kept.lines("c.py") == ["x = '\ufffd'"]
    assert kept.skipped_counts == {"binary": 3}


def test_names_that_nobody_can_print_are_left_out_and_shown_as_escapes(
    tmp_path: Path, run: Path
) -> None:
    root = plant(tmp_path / "code", {"train.py": "", "schön.py": "", "two words.py": ""})
    for name in (b"bad\xff.py", b"line\nbreak.py", b"bell\x07.py", "rtl\u202e.py".encode()):
        with open(os.path.join(os.fsencode(root), name), "wb") as file:
            file.write(b"x = 1\n")
    _, kept = taken(run, root)
    assert names(kept) == ["schön.py", "train.py", "two words.py"]
    assert kept.skipped_counts == {"a name that cannot be printed": 4}
    assert all(one.path.isprintable() for one in kept.skipped)
    assert printable("a" * 9_999).endswith("...")


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", {"train.py": "", "a.py": "", "sub/b.py": ""})
    (root / "a.py").chmod(0)
    (root / "sub").chmod(0)
    try:
        _, kept = taken(run, root)
    finally:
        (root / "sub").chmod(0o700)
    assert names(kept) == ["train.py"]
    assert kept.skipped_counts == {"not readable": 2}


def test_a_file_that_keeps_changing_is_left_out_or_whole(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", {"train.py": "", "log.py": "a" * 300_000})
    stop = threading.Event()

    def scribble() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            (root / "log.py").write_bytes(b"%c" % (97 + count % 26) * 300_000)

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(20):
            _, kept = taken(run, root)
            if "log.py" in names(kept):
                assert kept.entry("log.py").size <= 300_000
            else:
                assert set(kept.skipped_counts) <= {"changing while it was read", "not there"}
    finally:
        stop.set()
        thread.join()


def test_files_that_vanish_while_they_are_taken_do_no_harm(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", {"train.py": "", **{f"a{n}/m.py": "x\n" for n in range(40)}})
    stop = threading.Event()

    def shuffle() -> None:
        while not stop.is_set():
            for number in range(40):
                path = root / f"a{number}"
                path.rename(root / f"b{number}")
                (root / f"b{number}").rename(path)

    thread = threading.Thread(target=shuffle)
    thread.start()
    try:
        for _ in range(10):
            _, kept = taken(run, root)
            assert "train.py" in names(kept)
    finally:
        stop.set()
        thread.join()


def test_a_directory_that_becomes_a_link_leads_nowhere(tmp_path: Path, outside: Path) -> None:
    root = plant(tmp_path / "code", {"sub/diary.py": "inside\n"})
    inner, aside = root / "sub", root / "aside"
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            inner.rename(aside)
            inner.symlink_to(outside)
            inner.unlink()
            aside.rename(inner)

    thread = threading.Thread(target=swap)
    thread.start()
    read = 0
    try:
        with Tree(str(root)) as tree:
            for _ in range(5_000):
                with contextlib.suppress(Unread):
                    assert tree.read("sub/diary.py", 1_000) == b"inside\n"
                    read += 1
    finally:
        stop.set()
        thread.join()
    assert read


def test_paths_out_of_the_tree_are_refused(tmp_path: Path, outside: Path) -> None:
    root = plant(tmp_path / "code", {"a.py": ""})
    with Tree(str(root)) as tree:
        for path in (
            "../elsewhere/diary.py",
            "a.py/../../elsewhere/diary.py",
            "/etc/../../x",
            "a\0b",
        ):
            with pytest.raises(Unread):
                tree.read(path, 1_000)


def test_very_many_files_end_the_look_and_not_the_snapshot(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", {"train.py": "x = 1\n"})
    for folder in range(30):
        (root / f"d{folder:02}").mkdir()
        for number in range(100):
            (root / f"d{folder:02}" / f"{number}.json").touch()
    _, kept = taken(run, root, limits=Limits(most_entries=1_000, most_files=500))
    assert "train.py" in names(kept)
    assert len(kept.entries) == 500
    assert kept.skipped_counts["more than 1,000 names were looked at"] == 1
    assert sum(1 for one in kept.skipped if "500 files" in one.why) <= 50, "named only at first"


def test_a_very_deep_tree_ends(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", {"train.py": "x = 1\n", "/".join(["d"] * 60) + "/a.py": ""})
    _, kept = taken(run, root)
    assert names(kept) == ["train.py"]
    assert kept.skipped_counts == {"too deep": 1}


def test_what_takes_too_long_is_cut_short(tmp_path: Path, run: Path) -> None:
    root = plant(tmp_path / "code", {f"m{n}.py": "" for n in range(50)} | {"train.py": ""})
    _, kept = taken(run, root, limits=Limits(within_secs=0.0))
    assert kept.entries == ()
    assert any("not done within" in why for why in kept.skipped_counts)


def test_a_repository_whose_files_lie_says_nothing(
    tmp_path: Path, run: Path, outside: Path
) -> None:
    for number, (name, content) in enumerate(
        [
            ("index", b"DIRC\0\0\0\2\xff\xff\xff\xff"),
            ("index", b"x" * 100),
            ("index", b""),
            ("HEAD", b"ref: refs/heads/../../../../elsewhere/diary.py\n"),
            ("HEAD", b"ref: /etc/hostname\n"),
            ("HEAD", b"\xff" * 5_000),
            ("packed-refs", b"zzzz refs/heads/main\n" * 10),
        ]
    ):
        root = repository(tmp_path / f"code{number}", {"train.py": "x = 1\n"})
        if name == "packed-refs":
            (root / ".git/refs/heads/main").unlink()
        (root / ".git" / name).unlink(missing_ok=True)
        (root / ".git" / name).write_bytes(content)
        _, kept = taken(run, root)
        assert names(kept) == ["train.py"]
        assert kept.git is not None
        assert OUTSIDE.encode() not in stored(run)
