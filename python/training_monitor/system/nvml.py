"""GPUs by NVML: the only module that imports pynvml, which nvidia-ml-py brings.

A call may never return when a driver hangs, so all of this belongs into a thread of its own. Which
functions and constants pynvml has depends on its version, so they are named by strings.
"""

from __future__ import annotations

import ctypes
import time

from training_monitor.system.samples import Finding, GpuFacts, GpuSample, Look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Nvml", "NvmlError"]

# Limits and error counters change rarely: every so many looks.
_RARELY = 10
# A GPU that was lost is looked for again.
_AGAIN = 60
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


# A GPU that answers so is lost; a call that is answered so is not made again.
_LOST = (
    "NVML_ERROR_GPU_IS_LOST",
    "NVML_ERROR_RESET_REQUIRED",
    "NVML_ERROR_GPU_NOT_FOUND",
    "NVML_ERROR_NOT_FOUND",
    "NVML_ERROR_DRIVER_NOT_LOADED",
    "NVML_ERROR_UNINITIALIZED",
)
_UNSUPPORTED = (
    "NVML_ERROR_NOT_SUPPORTED",
    "NVML_ERROR_FUNCTION_NOT_FOUND",
    "NVML_ERROR_NO_PERMISSION",
    "NVML_ERROR_INVALID_ARGUMENT",
)
# Counters that only grow: the constant, which links of NVLink, and how many bytes one of it is.
_COUNTERS = {
    "pcie_sent_bytes_per_sec": ("NVML_FI_DEV_PCIE_COUNT_TX_BYTES", 0, 1),
    "pcie_received_bytes_per_sec": ("NVML_FI_DEV_PCIE_COUNT_RX_BYTES", 0, 1),
    "nvlink_sent_bytes_per_sec": ("NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX", _ALL_LINKS, 1024),
    "nvlink_received_bytes_per_sec": ("NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX", _ALL_LINKS, 1024),
}


class NvmlError(Exception):
    """NVML cannot be used here; the message says why."""


class Nvml:
    """All GPUs that are to be watched.

    Args:
        gpus: Their numbers, as nvidia-smi counts; None means all.

    Attributes:
        asking: The call that is under way, for whoever wonders why nothing comes.

    Raises:
        NvmlError: There is no driver, or it does not answer as it should.
    """

    __slots__ = ("_driver", "_error", "_found", "_gpus", "_lost_codes", "_pynvml",
                 "_unsupported_codes", "asking")  # fmt: skip

    def __init__(self, gpus: list[int] | None) -> None:
        self.asking = "loading NVML"
        try:
            # Most machines without a GPU have no such library: 25 ms and 3 MB are saved there.
            ctypes.CDLL("libnvidia-ml.so.1")
        except OSError as error:
            raise NvmlError(f"NVML does not load: {error}") from error
        self._found: list[Finding] = []
        try:
            import pynvml

            self._pynvml: Any = pynvml
            self.asking = "nvmlInit"
            pynvml.nvmlInit()
            self._driver = str(pynvml.nvmlSystemGetDriverVersion())
            count = int(pynvml.nvmlDeviceGetCount())
            self._lost_codes = {self.constant(name) for name in _LOST} - {None}
            self._unsupported_codes = {self.constant(name) for name in _UNSUPPORTED} - {None}
            self._error = pynvml.NVMLError
        except Exception as error:  # whatever fails: nvidia-smi is left
            text = f"NVML does not start: {type(error).__name__}: {error}"
            raise NvmlError(text) from error
        numbers = range(count) if gpus is None else [n for n in gpus if n < count]
        for number in [] if gpus is None else [n for n in gpus if n >= count]:
            text = f"there is no GPU {number}: this machine has {count}"
            self._found.append(Finding("gpu_missing", f"gpu{number}", text))
        self._gpus = [_Gpu(self, number) for number in numbers]

    def __len__(self) -> int:
        return len(self._gpus)

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
        self.asking = ""
        return Look(samples, facts, found)

    def ask(self, what: str, call: str, *arguments: object) -> Any:
        """Make one call, having said so.

        Args:
            what: The GPU, for people.
            call: The function.
            arguments: What it takes; a string is the name of a constant.

        Raises:
            _UnsupportedError: It is not known to the library, the driver or this GPU.
            _LostError: The GPU is gone.
            _NoAnswerError: It failed in another way.
        """
        self.asking = f"{call} of {what}"
        function = getattr(self._pynvml, call, None)
        values = [self.constant(it) if isinstance(it, str) else it for it in arguments]
        if function is None or None in values:
            raise _UnsupportedError(call)
        try:
            return function(*values)
        except self._error as error:
            code = getattr(error, "value", None)
            if code in self._lost_codes:
                raise _LostError(str(error)) from error
            if code in self._unsupported_codes:
                raise _UnsupportedError(str(error)) from error
            raise _NoAnswerError(str(error)) from error

    def constant(self, name: str) -> int | None:
        """Return what a name stands for; None: this version of the library has no such."""
        value = getattr(self._pynvml, name, None)
        return None if value is None else int(value)

    @property
    def driver(self) -> str:
        """The version of the driver."""
        return self._driver


class _NoAnswerError(Exception):
    """There is no answer this time."""


class _UnsupportedError(_NoAnswerError):
    """There never will be one."""


class _LostError(_NoAnswerError):
    """The GPU does not answer any more."""


class _Handle:
    """A GPU or a slice of one: calls that it does not support are not made again."""

    __slots__ = ("_nvml", "_unsupported", "handle", "source")

    def __init__(self, nvml: Nvml, source: str, handle: object) -> None:
        self._nvml = nvml
        self._unsupported: set[tuple[str, ...]] = set()
        self.source = source
        self.handle = handle

    def ask(self, call: str, *arguments: object) -> Any:
        """Return the answer; None when there is none this time, or never will be."""
        asked = (call, *(it for it in arguments if isinstance(it, str)))
        if asked in self._unsupported:
            return None
        try:
            return self._nvml.ask(self.source, call, self.handle, *arguments)
        except _LostError:
            raise
        except _UnsupportedError:
            self._unsupported.add(asked)
        except _NoAnswerError:
            pass
        return None

    def memory_bytes(self) -> tuple[int | None, int | None]:
        """Return what is used and what there is."""
        memory = self.ask("nvmlDeviceGetMemoryInfo")
        return (None, None) if memory is None else (int(memory.used), int(memory.total))

    def by_rank(self, rank_of: Mapping[int, int]) -> dict[int, int]:
        """Return the memory that each rank holds."""
        processes = self.ask("nvmlDeviceGetComputeRunningProcesses_v3")
        if processes is None:
            processes = self.ask("nvmlDeviceGetComputeRunningProcesses_v2")
        held: dict[int, int] = {}
        for process in processes or ():
            rank = rank_of.get(int(process.pid))
            if rank is not None and process.usedGpuMemory is not None:
                held[rank] = held.get(rank, 0) + int(process.usedGpuMemory)
        return held


class _Gpu:
    """One GPU over time: lost, back, partitioned or whole."""

    __slots__ = ("_device", "_looks", "_lost", "_nvml", "_rare", "_slices", "_traffic", "facts",
                 "number", "source")  # fmt: skip

    def __init__(self, nvml: Nvml, number: int) -> None:
        self._nvml = nvml
        self._device: _Handle | None = None
        self._slices: list[_Handle] = []
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
                samples[part.source] = _slice_sample(part, rank_of)
        except _LostError as error:
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
            handle = self._nvml.ask(self.source, "nvmlDeviceGetHandleByIndex", self.number)
        except _NoAnswerError as error:
            raise _LostError(str(error)) from error
        self._device = device = _Handle(self._nvml, self.source, handle)
        self._looks, self._traffic = 0, {}
        name, uuid = device.ask("nvmlDeviceGetName"), device.ask("nvmlDeviceGetUUID")
        self.facts = GpuFacts(str(name or "GPU"), str(uuid or ""), self._nvml.driver)

    def _sample(self, device: _Handle, rank_of: Mapping[int, int]) -> GpuSample:
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
            trainer_memory_used_bytes=device.by_rank(rank_of),
            **self._rare,
            **self._rates(device),
        )

    def _rarely(self, device: _Handle) -> dict[str, Any]:
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

    def _rates(self, device: _Handle) -> dict[str, Any]:
        """Return the traffic since the look before, from counters that only grow."""
        counters = {
            name: ((field, scope), unit)
            for name, (constant, scope, unit) in _COUNTERS.items()
            if (field := self._nvml.constant(constant)) is not None
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

    def _measured_pcie(self, device: _Handle) -> dict[str, Any]:
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

    def _find_slices(self, device: _Handle) -> list[_Handle]:
        """Return the parts of a partitioned GPU (MIG); those that are there stay as they are."""
        mode = device.ask("nvmlDeviceGetMigMode")
        if mode is None or mode[0] != _MIG_ENABLED:
            return []
        known = {part.source: part for part in self._slices}
        slices = []
        for number in range(int(device.ask("nvmlDeviceGetMaxMigDeviceCount") or 0)):
            try:
                handle = self._nvml.ask(
                    self.source, "nvmlDeviceGetMigDeviceHandleByIndex", device.handle, number
                )
            except _NoAnswerError:
                continue  # fewer parts than there could be
            source = f"{self.source}/mig{number}"
            part = known.get(source) or _Handle(self._nvml, source, handle)
            part.handle = handle
            slices.append(part)
        return slices


def _slice_sample(part: _Handle, rank_of: Mapping[int, int]) -> GpuSample:
    """Sample what a part of a GPU can tell: a part that was taken away tells nothing."""
    try:
        used, total = part.memory_bytes()
        held = part.by_rank(rank_of)
    except _LostError:
        return GpuSample()
    return GpuSample(
        memory_used_bytes=used, memory_total_bytes=total, trainer_memory_used_bytes=held
    )


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else round(milliwatts / 1000, 1)


def _words(bits: int) -> tuple[str, ...]:
    return tuple(word for bit, word in _THROTTLE_WORDS.items() if bits & bit)
