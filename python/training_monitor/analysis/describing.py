"""What the code does and what the metrics measure: asked once for each snapshot, and kept."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile

from training_monitor.errors import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["DESCRIBE_TOOL", "CodeNotes", "read_descriptions"]

_DIRECTORY = ".code_notes"
_SUMMARY = "code_summary.md"
_DESCRIPTIONS = "metric_descriptions.json"
_MOST_SUMMARY_CHARS = 20_000
_MOST_CHARS = 400
_MOST_METRICS = 2000

DESCRIBE_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "describe_metrics",
        "description": "Hand in the descriptions. Call it once, with all metrics.",
        "parameters": {
            "type": "object",
            "properties": {
                "descriptions": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "metric": {"type": "string", "description": "its name, as given"},
                            "description": {"type": "string", "description": "what it measures"},
                        },
                        "required": ["metric", "description"],
                        "additionalProperties": False,
                    },
                }
            },
            "required": ["descriptions"],
            "additionalProperties": False,
        },
    },
}


class CodeNotes:
    """Summary and descriptions of one snapshot, shared by all runs under a root directory.

    Args:
        root_dir: The directory that holds the runs.
        run_dir: The run, which gets a copy of both.
        snapshot: The hash of the code; empty: there is no code, and nothing is shared.
    """

    def __init__(self, root_dir: str, run_dir: str, snapshot: str) -> None:
        self._run_dir = run_dir
        self._shared = os.path.join(root_dir, _DIRECTORY, snapshot) if snapshot else None

    @property
    def summary(self) -> str:
        """The summary of the code; empty: there is none yet."""
        for directory in self._places():
            text = _read(os.path.join(directory, _SUMMARY))
            if text:
                return text
        return ""

    @property
    def descriptions(self) -> dict[str, str]:
        """What the metrics measure, by name."""
        found: dict[str, str] = {}
        for directory in reversed(self._places()):
            found |= _parsed(_read(os.path.join(directory, _DESCRIPTIONS)))
        return found

    def keep_summary(self, text: str) -> None:
        """Keep a new summary."""
        text = _clean(text, _MOST_SUMMARY_CHARS)
        if text:
            self._write(_SUMMARY, text + "\n")

    def keep_descriptions(self, new: Mapping[str, str]) -> None:
        """Keep further descriptions, and those that there are."""
        known = self.descriptions | dict(new)
        if known:
            kept = dict(sorted(known.items())[:_MOST_METRICS])
            self._write(_DESCRIPTIONS, json.dumps(kept, indent=2, ensure_ascii=False) + "\n")

    def copy(self) -> None:
        """Give the run its copy of what another one has found out already."""
        if self.summary:
            self.keep_summary(self.summary)
        if self.descriptions:
            self.keep_descriptions({})

    def forget(self) -> None:
        """Drop what is kept, so that it is asked anew."""
        for directory in self._places():
            for name in (_SUMMARY, _DESCRIPTIONS):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(directory, name))

    def _places(self) -> list[str]:
        """Return where it is looked for: what is kept for the code counts first.

        The files of the run are of its code of then: they count only where no code is known.
        """
        return [self._run_dir] if self._shared is None else [self._shared]

    def _write(self, name: str, text: str) -> None:
        for directory in {self._run_dir, *self._places()}:
            # What cannot be kept in one place is in the other, or it is asked again.
            with contextlib.suppress(OSError):
                os.makedirs(directory, mode=0o700, exist_ok=True)
                handle, draft = tempfile.mkstemp(dir=directory, prefix=f".{name}-")
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(draft, os.path.join(directory, name))

    @staticmethod
    def described(arguments: object, wanted: Iterable[str]) -> dict[str, str]:
        """Return the descriptions that a model handed in, of the metrics it was asked about.

        Raises:
            ValueError: They are of no use; the text says why, for the model.
        """
        rows = arguments.get("descriptions") if isinstance(arguments, dict) else None
        if isinstance(rows, dict):
            rows = [{"metric": name, "description": text} for name, text in rows.items()]
        rows = rows if isinstance(rows, list) else []
        names = set(wanted)
        found = {
            row["metric"]: _clean(row["description"], _MOST_CHARS)
            for row in rows
            if isinstance(row, dict)
            and isinstance(row.get("metric"), str)
            and isinstance(row.get("description"), str)
            and row["metric"] in names
            and row["description"].strip()
        }
        if not found and names:
            raise ValueError(
                "descriptions must be a list of {metric, description}, and none of these was "
                f"described: {', '.join(sorted(names)[:20])}"
            )
        return found


def read_descriptions(run_dir: str) -> dict[str, str]:
    """Return what the metrics of a run measure, by name, as its file says."""
    return _parsed(_read(os.path.join(run_dir, _DESCRIPTIONS)))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(4 * _MOST_METRICS * _MOST_CHARS).strip()
    except OSError:
        return ""


def _parsed(text: str) -> dict[str, str]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: said for name, said in found.items() if isinstance(said, str)}


def _clean(text: str, most: int) -> str:
    """Return a text of a model as files may hold it: no control characters, not endless."""
    return "\n".join(plain(line) for line in text.strip().splitlines())[:most]
