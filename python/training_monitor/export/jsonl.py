r"""JSON lines: one object per point, every value exact.

``{"key": "loss", "step": 1, "time": 1700000000.5, "value": 0.25, "rank": 0, "attempt": 1}``

A float is a number with a point or an exponent, an integer one without, so that Python reads both
back with their types. What JSON has no number for, or other readers would round, is an object:
``{"float": "nan"}`` (``"nan:7ff8..."`` when its bits are unusual), ``{"float": "inf"}``,
``{"float": "-inf"}``, ``{"int": "1180591620717411303424"}`` beyond 53 bits. True, False, null and
text are themselves; what is not ASCII is escaped.
"""

from __future__ import annotations

import json
import math
from struct import unpack

from training_monitor.export.points import nan_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from training_monitor.export.points import Points

__all__ = ["Writer", "decode"]

_EXACT_INT = 2**53


class Writer:
    """Appends chunks to an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, points: Points) -> None:
        """Append one line per point."""
        key = json.dumps(points.key)
        lines = [
            f'{{"key": {key}, "step": {step}, "time": {time!r}, "value": {_encoded(value)}, '
            f'"rank": {rank}, "attempt": {attempt}}}\n'
            for step, time, value, rank, attempt in points.rows()
        ]
        self._file.write("".join(lines).encode("ascii"))

    def close(self) -> None:
        """End the file; there is nothing to end."""


def _encoded(value: Any) -> str:
    if type(value) is float:
        if math.isfinite(value):
            return repr(value)
        name = nan_name(value) if math.isnan(value) else ("inf" if value > 0 else "-inf")
        return f'{{"float": "{name}"}}'
    if type(value) is int and abs(value) > _EXACT_INT:
        return f'{{"int": "{value}"}}'
    return json.dumps(value)


def decode(value: Any) -> Any:
    """Return the value that was logged, from the `value` of a parsed line."""
    if not isinstance(value, dict):
        return value
    if "int" in value:
        return int(value["int"])
    name = value["float"]
    if name.startswith("nan:"):
        return unpack(">d", bytes.fromhex(name[4:]))[0]
    return float(name)
