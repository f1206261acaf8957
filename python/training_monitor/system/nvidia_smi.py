"""GPUs by the command nvidia-smi, where NVML does not load: dearer, so asked less often."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from training_monitor.system.samples import Finding, GpuFacts, GpuSample, Look, numbers_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NoGpuError", "NvidiaSmi", "NvidiaSmiError", "NvidiaSmiMissingError"]

_TIMEOUT_SECS = 20.0
_LONGEST_WORDS = 200
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
    """The command told nothing this time; the message says why."""


class NoGpuError(NvidiaSmiError):
    """The command ended and listed no GPU."""


class NvidiaSmiMissingError(NvidiaSmiError):
    """There is no such command."""


class NvidiaSmi:
    """All GPUs that are to be watched.

    Args:
        gpus: Their numbers; None means all.
        timeout_secs: How long the command may take.

    Attributes:
        asking: The command that is under way, for whoever wonders why nothing comes.
    """

    __slots__ = ("_first", "_gpus", "_known", "_late", "_lost", "_timeout_secs", "asking")

    def __init__(self, gpus: list[int] | None, *, timeout_secs: float = _TIMEOUT_SECS) -> None:
        self._gpus = None if gpus is None else frozenset(gpus)
        self._timeout_secs = timeout_secs
        self._late: subprocess.Popen[str] | None = None
        self._first: _Answer | None = None
        self._known: frozenset[str] = frozenset()
        self._lost: frozenset[str] = frozenset()
        self.asking = ""

    def open(self) -> tuple[Finding, ...]:
        """Ask for the first time; return which GPUs are not there.

        Raises:
            NvidiaSmiError: Nothing was told; another try may help.
            NvidiaSmiMissingError: None will.
        """
        self._first = self._ask()
        missing = () if self._gpus is None else sorted(self._gpus - self._first.numbers)
        return tuple(
            Finding("gpu_missing", f"gpu{number}", f"nvidia-smi lists no GPU {number}")
            for number in missing
        )

    def look(self, rank_of: Mapping[int, int]) -> Look:
        """Take one sample of each GPU; whose the memory is, the command does not tell."""
        del rank_of
        try:
            answer, self._first = self._first or self._ask(), None
        except NvidiaSmiError as error:
            # That says nothing about any GPU.
            return Look(findings=(Finding("probe_failed", "gpu", f"cannot sample: {error}"),))
        rows = answer.rows
        self._known |= rows.keys()
        lost = self._known - rows.keys()
        why = f": {answer.words}" if answer.words else ""
        found = [
            Finding("gpu_lost", source, f"nvidia-smi does not list {source} any more{why}")
            for source in sorted(lost - self._lost)
        ]
        found += [
            Finding("gpu_back", source, f"nvidia-smi lists {source} again")
            for source in sorted(self._lost - lost)
        ]
        self._lost = lost
        return Look(
            {source: sample for source, (sample, _) in rows.items()},
            {source: facts for source, (_, facts) in rows.items()},
            tuple(found),
        )

    def _ask(self) -> _Answer:
        """Run the command and read what it printed.

        One lost GPU makes it fail, or print a line or a row of words, while it lists the others.
        """
        self.asking = "nvidia-smi"
        text, status = self._run()
        self.asking = ""
        numbers, rows, words = set(), {}, ""
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.split(",")]
            is_row = len(cells) == len(_FACTS) + len(_NUMBERS) and cells[0].isdigit()
            sample = _sample(cells[len(_FACTS) :]) if is_row else GpuSample()
            if not numbers_of(sample):
                words = words or line.strip()[:_LONGEST_WORDS]
                continue
            numbers.add(int(cells[0]))
            if self._gpus is None or int(cells[0]) in self._gpus:
                facts = GpuFacts(name=cells[2], uuid=cells[1], driver=cells[3])
                rows[f"gpu{cells[0]}"] = sample, facts
        if not numbers:
            how = f"ended with status {status}" if status else "lists no GPU"
            raise NoGpuError(f"nvidia-smi {how}" + (f": {words}" if words else ""))
        return _Answer(frozenset(numbers), rows, words)

    def _run(self) -> tuple[str, int]:
        """Return what the command printed, and its status.

        One that hangs is asked to end, never killed, and waited for before there is another.
        """
        late = NvidiaSmiError(f"nvidia-smi took over {self._timeout_secs:g} s")
        if self._late is not None and self._late.poll() is None:
            raise late
        self._late = None
        query = ",".join([*_FACTS, *_NUMBERS])
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C"},
                encoding="utf-8",
                errors="replace",
            )
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise NvidiaSmiMissingError(f"nvidia-smi does not start: {error}") from error
        except OSError as error:
            raise NvidiaSmiError(f"nvidia-smi does not start: {error}") from error
        try:
            text, _ = process.communicate(timeout=self._timeout_secs)
        except subprocess.TimeoutExpired as error:
            # SIGKILL in the middle of a call into the driver can freeze the GPU.
            process.terminate()
            if process.stdout is not None:
                process.stdout.close()
            self._late = process
            raise late from error
        return text, process.returncode


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the command printed.

    Attributes:
        numbers: All GPUs that it lists.
        rows: Those that are to be watched.
        words: What stands there instead of a row, as that a GPU is lost.
    """

    numbers: frozenset[int]
    rows: dict[str, tuple[GpuSample, GpuFacts]]
    words: str


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
