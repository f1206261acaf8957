"""What every bench shares: the machine, the release check, the data, and Markdown tables."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from sample import KEYS, noisy_dicts
from training_monitor import _core

__all__ = ["KEYS", "noisy_dicts"]  # re-exported: the benches say page.KEYS

REPOSITORY = Path(__file__).resolve().parents[2]


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
    print(f"- date: {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}")
    print(f"- command: `{command()}`\n")


def command() -> str:
    """Return how this bench was started, without the path of this checkout."""
    program = Path(sys.argv[0])
    words = ["-m", program.parent.name] if program.name == "__main__.py" else [sys.argv[0]]
    return " ".join(["python", *words, *sys.argv[1:]]).replace(f"{REPOSITORY}/", "")


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


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a directory that is removed afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="tm-bench-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def compile_floor(directory: Path) -> Path:
    """Compile floor.c against this very Python and return the extension."""
    source, target = REPOSITORY / "benches" / "limits" / "floor.c", directory / "floor.so"
    include = sysconfig.get_paths()["include"]
    if not Path(include, "Python.h").exists():
        raise FileNotFoundError(
            f"the floor needs Python.h in {include}: install the headers (python3-dev)"
        )
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
    return target


def build_floor(directory: Path) -> ModuleType:
    """Compile floor.c and open its ring."""
    try:
        target = compile_floor(directory)
    except FileNotFoundError as error:
        sys.exit(str(error))
    spec = spec_from_loader("floor", ExtensionFileLoader("floor", str(target)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.open(str(directory / "ring"))
    return module
