"""A git repository as its files tell of it: root, commit, branch, what is tracked."""

from __future__ import annotations

import os
import re

from training_monitor.snapshot.index import read_index
from training_monitor.snapshot.tree import Tree, Unread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.snapshot.index import Tracked

__all__ = ["Repository", "find_repository"]

_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MOST_CLIMBED = 64
_MOST_INDEX_BYTES = 128 * 2**20
_MOST_REF_BYTES = 4 * 2**10
_MOST_PACKED_BYTES = 64 * 2**20


class Repository:
    """One repository with a working directory.

    Args:
        root: The working directory.
        git_dir: Where its index and its HEAD are.
        common_dir: Where its references and objects are: the same, but in a further worktree.
    """

    def __init__(self, root: str, git_dir: str, common_dir: str) -> None:
        self.root = root
        self.git_dir = git_dir
        self._common_dir = common_dir

    def head(self) -> tuple[str | None, str | None]:
        """Return the commit and the branch; None where there is none, or it cannot be told."""
        said = _read(self.git_dir, "HEAD", _MOST_REF_BYTES).strip()
        if not said.startswith("ref: "):
            return (said if _HASH.fullmatch(said) else None), None
        name = said.removeprefix("ref: ").strip()
        branch = name.removeprefix("refs/heads/")
        if ".." in name or not name.startswith("refs/") or not name.isprintable():
            return None, None
        for place in (self.git_dir, self._common_dir):
            commit = _read(place, name, _MOST_REF_BYTES).strip()
            if _HASH.fullmatch(commit):
                return commit, branch
        return self._packed(name), branch

    def _packed(self, name: str) -> str | None:
        for line in _read(self._common_dir, "packed-refs", _MOST_PACKED_BYTES).splitlines():
            commit, _, known = line.partition(" ")
            if known.strip() == name and _HASH.fullmatch(commit):
                return commit
        return None

    def tracked(self, *, hash_bytes: int = 20) -> list[Tracked] | None:
        """Return what git tracks; None when its index cannot be read."""
        try:
            with Tree(self.git_dir) as tree:
                return read_index(tree.read("index", _MOST_INDEX_BYTES), hash_bytes=hash_bytes)
        except (OSError, Unread):
            return None

    def excluded(self) -> str:
        """Return the lines that ignore files in this clone alone."""
        return _read(self._common_dir, "info/exclude", _MOST_PACKED_BYTES)


def find_repository(start: str, *, ceilings: frozenset[str]) -> Repository | None:
    """Return the repository whose working directory holds `start`; None when there is none.

    Args:
        start: An absolute directory without links.
        ceilings: Directories that are no project, whatever is in them: home, say.
    """
    at = start
    for _ in range(_MOST_CLIMBED):
        if at in ceilings or at == os.path.dirname(at):
            return None
        if (found := _repository_at(at)) is not None:
            return found
        at = os.path.dirname(at)
    return None


def _repository_at(root: str) -> Repository | None:
    place = os.path.join(root, ".git")
    try:
        if os.path.isdir(place):
            git_dir = place
        else:
            # Of a worktree or a submodule: a file that names the directory.
            said = _read(root, ".git", _MOST_REF_BYTES)
            if not said.startswith("gitdir: "):
                return None
            git_dir = os.path.join(root, said.removeprefix("gitdir: ").strip())
        git_dir = os.path.realpath(git_dir)
        common = _read(git_dir, "commondir", _MOST_REF_BYTES).strip()
        common_dir = os.path.realpath(os.path.join(git_dir, common)) if common else git_dir
        is_one = os.path.isfile(os.path.join(git_dir, "HEAD")) and os.path.isdir(
            os.path.join(common_dir, "objects")
        )
    except (OSError, ValueError):
        return None
    return Repository(root, git_dir, common_dir) if is_one else None


def _read(directory: str, name: str, most_bytes: int) -> str:
    """Return a small text; "" when it cannot be read."""
    try:
        with Tree(directory) as tree:
            return tree.read(name, most_bytes).decode("utf-8", "replace")
    except (OSError, Unread):
        return ""
