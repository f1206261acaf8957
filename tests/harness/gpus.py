"""GPUs for tests: the library of NVIDIA and the command nvidia-smi, as stand-ins."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml_standin.c")
_SMI = """#!/bin/sh
# Prints what stands in the file, after what the switches say; $2 is the format.
echo started >> "$NVML_STANDIN/smi_starts"
trap '' TERM
while [ -e "$NVML_STANDIN/smi_hangs" ]; do /bin/sleep 0.02; done
[ -e "$NVML_STANDIN/smi_fails" ] && exit 9
while read -r line; do echo "$line"; done < "$NVML_STANDIN/smi.csv"
[ -e "$NVML_STANDIN/smi_status" ] && read -r status < "$NVML_STANDIN/smi_status" && exit "$status"
exit 0
"""
SMI_ROWS = """0, GPU-aa, NVIDIA A100-SXM4-80GB, 535.1, 97, 40, 61000, 81920, 64, 390.5, 400.00, \
1410, 1593, 0, [N/A]
1, GPU-bb, NVIDIA A100-SXM4-80GB, 535.1, [N/A], 1, 500, 81920, 40, [Not Supported], 400.00, \
210, 1593, 0, 0
"""


class StandIn:
    """A directory with stand-ins, and the switches that steer them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir()

    def with_nvml(self) -> StandIn:
        """Compile the library."""
        compiler = shutil.which("cc") or shutil.which("gcc") or "clang"
        library = self.directory / "libnvidia-ml.so.1"
        command = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
        subprocess.run([*command, str(SOURCE), "-o", str(library)], check=True)
        return self

    def with_smi(self, rows: str = SMI_ROWS) -> StandIn:
        """Make the command."""
        command = self.directory / "nvidia-smi"
        command.write_text(_SMI)
        command.chmod(0o755)
        (self.directory / "smi.csv").write_text(rows)
        return self

    def switch(self, word: str, text: str = "") -> None:
        """Turn something on; `off` turns it off again."""
        beside = self.directory / f".{word}"
        beside.write_text(text)
        beside.rename(self.directory / word)

    def off(self, word: str) -> None:
        (self.directory / word).unlink()

    @property
    def env(self) -> dict[str, str]:
        """The environment of a process that is to find the stand-ins, and nothing real."""
        return {
            "NVML_STANDIN": str(self.directory),
            "LD_LIBRARY_PATH": str(self.directory),
            "PATH": str(self.directory),
        }


def real_library() -> str | None:
    """Return why the library of a real driver cannot be hidden from a test; None without one."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return "this machine has a real libnvidia-ml.so.1"
