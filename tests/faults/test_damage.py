"""Damaged databases, damaged lanes, and places where no run can be."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

import training_monitor as tm
from harness import processes, reading
from harness.disk import run_with_small_disk

LOG_HUNDRED = """
tm.init("run", root_dir=sys.argv[1], strict=True)
first = int(sys.argv[2])
for step in range(first, first + 100):
    tm.log({"loss": float(step)}, step)
tm.close()
"""


@pytest.mark.parametrize("where", ["header", "middle", "empty", "text"])
def test_damaged_database_is_moved_aside_and_the_next_run_is_recorded(
    tmp_path: Path, root: Path, where: str
) -> None:
    processes.run_script(tmp_path, LOG_HUNDRED, root, 0)
    run_dir = root / "run"
    reading.settled(run_dir)
    database = run_dir / "training_monitor.db"
    content = bytearray(database.read_bytes())
    if where == "header":
        content[:100] = bytes(100)
    elif where == "middle":
        content[4096:] = random.Random(1).randbytes(len(content) - 4096)
    elif where == "empty":
        content = bytearray()
    else:
        content = bytearray(b"not a database\n" * 1000)
    database.write_bytes(content)

    processes.run_script(tmp_path, LOG_HUNDRED, root, 1000)
    reading.settled(run_dir)
    assert reading.steps_of(run_dir, "loss") == list(range(1000, 1100))
    if where != "empty":
        aside = [path for path in run_dir.iterdir() if path.name.startswith("training_monitor.db.")]
        assert any(path.read_bytes()[:50] == bytes(content[:50]) for path in aside), aside


def test_reading_a_damaged_database_says_so(root: Path) -> None:
    run_dir = root / "run"
    run_dir.mkdir(parents=True)
    (run_dir / "training_monitor.db").write_bytes(b"not a database\n" * 1000)
    with pytest.raises(tm.TrainingMonitorError, match=r"training_monitor\.db"):
        tm.open_run(run_dir).metrics()


def leave_unread_lanes(tmp_path: Path, root: Path, frames: int) -> Path:
    """Log with the monitor family dead, so that every frame is left in the lanes."""
    processes.run_script(
        tmp_path,
        """
        tm.init("run", root_dir=sys.argv[1], strict=True, start_monitor=False)
        for step in range(int(sys.argv[2])):
            tm.log({"loss": float(step), "twice": 2.0 * step}, step)
        os._exit(0)
        """,
        root,
        frames,
    )
    return root / "run"


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bits_in_a_lane_never_make_a_wrong_value(
    tmp_path: Path, root: Path, seed: int
) -> None:
    frames = 2000
    run_dir = leave_unread_lanes(tmp_path, root, frames)
    (lane,) = run_dir.glob(".spool/*/*/lane0")
    content = bytearray(lane.read_bytes())
    rng = random.Random(seed)
    used = len(content.rstrip(b"\0"))
    damaged = sorted(rng.sample(range(8192, used), 20))
    for at in damaged:
        content[at] ^= 1 << rng.randrange(8)
    lane.write_bytes(content)

    done = processes.training_monitor("recover", run_dir)
    assert done.returncode == 0, done.stderr
    reading.settled(run_dir)
    loss, twice = reading.raw(run_dir, "loss"), reading.raw(run_dir, "twice")
    assert all(value == float(step) for step, value in loss)
    assert all(value == 2.0 * step for step, value in twice)
    assert frames - len(damaged) - 1 <= len(loss) < frames, "only the damaged frames may be lost"
    assert len({step for step, _ in loss}) == len(loss)
    assert reading.stock_query(run_dir, "SELECT count(*) FROM gaps") != [[0]], "a gap row is due"


def test_lane_of_noise_is_recovered_as_a_gap(tmp_path: Path, root: Path) -> None:
    run_dir = leave_unread_lanes(tmp_path, root, 500)
    (lane,) = run_dir.glob(".spool/*/*/lane0")
    content = bytearray(lane.read_bytes())
    used = len(content.rstrip(b"\0"))
    half = 8192 + (used - 8192) // 2
    content[half:] = random.Random(3).randbytes(len(content) - half)
    lane.write_bytes(content)
    done = processes.training_monitor("recover", run_dir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gaps are recorded" in done.stdout
    loss, twice = reading.raw(run_dir, "loss"), reading.raw(run_dir, "twice")
    whole = len(loss)
    assert 200 < whole < 300, "all that stands before the noise, and nothing of it"
    assert loss == [(step, float(step)) for step in range(whole)]
    assert twice == [(step, 2.0 * step) for step in range(whole)]
    (gap, *_) = tm.open_run(run_dir).gaps
    assert gap.reason == "damaged"
    assert gap.first_lsn is not None
    assert gap.last_lsn is not None
    assert gap.last_lsn > gap.first_lsn
    assert not processes.files_below(run_dir / ".spool", "lane*"), "done with, not tried for ever"
    processes.run_script(tmp_path, LOG_HUNDRED, root, 1000)
    reading.settled(run_dir)
    assert reading.steps_of(run_dir, "loss") == [*range(whole), *range(1000, 1100)]


def test_unread_lanes_come_home_with_recover(tmp_path: Path, root: Path) -> None:
    run_dir = leave_unread_lanes(tmp_path, root, 3000)
    done = processes.training_monitor("recover", run_dir)
    assert done.returncode == 0, done.stderr
    reading.settled(run_dir)
    assert reading.raw(run_dir, "loss") == [(step, float(step)) for step in range(3000)]


def test_recover_goes_on_past_directories_without_a_usable_meta(tmp_path: Path, root: Path) -> None:
    run_dir = leave_unread_lanes(tmp_path, root, 300)
    (whole,) = run_dir.glob(".spool/*/*")
    (whole.parent / ("a" * 32)).mkdir()
    damaged = whole.parent / ("b" * 32)
    damaged.mkdir()
    (damaged / "lane0").write_bytes(bytes(70_000))
    (damaged / "meta").write_bytes(b"torn" * 1024)

    done = processes.training_monitor("recover", run_dir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("set aside, for its meta is missing or damaged: ") == 2
    reading.settled(run_dir)
    assert reading.steps_of(run_dir, "loss") == list(range(300))
    gaps = "SELECT reason, detail FROM gaps"
    assert reading.stock_query(run_dir, gaps) == [["damaged_meta", str(damaged)]]
    again = processes.training_monitor("recover", run_dir)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "set aside" not in again.stdout


@pytest.mark.parametrize("how", ["all", "lanes"])
def test_deleted_lanes_are_replaced_and_nothing_acknowledged_is_lost(
    tmp_path: Path, root: Path, how: str
) -> None:
    out = processes.run_script(
        tmp_path,
        """
        import shutil, warnings
        from harness import processes
        warnings.simplefilter("always")
        spool = sys.argv[1] + "/run/.spool"
        tm.init("run", root_dir=sys.argv[1], quiet=True)
        for step in range(100):
            tm.log({"before": 1.0}, step)
        processes.until(lambda: tm.health().durable == 100, "everything to be stored")
        first = tm.health().dir
        if sys.argv[2] == "all":
            shutil.rmtree(spool)
        else:
            for path in processes.files_below(spool, "lane*"):
                os.unlink(path)
        step = 0

        def are_new():
            global step
            tm.log({"unsure": float(step)}, step)
            step += 1
            return tm.health().dir != first

        processes.until(are_new, "new lanes")
        assert processes.files_below(tm.health().dir, "lane0"), "the new ones are on the disk"
        for step in range(5000):
            tm.log({"after": float(step)}, step)
        assert tm.health().accepted >= 5000
        processes.until(lambda: tm.health().backlog_bytes == 0, "the new lanes to be brought home")
        tm.close()
        """,
        root,
        how,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert not out
    run_dir = root / "run"
    reading.settled(run_dir)
    assert reading.steps_of(run_dir, "before") == list(range(100))
    assert reading.raw(run_dir, "after") == [(step, float(step)) for step in range(5000)]
    unsure = reading.raw(run_dir, "unsure")
    assert unsure == [(step, float(step)) for step, _ in unsure], "no wrong value"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"experiment_name": ""}, ["experiment_name", "''"]),
        ({"experiment_name": "../escape"}, ["experiment_name", "../escape"]),
        ({"experiment_name": "a\0b"}, ["experiment_name"]),
        ({"experiment_name": 7}, ["experiment_name", "7"]),
        ({"experiment_name": "x", "openai_model": ""}, ["openai_model"]),
        ({"experiment_name": "x", "zmq_port": 70000}, ["zmq_port", "70000"]),
        ({"experiment_name": "x", "mode": "of"}, ["mode", "'of'", "offline"]),
        ({"experiment_name": "x", "analysis_interval_min": -1}, ["analysis_interval_min", "-1"]),
        ({"experiment_name": "x", "start_monitor": "maybe"}, ["start_monitor", "maybe", "auto"]),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_wrong_argument_names_parameter_value_and_choice(
    root: Path, arguments: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        tm.init(**{"root_dir": str(root), **arguments})
    for word in words:
        assert word in str(caught.value)
    assert not root.exists(), "nothing may be made for a run that cannot start"


def test_root_that_is_a_file_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(tm.TrainingMonitorError, match=str(tmp_path / "file")):
        tm.init("run", root_dir=tmp_path / "file")


def test_read_only_root_is_a_clear_error(tmp_path: Path, root: Path) -> None:
    run_with_small_disk(
        tmp_path,
        root,
        """
        mount(root, "1m")
        subprocess.run(["mount", "-o", "remount,ro", root], check=True)
        try:
            tm.init("run", root_dir=root)
        except tm.TrainingMonitorError as error:
            assert str(root) in str(error), error
        else:
            raise AssertionError("init() in a read-only directory has to raise")
        tm.log({"loss": 1.0})
        """,
    )
