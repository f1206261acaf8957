"""The files that somebody listed: lines of `snapshot_files.txt`, or paths given to init()."""

from __future__ import annotations

import os
import re

from training_monitor._core import PathPatterns
from training_monitor.snapshot.choosing import Candidate
from training_monitor.snapshot.limits import Spent
from training_monitor.snapshot.tree import Tree, Unread
from training_monitor.snapshot.walk import Ignored, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from training_monitor.snapshot.limits import Budget, Notes

__all__ = ["Listing", "find_manifest"]

_MOST_MANIFEST_BYTES = 2**20
_MOST_LINES = 5_000
_GLOB = re.compile(r"[*?\[]")


def find_manifest(name: str, directories: list[str]) -> tuple[str, list[str]] | None:
    """Return the directory of the list of code and its lines; None when there is none.

    Args:
        name: Its path, absolute or relative to one of the directories.
        directories: Where it is looked for.
    """
    for directory in directories:
        path = os.path.join(directory, os.path.expanduser(name))
        try:
            with Tree(os.path.dirname(path)) as tree:
                text = tree.read(os.path.basename(path), _MOST_MANIFEST_BYTES)
                return tree.path, text.decode("utf-8", "replace").splitlines()[:_MOST_LINES]
        except (OSError, Unread, ValueError):
            continue
    return None


class Listing:
    """Files by lines: a file, a directory or a glob each; `#` begins a comment, `!` takes out.

    Args:
        base: The directory to which the lines are relative.
        lines: The lines.
        bounds: Directories of which lines may name something outside of `base`; None: any.
        notes: Takes what is left out.
        budget: What may be spent.
    """

    def __init__(
        self, base: str, lines: list[str], bounds: str | None, notes: Notes, budget: Budget
    ) -> None:
        self._base = os.path.realpath(base)
        self._bounds = bounds
        self._notes = notes
        self._budget = budget
        words = [line.strip() for line in lines]
        self._wishes = [word for word in words if word and word[0] not in "#!"]
        self._taken_out = PathPatterns([word[1:].strip() for word in words if word[:1] == "!"])
        self._trees: dict[str, Tree] = {}
        self._prefixes: dict[str, str] = {}

    def close(self) -> None:
        """Let go of the directories."""
        for tree in self._trees.values():
            tree.close()

    def candidates(self) -> Iterator[Candidate]:
        """Yield the files, in the order of the lines, each once."""
        seen: set[str] = set()
        for wish in self._wishes:
            for candidate in self._meant_or_noted(wish):
                out = self._taken_out.means(candidate.name, whole=True)
                if candidate.name not in seen and not out:
                    seen.add(candidate.name)
                    yield candidate

    def _meant_or_noted(self, wish: str) -> Iterator[Candidate]:
        """Yield what one line means; note why that is nothing, or not all of it."""
        try:
            yield from self._meant(wish)
        except Unread as why:
            self._notes.skip(wish, f"listed, and {why}")
        except Spent as why:
            self._notes.skip(wish, str(why))

    def _meant(self, wish: str) -> Iterator[Candidate]:
        """Yield what one line means."""
        path = os.path.normpath(os.path.join(self._base, os.path.expanduser(wish)))
        glob = _GLOB.search(path)
        if glob is not None:
            directory = path[: glob.start()].rpartition(os.sep)[0] or os.sep
            inside = os.path.relpath(path, directory)
            yield from self._below(directory, PathPatterns([f"/{inside}"]))
            return
        directory, name = os.path.split(path)
        if path == self._base or not name:
            yield from self._below(path, None)
            return
        tree, start, prefix = self._spot(directory)
        if tree.kind(_joined(start, name)) == "file":
            yield Candidate(tree, _joined(start, name), _joined(prefix, name))
        else:
            yield from self._below(path, None)

    def _below(self, directory: str, globs: PathPatterns | None) -> Iterator[Candidate]:
        """Yield the files below a directory, those that a glob means where there is one."""
        tree, start, prefix = self._spot(directory)
        found = False
        for path in walk(tree, start, self._notes, self._budget, ignored=Ignored(tree)):
            inside = path[len(start) :].lstrip("/")
            if globs is None or globs.means(inside, whole=True):
                found = True
                yield Candidate(tree, path, _joined(prefix, inside))
        if not found and globs is not None:
            raise Unread("no file fits")

    def _spot(self, directory: str) -> tuple[Tree, str, str]:
        """Return where a directory is read: a tree, its path there, and what its names begin with.

        A tree is never left by a link, so that none leads out of `base` or of the bounds.
        """
        if _is_below(directory, self._base):
            inside = _inside(directory, self._base)
            return self._tree(self._base), inside, inside
        prefix = self._prefix(directory)
        if self._bounds is None:
            return self._tree(os.path.realpath(directory)), "", prefix
        if not _is_below(directory, self._bounds):
            raise Unread(f"outside of {self._bounds}")
        return self._tree(self._bounds), _inside(directory, self._bounds), prefix

    def _tree(self, directory: str) -> Tree:
        if directory not in self._trees:
            try:
                self._trees[directory] = Tree(directory)
            except FileNotFoundError:
                raise Unread("not there") from None
            except OSError as error:
                raise Unread(f"not readable: {error.strerror}") from None
        return self._trees[directory]

    def _prefix(self, directory: str) -> str:
        """Return what names in a directory outside of `base` begin with: its last name."""
        if directory in self._prefixes:
            return self._prefixes[directory]
        name = os.path.basename(directory) or "root"
        taken, count = set(self._prefixes.values()), 1
        prefix = name
        while prefix in taken or os.path.lexists(os.path.join(self._base, prefix)):
            count += 1
            prefix = f"{name}-{count}"
        self._prefixes[directory] = prefix
        return prefix


def _inside(path: str, directory: str) -> str:
    inside = os.path.relpath(path, directory)
    return "" if inside == "." else inside


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip(os.sep) + os.sep)


def _joined(prefix: str, path: str) -> str:
    return f"{prefix}/{path}" if prefix else path
