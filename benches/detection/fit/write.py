"""Writes the fitted constants as the table that the package reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.fit.crossfit import Fitted
from training_monitor.predict import families

PLACE = Path(families.__file__).with_name("constants.py")

HEAD = '''"""Constants of the forecast and of the stop advice, written by benches/detection/fit.

GATES: per kind a row per trait and a column per level, then per trend. SCALES: per kind the
logarithm of the width as a sum over doubts. QUANTILES: per kind where the bounds lie, in widths.
ODDS: a column per clue.
"""

from __future__ import annotations

from typing import Final

__all__ = ["GATES", "ODDS", "QUANTILES", "SCALES"]

Row = tuple[float, ...]
'''


def write_constants(kinds: dict[str, Fitted], odds: dict[str, NDArray[np.float64]]) -> None:
    lines = [HEAD, "# fmt: off", "GATES: Final[dict[str, tuple[Row, ...]]] = {"]
    lines.append(f"    # {', '.join(families.LEVELS)};")
    lines.append(f"    # {', '.join(families.TRENDS)}")
    for kind, found in kinds.items():
        lines.append(f'    "{kind}": (')
        lines += [
            f"        {_row(row)},  # {name}"
            for name, row in zip(families.TRAITS, found.gates, strict=True)
        ]
        lines.append("    ),")
    lines += ["}", *_table("SCALES", {kind: found.scale for kind, found in kinds.items()})]
    lines += _table("QUANTILES", {kind: found.quantiles for kind, found in kinds.items()})
    lines += [*_table("ODDS", odds), "# fmt: on"]
    PLACE.write_text("\n".join(lines) + "\n")


def _table(name: str, rows: dict[str, NDArray[np.float64]]) -> list[str]:
    inside = [f'    "{key}": {_row(row)},' for key, row in rows.items()]
    return [f"{name}: Final[dict[str, Row]] = {{", *inside, "}"]


def _row(values: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{round(float(value), 3):g}" for value in values) + ")"
