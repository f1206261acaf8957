"""Which files belong to a training: those that somebody listed, else those around its script."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from training_monitor.snapshot.kinds import is_binary, is_secret, is_source, is_wordy
from training_monitor.snapshot.limits import Notes, Spent
from training_monitor.snapshot.repository import find_repository
from training_monitor.snapshot.tree import Tree, Unread
from training_monitor.snapshot.walk import Ignored, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from training_monitor.snapshot.limits import Budget
    from training_monitor.snapshot.repository import Repository

__all__ = ["Candidate", "Place", "Request", "around", "content_of", "find_place", "refusal"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a training told of itself.

    Attributes:
        cwd: Its working directory; None when that was gone.
        script: The file that was started; None when there is none, as in a shell.
        manifest: The file that lists the code.
        manifest_is_given: Whether somebody named that file, so that it should be there.
        paths: Files and directories of code; None: nobody named any.
        spared: Directories that are not looked into: the runs.
    """

    cwd: str | None
    script: str | None
    manifest: str = "snapshot_files.txt"
    manifest_is_given: bool = False
    paths: tuple[str, ...] | None = None
    spared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be taken.

    Attributes:
        tree: Where it is read.
        path: Its path there.
        name: What it is called in the snapshot.
    """

    tree: Tree
    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where the code of a training is.

    Attributes:
        directory: The directory of the script, or else the working directory; no links in it.
        script: The script, below that; None when there is none of the user's.
        repository: What tracks it; None: nothing does.
    """

    directory: str
    script: str | None
    repository: Repository | None

    @property
    def root(self) -> str:
        """The directory to which the names of a snapshot are relative."""
        return self.directory if self.repository is None else self.repository.root

    @property
    def below(self) -> str:
        """The directory of the script, relative to the root; "" is the root."""
        inside = os.path.relpath(self.directory, self.root)
        return "" if inside == "." else inside


def find_place(request: Request) -> Place | None:
    """Return where the code is; None when nothing is known of it."""
    ceilings = _ceilings()
    script = _own_script(request)
    directory = os.path.dirname(script) if script else request.cwd
    if directory is None or not os.path.isdir(directory):
        return None
    directory = os.path.realpath(directory)
    name = os.path.basename(script) if script else None
    return Place(directory, name, find_repository(directory, ceilings=ceilings))


def _own_script(request: Request) -> str | None:
    """Return the script without links; None when it is a part of an installation."""
    if not request.script:
        return None
    path = os.path.realpath(os.path.join(request.cwd or "/", request.script))
    if not os.path.isfile(path):
        return None
    parts = path.split(os.sep)
    installed = {"site-packages", "dist-packages"} & set(parts)
    prefixes = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix)}
    is_below = any(path.startswith(os.path.join(prefix, place) + os.sep)
                   for prefix in prefixes for place in ("bin", "lib", "lib64"))  # fmt: skip
    return None if installed or is_below else path


def _ceilings() -> frozenset[str]:
    """Return the directories that are no project, whatever lies in them."""
    found = {"/", "/tmp", "/var/tmp", "/home", "/root", "/mnt", "/data", "/usr", "/opt"}  # noqa: S108
    at = os.path.realpath(os.path.expanduser("~"))
    while at not in found:
        found.add(at)
        at = os.path.dirname(at)
    return frozenset(found)


def around(
    tree: Tree,
    place: Place,
    tracked: Iterable[str],
    request: Request,
    notes: Notes,
    budget: Budget,
) -> Iterator[Candidate]:
    """Yield what belongs to the script when nobody listed anything, the most important first.

    Args:
        tree: That of the root.
        place: Where the code is.
        tracked: The files that git tracks.
        request: What the training told.
        notes: Takes what is left out.
        budget: What may be spent.
    """
    seen: set[str] = set()
    first = os.path.join(place.below, place.script) if place.script else None
    if first is not None:
        seen.add(first)
        yield Candidate(tree, first, first)
    for path in sorted(tracked, key=lambda path: _rank(path, place.below)):
        if path not in seen:
            seen.add(path)
            yield Candidate(tree, path, path)
    for path in _beside(tree, place, request, notes, budget):
        if path not in seen:
            yield Candidate(tree, path, path)


def _rank(path: str, below: str) -> tuple[bool, int, int, str]:
    """Return the place of a path in the order: code before data, the near before the far."""
    here, there = below.split("/") if below else [], path.split("/")[:-1]
    common = 0
    while common < min(len(here), len(there)) and here[common] == there[common]:
        common += 1
    is_data = is_wordy(path) or not is_source(path)
    return is_data, len(here) + len(there) - 2 * common, len(there), path


def _beside(
    tree: Tree, place: Place, request: Request, notes: Notes, budget: Budget
) -> Iterator[str]:
    """Yield source files beside the script and below: untracked ones, less the ignored."""
    more = "" if place.repository is None else place.repository.excluded()
    spared = {os.path.relpath(os.path.realpath(path), tree.path) for path in request.spared}
    ignored = Ignored(tree, more=more, spared=frozenset(spared))
    # What git tracks is told of by its index.
    passed = notes if place.repository is None else Notes()
    is_deep = place.directory not in _ceilings()
    if not is_deep:
        notes.skip("./*/", "directories of a directory that is no project")
    try:
        for path in walk(tree, place.below, passed, budget, ignored=ignored, is_deep=is_deep):
            if is_source(path) and not path.rpartition("/")[2].startswith("."):
                yield path
    except Spent as why:
        notes.skip(f"{place.below or '.'}/", str(why))


def refusal(name: str) -> str | None:
    """Say why a file is not even opened; None: it is."""
    if not name.isprintable():
        return "a name that cannot be printed"
    if is_secret(name):
        return "holds secrets by its name"
    if is_binary(name):
        return "binary by its name"
    return None


def content_of(candidate: Candidate, most_bytes: int) -> bytes:
    """Return the text of a candidate.

    Raises:
        Unread: It cannot be read, or is no text.
    """
    content = candidate.tree.read(candidate.path, most_bytes)
    odd = sum(content.count(bytes((byte,))) for byte in _ODD_BYTES)
    if b"\0" in content or odd * 20 > len(content):
        raise Unread("binary")
    return content


# Bytes that no text has, but for a few.
_ODD_BYTES = tuple(byte for byte in range(1, 32) if byte not in (8, 9, 10, 12, 13, 27))
