"""GPUs by NVML: what each of them tells, over time."""

from __future__ import annotations

import time

from training_monitor.system.driver import Driver, Handle, LostError, NoAnswerError
from training_monitor.system.pids import PidView
from training_monitor.system.samples import Finding, GpuFacts, GpuSample, Look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Nvml"]

# Limits and error counters change rarely: every so many looks.
_RARELY = 10
# A GPU that was lost is looked for again.
_AGAIN = 60
# So many answers in a row with processes that are not here, and they are not ours to know.
_FOREIGN_LOOKS = 6
_ALL_LINKS = 2**32 - 1
_MIG_ENABLED = 1
_THROTTLE_WORDS = {
    0x002: "applications_clocks",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal",
    0x040: "hw_thermal",
    0x080: "hw_power_brake",
    0x100: "display_clocks",
}
# Counters that only grow: the constant, which links of NVLink, and how many bytes one of it is.
_COUNTERS = {
    "pcie_sent_bytes_per_sec": ("NVML_FI_DEV_PCIE_COUNT_TX_BYTES", 0, 1),
    "pcie_received_bytes_per_sec": ("NVML_FI_DEV_PCIE_COUNT_RX_BYTES", 0, 1),
    "nvlink_sent_bytes_per_sec": ("NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX", _ALL_LINKS, 1024),
    "nvlink_received_bytes_per_sec": ("NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX", _ALL_LINKS, 1024),
}


class Nvml:
    """All GPUs that are to be watched.

    Args:
        gpus: Their numbers, as nvidia-smi counts; None means all.

    Raises:
        NvmlError: There is no driver, or it does not answer as it should.
    """

    __slots__ = ("_foreign_looks", "_found", "_gpus", "_pids", "driver")

    def __init__(self, gpus: list[int] | None) -> None:
        self.driver = Driver()
        self._pids = PidView()
        self._foreign_looks = 0
        self._found: list[Finding] = []
        count = self.driver.count
        numbers = range(count) if gpus is None else [n for n in gpus if n < count]
        for number in [] if gpus is None else [n for n in gpus if n >= count]:
            text = f"there is no GPU {number}: this machine has {count}"
            self._found.append(Finding("gpu_missing", f"gpu{number}", text))
        self._gpus = [_Gpu(self, number) for number in numbers]

    def __len__(self) -> int:
        return len(self._gpus)

    @property
    def asking(self) -> str:
        """The call that is under way."""
        return self.driver.asking

    def look(self, rank_of: Mapping[int, int]) -> Look:
        """Take one sample of each GPU.

        Args:
            rank_of: The rank of each process, to tell whose the memory is.
        """
        samples: dict[str, Any] = {}
        facts: dict[str, GpuFacts] = {}
        for gpu in self._gpus:
            samples |= gpu.look(rank_of, self._found)
            if gpu.facts is not None:
                facts[gpu.source], gpu.facts = gpu.facts, None
        found, self._found = tuple(self._found), []
        self.driver.asking = ""
        return Look(samples, facts, found)

    def by_rank(self, part: Handle, rank_of: Mapping[int, int]) -> dict[int, int]:
        """Return the memory that each rank holds; none where it cannot be told whose it is."""
        processes = part.processes()
        held: dict[int, int] = {}
        if not self._knows({int(process.pid) for process in processes}):
            return held
        for process in processes:
            rank = rank_of.get(int(process.pid))
            if rank is not None and process.usedGpuMemory is not None:
                held[rank] = held.get(rank, 0) + int(process.usedGpuMemory)
        return held

    def _knows(self, pids: set[int]) -> bool:
        """Return whether these are processes that we see; say once that they seem not to be."""
        if not pids:
            return True  # an idle GPU tells nothing about the others
        if self._pids.has_all(pids):
            self._foreign_looks = 0
            return True
        # A process that has just ended is no foreigner.
        self._foreign_looks += 1
        if self._foreign_looks == _FOREIGN_LOOKS:
            text = "the driver reports process ids from outside this container: which rank holds "
            text += "how much memory of a GPU is left out"
            self._found.append(Finding("ranks_unknown", "gpus", text))
        return False


class _Gpu:
    """One GPU over time: lost, back, partitioned or whole."""

    __slots__ = ("_device", "_looks", "_lost", "_nvml", "_rare", "_slices", "_traffic", "facts",
                 "number", "source")  # fmt: skip

    def __init__(self, nvml: Nvml, number: int) -> None:
        self._nvml = nvml
        self._device: Handle | None = None
        self._slices: list[Handle] = []
        self._looks = 0
        self._lost = False
        self._rare: dict[str, Any] = {}
        self._traffic: dict[str, tuple[float, int]] = {}
        self.number = number
        self.source = f"gpu{number}"
        self.facts: GpuFacts | None = None

    def look(self, rank_of: Mapping[int, int], found: list[Finding]) -> dict[str, GpuSample]:
        """Take a sample of the GPU and of its slices; what changed about it goes to `found`."""
        self._looks += 1
        if self._lost and self._looks % _AGAIN:
            return {}
        try:
            if self._device is None:
                self._open()
            device = self._device
            assert device is not None  # noqa: S101 -- _open sets it or raises
            samples = {self.source: self._sample(device, rank_of)}
            for part in self._slices:
                samples[part.source] = self._slice_sample(part, rank_of)
        except LostError as error:
            if not self._lost:
                text = f"GPU {self.number} does not answer any more: {error}"
                found.append(Finding("gpu_lost", self.source, text))
            self._lost, self._device, self._slices = True, None, []
            return {}
        if self._lost:
            self._lost = False
            found.append(Finding("gpu_back", self.source, f"GPU {self.number} answers again"))
        return samples

    def _open(self) -> None:
        try:
            handle = self._nvml.driver.ask(self.source, "nvmlDeviceGetHandleByIndex", self.number)
        except NoAnswerError as error:
            raise LostError(str(error)) from error
        self._device = device = Handle(self._nvml.driver, self.source, handle)
        self._looks, self._traffic = 0, {}
        name, uuid = device.ask("nvmlDeviceGetName"), device.ask("nvmlDeviceGetUUID")
        self.facts = GpuFacts(str(name or "GPU"), str(uuid or ""), self._nvml.driver.version)

    def _sample(self, device: Handle, rank_of: Mapping[int, int]) -> GpuSample:
        if self._looks % _RARELY == 0:
            self._rare = self._rarely(device)
            self._slices = self._find_slices(device)
        use = device.ask("nvmlDeviceGetUtilizationRates")
        used, total = device.memory_bytes()
        celsius = device.ask("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU")
        if celsius is None:  # the name of before goes with CUDA 14
            celsius = device.ask("nvmlDeviceGetTemperatureV", "NVML_TEMPERATURE_GPU")
        reasons = device.ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:
            reasons = device.ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return GpuSample(
            utilization_percent=None if use is None else int(use.gpu),
            memory_utilization_percent=None if use is None else int(use.memory),
            memory_used_bytes=used,
            memory_total_bytes=total,
            temperature_celsius=celsius,
            power_watts=_watts(device.ask("nvmlDeviceGetPowerUsage")),
            sm_clock_mhz=device.ask("nvmlDeviceGetClockInfo", "NVML_CLOCK_SM"),
            memory_clock_mhz=device.ask("nvmlDeviceGetClockInfo", "NVML_CLOCK_MEM"),
            throttle_reasons=None if reasons is None else _words(int(reasons)),
            trainer_memory_used_bytes=self._nvml.by_rank(device, rank_of),
            **self._rare,
            **self._rates(device),
        )

    def _slice_sample(self, part: Handle, rank_of: Mapping[int, int]) -> GpuSample:
        """Sample what a part of a GPU can tell: a part that was taken away tells nothing."""
        try:
            used, total = part.memory_bytes()
            held = self._nvml.by_rank(part, rank_of)
        except LostError:
            return GpuSample()
        return GpuSample(
            memory_used_bytes=used, memory_total_bytes=total, trainer_memory_used_bytes=held
        )

    def _rarely(self, device: Handle) -> dict[str, Any]:
        limit = device.ask("nvmlDeviceGetEnforcedPowerLimit")
        if limit is None:
            limit = device.ask("nvmlDeviceGetPowerManagementLimit")

        def errors(kind: str) -> Any:
            return device.ask("nvmlDeviceGetTotalEccErrors", kind, "NVML_VOLATILE_ECC")

        return {
            "power_limit_watts": _watts(limit),
            "ecc_corrected_count": errors("NVML_MEMORY_ERROR_TYPE_CORRECTED"),
            "ecc_uncorrected_count": errors("NVML_MEMORY_ERROR_TYPE_UNCORRECTED"),
        }

    def _rates(self, device: Handle) -> dict[str, Any]:
        """Return the traffic since the look before, from counters that only grow."""
        counters = {
            name: ((field, scope), unit)
            for name, (constant, scope, unit) in _COUNTERS.items()
            if (field := self._nvml.driver.constant(constant)) is not None
        }
        wanted = [field for field, _ in counters.values()]
        values = device.ask("nvmlDeviceGetFieldValues", wanted) if wanted else None
        rates: dict[str, Any] = {}
        now = time.monotonic()
        for (name, (_, unit)), value in zip(counters.items(), values or (), strict=False):
            if value.nvmlReturn == 0:
                rates[name] = self._rate(name, now, int(value.value.ullVal) * unit)
        if "pcie_sent_bytes_per_sec" not in rates:
            rates = self._measured_pcie(device) | rates
        return rates

    def _rate(self, name: str, now: float, count: int) -> float | None:
        before = self._traffic.get(name)
        self._traffic[name] = (now, count)
        if before is None or now <= before[0] or count < before[1]:
            return None
        return float(round((count - before[1]) / (now - before[0])))

    def _measured_pcie(self, device: Handle) -> dict[str, Any]:
        """Ask an older driver: it counts for 20 ms while we wait, so rarely."""
        if self._looks % _RARELY:
            return {}
        rates: dict[str, Any] = {}
        for name, counter in (
            ("pcie_sent_bytes_per_sec", "NVML_PCIE_UTIL_TX_BYTES"),
            ("pcie_received_bytes_per_sec", "NVML_PCIE_UTIL_RX_BYTES"),
        ):
            kilobytes = device.ask("nvmlDeviceGetPcieThroughput", counter)
            rates[name] = None if kilobytes is None else float(kilobytes) * 1000
        return rates

    def _find_slices(self, device: Handle) -> list[Handle]:
        """Return the parts of a partitioned GPU (MIG); those that are there stay as they are."""
        mode = device.ask("nvmlDeviceGetMigMode")
        if mode is None or mode[0] != _MIG_ENABLED:
            return []
        known = {part.source: part for part in self._slices}
        slices = []
        for number in range(int(device.ask("nvmlDeviceGetMaxMigDeviceCount") or 0)):
            try:
                handle = self._nvml.driver.ask(
                    self.source, "nvmlDeviceGetMigDeviceHandleByIndex", device.handle, number
                )
            except NoAnswerError:
                continue  # fewer parts than there could be
            source = f"{self.source}/mig{number}"
            part = known.get(source) or Handle(self._nvml.driver, source, handle)
            part.handle = handle
            slices.append(part)
        return slices


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else round(milliwatts / 1000, 1)


def _words(bits: int) -> tuple[str, ...]:
    return tuple(word for bit, word in _THROTTLE_WORDS.items() if bits & bit)
