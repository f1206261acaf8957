"""Code that was kept with a run, in memory: what a snapshot answers, without its files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class KeptFile:
    id: int
    path: str
    size: int
    lines: int
    sha256: str


@dataclass(frozen=True)
class KeptLine:
    path: str
    line: int
    text: str


@dataclass
class KeptCode:
    """Has the interface of a snapshot; what is asked of it is noted."""

    texts: Mapping[str, str]
    skipped_counts: Mapping[str, int] = field(default_factory=dict)
    hash: str = "0123456789abcdef" * 4
    asked: list[object] = field(default_factory=list)

    @property
    def entries(self) -> tuple[KeptFile, ...]:
        return tuple(
            KeptFile(number, path, len(text.encode()), len(text.splitlines()),
                     hashlib.sha256(text.encode()).hexdigest())
            for number, (path, text) in enumerate(sorted(self.texts.items()))
        )  # fmt: skip

    def entry(self, path_or_id: str | int) -> KeptFile:
        self.asked.append(path_or_id)
        for entry in self.entries:
            if path_or_id in (entry.path, entry.id):
                return entry
        raise KeyError(path_or_id)

    def lines(self, path_or_id: str | int, first: int = 1, last: int | None = None) -> list[str]:
        text = self.texts[self.entry(path_or_id).path]
        return text.splitlines()[first - 1 : last]

    def search(
        self,
        pattern: str,
        *,
        regex: bool = False,
        ignore_case: bool = False,
        glob: str | None = None,
        limit: int = 100,
        timeout_secs: float = 2.0,  # noqa: ARG002 -- as the real one
    ) -> tuple[list[KeptLine], bool]:
        if regex and pattern.startswith("("):
            raise ValueError("unclosed group")
        pattern = pattern if regex else re.escape(pattern)
        if regex and not pattern.isalnum():
            return [], False  # the real one takes linear time, this one may not
        found = [
            KeptLine(path, number, line)
            for path, text in sorted(self.texts.items())
            if glob is None or path.endswith(glob.removeprefix("*"))
            for number, line in enumerate(text.splitlines(), 1)
            if re.search(pattern, line, re.IGNORECASE if ignore_case else 0)
        ]
        return found[:limit], len(found) > limit
