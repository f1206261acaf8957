"""All rows of the board, in the order in which they are played."""

from __future__ import annotations

from faults.board import disks, exits, forks, kills
from faults.board.row import Row

ALL: list[Row] = [*kills.ROWS, *disks.ROWS, *forks.ROWS, *exits.ROWS]
BY_NAME = {row.name: row for row in ALL}
