"""How the code differs from its commit: the blobs of the commit are asked of git, nothing else.

`git cat-file --batch` runs no filter, no hook, no text conversion and no pager, so a repository of
a stranger cannot make it start anything. Both sides are rid of their secrets whole before they are
compared: in a difference a secret may be cut in two.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass

from training_monitor import _core
from training_monitor.snapshot.difference import join_diffs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from training_monitor.snapshot.limits import Budget

__all__ = ["Changes", "Compared", "blob_names", "changes"]

_LONGEST_SECS = 10.0


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs.

    Attributes:
        dirty: Whether anything does; None when that cannot be told.
        diff: A unified diff without secrets.
        trouble: Why there is no diff; "" when there is one, or nothing to differ.
    """

    dirty: bool | None
    diff: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """A tracked file as it is now.

    Attributes:
        path: Its path in the repository.
        names: What git may call its content; none: it is gone.
    """

    path: str
    names: tuple[str, ...]


def blob_names(content: bytes, *, length: int) -> tuple[str, ...]:
    """Return the names that git may give a content, in as many hexadecimal digits.

    Where it turns line ends, what it has is the content with those of Unix.
    """
    kind = "sha256" if length == 64 else "sha1"
    forms = {content: None, content.replace(b"\r\n", b"\n"): None}
    return tuple(
        hashlib.new(kind, b"blob %d\0" % len(form) + form, usedforsecurity=False).hexdigest()
        for form in forms
    )


def changes(
    git_dir: str,
    commit: str | None,
    files: Mapping[str, Compared],
    clean_of: Callable[[str], bytes],
    budget: Budget,
) -> Changes:
    """Compare files with what they are in a commit.

    Args:
        git_dir: The repository.
        commit: The commit; None: there is none yet.
        files: The tracked files, by their names in the snapshot.
        clean_of: Gives the content of a name now, without secrets; b"" when it is gone.
        budget: What may be spent.
    """
    if commit is None:
        return Changes(None, trouble="there is no commit yet")
    git = shutil.which("git")
    if git is None:
        return Changes(None, trouble="git is not installed")
    order = sorted(files)
    asked = [f"{commit}:{files[name].path}" for name in order]
    try:
        answers = _checked(_batch(git, git_dir, "--batch-check", asked, budget))
        known = dict(zip(order, answers, strict=True))
        changed = [name for name in order if known[name][0] not in files[name].names]
        small = [blob for blob, size in map(known.__getitem__, changed)
                 if blob and size <= budget.limits.most_file_bytes]  # fmt: skip
        old = _contents(_batch(git, git_dir, "--batch", small, budget)) if small else {}
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return Changes(None, trouble=f"git did not answer: {type(error).__name__}")
    pairs = (
        (name, _text(_core.redact_places(old.get(known[name][0], b""))[0]), _text(clean_of(name)))
        for name in changed
    )
    diff = join_diffs(pairs, most_bytes=budget.limits.most_diff_bytes, within=budget.left_secs)
    return Changes(bool(changed), diff)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _batch(git: str, git_dir: str, mode: str, lines: list[str], budget: Budget) -> bytes:
    """Ask git for objects by name."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # No object of a partial clone is fetched for us.
    quiet = {
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }
    done = subprocess.run(
        [git, "--no-pager", "--no-replace-objects", f"--git-dir={git_dir}", "cat-file", mode],
        input="".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=kept | quiet,
        cwd="/",
        check=True,
        timeout=max(0.1, min(_LONGEST_SECS, budget.left_secs)),
    )
    return done.stdout


def _checked(answer: bytes) -> list[tuple[str, int]]:
    """Return name and size of each object; "" is none."""
    found = []
    for line in answer.splitlines():
        words = line.rsplit(b" ", 2)
        is_blob = len(words) == 3 and words[1] == b"blob" and words[2].isdigit()
        found.append((words[0].decode(), int(words[2])) if is_blob else ("", 0))
    return found


def _contents(answer: bytes) -> dict[str, bytes]:
    found, at = {}, 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        name, kind, size = answer[at:end].split(b" ")
        at = end + 1 + int(size)
        if kind == b"blob":
            found[name.decode()] = answer[end + 1 : at]
        at += 1
    return found
