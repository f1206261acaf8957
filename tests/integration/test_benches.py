"""The benches run: the figures of these sizes mean nothing, that they are there does."""

import os
import subprocess
import sys

import pytest

from meta import source

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("name", "size", "row"),
    [
        pytest.param(
            "bench_overhead",
            "--rounds 1 --secs 0.2 --idle-secs 0.5",
            "idle monitor over 0.5 s",
            marks=pytest.mark.slow,
        ),
        ("bench_scale", "--points 100000 --keys 100 --width 10", "points accepted | 100,000 |"),
        ("bench_producers", "--producers 2 --secs 0.4 --rate 5000", "points lost | 0 |"),
        ("bench_nodes", "--secs 1 --young-secs 2", "a call and a sample a second each |"),
    ],
)
def test_a_bench_runs_at_a_tiny_size(name: str, size: str, row: str) -> None:
    done = subprocess.run(
        [sys.executable, f"benches/python/{name}.py", *size.split()],
        env={key: value for key, value in os.environ.items() if not key.startswith("TM_")},
        cwd=source.REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {row}" in done.stdout, done.stdout + done.stderr


def rows_of(text: str) -> dict[str, list[list[str]]]:
    """Return the cells of all table rows by their first cell."""
    rows: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("| "):
            first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows.setdefault(first, []).append(cells)
    return rows


def test_two_recorders_go_through_all_scenarios_and_only_one_loses_points() -> None:
    benches = source.REPOSITORY / "benches"
    done = subprocess.run(
        [sys.executable, "-m", "peers", "--tiny", "--no-install", "--only", "jsonl"],
        env={**os.environ, "PYTHONPATH": f"{benches}:{benches / 'python'}"},
        cwd=source.REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = rows_of(done.stdout)
    for name in ("training_monitor", "jsonl"):
        assert f"{name}: measured" in done.stderr
        calls, sustained, *_ = rows[name]
        assert float(calls[4].replace(",", "")) > 0
        assert sustained[3] == sustained[4] != "0"
    assert rows["training_monitor"][2][4:6] == ["0", "0"]
    assert all(float(cell) > 0 for cell in rows["jsonl"][2][4:6])


@pytest.mark.slow
def test_faults_beside_another_recorder_lose_nothing_of_ours() -> None:
    benches = source.REPOSITORY / "benches"
    done = subprocess.run(
        [sys.executable, "-m", "peers.faults", "--rounds", "1", "--no-install", "--only",
         "training_monitor jsonl"],
        env={**os.environ, "PYTHONPATH": f"{benches}:{benches / 'python'}"},
        cwd=source.REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=240,
    )  # fmt: skip
    if "forbidden here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = rows_of(done.stdout)
    assert len(rows["training_monitor"]) == len(rows["jsonl"]) == 5
    assert [row[4] for row in rows["training_monitor"]] == ["0"] * 5, done.stdout
    assert any(row[4] != "0" for row in rows["jsonl"]), "somebody has to lose something"
