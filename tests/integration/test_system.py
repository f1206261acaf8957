"""Samples of the machine: the way through poller, monitor and database to a reader."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import training_monitor as tm
from harness import processes, reading
from harness.gpus import StandIn

TRAINER = """
tm.init("run", root_dir=sys.argv[1], quiet=True, system_interval_secs=0.1, gpus=[0, 1])
open(os.environ["NVML_STANDIN"] + "/pid", "w").write(str(os.getpid()))
step = 0
while not os.path.exists(sys.argv[2]):
    tm.log({"loss": 1.0}, step)
    step += 1
    time.sleep(0.02)
tm.close()
"""


@pytest.fixture
def standin(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path / "standin")


@pytest.fixture
def recording(tmp_path: Path, root: Path, standin: StandIn) -> Iterator[Path]:
    """Return the directory of a run that goes on until the test ends it."""
    standin.with_nvml()
    with training(tmp_path, root, standin) as run_dir:
        yield run_dir


@contextmanager
def training(tmp_path: Path, root: Path, standin: StandIn) -> Iterator[Path]:
    """Train, with samples of the host and of GPU 0 in the database, until the block ends."""
    run_dir = root / "run"
    before = len(series(run_dir).get("gpu0/power_watts", ()))
    # Long enough for a first look that imports its library on a busy machine.
    env = standin.env | {"TM_PROBE_HANGS_SECS": "4"}
    process = processes.start_script(tmp_path, TRAINER, root, tmp_path / "stop", env=env)
    sampled = lambda: has(run_dir, "gpu0/power_watts", before + 1)  # noqa: E731
    processes.until(sampled, "samples of a GPU")
    processes.until(lambda: has(run_dir, "host/memory_used_bytes"), "samples of the host")
    yield run_dir
    (tmp_path / "stop").touch()
    processes.finish(process)
    (tmp_path / "stop").unlink()


def series(run_dir: Path) -> dict[str, Any]:
    try:
        return dict(tm.open_run(run_dir).system())
    except (tm.TrainingMonitorError, FileNotFoundError):
        return {}


def has(run_dir: Path, name: str, at_least: int = 1) -> bool:
    return len(series(run_dir).get(name, ())) >= at_least


def found(run_dir: Path) -> list[tuple[str, str]]:
    return [(finding.source, finding.name) for finding in tm.open_run(run_dir).findings()]


def poller_of(run_dir: Path) -> int:
    lines = processes.commands(processes.mentioning(run_dir))
    return next((pid for pid, line in lines.items() if "--samples" in line), 0)


@pytest.mark.timeout(300)
def test_samples_reach_the_database_and_the_commands(recording: Path) -> None:
    rank = "rank0/cpu_percent"
    processes.until(lambda: has(recording, rank), "samples of the trainer")
    processes.until(lambda: has(recording, "gpu0/rank0/memory_used_bytes"), "whose the memory is")
    processes.until(lambda: has(recording, "host/cpu_percent"), "samples of the host")
    run = tm.open_run(recording)
    power = run.system("gpu0/power_watts")
    assert set(power.value) == {412.3}
    assert (power.time[1:] >= power.time[:-1]).all()
    assert len(run.system("gpu0/power_watts", since=float(power.time[-1]))) >= 1
    assert run.system("power_watts").name == "gpu0/power_watts"
    assert run.system("gpu0/throttle_hw_thermal").value[-1] == 1
    with pytest.raises(KeyError, match="may be any of gpu0/utilization_percent, gpu1"):
        run.system("utilization_percent")
    with pytest.raises(KeyError, match="no system metric 'nothing'; there are: "):
        run.system("nothing")
    shown = processes.training_monitor("status", recording).stdout
    assert "Stand-in 0, 90 %, 10.0 GiB of 80.0 GiB, 61 C, 412 W of 700 W, held back: hw" in shown
    assert "Stand-in 1, 91 %, 10.0 GiB of 80.0 GiB, 61 C\n" in shown
    assert "  host             CPU " in shown
    done = processes.training_monitor("show", recording, "--json")
    sources = {source["source"]: source for source in json.loads(done.stdout)["system"]}
    assert sources["gpu1"]["facts"]["uuid"] == "GPU-0000-1"
    assert sources["rank0"]["numbers"]["processes"] == 1


@pytest.mark.timeout(300)
def test_a_driver_that_hangs_is_told_once_and_the_host_goes_on(
    recording: Path, standin: StandIn, tmp_path: Path
) -> None:
    hangs = ("gpu", "probe_hangs")
    assert hangs not in found(recording)
    standin.switch("hang")
    processes.until(lambda: hangs in found(recording), "the finding")
    count = len(series(recording)["host/memory_used_bytes"])
    more = lambda: has(recording, "host/memory_used_bytes", count + 3)  # noqa: E731
    processes.until(more, "more samples of the host")
    assert found(recording).count(hangs) == 1
    said = [one for one in tm.open_run(recording).findings() if one.by != "detector"]
    text = said[-1].text
    assert text.startswith("no answer for")
    assert "of gpu" in text
    # The poller leaves although its thread never returns.
    (tmp_path / "stop").touch()
    reading.settled(recording)
    assert "Traceback" not in (recording / "training_monitor.log").read_text()


@pytest.mark.timeout(300)
def test_a_poller_whose_driver_hangs_still_brings_the_monitor_back(
    recording: Path, standin: StandIn
) -> None:
    hangs = ("gpu", "probe_hangs")
    assert hangs not in found(recording)
    standin.switch("hang")
    processes.until(lambda: hangs in found(recording), "the finding")
    monitor = processes.monitor_pid(recording)
    processes.kill(monitor)
    processes.until(
        lambda: processes.monitor_pid(recording) not in {0, monitor}, "another", within_secs=10
    )
    standin.off("hang")


@pytest.mark.timeout(300)
def test_a_gpu_lost_midway_is_an_event_of_the_run(recording: Path, standin: StandIn) -> None:
    standin.switch("lost1")
    lost = ("gpu1", "gpu_lost")
    processes.until(lambda: lost in found(recording), "the finding")
    rows = tm.open_run(recording).sql("SELECT detail FROM events WHERE kind = 'finding'").rows
    assert any('"finding":"gpu_lost"' in row[0] for row in rows)
    poller = poller_of(recording)
    processes.kill(poller)
    processes.until(lambda: poller_of(recording) not in {0, poller}, "another poller")
    count = len(series(recording)["gpu0/power_watts"])
    processes.until(lambda: has(recording, "gpu0/power_watts", count + 3), "more")
    assert found(recording).count(lost) == 1
    log = (recording / "training_monitor.log").read_text()
    assert "gpu1: GPU 1 does not answer any more: GPU is lost" in log
    shown = processes.training_monitor("status", recording).stdout
    assert "  gpu1             GPU 1 does not answer any more" in shown


@pytest.mark.timeout(300)
def test_a_gpu_that_a_later_attempt_finds_well_is_lost_no_more(
    tmp_path: Path, root: Path, standin: StandIn
) -> None:
    standin.with_nvml()
    lost, back = ("gpu1", "gpu_lost"), ("gpu1", "gpu_back")
    says_lost = "GPU 1 does not answer any more"
    with training(tmp_path, root, standin) as run_dir:
        standin.switch("lost1")
        processes.until(lambda: lost in found(run_dir), "the finding")
    reading.settled(run_dir)
    assert says_lost in processes.training_monitor("status", run_dir).stdout
    standin.off("lost1")
    with training(tmp_path, root, standin):
        assert says_lost not in processes.training_monitor("status", run_dir).stdout
        processes.until(lambda: back in found(run_dir), "its end")
    reading.settled(run_dir)
    assert [finding for finding in found(run_dir) if finding[0] == "gpu1"] == [lost, back]
    assert not any(finding.stands for finding in tm.open_run(run_dir).findings())
    assert says_lost not in processes.training_monitor("status", run_dir).stdout


def test_sampling_can_be_switched_off(tmp_path: Path, root: Path) -> None:
    process = processes.start_script(
        tmp_path,
        """
        tm.init("off", root_dir=sys.argv[1], quiet=True, system_interval_secs=None)
        tm.log({"loss": 1.0}, 0)
        time.sleep(1.5)
        """,
        root,
    )
    poller = processes.until(lambda: poller_of(root / "off"), "the poller")
    assert len(os.listdir(f"/proc/{poller}/task")) == 1
    processes.finish(process)
    reading.settled(root / "off")
    assert series(root / "off") == {}


def test_the_monitor_imports_no_library_of_the_poller(recording: Path) -> None:
    maps = Path(f"/proc/{processes.monitor_pid(recording)}/maps").read_text()
    assert "_psutil_linux" not in maps
    assert "_ctypes" not in maps
    assert "_psutil_linux" in Path(f"/proc/{poller_of(recording)}/maps").read_text()
