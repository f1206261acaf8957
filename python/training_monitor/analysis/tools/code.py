"""The tools over the code of the run: files are named by its list, never by a path on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training_monitor.analysis.fencing import quoted
from training_monitor.analysis.tools.form import ToolError
from training_monitor.analysis.tools.parameters import (
    FileName,
    Flag,
    Slices,
    Text,
    Whole,
    made_tool,
)
from training_monitor.analysis.tools.sight import nearest
from training_monitor.errors import TrainingMonitorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from training_monitor.analysis.tools.answering import Answer
    from training_monitor.analysis.tools.form import Tool
    from training_monitor.analysis.tools.sight import Sight

    class Entry(Protocol):
        """One file that was kept."""

        @property
        def id(self) -> int: ...
        @property
        def path(self) -> str: ...
        @property
        def size(self) -> int: ...
        @property
        def lines(self) -> int: ...

    class Hit(Protocol):
        """One line that was found."""

        @property
        def path(self) -> str: ...
        @property
        def line(self) -> int: ...
        @property
        def text(self) -> str: ...

    class Code(Protocol):
        """The code that was kept: what is asked of a snapshot."""

        @property
        def hash(self) -> str: ...
        @property
        def entries(self) -> Sequence[Entry]: ...
        @property
        def skipped_counts(self) -> Mapping[str, int]: ...
        def lines(
            self, path_or_id: str | int, first: int = 1, last: int | None = None
        ) -> list[str]: ...
        def search(
            self,
            pattern: str,
            *,
            regex: bool = False,
            ignore_case: bool = False,
            glob: str | None = None,
            limit: int = 100,
            timeout_secs: float = 2.0,
        ) -> tuple[Sequence[Hit], bool]: ...


__all__ = ["code_tools"]

_MOST_LINE = 10**9
_READ_LINES = 200
_SEARCH_SECS = 2.0
_FILE = FileName("file", "path of the file exactly as snapshot_manifest lists it, or its number",
                 required=True)  # fmt: skip
_LINES = (
    Whole("first_line", "first line to read, from 1", 1, low=1, high=_MOST_LINE),
    Whole("last_line", f"last line to read; leave out for {_READ_LINES} lines", low=1,
          high=_MOST_LINE),
)  # fmt: skip


def code_tools(sight: Sight, code: Code) -> list[Tool]:
    """Return the tools."""
    of = _Code(sight, code)
    return [
        made_tool(
            "snapshot_manifest",
            "List the files of the training code that were kept with this run: number, path, "
            "lines, bytes. Call this first, then read or search.",
            (
                Text("contains", "only paths that contain this text; leave out for all"),
                Whole("offset", "skip so many; to see the rest of a long list", 0, low=0),
            ),
            of.manifest,
        ),
        made_tool(
            "snapshot_search",
            "Search the training code for a text. Returns path:line: text of each line found.",
            (
                Text("pattern", "the text to look for", required=True),
                Flag("regex", "true: the pattern is a regular expression; else it is plain text",
                     False),
                Flag("ignore_case", "true: upper and lower case are the same", False),
                Text("glob", "only files whose path fits, as *.py or model/*.py"),
                Whole("limit", "how many lines at most", 50, low=1, high=500),
            ),
            of.search,
        ),
        made_tool(
            "snapshot_read",
            "Read lines of one file of the training code. Each line begins with its number.",
            (_FILE, *_LINES),
            of.read,
        ),
        made_tool(
            "snapshot_read_many",
            "Read parts of several files of the training code in one call.",
            (
                Slices("slices", "which parts: a list of {file, first_line, last_line}",
                       required=True, parts=(_FILE, *_LINES), most=20),
            ),
            of.read_many,
        ),
    ]  # fmt: skip


class _Code:
    """Answers questions about the code."""

    def __init__(self, sight: Sight, code: Code) -> None:
        self._sight = sight
        self._code = code
        self._by_path = {entry.path: entry for entry in code.entries}
        self._by_id = {entry.id: entry for entry in code.entries}

    def manifest(self, *, contains: str | None, offset: int) -> str:
        """List the files."""
        wanted = (contains or "").lower()
        found = [entry for entry in self._code.entries if wanted in entry.path.lower()]
        answer = self._sight.answer()
        which = f" whose path contains {quoted(contains)}" if contains else ""
        left = ", ".join(f"{count} {why}" for why, count in self._code.skipped_counts.items())
        more = f"; left out of the snapshot: {left}" if left else ""
        answer.say(f"{len(found)} files{which}{more}; hash {self._code.hash[:12]}")
        lines = [f"{one.id} {one.path} ({one.lines} lines, {one.size} bytes)"
                 for one in found[offset:]]  # fmt: skip
        answer.data(lines, rest=lambda n: "more: call snapshot_manifest with "
                    f"offset={offset + n}, or with contains")  # fmt: skip
        return answer.text()

    def search(
        self, *, pattern: str, regex: bool, ignore_case: bool, glob: str | None, limit: int
    ) -> str:
        """Search the code."""
        if not pattern:
            raise ToolError("pattern is empty")
        try:
            hits, more = self._code.search(
                pattern, regex=regex, ignore_case=ignore_case, glob=glob, limit=limit,
                timeout_secs=min(_SEARCH_SECS, self._sight.limits.seconds / 2),
            )  # fmt: skip
        except (ValueError, TimeoutError, TrainingMonitorError) as error:
            raise ToolError(f"cannot search for {quoted(pattern)}: {error}") from None
        answer = self._sight.answer()
        found = "no line has" if not hits else f"{len(hits)} lines have"
        answer.say(f"{found} {'the pattern' if regex else 'the text'} {quoted(pattern)}"
                   + (f" in files that fit {quoted(glob)}" if glob else ""))  # fmt: skip
        if hits:
            lines = [f"{hit.path}:{hit.line}: {hit.text}" for hit in hits]
            answer.data(lines, rest=lambda n: f"cut after {n} lines: use a longer pattern or glob")
        if more:
            answer.say("there are more lines: use a longer pattern, glob, or a higher limit")
        return answer.text()

    def read(self, *, file: str | int, first_line: int, last_line: int | None) -> str:
        """Read lines of one file."""
        answer = self._sight.answer()
        self._add(answer, file, first_line, last_line)
        return answer.text()

    def read_many(self, *, slices: list[dict[str, object]]) -> str:
        """Read lines of several files."""
        answer = self._sight.answer()
        for at, part in enumerate(slices):
            try:
                is_whole = self._add(answer, **part)  # type: ignore[arg-type]
            except ToolError as error:
                answer.say(f"error: {error}")
                continue
            if not is_whole and at + 1 < len(slices):
                answer.say(f"left out: {len(slices) - at - 1} further parts; ask again for them")
                break
        return answer.text()

    def _add(self, answer: Answer, file: str | int, first_line: int, last_line: int | None) -> bool:
        """Add lines of a file to an answer; return whether all that were meant fit."""
        entry = self._entry(file)
        last = first_line + _READ_LINES - 1 if last_line is None else last_line
        last = min(last, entry.lines)
        name = quoted(entry.path, chars=300)
        if first_line > max(entry.lines, 1) or last < first_line:
            raise ToolError(
                f"{name} has {entry.lines} lines: there are none from {first_line} to {last}"
                if entry.lines else f"{name} is empty"
            )  # fmt: skip
        # More can never be shown, and a line takes time to read.
        last = min(last, first_line + self._sight.limits.lines)
        lines = self._code.lines(entry.id, first_line, last)
        answer.say(f"{name}, lines {first_line} to {last} of {entry.lines}")
        numbered = [f"{number}: {line}" for number, line in enumerate(lines, first_line)]

        def rest(shown: int) -> str:
            return f"cut: go on with snapshot_read of file {entry.id}, first_line=" + str(
                first_line + shown
            )

        shown = answer.data(numbered, rest=rest)
        if shown == len(numbered) and last_line is None and last < entry.lines:
            answer.say(rest(shown).replace("cut: go", "there is more: go"))
        return shown == len(numbered)

    def _entry(self, file: str | int) -> Entry:
        """Return the file that is meant: a path is compared as it stands, and never opened."""
        entry = self._by_path.get(file) if isinstance(file, str) else self._by_id.get(file)
        if entry is None and isinstance(file, str) and len(file) < 10 and file.isascii():
            number = file.removeprefix("#")
            entry = self._by_id.get(int(number)) if number.isdigit() else None
        if entry is not None:
            return entry
        if isinstance(file, str):
            raise ToolError(f"no file {quoted(file)}{nearest(file, list(self._by_path))}")
        raise ToolError(f"no file has the number {file}; snapshot_manifest lists them")
