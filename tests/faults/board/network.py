"""The network between nodes, broken in every way."""

from __future__ import annotations

from faults.board.row import Measured, Row, Stage
from faults.break_network import CATCH_UP_SECS, play


def broken(stage: Stage) -> Measured:
    """Cut, reset, swallow, slow down: every point arrives once, soon after the network heals."""
    faults, relays = stage.size((500, 8), (12, 2))
    verdict = play(stage.directory, faults=faults, relays=relays, seed=stage.seed)
    figure = (
        f"{verdict.faults} faults on {relays} nodes, {verdict.points:,} points, "
        f"{verdict.lost} lost, {verdict.twice} twice, {verdict.wrong} wrong, caught up within "
        f"{verdict.slowest_secs:.1f} s"
    )
    return Measured(figure, verdict.is_clean)


ROWS = [
    Row(
        "7",
        "the network between nodes cut, reset, swallowing, one-way, at 1 kB/s, without answers",
        f"0 lost, 0 twice, caught up within {CATCH_UP_SECS:.0f} s",
        broken,
        limit_secs=600.0,
    ),
]
