"""Python stacks of processes that hang: what was taken, and the few frames that say where."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from training_monitor import _core

__all__ = ["Stack", "made_stacks", "read_stacks"]

# `  File "/a/train.py", line 12 in step` of faulthandler, and `    step (train.py:12)` of py-spy.
_FRAMES = (
    re.compile(r'^\s+File "(?P<file>.*)", line (?P<line>\d+|\?\?\?) in (?P<name>.*)$'),
    re.compile(r"^\s+(?P<name>\S.*) \((?P<file>[^()]*?):(?P<line>\d+)\)$"),
)
_THREAD = re.compile(r"^(Current thread|Thread) ")


@dataclass(frozen=True, slots=True)
class Stack:
    """Where one process was in its code, in all its threads.

    Attributes:
        time: Wall clock, in seconds since 1970; one for all processes that were asked together.
        host: The machine.
        rank: The rank of the process.
        pid: Its number.
        how: Who wrote it: faulthandler or py-spy.
        text: Their words, secrets taken out, the innermost call first.
    """

    time: float
    host: str
    rank: int
    pid: int
    how: str
    text: str

    @property
    def frames(self) -> list[str]:
        """The frames of the main thread, the innermost first, each as `step (train.py:12)`."""
        threads: list[list[str]] = []
        for line in self.text.splitlines():
            if _THREAD.match(line):
                threads.append([line])
            elif threads:
                threads[-1].append(line)
        if not threads:
            return []
        named = [thread for thread in threads if '"MainThread"' in thread[0]]
        # faulthandler begins with the youngest thread.
        return list(_frames((named or threads)[-1]))


def read_stacks(reader: _core.RunReader) -> list[Stack]:
    """Return all stacks that were taken, the oldest first."""
    return made_stacks(reader.stacks())


def made_stacks(rows: Iterable[tuple[float, str]]) -> list[Stack]:
    """Return stacks of their time and JSON."""
    stacks = []
    for time, detail in rows:
        facts = json.loads(detail)
        host, how, text = (str(facts.get(field, "")) for field in ("host", "how", "text"))
        stacks.append(Stack(time, host, facts.get("rank", 0), facts.get("pid", 0), how, text))
    return stacks


def _frames(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        for pattern in _FRAMES:
            if found := pattern.match(line):
                file = found["file"].rpartition("/")[2]
                yield f"{found['name']} ({file}:{found['line']})"
                break
