"""A run directory that is renamed while it is recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import processes, reading

TRAINER = """
    tm.init("old", root_dir=sys.argv[1], quiet=True, strict=True)
    step = 0
    print("started", flush=True)
    while not os.path.exists(sys.argv[2]):
        tm.log({"loss": float(step)}, step)
        step += 1
        time.sleep(0.001)
    if sys.argv[3] == "close":
        tm.close()
    print(step, flush=True)
    os._exit(0)
    """


@pytest.mark.parametrize("kill_monitor", [False, True])
@pytest.mark.parametrize("end", ["close", "exit"])
def test_renamed_run_goes_on_and_every_point_is_found(
    tmp_path: Path, root: Path, end: str, kill_monitor: bool
) -> None:
    trainer = processes.start_script(tmp_path, TRAINER, root, tmp_path / "stop", end)
    old, new = root / "old", root / "elsewhere" / "new"
    reading.wait_for_points(old, "loss", 50)
    new.parent.mkdir()
    old.rename(new)
    log = new / "training_monitor.log"
    processes.until(
        lambda: f"the run directory is now {new}" in log.read_text(), "the monitor to notice"
    )
    seen = len(reading.steps_of(new, "loss"))
    reading.wait_for_points(new, "loss", seen + 200)
    if kill_monitor:
        first = processes.until(lambda: processes.monitor_pid(new), "a monitor")
        processes.kill(first)
        processes.until(lambda: processes.monitor_pid(new) not in {0, first}, "another monitor")
    (tmp_path / "stop").touch()
    assert trainer.stdout is not None
    count = int(processes.finish(trainer).split()[-1])
    done = processes.training_monitor("recover", new, "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["error"] is None
    reading.settled(new)
    assert reading.steps_of(new, "loss") == list(range(count))
    assert not old.exists(), "nothing may be written under the old name"


def test_close_after_a_rename_that_nobody_noticed_says_what_to_do(
    tmp_path: Path, root: Path
) -> None:
    trainer = processes.start_script(
        tmp_path,
        """
        tm.init("old", root_dir=sys.argv[1], quiet=True, start_monitor=False)
        for step in range(100):
            tm.log({"loss": float(step)}, step)
        os.rename(sys.argv[1] + "/old", sys.argv[1] + "/new")
        tm.close()
        """,
        root,
    )
    _, err = trainer.communicate(timeout=60)
    assert trainer.returncode == 0, err
    assert f"recover RUN, where RUN is what {root / 'old'} is called now" in err
    done = processes.training_monitor("recover", root / "new")
    assert done.stdout.startswith("new: 100 points brought home\n")
    assert reading.steps_of(root / "new", "loss") == list(range(100))
