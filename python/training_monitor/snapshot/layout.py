"""Where kept code lies in the directory of a run; `rust/core/src/code.rs` knows it, too.

::

    code/                     the newest code as a plain tree, files 0400
    .code/attempts.jsonl      a line per attempt: which code it had, when, and what is told of it
    .code/<hash>.json         the files of one code: path, size, lines, object
    .code/objects/<sha256>    contents without secrets, and what is told of attempts
    .code/shown               which code the tree shows
"""

from __future__ import annotations

import os
import re

__all__ = [
    "ATTEMPTS",
    "FORMAT",
    "OBJECTS",
    "SHOWN",
    "STORE",
    "TREE",
    "is_hash",
    "manifest_path",
    "object_path",
]

FORMAT = 1
STORE = ".code"
TREE = "code"
OBJECTS = "objects"
ATTEMPTS = "attempts.jsonl"
SHOWN = "shown"
_HASH = re.compile(r"[0-9a-f]{64}")


def is_hash(text: object) -> bool:
    """Return whether a text may name an object: nothing else becomes a path."""
    return isinstance(text, str) and _HASH.fullmatch(text) is not None


def manifest_path(run_dir: str, code: str) -> str:
    """Return the path of the list of files of a code."""
    return os.path.join(run_dir, STORE, f"{code}.json")


def object_path(run_dir: str, name: str) -> str:
    """Return the path of a content."""
    return os.path.join(run_dir, STORE, OBJECTS, name)
