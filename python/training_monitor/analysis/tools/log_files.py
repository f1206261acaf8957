"""Log files: which ones there are, and their ends, read so that nothing else is ever opened."""

from __future__ import annotations

import glob
import os
import re
import stat
from dataclasses import dataclass
from itertools import islice

from training_monitor.snapshot.kinds import is_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["OUTPUT_PATTERN", "End", "LogFile", "cleaned", "find_logs", "read_end"]

OUTPUT_PATTERN = "output-rank*.log*"
_MOST_FILES = 100
# A pattern may match a directory of many files: so many are looked at.
_LOOKED_AT = 2000
_OF_THE_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/")
_LINE_BYTES = 64 << 10
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-9;:?<=>!]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b\n]{0,400}(?:\x07|\x1b\\)?|[@-Z\\-_])"
)
_BINARY_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class LogFile:
    """One log file.

    Attributes:
        path: Where it is, links resolved; never shown.
        name: How it is shown: as much of the path as tells it from the others.
        size: Bytes.
        written: Wall clock of the last change.
    """

    path: str
    name: str
    size: int
    written: float


@dataclass(frozen=True, slots=True)
class End:
    """The end of a file as lines.

    Attributes:
        lines: The lines, the oldest first.
        whole: Whether that is the whole file.
    """

    lines: list[str]
    whole: bool


def find_logs(run_dir: str, paths: Sequence[str]) -> list[LogFile]:
    """Return the log files, the one written last first.

    Args:
        run_dir: The run directory; the captured output is in it.
        paths: Files, or patterns of them.
    """
    output = os.path.join(glob.escape(os.path.abspath(run_dir)), OUTPUT_PATTERN)
    found: dict[str, tuple[str, os.stat_result]] = {}
    for path, real in islice(_candidates([output, *paths]), _LOOKED_AT):
        facts = _regular(real)
        if facts is not None and _may_be_a_log(real):
            found.setdefault(real, (os.path.normpath(path), facts))
    newest = sorted(found, key=lambda real: -found[real][1].st_mtime)[:_MOST_FILES]
    names = _short([found[real][0] for real in newest])
    return [
        LogFile(real, names[path], facts.st_size, facts.st_mtime)
        for real, (path, facts) in ((real, found[real]) for real in newest)
    ]


def _candidates(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what paths and patterns name, and where it is.

    A link is followed where the user has named this very path; what a pattern finds may be
    anybody's.
    """
    for path in paths:
        if "\0" in path or not os.path.isabs(path):
            continue
        if os.path.lexists(path) or not glob.has_magic(path):
            yield path, os.path.realpath(path)
            continue
        for one in glob.iglob(path, recursive=True):
            folder, name = os.path.split(one)
            yield one, os.path.join(os.path.realpath(folder), name)


def _may_be_a_log(path: str) -> bool:
    """Return whether a file may be read as a log, whoever says that it is one.

    The paths come with the run, and a run may come from anywhere.
    """
    hidden = os.path.join(os.path.realpath(os.path.expanduser("~")), ".")
    return not (is_secret(path) or path.startswith((*_OF_THE_SYSTEM, hidden)))


def _regular(path: str) -> os.stat_result | None:
    try:
        facts = os.stat(path, follow_symlinks=False)
    except (OSError, ValueError):
        return None
    return facts if stat.S_ISREG(facts.st_mode) else None


def _short(paths: Sequence[str]) -> dict[str, str]:
    """Return for each path as many of its last parts as tell it from the others."""
    names: dict[str, str] = {}
    depth = 1
    left = list(paths)
    while left:
        ends = {path: "/".join(path.split("/")[-depth:]) for path in left}
        counts: dict[str, int] = {}
        for end in ends.values():
            counts[end] = counts.get(end, 0) + 1
        names |= {path: end for path, end in ends.items() if counts[end] == 1 or end == path}
        left = [path for path in left if path not in names]
        depth += 1
    return names


def read_end(log: LogFile, most_bytes: int) -> End:
    """Return the last lines of a file.

    Raises:
        OSError: It cannot be opened, or is not a regular file any more.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW
    # Looked at before it is opened: opening a device may already do something.
    if _regular(log.path) is None:
        raise FileNotFoundError(2, "it is gone, or no regular file")
    handle = os.open(log.path, flags)
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise FileNotFoundError(2, "it is no regular file")
        begin = max(facts.st_size - most_bytes, 0)
        # One byte before tells whether the first line is a whole one.
        raw = _read(handle, max(begin - 1, 0), most_bytes + 1)
    finally:
        os.close(handle)
    if begin:
        raw = raw.partition(b"\n")[2]
    return End([cleaned(line) for line in raw.removesuffix(b"\n").split(b"\n")] if raw else [],
               begin == 0)  # fmt: skip


def _read(handle: int, begin: int, most_bytes: int) -> bytes:
    parts, left = [], most_bytes
    while left > 0:
        part = os.pread(handle, min(left, 1 << 20), begin)
        if not part:
            break
        parts.append(part)
        begin, left = begin + len(part), left - len(part)
    return b"".join(parts)


def cleaned(line: bytes) -> str:
    """Return a line as a terminal would leave it: bars folded, colours gone, no binary."""
    line = line[-_LINE_BYTES:].rstrip(b"\r")
    text = line[line.rfind(b"\r") + 1 :].decode(errors="replace")
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    if text.isprintable():
        return text
    odd = sum(not char.isprintable() and char != "\t" for char in text)
    odd += text.count("\ufffd")
    return f"(binary, {len(line)} bytes)" if odd > _BINARY_SHARE * len(text) else text
