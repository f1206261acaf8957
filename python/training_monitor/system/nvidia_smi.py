"""GPUs by the command nvidia-smi, where NVML does not load: dearer, so asked less often."""

from __future__ import annotations

import os
import subprocess

from training_monitor.system.samples import Finding, GpuFacts, GpuSample, Look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NvidiaSmi", "NvidiaSmiError"]

_TIMEOUT_SECS = 20.0
_MIB = 2**20
# What is asked, what it becomes, and how many of our units one of theirs is.
_FACTS = ("index", "uuid", "name", "driver_version")
_NUMBERS: dict[str, tuple[str, float]] = {
    "utilization.gpu": ("utilization_percent", 1),
    "utilization.memory": ("memory_utilization_percent", 1),
    "memory.used": ("memory_used_bytes", _MIB),
    "memory.total": ("memory_total_bytes", _MIB),
    "temperature.gpu": ("temperature_celsius", 1),
    "power.draw": ("power_watts", 1),
    "power.limit": ("power_limit_watts", 1),
    "clocks.sm": ("sm_clock_mhz", 1),
    "clocks.mem": ("memory_clock_mhz", 1),
    "ecc.errors.corrected.volatile.total": ("ecc_corrected_count", 1),
    "ecc.errors.uncorrected.volatile.total": ("ecc_uncorrected_count", 1),
}


class NvidiaSmiError(Exception):
    """The command cannot be used; the message says why."""


class NvidiaSmi:
    """All GPUs that are to be watched.

    Args:
        gpus: Their numbers; None means all.

    Attributes:
        asking: The command that is under way, for whoever wonders why nothing comes.

    Raises:
        NvidiaSmiError: There is no such command, or it fails.
    """

    __slots__ = ("_gpus", "_known", "_late", "_lost", "asking")

    def __init__(self, gpus: list[int] | None) -> None:
        self._gpus = None if gpus is None else frozenset(gpus)
        self._late: subprocess.Popen[str] | None = None
        self._known: frozenset[str] = frozenset()
        self._lost: frozenset[str] = frozenset()
        self.asking = "nvidia-smi"
        rows = self._rows()
        if not rows:
            raise NvidiaSmiError("nvidia-smi lists no GPU")
        self._known = frozenset(rows)

    def __len__(self) -> int:
        return len(self._known)

    def look(self, rank_of: Mapping[int, int]) -> Look:
        """Take one sample of each GPU; whose the memory is, the command does not tell."""
        del rank_of
        self.asking = "nvidia-smi"
        try:
            rows = self._rows()
        except NvidiaSmiError:
            rows = {}
        self.asking = ""
        lost = self._known - rows.keys()
        found = [
            Finding("gpu_lost", source, f"nvidia-smi does not list {source} any more")
            for source in sorted(lost - self._lost)
        ]
        found += [
            Finding("gpu_back", source, f"nvidia-smi lists {source} again")
            for source in sorted(self._lost - lost)
        ]
        self._lost = frozenset(lost)
        return Look(
            {source: sample for source, (sample, _) in rows.items()},
            {source: facts for source, (_, facts) in rows.items()},
            tuple(found),
        )

    def _rows(self) -> dict[str, tuple[GpuSample, GpuFacts]]:
        rows = {}
        for line in self._ask().splitlines():
            cells = [cell.strip() for cell in line.split(",")]
            # A lost GPU has a line of words instead.
            if len(cells) != len(_FACTS) + len(_NUMBERS) or not cells[0].isdigit():
                continue
            if self._gpus is None or int(cells[0]) in self._gpus:
                facts = GpuFacts(name=cells[2], uuid=cells[1], driver=cells[3])
                rows[f"gpu{cells[0]}"] = _sample(cells[len(_FACTS) :]), facts
        return rows

    def _ask(self) -> str:
        """Run the command; one that hangs is asked to end, never killed, and waited for."""
        if self._late is not None and self._late.poll() is None:
            raise NvidiaSmiError("nvidia-smi still hangs")
        query = ",".join([*_FACTS, *_NUMBERS])
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
        try:
            self._late = process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C"},
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise NvidiaSmiError(f"nvidia-smi does not start: {error}") from error
        try:
            text, _ = process.communicate(timeout=_TIMEOUT_SECS)
        except subprocess.TimeoutExpired as error:
            # SIGKILL in the middle of a call into the driver can freeze the GPU.
            process.terminate()
            raise NvidiaSmiError(f"nvidia-smi took over {_TIMEOUT_SECS:g} s") from error
        if process.returncode:
            raise NvidiaSmiError(f"nvidia-smi ended with status {process.returncode}")
        return text


def _sample(cells: list[str]) -> GpuSample:
    numbers = {}
    for (name, unit), cell in zip(_NUMBERS.values(), cells, strict=True):
        try:
            number = float(cell) * unit
        except ValueError:
            continue  # [N/A], [Not Supported], [GPU is lost]
        if abs(number) < float("inf"):
            numbers[name] = int(number) if name.endswith(("_bytes", "_count")) else number
    return GpuSample(**numbers)  # type: ignore[arg-type]
