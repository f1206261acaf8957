"""Kept code as a reader sees it: files by their entries, lines, a search. Nothing is written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from training_monitor import _core
from training_monitor.errors import StoreError, closest
from training_monitor.snapshot.attempts import attempts_of, read_bytes
from training_monitor.snapshot.layout import is_hash, manifest_path, object_path
from training_monitor.snapshot.limits import Limits, Skipped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Entry", "Git", "Hit", "Redaction", "Skipped", "Snapshot", "open_snapshot"]

# What an object may have; a larger file there is none of ours.
_MOST_OBJECT_BYTES = 2 * Limits().most_file_bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a snapshot.

    Attributes:
        id: Its number in the snapshot.
        path: Relative, with "/": a name to compare, never to look up on a disk.
        size: Bytes of what is kept of it, without secrets.
        lines: How many lines it has.
        sha256: The hash of what is kept.
    """

    id: int
    path: str
    size: int
    lines: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A line in which something was found; a long one is cut around it.

    Attributes:
        path: The file.
        line: Which line, from 1.
        text: The line.
    """

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Redaction:
    """A secret that was left out.

    Attributes:
        path: The file.
        line: The line where it began, from 1.
        kind: What it is; never the secret itself.
    """

    path: str
    line: int
    kind: str


@dataclass(frozen=True, slots=True)
class Git:
    """The commit that the code is of.

    Attributes:
        commit: Its hash; None when there was none.
        branch: The branch; None when none was checked out.
        dirty: Whether files differ from the commit; None when that could not be told.
        diff: How they differ, without secrets.
    """

    commit: str | None
    branch: str | None
    dirty: bool | None
    diff: str


class Snapshot:
    """The code of a training as it was when an attempt began.

    Files are named by their path or number in the list of files. Nobody reaches anything else.

    Attributes:
        hash: SHA-256 over paths and contents, without secrets.
        attempt: The attempt it was taken for.
        time: When, in seconds since 1970.
        root: The directory that the paths are relative to.
        entries: Its files, by path.
        skipped: What was not taken, and why; of each reason only the first are named.
        skipped_counts: How many were not taken, by reason.
        redactions: Where secrets were left out.
        git: The commit; None outside of a repository.
    """

    def __init__(self, run_dir: str, taken: Mapping[str, Any]) -> None:
        """Read what is told of one attempt.

        Args:
            run_dir: The run directory.
            taken: The line about the attempt.
        """
        self._run_dir = run_dir
        self.hash: str = taken["hash"]
        self.attempt: int = taken["attempt"]
        self.time: float = taken["time"]
        self.root: str = taken.get("root", "")
        files = json.loads(read_bytes(manifest_path(run_dir, self.hash)))["files"]
        self.entries = tuple(
            Entry(number, row["path"], row["size"], row["lines"], row["sha256"])
            for number, row in enumerate(files, start=1)
        )
        about = json.loads(self._object(taken["about"]))
        self.skipped = tuple(Skipped(path, why) for path, why in about["skipped"])
        self.skipped_counts: dict[str, int] = about["skipped_counts"]
        self.redactions = tuple(Redaction(*row) for row in about["redactions"])
        git = about["git"]
        self.git = None if git is None else Git(**git)
        self._by_path = {entry.path: entry for entry in self.entries}

    def __repr__(self) -> str:
        return f"<Snapshot {self.hash[:12]} of attempt {self.attempt}, {len(self.entries)} files>"

    def entry(self, path_or_id: str | int) -> Entry:
        """Return a file by its path or number.

        Raises:
            KeyError: There is none; the message names the nearest path.
        """
        if isinstance(path_or_id, int):
            if 1 <= path_or_id <= len(self.entries):
                return self.entries[path_or_id - 1]
            raise KeyError(f"no file {path_or_id}: there are 1 to {len(self.entries)}")
        found = self._by_path.get(path_or_id)
        if found is None:
            near = self._near(path_or_id)
            hint = f"; did you mean {near!r}?" if near else ""
            raise KeyError(f"no file {path_or_id[:200]!r} in the snapshot{hint}")
        return found

    def _near(self, path: str) -> str | None:
        ends = [known for known in self._by_path if known.endswith(f"/{path}")]
        return ends[0] if ends else closest(path[:400], list(self._by_path))

    def text(self, path_or_id: str | int) -> str:
        """Return the whole text of a file, without secrets.

        Raises:
            KeyError: There is no such file.
            StoreError: Its content is damaged or gone.
        """
        return self._object(self.entry(path_or_id).sha256).decode("utf-8", "replace")

    def lines(self, path_or_id: str | int, first: int = 1, last: int | None = None) -> list[str]:
        """Return lines of a file, without their ends.

        Args:
            path_or_id: The file.
            first: The first line, from 1.
            last: The last one; None means that of the file.

        Raises:
            KeyError: There is no such file.
            StoreError: Its content is damaged or gone.
        """
        lines = self.text(path_or_id).split("\n")
        if not lines[-1]:
            lines.pop()
        chosen = lines[max(first, 1) - 1 : None if last is None else max(last, 0)]
        return [line.removesuffix("\r") for line in chosen]

    def search(
        self,
        pattern: str,
        *,
        regex: bool = False,
        ignore_case: bool = False,
        glob: str | None = None,
        limit: int = 100,
        timeout_secs: float = 2.0,
    ) -> tuple[list[Hit], bool]:
        """Return the lines with a pattern, and whether there are, or may be, more.

        Args:
            pattern: A text, or a regular expression without look-around and references back.
            regex: Whether it is a regular expression.
            ignore_case: Whether a and A are the same.
            glob: Only in files that this means, as a line of .gitignore: "*.py", "model/".
            limit: Lines at most.
            timeout_secs: The search ends after so long with what it has.

        Raises:
            QueryError: The pattern is not valid, or too large.
        """
        chosen = self.entries
        if glob is not None:
            means = _core.PathPatterns([glob]).means
            chosen = tuple(entry for entry in chosen if means(entry.path, whole=True))
        found, more, _, _ = _core.search_files(
            [object_path(self._run_dir, _checked(entry.sha256)) for entry in chosen],
            pattern,
            regex=regex,
            ignore_case=ignore_case,
            limit=max(0, limit),
            most_file_bytes=_MOST_OBJECT_BYTES,
            timeout_s=timeout_secs,
        )
        return [Hit(chosen[file].path, line, text) for file, line, text in found], more

    def _object(self, name: str) -> bytes:
        content = read_bytes(object_path(self._run_dir, _checked(name)))
        if hashlib.sha256(content).hexdigest() != name:
            raise StoreError(f"kept code {name[:12]} in {self._run_dir!r} is damaged")
        return content


def open_snapshot(run_dir: str, attempt: int | None = None) -> Snapshot | None:
    """Return the code of an attempt; None when none was taken.

    Args:
        run_dir: The run directory.
        attempt: Which attempt; None means the newest that has code.

    Raises:
        StoreError: What was taken is damaged or gone.
    """
    taken = None
    for line in attempts_of(run_dir):
        if attempt is None or line["attempt"] == attempt:
            taken = line
    if taken is None:
        return None
    try:
        return Snapshot(run_dir, taken)
    except (KeyError, TypeError, ValueError) as error:
        what = f"the kept code of attempt {taken['attempt']} in {run_dir!r}"
        raise StoreError(f"{what} is damaged: {error!r}") from error


def _checked(name: object) -> str:
    if not is_hash(name):
        raise StoreError("a list of kept code is damaged")
    return str(name)
