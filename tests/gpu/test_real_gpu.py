"""The real driver of a real GPU: nothing here says anything about a machine without one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import training_monitor as tm
from harness import processes
from harness.gpus import real_library

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(real_library() is None, reason="no libnvidia-ml.so.1: no NVIDIA driver"),
]

LOOKS = """
import dataclasses, json, time
from training_monitor.system.gpus import GpuProbe
probe = GpuProbe(None, dict)
for _ in range(3):
    look = probe.look()
    print(json.dumps(dataclasses.asdict(look) | {"cpu_secs": time.thread_time()}))
    time.sleep(0.5)
"""


@pytest.fixture(scope="module")
def looks() -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", LOOKS], capture_output=True, text=True, check=True, timeout=120
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if not lines[0]["samples"]:
        pytest.skip(f"the driver lists no GPU: {lines[0]['findings']}")
    return lines


def test_each_gpu_tells_the_plain_numbers(looks: list[Any]) -> None:
    for source, sample in looks[-1]["samples"].items():
        assert 0 < sample["memory_used_bytes"] <= sample["memory_total_bytes"], source
        if "/mig" not in source:
            assert 0 <= sample["temperature_celsius"] < 120, source
    assert not looks[-1]["findings"]


def test_numbers_agree_with_nvidia_smi(looks: list[Any]) -> None:
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("no nvidia-smi on this machine")
    for line in done.stdout.splitlines():
        index, uuid, total_mib = (cell.strip() for cell in line.split(","))
        assert looks[0]["facts"][f"gpu{index}"]["uuid"] == uuid
        total = looks[0]["samples"][f"gpu{index}"]["memory_total_bytes"]
        assert total == pytest.approx(int(total_mib) * 2**20, rel=0.01)


def test_samples_of_the_gpu_reach_the_database(tmp_path: Path, root: Path) -> None:
    process = processes.start_script(
        tmp_path,
        """
        tm.init("real", root_dir=sys.argv[1], quiet=True, system_interval_secs=0.2)
        step = 0
        while not os.path.exists(sys.argv[2]):
            tm.log({"loss": 1.0}, step)
            step += 1
            time.sleep(0.05)
        """,
        root,
        tmp_path / "stop",
        env=dict(os.environ),
    )

    def sampled() -> bool:
        try:
            return "gpu0/memory_used_bytes" in tm.open_run(root / "real").system()
        except (tm.TrainingMonitorError, FileNotFoundError):
            return False

    processes.until(sampled, "a sample of the GPU")
    (tmp_path / "stop").touch()
    processes.finish(process)
