"""What every bench shares: the machine, the release check, the data, and Markdown tables."""

from __future__ import annotations

import math
import os
import platform
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from training_monitor import _core

REPOSITORY = Path(__file__).resolve().parents[2]
KEYS = [
    "loss", "accuracy", "lr", "grad_norm", "weight_norm", "update_ratio",
    "reward", "kl", "entropy", "step_ms",
]  # fmt: skip


def heading(title: str) -> None:
    """Print the title, the machine and the command; refuse a debug build."""
    if _core.build_profile != "release":
        sys.exit(f"{title}: this is a {_core.build_profile} build; run `make bench`")
    print(f"### {title}\n")
    print(
        f"- machine: {processor()}, {os.cpu_count()} cores, {file_system()}, {platform.release()}"
    )
    print(
        f"- versions: training_monitor {_core.__version__} ({commit()}), "
        f"Python {platform.python_version()}, SQLite {_core.sqlite_version}"
    )
    print(f"- command: `python {' '.join([*sys.argv])}`\n")


def processor() -> str:
    """Return the processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.machine()


def file_system() -> str:
    """Return the type of the file system under the scratch directory."""
    here, best, kind = tempfile.gettempdir(), "", "unknown file system"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, this_kind, *_ = line.split()
        if Path(here).is_relative_to(point) and len(point) >= len(best):
            best, kind = point, this_kind
    return kind


def commit() -> str:
    """Return the commit, marked when the tree has changes."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True, text=True, cwd=REPOSITORY, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "no commit"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table; numbers are right-aligned."""
    print("| " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * (len(columns) - 1))
    for row in rows:
        print("| " + " | ".join(shown(cell) for cell in row) + " |")
    print()


def shown(cell: object) -> str:
    """Return a number with three significant digits, anything else as it is."""
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, int) else str(cell)
    if cell == 0 or not math.isfinite(cell):
        return f"{cell:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(cell))))
    return f"{cell:,.{digits}f}"


def noisy_dicts(count: int, seed: int = 7) -> list[dict[str, float]]:
    """Return distinct dicts of ten noisy, decaying floats."""
    source = random.Random(seed)
    return [
        {
            key: at + math.exp(-step / 5000.0) + 0.01 * source.gauss(0, 1)
            for at, key in enumerate(KEYS)
        }
        for step in range(count)
    ]


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a directory that is removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="tm-bench-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def build_floor(directory: Path) -> ModuleType:
    """Compile floor.c against this very Python and open its ring."""
    source, target = REPOSITORY / "benches" / "limits" / "floor.c", directory / "floor.so"
    include = sysconfig.get_paths()["include"]
    if not Path(include, "Python.h").exists():
        sys.exit(f"the floor needs Python.h in {include}: install the headers (python3-dev)")
    compiler = shutil.which("cc") or shutil.which("gcc") or "clang"
    subprocess.run(
        [
            compiler,
            "-O3",
            "-march=native",
            "-shared",
            "-fPIC",
            f"-I{include}",
            source,
            "-o",
            target,
        ],
        check=True,
    )
    spec = spec_from_loader("floor", ExtensionFileLoader("floor", str(target)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.open(str(directory / "ring"))
    return module
