"""Takes the code of a training: chooses, reads, leaves secrets out, keeps."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from training_monitor import _core
from training_monitor.snapshot.changes import Compared, blob_names, changes
from training_monitor.snapshot.choosing import around, content_of, find_place, refusal
from training_monitor.snapshot.keeping import Keeping
from training_monitor.snapshot.limits import Budget, Limits, Notes, Spent
from training_monitor.snapshot.listed import Listing, find_manifest
from training_monitor.snapshot.snapshot import Entry
from training_monitor.snapshot.tree import Tree, Unread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from training_monitor.snapshot.choosing import Candidate, Place, Request

__all__ = ["Taken", "take"]


@dataclass(frozen=True, slots=True)
class Taken:
    """What was kept.

    Attributes:
        hash: The hash of the code.
        files: How many files it has.
        bytes: Their bytes, without secrets.
        skipped: How many things were not taken, by reason.
        redactions: Secrets that were left out.
        how: By what the files were chosen: "manifest", "paths", "git", "script".
        git: Commit, branch and whether files differ; None outside of a repository.
        seconds: How long it took.
        trouble: What somebody should know; "" when there is nothing.
    """

    hash: str
    files: int
    bytes: int
    skipped: dict[str, int]
    redactions: int
    how: str
    git: dict[str, Any] | None
    seconds: float
    trouble: str


def take(
    run_dir: str, request: Request, *, attempt: int, job_key: str, limits: Limits | None = None
) -> Taken:
    """Take the code of a training into the directory of its run.

    Args:
        run_dir: The run directory.
        request: What the training told of itself.
        attempt: The attempt that it is.
        job_key: The job that the attempt is of.
        limits: The bounds; None: the usual ones.

    Raises:
        OSError: The run directory cannot be written.
    """
    began = time.monotonic()
    with Keeping(run_dir) as keeping:
        taking = _Taking(keeping, request, limits or Limits())
        taking.choose_and_read()
        git = taking.git()
        about: dict[str, Any] = {
            "skipped": [[one.path, one.why] for one in taking.notes.named],
            "skipped_counts": taking.notes.counts,
            "redactions": taking.redactions,
            "git": git,
        }
        entries = taking.entries()
        line = {"attempt": attempt, "job_key": job_key, "time": time.time(), "root": taking.root}
        code = keeping.keep(entries, about, line)
        trouble = keeping.show(entries, code)
    return Taken(
        hash=code,
        files=len(entries),
        bytes=sum(entry.size for entry in entries),
        skipped=taking.notes.counts,
        redactions=len(taking.redactions),
        how=taking.how,
        git=None if git is None else {key: git[key] for key in ("commit", "branch", "dirty")},
        seconds=round(time.monotonic() - began, 3),
        trouble="; ".join(word for word in (*taking.troubles, trouble) if word),
    )


class _Taking:
    """One snapshot while it is taken."""

    def __init__(self, keeping: Keeping, request: Request, limits: Limits) -> None:
        self.notes = Notes()
        self.redactions: list[tuple[str, int, str]] = []
        self.troubles: list[str] = []
        self.how = "script"
        self.root = ""
        self._keeping = keeping
        self._request = request
        self._limits = limits
        self._budget = Budget(limits)
        self._files: dict[str, tuple[int, int, str]] = {}
        self._bytes = 0
        self._place = find_place(request)
        self._repository = self._place.repository if self._place else None
        self._head = self._repository.head() if self._repository else (None, None)
        self._tracked = self._index()
        self._compared: dict[str, Compared] = {}

    def _index(self) -> dict[str, str]:
        """Return what git tracks, by path, and what it calls that; "" is no file."""
        if self._repository is None:
            return {}
        length = len(self._head[0] or "") or 40
        found = {}
        for one in self._repository.tracked(hash_bytes=length // 2) or ():
            path = os.fsdecode(one.path)
            found[path] = "" if one.special else one.blob
            if one.special:
                self.notes.skip(path, one.special)
        return found

    def entries(self) -> list[Entry]:
        """Return the files by path."""
        ordered = sorted(self._files.items(), key=lambda item: item[0].encode())
        return [Entry(number, path, *facts) for number, (path, facts) in enumerate(ordered, 1)]

    def choose_and_read(self) -> None:
        """Find the files and keep their contents."""
        request, place = self._request, self._place
        base = os.path.realpath(request.cwd) if request.cwd else None
        directories = [path for path in (base, place.directory if place else None) if path]
        found = find_manifest(request.manifest, directories) if directories else None
        if found is None and request.manifest_is_given:
            self.troubles.append(f"there is no file {request.manifest!r}")
        if found is not None:
            self.how, self.root = "manifest", found[0]
            bounds = found[0] if place is None else place.root
            if not found[0].startswith(bounds):
                bounds = found[0]
            self._list(*found, bounds)
        if request.paths is not None:
            self.how, self.root = "paths", base or ""
            self._list(base or "/", list(request.paths), None)
        if found is None and request.paths is None:
            self._look_around(place)

    def _list(self, base: str, lines: list[str], bounds: str | None) -> None:
        listing = Listing(base, lines, bounds, self.notes, self._budget)
        try:
            self._read(listing.candidates())
        finally:
            listing.close()

    def _look_around(self, place: Place | None) -> None:
        if place is None:
            self.troubles.append("neither a script nor a working directory is known")
            return
        self.how = "script" if place.repository is None else "git"
        self.root = place.root
        with Tree(place.root) as tree:
            files = [path for path, blob in self._tracked.items() if blob]
            self._read(around(tree, place, files, self._request, self.notes, self._budget))

    def _read(self, candidates: Iterable[Candidate]) -> None:
        limits, notes = self._limits, self.notes
        try:
            for candidate in candidates:
                name = candidate.name
                if name in self._files:
                    continue
                self._budget.check_time()
                why = refusal(name)
                if why is None and len(self._files) >= limits.most_files:
                    why = f"more than {limits.most_files:,} files"
                if why is None:
                    try:
                        self._keep(candidate)
                    except Unread as error:
                        why = str(error)
                if why is not None:
                    notes.skip(name, why)
                if why == "not there":
                    self._compare(candidate, None)
        except Spent as why_all:
            notes.skip("...", str(why_all))

    def _keep(self, candidate: Candidate) -> None:
        """Keep one file without its secrets."""
        content = content_of(candidate, self._limits.most_file_bytes)
        if self._bytes + len(content) > self._limits.most_bytes:
            raise Unread(f"more than {self._limits.most_bytes // 2**20} MiB in all")
        clean, places = _core.redact_places(content)
        lines = clean.count(b"\n") + (not clean.endswith(b"\n") and bool(clean))
        self._files[candidate.name] = (len(clean), lines, self._keeping.put(clean))
        self._bytes += len(content)
        self.redactions += [(candidate.name, line, kind) for line, kind in places]
        self._compare(candidate, content)

    def _compare(self, candidate: Candidate, content: bytes | None) -> None:
        """Note a file that git tracks, to be compared with the commit; None: it is gone."""
        if self._repository is None:
            return
        path = os.path.relpath(os.path.join(candidate.tree.path, candidate.path), self.git_root)
        blob = self._tracked.get(path)
        if blob:
            names = () if content is None else blob_names(content, length=len(blob))
            self._compared[candidate.name] = Compared(path, names)

    @property
    def git_root(self) -> str:
        """The working directory of the repository."""
        return self._repository.root if self._repository else ""

    def git(self) -> dict[str, Any] | None:
        """Return the commit and how the files differ; None outside of a repository."""
        if self._repository is None:
            return None
        commit, branch = self._head
        git_dir = self._repository.git_dir
        found = changes(git_dir, commit, self._compared, self._clean, self._budget)
        if found.trouble:
            self.notes.skip(".git", f"no difference: {found.trouble}")
        return {"commit": commit, "branch": branch, "dirty": found.dirty, "diff": found.diff}

    def _clean(self, name: str) -> bytes:
        facts = self._files.get(name)
        return self._keeping.get(facts[2]) if facts else b""
