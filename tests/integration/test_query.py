"""Questions in SQL, from Python and from the command line."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes
from harness.recorder import Recorder
from training_monitor import _core


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Record a small run with values of every type."""
    recorder = Recorder(tmp_path / "runs" / "small")
    for step in range(1000):
        _core.log({"loss": 1.0 / (step + 1), "lr": 0.5}, step)
    odd = {"n": 7, "flag": True, "big": 2**70, "none": None, "text": "=1+1", "nan": float("nan")}
    _core.log(odd, 1000)
    recorder.stored()
    return recorder.run_dir


def test_sql_answers_with_rows_and_columns(run_dir: Path) -> None:
    view = tm.open_run(run_dir)
    table = view.sql("SELECT key, count(*) AS n, max(value) FROM points GROUP BY key")
    assert table.columns == ["key", "n", "max(value)"]
    assert ("loss", 1000, 1.0) in list(table)
    assert {"key": "lr", "n": 1000, "max(value)": 0.5} in table.dicts()
    assert not table.truncated
    series = view.series("loss")
    rows = view.sql("SELECT step, time, value, rank, attempt FROM points WHERE key = 'loss'").rows
    columns = [getattr(series, name).tolist() for name in ("step", "time", "value", "rank")]
    assert rows == list(zip(*columns, series.attempt.tolist(), strict=True))


def test_kinds_tell_apart_what_is_null(run_dir: Path) -> None:
    table = tm.open_run(run_dir).sql("SELECT key, value, kind FROM points WHERE step = 1000")
    assert sorted(table.rows) == [
        ("big", str(2**70), "bigint"),
        ("flag", 1, "bool"),
        ("n", 7, "int"),
        ("nan", None, "nan"),
        ("none", None, "none"),
        ("text", "=1+1", "text"),
    ]


def test_mistakes_name_what_there_is(run_dir: Path) -> None:
    view = tm.open_run(run_dir)
    with pytest.raises(tm.QueryError, match="there are: points, raw_points, alerts"):
        view.sql("SELECT * FROM pints")
    with pytest.raises(ValueError, match="points has key, step, time, value"):
        view.sql("SELECT val FROM points")
    with pytest.raises(tm.QueryError, match=r"stopped after 0\.05 s: .* of 2,?006 points"):
        view.sql("SELECT count(*) FROM points a, points b, points c", timeout_secs=0.05)


def test_the_limit_is_told(run_dir: Path) -> None:
    view = tm.open_run(run_dir)
    table = view.sql("SELECT * FROM points", limit=5)
    assert len(table) == 5
    assert table.truncated
    assert len(view.sql("SELECT * FROM points", limit=None)) == 2006


def test_hostile_statements_change_nothing(run_dir: Path, tmp_path: Path) -> None:
    view = tm.open_run(run_dir)
    before = hashlib.sha256((run_dir / "training_monitor.db").read_bytes()).digest()
    names = sorted(path.name for path in tmp_path.rglob("*"))
    for sql in [
        f"ATTACH '{tmp_path}/x.db' AS x",
        f"VACUUM INTO '{tmp_path}/x.db'",
        "PRAGMA journal_mode = delete",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "SELECT * FROM pragma_wal_checkpoint",
        "DELETE FROM keys",
        "INSERT INTO keys(name) SELECT name FROM keys RETURNING *",
        "WITH x AS (SELECT 1) DELETE FROM keys",
        "DROP VIEW summaries",
        "SELECT load_extension('/tmp/x.so')",
        "BEGIN EXCLUSIVE",
        "SELECT 1; DELETE FROM keys",
        "",
        "\0",
    ]:
        with pytest.raises(tm.QueryError):
            view.sql(sql)
    started = time.monotonic()
    bomb = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT sum(x) FROM c"
    with pytest.raises(tm.QueryError, match="stopped after"):
        view.sql(bomb, timeout_secs=0.3)
    assert time.monotonic() - started < 30
    assert hashlib.sha256((run_dir / "training_monitor.db").read_bytes()).digest() == before
    left = [name for name in names if not name.endswith(("-wal", "-shm"))]
    now = sorted(path.name for path in tmp_path.rglob("*"))
    assert [name for name in now if not name.endswith(("-wal", "-shm"))] == left


def test_ctrl_c_ends_a_query(run_dir: Path) -> None:
    view = tm.open_run(run_dir)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    started = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        view.sql("SELECT count(*) FROM points a, points b, points c")
    timer.join()
    assert time.monotonic() - started < 30


def test_the_command_prints_a_table_that_fits(run_dir: Path) -> None:
    sql = "SELECT *, 'a very long text that goes on and on and on' AS note FROM points LIMIT 3"
    done = processes.training_monitor("query", run_dir, sql)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["key", "step", "time", "value", "rank", "attempt", "note"]
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80


def test_the_command_prints_json_and_csv(run_dir: Path) -> None:
    sql = "SELECT key, value, 1e999 AS inf FROM points WHERE key IN ('text', 'n', 'nan')"
    facts = json.loads(processes.training_monitor("query", run_dir, sql, "--json").stdout)
    assert facts["columns"] == ["key", "value", "inf"]
    assert min(facts["rows"]) == ["n", 7, "Infinity"]
    done = processes.training_monitor("query", run_dir, sql, "--csv")
    assert done.stdout.splitlines() == ["key,value,inf", "n,7,inf", "nan,,inf", "text,'=1+1,inf"]


def test_the_command_says_what_is_wrong_in_one_line(run_dir: Path) -> None:
    done = processes.training_monitor("query", run_dir, "DROP TABLE keys")
    assert done.returncode == 1
    assert "may only SELECT" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = processes.training_monitor("query", run_dir, "SELECT * FROM points", "--limit", "2")
    assert "only the first 2 rows" in done.stderr


def test_a_query_sees_a_run_while_it_is_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "live")
    ingest = _core.Ingest(str(recorder.run_dir))
    view = None
    for step in range(5000):
        _core.log({"loss": float(step)}, step)
        if step % 500 != 499:
            continue
        processes.until(lambda: _core.health()["backlog_bytes"] == 0, "everything to be durable")
        view = view or tm.open_run(recorder.run_dir)
        assert view.sql("SELECT count(*), max(step) FROM points").rows == [(step + 1, step)]
    _core.close_producer(60.0)
    ingest.finish(60.0)


def test_no_python_sqlite_is_loaded(run_dir: Path) -> None:
    program = (
        "import sys, training_monitor as tm\n"
        "tm.open_run(sys.argv[1]).sql('SELECT 1')\n"
        "assert 'sqlite3' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(run_dir)], check=True)
