"""GPU probes against stand-ins for the library of NVIDIA and the command nvidia-smi."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import processes
from harness.gpus import SMI_ROWS, StandIn, real_library

# One look per line of input; the process that started it is rank 3.
PROBE = """
import dataclasses, json, sys
from training_monitor.system.gpus import GpuProbe
rank_of = {int(sys.argv[3]): 3}
probe = GpuProbe(json.loads(sys.argv[1]), lambda: rank_of, command_secs=float(sys.argv[2]))
for line in sys.stdin:
    print(json.dumps(dataclasses.asdict(probe.look()) | {"done": probe.is_done}), flush=True)
"""


class Probed:
    """A GPU probe in a process of its own, which finds stand-ins."""

    def __init__(
        self,
        standin: StandIn,
        gpus: list[int] | None = None,
        env: Mapping[str, str] | None = None,
        command_secs: float = 20.0,
        before: tuple[str, ...] = (),
    ) -> None:
        words = (json.dumps(gpus), str(command_secs), str(os.getpid()))
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", PROBE, *words],
            env={**os.environ, **standin.env, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def look(self) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture
def standin(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path / "standin")


@pytest.fixture
def probed(standin: StandIn) -> Iterator[Probed]:
    standin.switch("pid", str(os.getpid()))
    probe = Probed(standin.with_nvml())
    yield probe
    probe.process.communicate()


def names(look: Any) -> list[tuple[str, str]]:
    return [(finding["source"], finding["name"]) for finding in look["findings"]]


# --- NVML


def test_two_gpus_tell_what_each_of_them_can(probed: Probed) -> None:
    probed.look()
    look = probed.look()
    assert look["findings"] == []
    first, second = look["samples"]["gpu0"], look["samples"]["gpu1"]
    rates = {name: first.pop(name) for name in list(first) if name.endswith("_per_sec")}
    assert first == {
        "utilization_percent": 90,
        "memory_utilization_percent": 40,
        "memory_used_bytes": 10 * 2**30,
        "memory_total_bytes": 80 * 2**30,
        "temperature_celsius": 61,
        "power_watts": 412.3,
        "power_limit_watts": 700.0,
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "ecc_corrected_count": 3,
        "ecc_uncorrected_count": 0,
        "throttle_reasons": ["sw_power_cap", "hw_thermal"],
        "trainer_memory_used_bytes": {"3": 3 * 2**30},
    }
    assert all(rate > 0 for rate in rates.values())
    assert rates["nvlink_sent_bytes_per_sec"] > rates["pcie_sent_bytes_per_sec"]
    assert (second["utilization_percent"], second["power_watts"]) == (91, None)
    assert (second["ecc_corrected_count"], second["throttle_reasons"]) == (None, [])
    assert second["nvlink_sent_bytes_per_sec"] is None


def test_facts_of_a_gpu_come_once(probed: Probed) -> None:
    assert probed.look()["facts"]["gpu1"] == {
        "name": "Stand-in 1", "uuid": "GPU-0000-1", "driver": "580.00",
    }  # fmt: skip
    assert probed.look()["facts"] == {}


def test_an_older_driver_is_asked_in_its_own_words(standin: StandIn) -> None:
    standin.switch("old")
    probe = Probed(standin.with_nvml())
    first = probe.look()["samples"]["gpu0"]
    probe.process.communicate()
    assert first["throttle_reasons"] == ["hw_slowdown"]
    assert first["pcie_received_bytes_per_sec"] == 200_000
    assert first["trainer_memory_used_bytes"] == {}


def test_a_lost_gpu_is_told_once_and_the_other_goes_on(probed: Probed, standin: StandIn) -> None:
    assert set(probed.look()["samples"]) == {"gpu0", "gpu1"}
    standin.switch("lost1")
    look = probed.look()
    assert set(look["samples"]) == {"gpu0"}
    assert names(look) == [("gpu1", "gpu_lost")]
    assert "GPU is lost" in look["findings"][0]["text"]
    for _ in range(70):
        assert names(probed.look()) == []
    standin.off("lost1")
    found = [name for _ in range(70) for name in names(probed.look())]
    assert found == [("gpu1", "gpu_back")]
    assert set(probed.look()["samples"]) == {"gpu0", "gpu1"}


def test_only_the_gpus_that_were_named_are_watched(standin: StandIn) -> None:
    probe = Probed(standin.with_nvml(), gpus=[1, 5])
    look = probe.look()
    probe.process.communicate()
    assert set(look["samples"]) == {"gpu1"}
    assert names(look) == [("gpu5", "gpu_missing")]
    assert look["findings"][0]["text"] == "there is no GPU 5: this machine has 2"


def test_slices_of_a_partitioned_gpu_tell_their_memory(standin: StandIn) -> None:
    standin.switch("mig")
    standin.switch("pid", str(os.getpid()))
    probe = Probed(standin.with_nvml())
    look = probe.look()
    probe.process.communicate()
    assert set(look["samples"]) == {"gpu0", "gpu0/mig0", "gpu0/mig1", "gpu1"}
    part = look["samples"]["gpu0/mig1"]
    assert (part["memory_used_bytes"], part["memory_total_bytes"]) == (5 * 2**30, 40 * 2**30)
    assert part["trainer_memory_used_bytes"] == {"3": 3 * 2**30}
    assert look["samples"]["gpu0"]["utilization_percent"] is None
    assert look["findings"] == []


CONTAINER = ("unshare", "-Urpf", "--mount-proc")


@pytest.mark.skipif(
    subprocess.run([*CONTAINER, "true"], capture_output=True).returncode != 0,
    reason="no PID namespace for a user here",
)
def test_in_a_container_the_memory_of_a_rank_is_never_guessed(standin: StandIn) -> None:
    # The driver reports the id that the process has outside.
    standin.with_nvml().switch("pid", str(os.getpid()))
    standin.switch("idle1")
    probe = Probed(standin, before=(shutil.which(CONTAINER[0]) or "", *CONTAINER[1:]))
    looks = [probe.look() for _ in range(10)]
    assert [look["samples"]["gpu0"]["trainer_memory_used_bytes"] for look in looks] == [{}] * 10
    assert [name for look in looks for name in names(look)] == [("gpus", "ranks_unknown")]
    probe.process.communicate()


NAMES_OF_LATER = (
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "NVML_FI_DEV_PCIE_COUNT_TX_BYTES",
    "NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX",
    "NVML_CLOCK_MEM",
    "NVML_ERROR_RESET_REQUIRED",
    "NVML_DEVICE_MIG_ENABLE",
)
# Runs the real pynvml, and forgets names.
OLDER = """
import json
exec(compile(open({path!r}).read(), {path!r}, "exec"))
for name in {names!r}:
    globals().pop(name, None)
"""


def with_pynvml(standin: StandIn, text: str) -> Probed:
    """Start a probe whose pynvml is this text."""
    path = standin.directory / "packages"
    path.mkdir()
    (path / "pynvml.py").write_text(text)
    return Probed(standin, env={"PYTHONPATH": str(path)})


def test_a_library_without_the_names_of_later_ones_tells_the_rest(standin: StandIn) -> None:
    standin.with_nvml().switch("pid", str(os.getpid()))
    spec = importlib.util.find_spec("pynvml")
    assert spec is not None
    probe = with_pynvml(standin, OLDER.format(path=spec.origin, names=NAMES_OF_LATER))
    probe.look()
    look = probe.look()
    assert (set(look["samples"]), names(look)) == ({"gpu0", "gpu1"}, [])
    first = look["samples"]["gpu0"]
    assert first["throttle_reasons"] == ["hw_slowdown"]
    assert (first["sm_clock_mhz"], first["memory_clock_mhz"]) == (1980, None)
    assert (first["temperature_celsius"], first["utilization_percent"]) == (None, 90)
    assert first["nvlink_sent_bytes_per_sec"] is None
    assert first["pcie_received_bytes_per_sec"] > 0
    assert first["nvlink_received_bytes_per_sec"] > 0
    # Asked once in ten looks: it takes 20 ms.
    rare = [probe.look()["samples"]["gpu0"]["pcie_sent_bytes_per_sec"] for _ in range(10)]
    assert 100_000 in rare
    standin.switch("lost1")
    assert names(probe.look()) == [("gpu1", "gpu_lost")]
    probe.process.communicate()


@pytest.mark.parametrize(
    "text",
    [
        "raise ImportError('not for this Python')",
        "",
        "class NVMLError(Exception): pass\ndef nvmlInit(): raise RuntimeError('odd')",
    ],
)
def test_a_library_that_does_not_work_leaves_the_command(text: str, standin: StandIn) -> None:
    standin.with_nvml().with_smi()
    probe = with_pynvml(standin, text)
    look = probe.look()
    probe.process.communicate()
    assert (set(look["samples"]), names(look)) == (
        {"gpu0", "gpu1"},
        [("gpus", "nvml_missing")],
    )


# --- nvidia-smi, and nothing


without_driver = pytest.mark.skipif(real_library() is not None, reason=str(real_library()))
LOST_LINE = "Unable to determine the device handle for GPU1: 0000:81:00.0: GPU is lost.\n"


@pytest.fixture
def commanded(standin: StandIn) -> Iterator[Probed]:
    probe = Probed(standin.with_smi())
    yield probe
    probe.process.communicate()


@without_driver
def test_without_the_library_the_command_is_asked(commanded: Probed) -> None:
    look = commanded.look()
    assert names(look) == [("gpus", "nvml_missing")]
    assert "nvidia-smi is asked instead" in look["findings"][0]["text"]
    first, second = look["samples"]["gpu0"], look["samples"]["gpu1"]
    assert (first["utilization_percent"], first["memory_used_bytes"]) == (97, 61000 * 2**20)
    assert (first["power_watts"], first["ecc_uncorrected_count"]) == (390.5, None)
    assert (second["utilization_percent"], second["power_watts"]) == (None, None)
    assert look["facts"]["gpu1"]["uuid"] == "GPU-bb"


@without_driver
@pytest.mark.parametrize(
    "instead",
    [LOST_LINE, "1, GPU-bb, [GPU is lost]" + ", [GPU is lost]" * 12 + "\n"],
    ids=["a line of words", "a row of words"],
)
def test_one_lost_gpu_fails_the_command_but_not_the_other_gpu(
    instead: str, commanded: Probed, standin: StandIn
) -> None:
    commanded.look()
    first = SMI_ROWS.splitlines(keepends=True)[0]
    standin.with_smi(first + instead).switch("smi_status", "15\n")
    look = commanded.look()
    assert (set(look["samples"]), names(look)) == ({"gpu0"}, [("gpu1", "gpu_lost")])
    assert "GPU is lost" in look["findings"][0]["text"]
    assert names(commanded.look()) == []
    standin.with_smi().off("smi_status")
    look = commanded.look()
    assert (set(look["samples"]), names(look)) == ({"gpu0", "gpu1"}, [("gpu1", "gpu_back")])


@without_driver
@pytest.mark.parametrize("how", ["it fails", "it tells words", "it tells nothing"])
def test_a_call_that_fails_says_nothing_about_the_gpus(
    how: str, commanded: Probed, standin: StandIn
) -> None:
    commanded.look()
    if how == "it fails":
        standin.switch("smi_fails")
    else:
        standin.with_smi(LOST_LINE if how == "it tells words" else "")
    for _ in range(2):
        look = commanded.look()
        assert (look["samples"], names(look)) == ({}, [("gpu", "probe_failed")])
    text = {"it fails": "status 9", "it tells words": "GPU is lost", "it tells nothing": "no GPU"}
    assert text[how] in look["findings"][0]["text"]
    if how == "it fails":
        standin.off("smi_fails")
    standin.with_smi()
    look = commanded.look()
    assert (set(look["samples"]), names(look)) == ({"gpu0", "gpu1"}, [])


@without_driver
def test_a_command_that_hangs_is_waited_for_and_never_doubled(standin: StandIn) -> None:
    standin.with_smi().switch("smi_hangs")
    probe = Probed(standin, command_secs=0.3)
    for _ in range(3):
        look = probe.look()
        assert (names(look), look["done"]) == ([("gpu", "probe_failed")], False)
        assert look["findings"][0]["text"].endswith("nvidia-smi took over 0.3 s")
    starts = standin.directory / "smi_starts"
    assert starts.read_text().count("started") == 1
    standin.off("smi_hangs")
    look = processes.until(lambda: has_samples(probe.look()), "samples")
    assert set(look["samples"]) == {"gpu0", "gpu1"}
    assert names(look) == [("gpus", "nvml_missing")]
    probe.process.communicate()


def has_samples(look: Any) -> Any:
    return look if look["samples"] else None


@without_driver
def test_a_command_that_fails_at_the_start_is_asked_again_later(standin: StandIn) -> None:
    standin.with_smi().switch("smi_fails")
    probe = Probed(standin)
    look = probe.look()
    assert (look["samples"], names(look), look["done"]) == ({}, [("gpus", "no_gpu")], False)
    standin.off("smi_fails")
    looks = [probe.look() for _ in range(60)]
    assert set(looks[-1]["samples"]) == {"gpu0", "gpu1"}
    assert {name for look in looks[:-1] for name in names(look)} == {("gpus", "no_gpu")}
    probe.process.communicate()


@without_driver
def test_gpus_that_were_named_and_are_not_there_are_told(standin: StandIn) -> None:
    probe = Probed(standin.with_smi(), gpus=[1, 5])
    look = probe.look()
    assert set(look["samples"]) == {"gpu1"}
    assert names(look) == [("gpus", "nvml_missing"), ("gpu5", "gpu_missing")]
    assert names(probe.look()) == []
    probe.process.communicate()


@without_driver
def test_without_both_there_is_a_finding_and_no_failure(standin: StandIn) -> None:
    probe = Probed(standin)
    look = probe.look()
    assert (look["samples"], names(look), look["done"]) == ({}, [("gpus", "no_gpu")], True)
    assert names(probe.look()) == []
    probe.process.communicate()
