"""Columns as frames of pandas and polars, for those who have them."""

from __future__ import annotations

from training_monitor.errors import MissingLibraryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["to_pandas", "to_polars"]


def to_pandas(columns: Mapping[str, Any]) -> Any:
    """Return a pandas.DataFrame of named columns of one length."""
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingLibraryError("to_pandas()", "pandas", "pip install pandas") from error
    return pd.DataFrame(dict(columns))


def to_polars(columns: Mapping[str, Any]) -> Any:
    """Return a polars.DataFrame of named columns of one length."""
    try:
        import polars as pl
    except ImportError as error:
        raise MissingLibraryError("to_polars()", "polars", "pip install polars") from error
    series = [
        pl.Series(name, list(values), dtype=pl.Object)
        if _is_mixed(values)
        else pl.Series(name, values if _has_type(values) else list(values))
        for name, values in columns.items()
    ]
    return pl.DataFrame(series)


def _has_type(values: Any) -> bool:
    """Return whether this is an array of one type, and not of Python objects."""
    return str(getattr(values, "dtype", "object")) != "object"


def _is_mixed(values: Any) -> bool:
    """Return whether values of several types stand side by side, which polars has no type for."""
    return not _has_type(values) and len({type(v) for v in values if v is not None}) > 1
