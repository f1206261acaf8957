"""What is exported is what was logged, in every format."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import pty
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import training_monitor as tm
from harness import processes
from harness.recorder import Recorder
from training_monitor import _core
from training_monitor.export.csv import guarded, unguarded
from training_monitor.export.jsonl import decode

ODD = [
    0.1, -0.0, 1e-320, 1.7976931348623157e308, float("nan"), float("inf"), float("-inf"),
    struct.unpack("<d", struct.pack("<Q", 0x7FF800000000BEEF))[0],
    0, -(2**63), 2**53 + 1, 2**70, -(10**400), True, False, None,
    "", "=cmd|' /C calc'!A0", "+1", "-1", "@x", "'quoted", "\t=1", "a,b", 'say "hi"', " padded ",
    "two\nlines", "\x1b[31mred", "back\\slash \\n", "null\0byte", "größe µ 日本", "\ud800 lone",
    "\u202eright to left", "1.5", "nan",
]  # fmt: skip


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Record values of every type, repeated steps, and odd names."""
    recorder = Recorder(tmp_path / "runs" / "odd")
    for step, value in enumerate(ODD):
        _core.log({"odd": value, "=evil()": float(step), "a/b": 1.5}, step)
    for step in (3, 4, 3):
        _core.log({"a/b": 99.0 + step}, step)
    for step in range(3000):
        _core.log({"loss": 1 / (step + 3)}, step)
    recorder.stored()
    return recorder.run_dir


def same(ours: Any, theirs: Any) -> bool:
    """Compare type and bits."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return struct.pack("<d", ours) == struct.pack("<d", theirs)
    return type(ours) is type(theirs) and ours == theirs


def points_of(run_dir: Path, key: str, *, raw: bool = False) -> list[tuple[Any, ...]]:
    series = tm.open_run(run_dir).series(key, raw=raw)
    names = ("step", "time", "value", "rank", "attempt")
    return list(zip(*(getattr(series, name).tolist() for name in names), strict=True))


def export(run_dir: Path, *words: object) -> str:
    done = processes.training_monitor("export", run_dir, "-", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("raw", [False, True])
def test_jsonl_gives_back_every_bit(run_dir: Path, raw: bool) -> None:
    text = export(run_dir, "--format", "jsonl", *(["--raw"] if raw else []))
    found: dict[str, list[tuple[Any, ...]]] = {}
    for line in text.splitlines():
        row = json.loads(line, parse_constant=pytest.fail)
        place = row["step"], row["time"], decode(row["value"]), row["rank"], row["attempt"]
        found.setdefault(row["key"], []).append(place)
    assert found.keys() == {metric.name for metric in tm.open_run(run_dir).metrics()}
    for key, rows in found.items():
        expected = points_of(run_dir, key, raw=raw)
        assert len(rows) == len(expected)
        assert all(map(same, [c for r in rows for c in r], [c for r in expected for c in r])), key
    assert len(found["a/b"]) == len(ODD) + (3 if raw else 0)


def test_csv_gives_back_every_value_and_runs_nothing(run_dir: Path) -> None:
    text = export(run_dir, "--format", "csv")
    assert text.isprintable() or set(text) - {"\n"} == {c for c in text if c.isprintable()}
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["key", "step", "time", "value", "rank", "attempt", "kind"]
    read = {
        "float": float, "int": int, "bool": lambda cell: cell == "True",
        "none": lambda _: None, "text": unguarded,
    }  # fmt: skip
    found: dict[str, list[tuple[Any, ...]]] = {}
    for key, step, time, value, rank, attempt, kind in rows[1:]:
        for cell in (key, value if kind == "text" else ""):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell
        place = int(step), float(time), read[kind](value), int(rank), int(attempt)
        found.setdefault(unguarded(key), []).append(place)
    for key, rows_of_key in found.items():
        expected = points_of(run_dir, key)
        assert len(rows_of_key) == len(expected)
        for ours, theirs in zip(rows_of_key, expected, strict=True):
            nan = isinstance(theirs[2], float) and math.isnan(theirs[2])
            assert nan == (isinstance(ours[2], float) and math.isnan(ours[2]))
            assert nan or all(map(same, ours, theirs)), (ours, theirs)


@pytest.mark.parametrize("text", [value for value in ODD if isinstance(value, str)])
def test_a_guarded_text_comes_back(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert all(char.isprintable() for char in guarded(text))


def test_parquet_gives_back_every_value(run_dir: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "odd.parquet"
    done = processes.training_monitor("export", run_dir, target)
    assert done.returncode == 0, done.stderr
    rows = parquet.read_table(target).to_pylist()
    odd = [row for row in rows if row["key"] == "odd"]
    for row, value in zip(odd, ODD, strict=True):
        if row["kind"] == "text":
            assert row["exact"].encode() == value.encode("utf-8", "backslashreplace")
        elif row["kind"] == "int":
            assert (int(row["exact"]) if row["exact"] else int(row["value"])) == value
        elif row["kind"] == "none":
            assert row["value"] is row["exact"] is None
        elif row["kind"] == "bool":
            assert bool(row["value"]) is value
        else:
            assert same(row["value"], value)
    assert len(rows) == tm.open_run(run_dir).sql("SELECT count(*) FROM points")[0][0]


def test_a_missing_library_is_named(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('not here')")
    done = subprocess.run(
        [sys.executable, "-m", "training_monitor", "export", str(run_dir), "--format", "parquet"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "needs pyarrow" in done.stderr
    assert not list(tmp_path.glob("odd.parquet*"))


def test_keys_and_since_choose(run_dir: Path) -> None:
    text = export(run_dir, "--format", "jsonl", "--key", "l*", "--key", "a/b", "--since", 10)
    rows = [json.loads(line) for line in text.splitlines()]
    assert {row["key"] for row in rows} == {"loss", "a/b"}
    assert min(row["step"] for row in rows) == 10
    assert len(rows) == 2990 + len(ODD) - 10
    done = processes.training_monitor("export", run_dir, "-", "--key", "los")
    assert done.returncode == 1
    assert "did you mean 'loss'" in done.stderr


def test_a_file_is_not_replaced_unasked(run_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.csv"
    target.write_text("mine")
    done = processes.training_monitor("export", run_dir, target)
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert target.read_text() == "mine"
    done = processes.training_monitor("export", run_dir, target, "--force")
    assert done.returncode == 0, done.stderr
    assert target.read_text().startswith("key,step")
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_what_is_no_file_is_written_to_as_it_is(run_dir: Path, tmp_path: Path) -> None:
    whole = processes.training_monitor("export", run_dir, "-", "--format", "csv").stdout
    fifo = tmp_path / "x.csv"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "training_monitor", "export", str(run_dir), str(fifo)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    assert fifo.read_text() == whole
    assert process.wait(30) == 0
    assert fifo.is_fifo()
    link = tmp_path / "null"
    os.symlink("/dev/null", link)
    for words in ([], ["--force"]):
        done = processes.training_monitor("export", run_dir, link, *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.rstrip().endswith(f"points in {link}")
    assert os.readlink(link) == "/dev/null"
    assert Path("/dev/null").is_char_device()


def test_behind_a_link_its_file_is_replaced(run_dir: Path, tmp_path: Path) -> None:
    real = tmp_path / "disk" / "real.csv"
    real.parent.mkdir()
    link = tmp_path / "link.csv"
    os.symlink(real, link)
    assert processes.training_monitor("export", run_dir, link).returncode == 1
    done = processes.training_monitor("export", run_dir, link, "--force")
    assert done.returncode == 0, done.stderr
    assert link.is_symlink()
    assert real.read_text().startswith("key,step")


def test_an_error_names_the_file_that_was_asked_for(run_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "missing" / "x.csv"
    done = processes.training_monitor("export", run_dir, target)
    assert done.returncode == 1
    assert str(target) in done.stderr
    assert "partial" not in done.stderr
    done = processes.training_monitor("export", run_dir, "/dev/full", "--format", "jsonl")
    assert done.returncode == 1
    assert "No space left on device: '/dev/full'" in done.stderr


def test_a_terminal_shows_a_bar(run_dir: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "training_monitor", "export", str(run_dir)]
    process = subprocess.Popen(
        [*command, str(tmp_path / "x.csv")], stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    assert process.wait(30) == 0
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "points" in shown
    assert shown.endswith("\r\x1b[K")


def test_a_run_is_exported_while_it_is_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    ingest = _core.Ingest(str(recorder.run_dir))
    for step in range(2500):
        _core.log({"loss": float(step)}, step)
    processes.until(lambda: _core.health()["backlog_bytes"] == 0, "everything to be durable")
    text = export(recorder.run_dir, "--format", "jsonl")
    assert [json.loads(line)["value"] for line in text.splitlines()] == list(
        map(float, range(2500))
    )
    _core.close_producer(60.0)
    ingest.finish(60.0)
