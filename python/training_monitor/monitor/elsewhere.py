"""Who logs into a run on other hosts, as far as the database knows."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from training_monitor import _core

__all__ = ["open_elsewhere"]


def open_elsewhere(reader: _core.RunReader) -> list[dict[str, Any]]:
    """Return the producers of other hosts that have not ended.

    Raises:
        StoreError: The database cannot be read.
    """
    here = os.uname().nodename
    rows = reader.producers()
    return [row for row in rows if row["ended_how"] is None and row["host"] != here]
