"""The parts of sampling that need no machine: cgroups, pace, names, lines."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from training_monitor.system.cgroup import Cgroup
from training_monitor.system.pace import Pace
from training_monitor.system.pids import PidView
from training_monitor.system.samples import CgroupSample, DiskSample, GpuSample, numbers_of


def group(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text + "\n")


def cgroup(tmp_path: Path, membership: str) -> Cgroup:
    (tmp_path / "membership").write_text(membership)
    return Cgroup(str(tmp_path / "membership"), str(tmp_path / "mount"))


def memory_of(maximum: int | str, used_gib: int, cached_gib: int = 0) -> dict[str, str]:
    return {
        "memory__max": str(maximum),
        "memory__current": str(used_gib * 2**30),
        "memory__stat": f"anon 1\ninactive_file {cached_gib * 2**30}",
    }


def test_the_use_is_that_of_the_level_with_the_limit(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    group(mount, cgroup__controllers="cpu memory")
    group(mount / "job", **memory_of(100 * 2**30, 99))
    group(mount / "job/step", **memory_of("max", 12))
    group(mount / "job/step/task", **memory_of("max", 12))
    sample = cgroup(tmp_path, "0::/job/step/task\n").sample()
    assert sample == CgroupSample(
        memory_limit_bytes=100 * 2**30, memory_used_bytes=99 * 2**30, memory_percent=99.0
    )


@pytest.mark.parametrize(("job_gib", "limit_gib", "percent"), [(45, 50, 90.0), (30, 10, 70.0)])
def test_of_several_limits_the_nearest_is_told(
    job_gib: int, limit_gib: int, percent: float, tmp_path: Path
) -> None:
    mount = tmp_path / "mount"
    group(mount, cgroup__controllers="memory")
    group(mount / "job", **memory_of(50 * 2**30, job_gib))
    group(mount / "job/step", **memory_of(10 * 2**30, 7))
    sample = cgroup(tmp_path, "0::/job/step\n").sample()
    assert sample is not None
    assert (sample.memory_limit_bytes, sample.memory_percent) == (limit_gib * 2**30, percent)


def test_memory_that_can_be_dropped_is_not_in_use(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    group(mount, cgroup__controllers="memory")
    group(mount / "job", **memory_of(8 * 2**30, 5, cached_gib=1))
    sample = cgroup(tmp_path, "0::/job\n").sample()
    assert sample is not None
    assert (sample.memory_used_bytes, sample.memory_percent) == (4 * 2**30, 50.0)


def test_cores_are_counted_where_their_limit_is(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    group(mount, cgroup__controllers="cpu")
    still = "usage_usec 0\nthrottled_usec 0"
    group(mount / "job", cpu__max="800000 100000", cpu__stat=still)
    group(mount / "job/step", cpu__max="400000 100000", cpu__stat=still)
    group(mount / "job/step/task", cpu__max="max 100000", cpu__stat=still)
    watched = cgroup(tmp_path, "0::/job/step/task\n")
    first = watched.sample()
    assert first == CgroupSample(cpu_limit_cores=4.0)
    group(mount / "job", cpu__stat="usage_usec 7200000000\nthrottled_usec 60000000")
    group(mount / "job/step", cpu__stat="usage_usec 3000000000\nthrottled_usec 0")
    group(mount / "job/step/task", cpu__stat="usage_usec 9000000000\nthrottled_usec 0")
    second = watched.sample()
    assert second is not None
    assert second.cpu_limit_cores == 8.0
    assert second.cpu_used_cores is not None
    assert second.cpu_percent == pytest.approx(second.cpu_used_cores / 8 * 100, rel=0.01)
    # Its share of the throttled time is that of the same level.
    assert second.cpu_throttled_percent == pytest.approx(
        second.cpu_used_cores / 120 * 100, rel=0.01
    )


def test_a_limit_without_a_use_is_told_alone(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    group(mount, cgroup__controllers="memory cpu")
    group(mount / "job", memory__max=str(2**30), cpu__max="100000 100000")
    watched = cgroup(tmp_path, "0::/job\n")
    for _ in range(2):
        assert watched.sample() == CgroupSample(cpu_limit_cores=1.0, memory_limit_bytes=2**30)


def test_cpu_of_v2_is_a_percentage_of_its_limit(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    group(mount, cgroup__controllers="cpu")
    group(mount / "job", cpu__max="50000 100000", cpu__stat="usage_usec 0\nthrottled_usec 0")
    watched = cgroup(tmp_path, "0::/job\n")
    first = watched.sample()
    assert first is not None
    assert first.cpu_percent is None
    group(mount / "job", cpu__stat="usage_usec 3600000000\nthrottled_usec 3600000000")
    second = watched.sample()
    assert second is not None
    assert second.cpu_used_cores is not None
    assert second.cpu_percent == pytest.approx(second.cpu_used_cores * 200, rel=0.01)
    assert second.cpu_throttled_percent


def test_limits_of_v1(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    group(mount / "cpu/job", cpu__cfs_quota_us="150000", cpu__cfs_period_us="100000")
    group(mount / "memory", memory__limit_in_bytes="9223372036854771712")
    group(
        mount / "memory/job",
        memory__limit_in_bytes=str(2**30),
        memory__usage_in_bytes=str(2**29),
        memory__stat=f"total_inactive_file {2**28}",
    )
    sample = cgroup(tmp_path, "4:memory:/job\n2:cpu,cpuacct:/job\n").sample()
    assert sample is not None
    assert (sample.cpu_limit_cores, sample.memory_limit_bytes) == (1.5, 2**30)
    assert sample.memory_percent == 25.0


@pytest.mark.parametrize("membership", ["0::/\n", "", "nonsense", "0::/../..\n"])
def test_no_limit_is_no_sample(membership: str, tmp_path: Path) -> None:
    group(tmp_path / "mount", cgroup__controllers="cpu memory")
    assert cgroup(tmp_path, membership).sample() is None


@pytest.mark.parametrize(
    ("namespace", "pids", "known"),
    [
        ("pid:[4026531836]", {7, 99}, True),  # the machine itself: 99 has just ended
        ("pid:[4026532999]", {7, 0}, True),  # translated by the driver
        ("pid:[4026532999]", {7, 99}, False),
        ("pid:[4026532999]", set(), True),
        ("", {99}, False),
    ],
)
def test_process_ids_from_outside_a_container_are_told_apart(
    namespace: str, pids: set[int], known: bool, tmp_path: Path
) -> None:
    link = tmp_path / "pid"
    if namespace:
        link.symlink_to(namespace)
    assert PidView(str(link), exists=lambda pid: pid == 7).has_all(pids) == known


def test_a_process_exists_until_it_was_waited_for(tmp_path: Path) -> None:
    view = PidView(str(tmp_path / "nothing"))
    process = subprocess.Popen(["true"])
    assert view.has_all({os.getpid(), 1, process.pid})
    process.wait()
    assert not view.has_all({process.pid})
    assert not view.has_all({2**70})


def looks(pace: Pace, cpu_secs: float, secs: float) -> int:
    """Return how many looks of such a cost fall into a time."""
    now, count = 0.0, 0
    while now < secs:
        assert pace.is_due(now)
        pace.looked(now, cpu_secs)
        count += 1
        now += pace.wait_secs(now)
    return count


def test_cheap_looks_come_at_their_interval() -> None:
    assert looks(Pace(1.0, 0.001), 0.0005, 100) == 100


def test_dear_looks_keep_to_their_share_of_a_core() -> None:
    assert looks(Pace(1.0, 0.001), 0.01, 1000) == 101


def test_the_first_look_may_cost_anything() -> None:
    pace = Pace(1.0, 0.001)
    pace.looked(0.0, 5.0)
    assert pace.wait_secs(0.0) == 1.0


def test_one_dear_look_among_cheap_ones_is_borne() -> None:
    pace = Pace(1.0, 0.001)
    pace.looked(0.0, 0.0002)
    pace.looked(1.0, 0.0002)
    pace.looked(2.0, 0.005)
    assert pace.wait_secs(2.0) == pytest.approx(1.0)


def test_what_the_machine_does_not_tell_is_left_out() -> None:
    assert numbers_of(DiskSample(1, 2, 3, 4.5)) == {
        "used_bytes": 1,
        "free_bytes": 2,
        "total_bytes": 3,
        "percent": 4.5,
    }
    sample = GpuSample(power_watts=1.5, throttle_reasons=("hw_thermal",))
    assert numbers_of(sample) == {"power_watts": 1.5}
