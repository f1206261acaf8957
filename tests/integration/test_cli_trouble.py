"""What the commands say of runs in a bad state, and what they never send to a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes, reading
from harness.recorder import Recorder
from training_monitor import _core
from training_monitor.cli.main import main

COMMANDS = ["status", "show", "recover", "query", "export", "backup"]


def words_of(command: str, run: object, root: Path) -> list[object]:
    more = {"query": ["SELECT * FROM points"], "export": [root / "out.jsonl"]}
    more["backup"] = [root / "copy"]
    return [command, run, *more.get(command, []), "--root-dir", root]


def make_foreign(path: Path) -> None:
    program = (
        "import sqlite3, sys\n"
        "with sqlite3.connect(sys.argv[1]) as database: database.execute('CREATE TABLE t(a)')\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


@pytest.mark.parametrize(
    "make", [make_foreign, Path.mkdir, os.mkfifo], ids=["sqlite", "dir", "fifo"]
)
def test_what_is_no_database_of_ours_is_named_and_left_alone(
    root: Path, make: Callable[[Path], None]
) -> None:
    database = root / "odd" / "training_monitor.db"
    database.parent.mkdir(parents=True)
    make(database)
    content = database.read_bytes() if database.is_file() else None
    for command in COMMANDS:
        done = processes.training_monitor(*words_of(command, "odd", root))
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert f"{database} is not a database of training_monitor" in said, command
        assert "ended" not in said
    listed = processes.training_monitor("runs", "--root-dir", root)
    assert "damaged" in listed.stdout
    assert (database.read_bytes() if database.is_file() else None) == content


def test_training_beside_what_is_no_database_goes_on_and_is_kept(
    tmp_path: Path, root: Path
) -> None:
    database = root / "odd" / "training_monitor.db"
    database.parent.mkdir(parents=True)
    os.mkfifo(database)
    log = root / "odd" / "training_monitor.log"
    trainer = processes.start_script(
        tmp_path,
        """
        tm.init("odd", root_dir=sys.argv[1], quiet=True)
        for step in range(100):
            tm.log({"loss": float(step)}, step)
        print("logged", flush=True)
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.01)
        tm.close()
        """,
        root,
        tmp_path / "stop",
    )
    wanted = "is not a database of training_monitor"
    processes.until(lambda: log.exists() and wanted in log.read_text(), "the monitor to say so")
    (tmp_path / "stop").touch()
    assert processes.finish(trainer) == "logged\n"
    reading.settled(root / "odd")
    database.unlink()
    done = processes.training_monitor("recover", "odd", "--root-dir", root)
    assert "100 points brought home" in done.stdout
    assert reading.steps_of(root / "odd", "loss") == list(range(100))


@pytest.mark.parametrize("as_json", [False, True])
def test_recover_tells_where_a_damaged_database_went(
    tmp_path: Path, root: Path, as_json: bool
) -> None:
    with tm.init("run", root_dir=root, quiet=True):
        for step in range(50):
            tm.log({"loss": 1.0}, step)
    run_dir = root / "run"
    reading.settled(run_dir)
    processes.run_script(
        tmp_path,
        """
        tm.init("run", root_dir=sys.argv[1], start_monitor=False, quiet=True)
        for step in range(70):
            tm.log({"loss": 1.0}, step)
        os._exit(0)
        """,
        root,
    )
    content = b"not a database\n" * 1000
    for end in ("", "-wal", "-shm"):
        (run_dir / f"training_monitor.db{end}").unlink(missing_ok=True)
    (run_dir / "training_monitor.db").write_bytes(content)
    words = ["recover", "run", "--root-dir", root, *(["--json"] if as_json else [])]
    done = processes.training_monitor(*words)
    assert done.returncode == 0, done.stderr
    (aside,) = processes.files_below(run_dir, "training_monitor.db.damaged-*[0-9]")
    assert Path(aside).read_bytes() == content
    if as_json:
        facts = json.loads(done.stdout)
        assert (facts["moved_aside"], facts["recovered_points"]) == (aside, 70)
    else:
        assert done.stdout.startswith("run: 70 points brought home\n")
        assert f"the database was damaged and is now {aside};" in done.stdout


def test_recover_of_a_sound_run_moves_nothing(root: Path) -> None:
    with tm.init("run", root_dir=root, quiet=True):
        tm.log({"loss": 1.0}, 0)
    reading.settled(root / "run")
    done = processes.training_monitor("recover", root / "run", "--json")
    assert json.loads(done.stdout)["moved_aside"] is None


ODD_NAMES = ["\x1b[31mred\x1b]0;title\x07", "line\nbreak\rback", "bidi\u202egnp", "c1\x9b31m"]


@pytest.fixture
def odd_run(root: Path) -> Path:
    """Record a run whose metrics and texts, and whose name in the end, would steer a terminal."""
    with tm.init("odd", root_dir=root, quiet=True, config={name: name for name in ODD_NAMES}):
        tm.log(dict.fromkeys(ODD_NAMES, 1.0) | {f"text{ODD_NAMES[0]}": ODD_NAMES[0]}, 0)
        tm.alert(ODD_NAMES[0], ODD_NAMES[0])
    reading.settled(root / "odd")
    run_dir = root / ODD_NAMES[0]
    (root / "odd").rename(run_dir)
    return run_dir


def steers(text: str) -> bool:
    """Return whether a terminal would obey something in the text."""
    return any(not char.isprintable() for char in text.replace("\n", ""))


@pytest.mark.parametrize("command", ["runs", *COMMANDS, "rm", "prune"])
def test_no_name_reaches_the_terminal_as_a_command_to_it(
    odd_run: Path, root: Path, command: str
) -> None:
    if command == "runs":
        words: list[object] = ["runs", "--root-dir", root]
    elif command == "prune":
        (root / "newer").mkdir()
        (root / "newer" / "config.json").write_text("{}")
        words = ["prune", "--keep-runs", "1", "--root-dir", root, "--yes"]
    else:
        words = words_of(command, odd_run.name, root) + (["--yes"] if command == "rm" else [])
    done = processes.training_monitor(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not steers(done.stdout + done.stderr), repr(done.stdout + done.stderr)


@pytest.mark.parametrize("command", ["runs", *COMMANDS, "rm", "prune"])
@pytest.mark.parametrize("odd", ODD_NAMES)
def test_no_error_steers_the_terminal(
    root: Path, command: str, odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([command, odd], [command, f"--{odd}"], [odd], [command, odd, "--root-dir", odd]):
        with contextlib.suppress(SystemExit):
            main(words)
        said = capsys.readouterr()
        assert said.out + said.err
        assert not steers(said.out + said.err), repr(said)


def test_json_names_absolute_directories(root: Path) -> None:
    with tm.init("run", root_dir=root, quiet=True):
        tm.log({"loss": 1.0}, 0)
    reading.settled(root / "run")
    for words in (["status"], ["status", "run"], ["runs"], ["show", "run"], ["recover", "run"]):
        command = [sys.executable, "-m", "training_monitor", *words, "--json", "--root-dir", "runs"]
        done = subprocess.run(command, cwd=root.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        facts = found[0] if isinstance(found, list) else found
        assert facts["dir"] == str(root / "run"), words


@pytest.mark.parametrize(
    "words",
    [
        ("export", "one", "-", "--since", "99999999999999999999"),
        ("export", "one", "-", "--since", "soon"),
        ("query", "one", "SELECT 1", "--limit", "99999999999999999999"),
        ("query", "one", "SELECT 1", "--limit", "-1"),
        ("query", "one", "SELECT 1", "--timeout", "nan"),
        ("recover", "one", "--timeout", "inf"),
    ],
    ids=" ".join,
)
def test_a_number_beyond_bounds_is_an_error_of_usage(root: Path, words: tuple[str, ...]) -> None:
    done = processes.training_monitor(*words, "--root-dir", root)
    assert done.returncode == 2
    assert "is not valid: expected" in done.stderr
    assert words[-1] in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_error(root: Path, closed: str) -> None:
    recorder = Recorder(root / "one")
    _core.log({"a": 1.0}, 0)
    recorder.stored()
    command = f"{sys.executable} -m training_monitor runs --root-dir {root} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert ("one" in done.stdout) == (closed == "2>&-")
    assert done.stderr == ""
