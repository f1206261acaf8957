"""Which way to the GPUs there is: NVML, else nvidia-smi, else none."""

from __future__ import annotations

from training_monitor.system.driver import NvmlError
from training_monitor.system.nvml import Nvml
from training_monitor.system.samples import Finding, Look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from training_monitor.system.nvidia_smi import NvidiaSmi

__all__ = ["GpuProbe"]


# A command that failed at the start is run again every so many looks.
_AGAIN = 60


class GpuProbe:
    """The GPUs, looked at in whichever way works.

    Args:
        gpus: Their numbers, as nvidia-smi counts; None means all.
        rank_of: Returns the rank of each process.
        command_secs: How long nvidia-smi may take.

    Attributes:
        is_done: There is no GPU to look at, and looking again will not help.
    """

    __slots__ = ("_command", "_command_secs", "_found", "_gpus", "_pause", "_rank_of", "_way",
                 "is_done")  # fmt: skip

    def __init__(
        self,
        gpus: list[int] | None,
        rank_of: Callable[[], Mapping[int, int]],
        *,
        command_secs: float = 20.0,
    ) -> None:
        self._gpus = gpus
        self._rank_of = rank_of
        self._command_secs = command_secs
        self._way: Nvml | NvidiaSmi | None = None
        # It outlives a start that failed: it knows of the process that hangs.
        self._command: NvidiaSmi | None = None
        self._found: tuple[Finding, ...] = ()
        self._pause = 0
        self.is_done = False

    @property
    def asking(self) -> str:
        """The call that is under way."""
        way = self._way or self._command
        return way.asking if way is not None and way.asking else "loading the driver"

    def look(self) -> Look:
        """Take one sample of each GPU; until there is a way to, say again why not."""
        if self._way is None and not self.is_done:
            self._pause -= 1
            if self._pause <= 0:
                self._open()
            if self._way is None:
                return Look(findings=self._found)
        found, self._found = self._found, ()
        if self._way is None:
            return Look()
        look = self._way.look(self._rank_of())
        return Look(look.samples, look.facts, (*found, *look.findings))

    def _open(self) -> None:
        try:
            nvml = Nvml(self._gpus)
        except NvmlError as error:
            self._open_command(str(error))
            return
        self._way = nvml
        if not len(nvml):
            look = nvml.look({})
            self._found = (*look.findings, Finding("no_gpu", "gpus", "NVML lists no GPU to watch"))
            self._way, self.is_done = None, True

    def _open_command(self, why: str) -> None:
        from training_monitor.system import nvidia_smi

        if self._command is None:
            self._command = nvidia_smi.NvidiaSmi(self._gpus, timeout_secs=self._command_secs)
        try:
            missing = self._command.open()
        except (nvidia_smi.NvidiaSmiMissingError, nvidia_smi.NoGpuError) as error:
            # A driver that is installed may be loaded later.
            self.is_done = isinstance(error, nvidia_smi.NvidiaSmiMissingError)
            self._pause = _AGAIN
            self._found = (Finding("no_gpu", "gpus", f"no GPU is watched: {why}; {error}"),)
        except nvidia_smi.NvidiaSmiError as error:
            text = f"no GPU is watched yet: {why}; {error}"
            self._found = (Finding("probe_failed", "gpu", text),)
        else:
            self._way = self._command
            text = f"{why}; nvidia-smi is asked instead, less often"
            self._found = (Finding("nvml_missing", "gpus", text), *missing)
