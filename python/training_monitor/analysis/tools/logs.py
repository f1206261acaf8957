"""The tool over the log files that the user has named, and over the captured output."""

from __future__ import annotations

import os
import time

from training_monitor._core import redact
from training_monitor.analysis.fencing import quoted
from training_monitor.analysis.tools.form import ToolError
from training_monitor.analysis.tools.log_files import LogFile, find_logs, read_end
from training_monitor.analysis.tools.parameters import FileName, Flag, Text, Whole, made_tool
from training_monitor.analysis.tools.sight import nearest
from training_monitor.predict.wording import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.analysis.tools.form import Tool
    from training_monitor.analysis.tools.sight import Sight

__all__ = ["log_tools"]

_FIRST_BYTES = 256 << 10
_MOST_LINES = 300


def log_tools(sight: Sight) -> list[Tool]:
    """Return the tool."""
    of = _Logs(sight)
    return [
        made_tool(
            "log_tail",
            "Show the last lines of a log file of the training, or its last lines that contain a "
            "text. Without file: list the log files, or show the only one.",
            (
                FileName("file", "name or number of a log file as the list has it"),
                Whole("lines", "how many lines", 40, low=1, high=_MOST_LINES),
                Text("contains", "only lines that contain this text"),
                Flag("ignore_case", "true: upper and lower case are the same", False),
            ),
            of.tail,
        )
    ]


class _Logs:
    """Answers questions about log files."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def tail(
        self, *, file: str | int | None, lines: int, contains: str | None, ignore_case: bool
    ) -> str:
        """Show the end of a log file."""
        logs = find_logs(self._sight.run.dir, self._sight.log_paths)
        if not logs:
            raise ToolError(
                "there are no log files: neither log_paths nor capture_output was set, or nothing "
                "was written yet"
            )
        if file is None and len(logs) > 1:
            return self._listed(logs)
        log = logs[0] if file is None else self._chosen(logs, file)
        return self._shown(log, lines, contains, ignore_case=ignore_case)

    def _listed(self, logs: list[LogFile]) -> str:
        answer = self._sight.answer()
        answer.say(f"{len(logs)} log files; call log_tail with file")
        now = time.time()
        rows = [f"{at} {log.name} ({log.size} bytes, written {duration(now - log.written)} ago)"
                for at, log in enumerate(logs, 1)]  # fmt: skip
        answer.data(rows, rest=lambda n: f"cut after {n}")
        return answer.text()

    def _chosen(self, logs: list[LogFile], file: str | int) -> LogFile:
        """Return the file that is meant: a name is compared as it stands, and never opened."""
        by_name = {log.name: log for log in logs}
        if isinstance(file, str) and file in by_name:
            return by_name[file]
        text = str(file)
        if len(text) < 10 and text.isascii() and text.isdigit() and 1 <= int(text) <= len(logs):
            return logs[int(text) - 1]
        raise ToolError(f"no log file {quoted(text)}{nearest(text, list(by_name))}")

    def _shown(self, log: LogFile, most: int, contains: str | None, *, ignore_case: bool) -> str:
        limits = self._sight.limits
        wanted = (contains or "").casefold() if ignore_case else contains or ""
        size = limits.log_bytes if wanted else min(_FIRST_BYTES, limits.log_bytes)
        try:
            end = read_end(log, size)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "it cannot be read"
            raise ToolError(f"{quoted(log.name)}: {reason}") from None
        found = [line for line in end.lines
                 if not wanted or wanted in (line.casefold() if ignore_case else line)]  # fmt: skip
        answer = self._sight.answer()
        part = "" if end.whole else f" of its last {size} bytes"
        which = f" that contain {quoted(contains)}" if contains else ""
        shown = found[-most:]
        answer.say(f"{quoted(log.name)}: the last {len(shown)} of {len(found)} lines{which}{part}; "
                   f"written {duration(time.time() - log.written)} ago")  # fmt: skip
        # What is redacted is whole: a secret that is cut in two is not known any more.
        text = redact("\n".join(shown)).split("\n")
        answer.data(text, newest=True, rest=lambda n: f"only the last {n} fit; see contains")
        return answer.text()
