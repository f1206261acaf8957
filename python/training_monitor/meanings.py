"""What the metrics of a recorded run mean: inferred, and as the user has defined them."""

from __future__ import annotations

import json
from dataclasses import replace

from training_monitor.answers import numbers
from training_monitor.detect.definition import Definition, read_definition
from training_monitor.detect.headline import understand
from training_monitor.detect.meaning import History, Meaning, infer, is_open
from training_monitor.tables import run_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol

    from training_monitor.answers import Series

    class View(Protocol):
        """What is asked of a recorded run."""

        def definitions(self) -> list[Definition]: ...
        def series(self, key: str, *, max_points: int | None = None) -> Series: ...


__all__ = ["read_definitions", "read_meanings"]

_DEFINITIONS = """
    SELECT detail FROM events WHERE kind = 'definition' AND detail IS NOT NULL
    GROUP BY detail ORDER BY max(id)
"""
# So many points tell a clock from a duration.
_GLANCE_POINTS = 64
_NO_NUMBERS = ("text", "none")


def read_definitions(path: str) -> list[Definition]:
    """Return what was said of metrics, the oldest first; ranks that say the same say it once."""
    found = []
    for (detail,) in run_query(path, _DEFINITIONS, limit=None):
        facts = json.loads(detail)
        if isinstance(facts, dict):
            found.append(read_definition(facts))
    return found


def read_meanings(view: View, rows: Iterable[dict[str, Any]]) -> dict[str, Meaning]:
    """Return what each metric means.

    Args:
        view: The run.
        rows: Its metrics in a few numbers, as the reader has them.
    """
    histories: dict[str, History | None] = {}
    texts = set()
    for row in sorted(rows, key=lambda row: str(row["name"])):
        name = row["name"]
        histories[name] = _history(view, row)
        if row["kind"] in _NO_NUMBERS:
            texts.add(name)
    meanings = understand(
        {name: history for name, history in histories.items() if name not in texts},
        view.definitions(),
    )
    silent = dict.fromkeys(texts, Meaning("other"))
    return {name: meanings.get(name) or replace(silent[name]) for name in histories}


def _history(view: View, row: dict[str, Any]) -> History | None:
    """Return what is known of the values without reading them, where that is enough."""
    if row["min"] is None or row["max"] is None or row["kind"] in _NO_NUMBERS:
        return None
    if is_open(infer(row["name"])):
        points = view.series(row["name"], max_points=_GLANCE_POINTS)
        return History.of(numbers(points.value).tolist())
    last = row["last_value"]
    last = float(last) if isinstance(last, (int, float)) else row["max"]
    return History(row["count"], row["min"], last, row["min"], row["max"])
