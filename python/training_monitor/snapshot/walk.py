"""The files below a directory, the nearest first, less what is ignored or holds no code."""

from __future__ import annotations

from training_monitor._core import PathPatterns
from training_monitor.snapshot.kinds import no_code_in
from training_monitor.snapshot.tree import Unread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from training_monitor.snapshot.limits import Budget, Notes
    from training_monitor.snapshot.tree import Tree

__all__ = ["Ignored", "walk"]

_MOST_IGNORE_BYTES = 256 * 2**10
# What only a run, an environment or a repository of its own has in it.
_MARKS = {
    "pyvenv.cfg": "a virtual environment",
    "conda-meta": "a virtual environment",
    ".spool": "a run of training_monitor",
    ".claims": "runs of training_monitor",
    "training_monitor.db": "a run of training_monitor",
}
_OF_VERSIONS = frozenset((".git", ".hg", ".svn", ".jj"))


class Ignored:
    """What the files `.gitignore` of a tree take out.

    Args:
        tree: The tree.
        more: Lines that hold for all of it, as `.git/info/exclude` has them.
        spared: Paths that are left out as well.
    """

    def __init__(self, tree: Tree, *, more: str = "", spared: frozenset[str] = frozenset()) -> None:
        self._tree = tree
        self._known: dict[str, PathPatterns | None] = {}
        self._more = PathPatterns(more.splitlines())
        self._spared = spared

    def covers(self, path: str, *, is_dir: bool) -> bool:
        """Return whether a path is ignored; that of a directory above it is not asked."""
        if path in self._spared:
            return True
        above = path
        while above:
            above = above.rpartition("/")[0]
            lines = self._lines(above)
            if lines is not None:
                inside = path[len(above) :].lstrip("/")
                if (said := lines.means(inside, is_dir=is_dir)) is not None:
                    return said
        return bool(self._more.means(path, is_dir=is_dir))

    def covers_way(self, path: str) -> bool:
        """Return whether a file, or a directory on the way to it, is ignored."""
        parts = path.split("/")
        ways = ("/".join(parts[:count]) for count in range(1, len(parts)))
        return any(self.covers(way, is_dir=True) for way in ways) or self.covers(path, is_dir=False)

    def _lines(self, directory: str) -> PathPatterns | None:
        if directory not in self._known:
            try:
                place = f"{directory}/.gitignore" if directory else ".gitignore"
                text = self._tree.read(place, _MOST_IGNORE_BYTES).decode("utf-8", "replace")
                self._known[directory] = PathPatterns(text.splitlines())
            except Unread:
                self._known[directory] = None
        return self._known[directory]


def walk(
    tree: Tree,
    start: str,
    notes: Notes,
    budget: Budget,
    *,
    ignored: Ignored | None,
    is_deep: bool = True,
) -> Iterator[str]:
    """Yield the paths of files below `start`, those of nearer directories first.

    Args:
        tree: The tree.
        start: A directory in it; "" is all of it.
        notes: Takes what is not entered.
        budget: What may be spent.
        ignored: What is taken out; None: nothing.
        is_deep: Whether directories are entered.

    Raises:
        Spent: The budget is used up.
    """
    level = [start]
    for _ in range(budget.limits.deepest):
        below: list[str] = []
        for directory in level:
            try:
                entries = _listed(tree, directory, notes, budget)
            except Unread as why:
                notes.skip(f"{directory or '.'}/", str(why))
                continue
            for path, kind in entries:
                if ignored is not None and ignored.covers(path, is_dir=kind == "directory"):
                    continue
                if kind == "file":
                    yield path
                elif is_deep:
                    below.append(path)
        level = below
        if not level:
            return
    for directory in level:
        notes.skip(f"{directory}/", "too deep")


def _listed(tree: Tree, directory: str, notes: Notes, budget: Budget) -> list[tuple[str, str]]:
    """Return the files and directories in a directory by name; the rest is noted.

    A directory that is a run, an environment or a repository of its own has none.
    """
    found: list[tuple[str, str]] = []
    for name, kind in tree.entries(directory):
        budget.spend()
        if directory and name in _MARKS:
            raise Unread(_MARKS[name])
        path = f"{directory}/{name}" if directory else name
        if name in _OF_VERSIONS:
            continue
        why = no_code_in(name) if kind == "directory" else None
        if kind not in ("file", "directory"):
            why = kind
        if why is None and not name.isprintable():
            why = "a name that cannot be printed"
        if why is None:
            found.append((path, kind))
        else:
            notes.skip(path, why)
    return sorted(found)
