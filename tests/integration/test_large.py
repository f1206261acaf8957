"""Configs and roots that are far larger than anybody means them to be."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from statistics import median

import pytest

import training_monitor as tm
from harness import processes, reading

DAY_SECS = 24 * 3600.0


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"first": 1, **{f"name{n}": n for n in range(300_000)}}, "<cut: "),
        ({"first": 1, "text": "lorem ipsum " * 6_000_000}, "… <cut: 72000000 bytes in all>"),
        ({"first": 1, "texts": ["x" * 900_000] * 80}, "<cut: "),
    ],
    ids=["values", "text", "texts"],
)
def test_config_of_any_size_is_kept_up_to_a_note(
    root: Path, config: dict[str, object], note: str
) -> None:
    with tm.init("large", root_dir=root, quiet=True, config=config):
        for step in range(100):
            tm.log({"loss": float(step)}, step)
    run_dir = root / "large"
    reading.settled(run_dir)
    text = (run_dir / "config.json").read_text()
    assert note in text
    assert len(text) < 16 * 2**20
    manifest = json.loads(text)
    assert manifest["experiment_name"] == "large"
    assert manifest["config"]["first"] == 1
    assert tm.open_run(run_dir).config["first"] == 1
    assert reading.raw(run_dir, "loss") == [(step, float(step)) for step in range(100)]


def leave_claims(root: Path, count: int, age_secs: float) -> Path:
    """Make the claims of so many jobs that ended; each is like a real one."""
    claims = root / ".claims"
    (real,) = claims.glob("*.json")
    record = json.loads(real.read_text())
    then = time.time() - age_secs
    for number in range(count):
        record |= {"job_key": f"old {number}", "name": f"old{number}"}
        record["claimed_ns"] = int(then * 1e9)
        path = claims / f"{number:032x}.json"
        path.write_text(json.dumps(record))
        os.utime(path, (then, then))
    return claims


def init_secs(root: Path, number: int) -> float:
    began = time.perf_counter()
    tm.init(f"new{number}", root_dir=root, quiet=True, start_monitor=False)
    return time.perf_counter() - began


@pytest.mark.parametrize("age_secs", [2 * DAY_SECS, DAY_SECS / 2], ids=["old", "recent"])
def test_thousands_of_finished_jobs_do_not_slow_init(
    tmp_path: Path, root: Path, age_secs: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training_monitor.run._CLOSE_SECS", 0.0)
    for place in (root, tmp_path / "empty"):
        init_secs(place, 0)
        tm.close()
    claims = leave_claims(root, 5000, age_secs)
    times: dict[Path, list[float]] = {root: [], tmp_path / "empty": []}
    for number in range(1, 22):
        for place, secs in times.items():
            secs.append(init_secs(place, number))
            tm.close()
    full, empty = (median(secs) for secs in times.values())
    assert full < 5 * empty + 0.05, f"{full * 1e3:.1f} ms, in an empty root {empty * 1e3:.1f} ms"
    if age_secs > DAY_SECS:
        assert len(processes.files_below(claims, "*.json")) < 50, "old ones are removed bit by bit"
    else:
        assert len(processes.files_below(claims, "*.json")) > 5000, "they may be needed"
