"""Parquet through pyarrow: key, step, time, value, exact, rank, attempt, kind.

`value` is a float64: of a bool 0 or 1, null where a value is no number. `exact` holds, as text,
what a float64 does not: text, and integers beyond 53 bits. `kind` is float, int, bool, none, text.
"""

from __future__ import annotations

from training_monitor.errors import MissingLibraryError
from training_monitor.export.points import kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from training_monitor.export.points import Points

__all__ = ["Writer"]

_EXACT_INT = 2**53
# A row group of some MiB: small chunks of many keys are gathered first.
_GROUP_POINTS = 256 * 1024


class Writer:
    """Appends chunks to an open file."""

    def __init__(self, file: BinaryIO) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingLibraryError(
                "--format parquet", "pyarrow", "pip install 'training-monitor[parquet]'"
            ) from error
        self._arrow = pa
        words = pa.dictionary(pa.int32(), pa.string())
        self._schema = pa.schema(
            [
                ("key", words),
                ("step", pa.int64()),
                ("time", pa.float64()),
                ("value", pa.float64()),
                ("exact", pa.string()),
                ("rank", pa.uint32()),
                ("attempt", pa.uint32()),
                ("kind", words),
            ]
        )
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._batches: list[Any] = []
        self._points = 0

    def write(self, points: Points) -> None:
        """Append the points; they reach the file in groups."""
        pa, count = self._arrow, len(points.step)
        columns = [
            pa.array([_utf8(points.key)] * count, pa.string()).dictionary_encode(),
            pa.array(points.step, pa.int64()),
            pa.array(points.time, pa.float64()),
            # NaN stays NaN: only None is null.
            pa.array([_number(value) for value in points.value], pa.float64(), from_pandas=False),
            pa.array([_exact(value) for value in points.value], pa.string()),
            pa.array(points.rank, pa.uint32()),
            pa.array(points.attempt, pa.uint32()),
            pa.array([kind_of(value) for value in points.value], pa.string()).dictionary_encode(),
        ]
        self._batches.append(pa.record_batch(columns, schema=self._schema))
        self._points += count
        if self._points >= _GROUP_POINTS:
            self._flush()

    def close(self) -> None:
        """Write what is left and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._batches:
            table = self._arrow.Table.from_batches(self._batches, self._schema)
            self._writer.write_table(table.unify_dictionaries())
        self._batches, self._points = [], 0


def _number(value: Any) -> float | None:
    if isinstance(value, (float, int)):
        return None if _exact(value) is not None else float(value)
    return None


def _exact(value: Any) -> str | None:
    if isinstance(value, str):
        return _utf8(value)
    if type(value) is int and abs(value) > _EXACT_INT:
        return str(value)
    return None


def _utf8(text: str) -> str:
    r"""Return text that Arrow can hold: a lone surrogate becomes ``\udXXX``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
