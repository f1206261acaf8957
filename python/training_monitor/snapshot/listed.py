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
            tree, prefix = self._tree(directory)
            inside = os.path.relpath(path, directory)
            yield from self._below(tree, prefix, "", PathPatterns([f"/{inside}"]))
            return
        directory, name = os.path.split(path)
        if path == self._base or not name:
            directory, name = path, ""
        tree, prefix = self._tree(directory)
        if name and tree.kind(name) == "file":
            yield Candidate(tree, name, _joined(prefix, name))
        elif name:
            tree, prefix = self._tree(path)
            yield from self._below(tree, prefix, "", None)
        else:
            yield from self._below(tree, prefix, "", None)

    def _below(
        self, tree: Tree, prefix: str, start: str, globs: PathPatterns | None
    ) -> Iterator[Candidate]:
        """Yield the files below a directory, those that a glob means where there is one."""
        found = False
        for path in walk(tree, start, self._notes, self._budget, ignored=Ignored(tree)):
            if globs is None or globs.means(path, whole=True):
                found = True
                yield Candidate(tree, path, _joined(prefix, path))
        if not found and globs is not None:
            raise Unread("no file fits")

    def _tree(self, directory: str) -> tuple[Tree, str]:
        """Return a directory and what names in it begin with in the snapshot."""
        if directory not in self._trees:
            prefix = self._prefix(directory)
            try:
                tree = Tree(directory)
            except FileNotFoundError:
                raise Unread("not there") from None
            except OSError as error:
                raise Unread(f"not readable: {error.strerror}") from None
            self._check(tree)
            self._trees[directory] = tree
            self._prefixes[directory] = prefix
        return self._trees[directory], self._prefixes[directory]

    def _check(self, tree: Tree) -> None:
        """Refuse a directory that a link leads to where nothing may be taken."""
        if self._bounds is not None and not _is_below(tree.path, self._bounds):
            tree.close()
            raise Unread(f"outside of {self._bounds}")

    def _prefix(self, directory: str) -> str:
        """Return what names in a directory begin with: what is outside goes by its last name."""
        if _is_below(directory, self._base):
            inside = os.path.relpath(directory, self._base)
            return "" if inside == "." else inside
        name = os.path.basename(directory) or "root"
        taken, count = set(self._prefixes.values()), 1
        prefix = name
        while prefix in taken or os.path.lexists(os.path.join(self._base, prefix)):
            count += 1
            prefix = f"{name}-{count}"
        return prefix


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip(os.sep) + os.sep)


def _joined(prefix: str, path: str) -> str:
    return f"{prefix}/{path}" if prefix else path
