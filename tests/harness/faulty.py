"""System calls that fail, kill or take long, and clocks that jump, in processes of a test."""

from __future__ import annotations

import enum
import mmap
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("syscall_faults.c")
_WHICH, _AT, _EVERY, _ACTION, _DETAIL, _SEEN, _DONE, _WALL_NS, _BOOT_NS, _HELD = range(10)
_BY_KIND, _WORDS = 16, 512


class Call(enum.IntEnum):
    """A kind of system call; the twin of the enum in `syscall_faults.c`."""

    SYNC = 0
    WRITE = 1
    TRUNCATE = 2
    RENAME = 3
    UNLINK = 4
    MAP = 5
    OPEN = 6
    ALLOCATE = 7
    MAKE_DIR = 8


class Fault(enum.IntEnum):
    """What happens to the call that is hit."""

    KILL_BEFORE = 1
    KILL_AFTER = 2
    FAIL = 3
    SLOW = 4
    LIE = 5


def library() -> str:
    """Compile what is preloaded where that has not been done; return its path."""
    cache_dir = Path(__file__).resolve().parents[2] / "target" / "harness"
    made = cache_dir / "syscall_faults.so"
    if made.exists() and made.stat().st_mtime > SOURCE.stat().st_mtime:
        return str(made)
    cache_dir.mkdir(parents=True, exist_ok=True)
    compiler = shutil.which("cc") or shutil.which("gcc") or "clang"
    command = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", str(SOURCE), "-ldl"]
    with tempfile.TemporaryDirectory(dir=cache_dir) as own:
        fresh = Path(own, "made.so")
        subprocess.run([*command, "-o", str(fresh)], check=True)
        fresh.rename(made)
    return str(made)


class Faults:
    """Steers the system calls of every process that is started with `env`.

    Args:
        file: Where the words stand that both sides map.
        below: Only calls on files below this directory count.
        only: A part of the command line of the processes that are meant; None for all.
        never: A part of the command line of processes that are not meant all the same.
    """

    def __init__(
        self, file: Path, *, below: Path, only: str | None = None, never: str | None = None
    ) -> None:
        file.write_bytes(bytes(8 * _WORDS))
        with file.open("r+b") as opened:
            self._words = memoryview(mmap.mmap(opened.fileno(), 8 * _WORDS)).cast("q")
        self.env = {
            "LD_PRELOAD": library(), "FAULTS_FILE": str(file), "FAULTS_BELOW": f"{below}/",
        }  # fmt: skip
        if only is not None:
            self.env["FAULTS_ONLY"] = only
        if never is not None:
            self.env["FAULTS_NEVER"] = never

    def arm(self, *calls: Call, at: int = 1, fault: Fault, every: int = 0, detail: int = 0) -> None:
        """Let something happen to the `at`-th call of these kinds from now on.

        Args:
            calls: The kinds that count together.
            at: Counted from 1.
            fault: What happens.
            every: And at every so many calls after it; 0 for that one alone.
            detail: The errno of a failure, the microseconds of a pause.
        """
        words = self._words
        words[_HELD] = 1
        words[_SEEN] = words[_DONE] = 0
        words[_AT], words[_EVERY] = at, every
        words[_ACTION], words[_DETAIL] = fault, detail
        words[_WHICH] = sum(1 << call for call in calls)
        words[_HELD] = 0

    def disarm(self) -> None:
        """Let nothing happen any more; calls are counted on."""
        self._words[_AT] = self._words[_EVERY] = 0

    @property
    def done(self) -> int:
        """How often something happened since it was armed."""
        return int(self._words[_DONE])

    def count(self, call: Call) -> int:
        """Return how many calls of a kind there were."""
        return int(self._words[_BY_KIND + call])

    def wall_is_ahead(self, secs: float) -> None:
        """Move the wall clock of all these processes."""
        self._words[_WALL_NS] = int(secs * 1e9)

    def boot_is_ahead(self, secs: float) -> None:
        """Move the clock since boot, as a suspended machine does."""
        self._words[_BOOT_NS] = int(secs * 1e9)
