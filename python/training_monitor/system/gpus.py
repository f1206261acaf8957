"""Which way to the GPUs there is: NVML, else nvidia-smi, else none."""

from __future__ import annotations

from training_monitor.system.nvml import Nvml, NvmlError
from training_monitor.system.samples import Finding, Look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from training_monitor.system.nvidia_smi import NvidiaSmi

__all__ = ["GpuProbe"]


class GpuProbe:
    """The GPUs, looked at in whichever way works.

    Args:
        gpus: Their numbers, as nvidia-smi counts; None means all.
        rank_of: Returns the rank of each process.

    Attributes:
        is_done: There is no GPU to look at, and looking again will not help.
    """

    __slots__ = ("_found", "_gpus", "_rank_of", "_way", "is_done")

    def __init__(self, gpus: list[int] | None, rank_of: Callable[[], Mapping[int, int]]) -> None:
        self._gpus = gpus
        self._rank_of = rank_of
        self._way: Nvml | NvidiaSmi | None = None
        self._found: tuple[Finding, ...] = ()
        self.is_done = False

    @property
    def asking(self) -> str:
        """The call that is under way."""
        return "loading the driver" if self._way is None else self._way.asking

    def look(self) -> Look:
        """Take one sample of each GPU."""
        if self._way is None and not self.is_done:
            self._open()
        found, self._found = self._found, ()
        if self._way is None:
            return Look(findings=found)
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
        from training_monitor.system.nvidia_smi import NvidiaSmi, NvidiaSmiError

        try:
            self._way = NvidiaSmi(self._gpus)
        except NvidiaSmiError as error:
            self.is_done = True
            self._found = (Finding("no_gpu", "gpus", f"no GPU is watched: {why}; {error}"),)
        else:
            text = f"{why}; nvidia-smi is asked instead, less often"
            self._found = (Finding("nvml_missing", "gpus", text),)
