"""What differs between texts and between snapshots, as one unified diff of bounded size."""

from __future__ import annotations

import time

from training_monitor import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from training_monitor.snapshot.snapshot import Snapshot

__all__ = ["difference", "join_diffs"]

_LONGEST_SECS = 10.0
_FILE_SECS = 1.0


def difference(old: Snapshot, new: Snapshot, *, max_bytes: int = 256 * 2**10) -> str:
    """Return what changed from one snapshot to another; "" when nothing did.

    Args:
        old: The one before.
        new: The one after.
        max_bytes: The diff is cut at a line after so many bytes, and says so.
    """
    return join_diffs(_pairs(old, new), most_bytes=max_bytes, within=_LONGEST_SECS)


def _pairs(old: Snapshot, new: Snapshot) -> Iterator[tuple[str, str, str]]:
    before = {entry.path: entry for entry in old.entries}
    after = {entry.path: entry for entry in new.entries}
    for path in sorted(before.keys() | after.keys()):
        was, is_now = before.get(path), after.get(path)
        if was is not None and is_now is not None and was.sha256 == is_now.sha256:
            continue
        yield path, old.text(path) if was else "", new.text(path) if is_now else ""


def join_diffs(pairs: Iterable[tuple[str, str, str]], *, most_bytes: int, within: float) -> str:
    """Return the differences of files one after another.

    Args:
        pairs: Path, old and new text; "" is a file that is not there.
        most_bytes: Bytes of all of it, about.
        within: After so many seconds the other files are only named.
    """
    end = time.monotonic() + within
    pieces: list[str] = []
    size = 0
    for path, old, new in pairs:
        left = end - time.monotonic()
        if size >= most_bytes or left <= 0:
            piece = f"... and in {path}: not shown\n"
        else:
            piece = _core.unified_diff(
                old,
                new,
                old_name=f"a/{path}" if old else "/dev/null",
                new_name=f"b/{path}" if new else "/dev/null",
                timeout_s=min(_FILE_SECS, left),
            )
            piece = _cut(piece, max(0, most_bytes - size), path)
        size += len(piece.encode())
        if size > most_bytes + 4_000:
            pieces.append("... and in further files\n")
            break
        pieces.append(piece)
    return "".join(pieces)


def _cut(piece: str, most_bytes: int, path: str) -> str:
    """Return the whole lines at the start that fit."""
    data = piece.encode()
    if len(data) <= most_bytes:
        return piece
    kept = data[:most_bytes].rpartition(b"\n")[0].decode("utf-8", "ignore")
    return f"{kept}\n... the difference of {path} goes on\n" if kept else f"... and in {path}\n"
