"""The answer to a query, as rows that a notebook, a terminal and other libraries can show."""

from __future__ import annotations

from training_monitor import _core
from training_monitor.frames import to_pandas, to_polars
from training_monitor.notebook import table_html

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["DEFAULT_LIMIT", "DEFAULT_TIMEOUT_SECS", "Table", "run_query"]

DEFAULT_LIMIT = 10_000
DEFAULT_TIMEOUT_SECS = 30.0
_SHOWN_ROWS = 50


class Table:
    """Rows of values: None, int, float, str or bytes.

    Attributes:
        columns: The names of the columns; one may occur twice.
        rows: The rows, as tuples.
        truncated: Whether the query had more rows than the limit.
    """

    __slots__ = ("columns", "rows", "truncated")

    def __init__(
        self, columns: list[str], rows: list[tuple[Any, ...]], *, truncated: bool = False
    ) -> None:
        self.columns = columns
        self.rows = rows
        self.truncated = truncated

    def dicts(self) -> list[dict[str, Any]]:
        """Return one dict per row; of columns with one name the last wins."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame; pandas must be installed."""
        return to_pandas(self._by_column())

    def to_polars(self) -> Any:
        """Return a polars.DataFrame; polars must be installed."""
        return to_polars(self._by_column())

    def _by_column(self) -> dict[str, Any]:
        return {name: [row[at] for row in self.rows] for at, name in enumerate(self.columns)}

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def __getitem__(self, at: int) -> tuple[Any, ...]:
        return self.rows[at]

    def __repr__(self) -> str:
        more = ", truncated" if self.truncated else ""
        return f"<Table of {len(self.rows)} rows: {', '.join(self.columns)}{more}>"

    def _repr_html_(self) -> str:
        count = f"{len(self.rows):,} rows" + (", and there are more" if self.truncated else "")
        return table_html(self.columns, self.rows[:_SHOWN_ROWS], caption=count)


def run_query(
    path: str,
    sql: str,
    *,
    limit: int | None = DEFAULT_LIMIT,
    timeout_secs: float = DEFAULT_TIMEOUT_SECS,
) -> Table:
    """Answer one SELECT over a database; see `RunView.sql`."""
    columns, rows, truncated = _core.query(path, sql, limit=limit, timeout_s=timeout_secs)
    return Table(columns, rows, truncated=truncated)
