"""All rows of the board, in the order in which they are played."""

from __future__ import annotations

from faults.board import (
    calls,
    clocks,
    disks,
    exits,
    forks,
    kills,
    mapped,
    names,
    network,
    power,
    values,
)
from faults.board.row import Row

ROOMS = [kills, calls, power, disks, mapped, forks, exits, network, names, clocks, values]
ALL: list[Row] = [row for room in ROOMS for row in room.ROWS]
BY_NAME = {row.name: row for row in ALL}
