"""The NVIDIA driver by NVML: the only module that imports pynvml, which nvidia-ml-py brings.

A call may never return when a driver hangs, so all of this belongs into a thread of its own. Which
functions and constants pynvml has depends on its version, so they are named by strings.
"""

from __future__ import annotations

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Driver", "Handle", "LostError", "NoAnswerError", "NvmlError"]

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


class NvmlError(Exception):
    """NVML cannot be used here; the message says why."""


class NoAnswerError(Exception):
    """There is no answer this time."""


class UnsupportedError(NoAnswerError):
    """There never will be one."""


class LostError(NoAnswerError):
    """The GPU does not answer any more."""


class Driver:
    """NVML, opened.

    Attributes:
        asking: The call that is under way, for whoever wonders why nothing comes.
        version: Of the driver.
        count: How many GPUs there are.

    Raises:
        NvmlError: There is no driver, or it does not answer as it should.
    """

    __slots__ = ("_error", "_lost_codes", "_pynvml", "_unsupported_codes", "asking", "count",
                 "version")  # fmt: skip

    def __init__(self) -> None:
        self.asking = "loading NVML"
        try:
            # Most machines without a GPU have no such library: 25 ms and 3 MB are saved there.
            ctypes.CDLL("libnvidia-ml.so.1")
        except OSError as error:
            raise NvmlError(f"NVML does not load: {error}") from error
        try:
            import pynvml

            self._pynvml: Any = pynvml
            self._error = pynvml.NVMLError
            self._lost_codes = {self.constant(name) for name in _LOST} - {None}
            self._unsupported_codes = {self.constant(name) for name in _UNSUPPORTED} - {None}
            self.asking = "nvmlInit"
            pynvml.nvmlInit()
            self.version = str(pynvml.nvmlSystemGetDriverVersion())
            self.count = int(pynvml.nvmlDeviceGetCount())
        except Exception as error:  # whatever fails: nvidia-smi is left
            text = f"NVML does not start: {type(error).__name__}: {error}"
            raise NvmlError(text) from error

    def ask(self, what: str, call: str, *arguments: object) -> Any:
        """Make one call, having said so.

        Args:
            what: The GPU, for people.
            call: The function.
            arguments: What it takes; a string is the name of a constant.

        Raises:
            UnsupportedError: It is not known to the library, the driver or this GPU.
            LostError: The GPU is gone.
            NoAnswerError: It failed in another way.
        """
        self.asking = f"{call} of {what}"
        function = getattr(self._pynvml, call, None)
        values = [self.constant(it) if isinstance(it, str) else it for it in arguments]
        if function is None or None in values:
            raise UnsupportedError(call)
        try:
            return function(*values)
        except self._error as error:
            code = getattr(error, "value", None)
            if code in self._lost_codes:
                raise LostError(str(error)) from error
            if code in self._unsupported_codes:
                raise UnsupportedError(str(error)) from error
            raise NoAnswerError(str(error)) from error

    def constant(self, name: str) -> int | None:
        """Return what a name stands for; None: this version of the library has no such."""
        value = getattr(self._pynvml, name, None)
        return None if value is None else int(value)


class Handle:
    """A GPU or a slice of one: calls that it does not support are not made again."""

    __slots__ = ("_driver", "_unsupported", "handle", "source")

    def __init__(self, driver: Driver, source: str, handle: object) -> None:
        self._driver = driver
        self._unsupported: set[tuple[str, ...]] = set()
        self.source = source
        self.handle = handle

    def ask(self, call: str, *arguments: object) -> Any:
        """Return the answer; None when there is none this time, or never will be."""
        asked = (call, *(it for it in arguments if isinstance(it, str)))
        if asked in self._unsupported:
            return None
        try:
            return self._driver.ask(self.source, call, self.handle, *arguments)
        except LostError:
            raise
        except UnsupportedError:
            self._unsupported.add(asked)
        except NoAnswerError:
            pass
        return None

    def memory_bytes(self) -> tuple[int | None, int | None]:
        """Return what is used and what there is."""
        memory = self.ask("nvmlDeviceGetMemoryInfo")
        return (None, None) if memory is None else (int(memory.used), int(memory.total))

    def processes(self) -> list[Any]:
        """Return the processes that hold memory."""
        found = self.ask("nvmlDeviceGetComputeRunningProcesses_v3")
        if found is None:
            found = self.ask("nvmlDeviceGetComputeRunningProcesses_v2")
        return list(found or ())
