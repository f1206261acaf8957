"""The ranks of a run as `status` and `show` print them."""

from __future__ import annotations

from dataclasses import asdict

from training_monitor import _core
from training_monitor.cli import render
from training_monitor.errors import StoreError
from training_monitor.ranks import made_ranks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from training_monitor.ranks import Rank

__all__ = ["end_lines", "print_ranks", "rank_facts", "ranks_of"]

_SHOWN = 16
_LATE_SECS = 1.0
_SLOW = 1.2
_REMARK_CHARS = 60


def ranks_of(path: str) -> list[Rank]:
    """Return the ranks of the newest attempt; none where nothing is durable yet."""
    try:
        return made_ranks(_core.RunReader(path).ranks())
    except (FileNotFoundError, StoreError):
        return []  # the rest of the answer says why


def rank_facts(ranks: Sequence[Rank]) -> dict[str, Any]:
    """Return the ranks for JSON."""
    return {"ranks": [asdict(rank) for rank in ranks]}


def end_lines(ranks: Sequence[Rank], known: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return how the only rank ended without close(), unless the known lines say it already.

    It is no finding where nobody knows how it ended, as after a kill of the monitor as well.
    """
    if len(ranks) != 1 or ranks[0].end is None or ranks[0].exit_code == 0:
        return []
    word = f"rank{ranks[0].rank}/end"
    return [] if any(one == word for one, _ in known) else [(word, ranks[0].end)]


def print_ranks(ranks: Sequence[Rank]) -> None:
    """Print a line per rank where there are several: all of a few, else those that stand out."""
    if len(ranks) < 2:
        return
    chosen = ranks if len(ranks) <= _SHOWN else _worst(ranks)
    print()
    render.print_table(
        ("RANK", "HOST", "STEP", "BEHIND", "STEP TIME", "X PEERS", "LATE", ""),
        [_cells(rank) for rank in sorted(chosen, key=lambda rank: rank.rank)],
        left=2,
    )
    if len(chosen) < len(ranks):
        print(f"... and {len(ranks) - len(chosen)} more ranks")


def _worst(ranks: Sequence[Rank]) -> list[Rank]:
    def badness(rank: Rank) -> tuple[bool, bool, float, float, int]:
        died = rank.ended_how == "died" and rank.exit_code != 0
        behind = rank.steps_behind or 0
        return died, rank.silent, rank.straggler or 0.0, rank.lag_secs or 0.0, behind

    return sorted(ranks, key=badness, reverse=True)[:_SHOWN]


def _cells(rank: Rank) -> tuple[str, ...]:
    return (
        str(rank.rank),
        rank.host,
        render.whole(rank.last_step),
        render.whole(rank.steps_behind),
        _duration(rank.step_secs),
        "-" if rank.straggler is None else f"{rank.straggler:.2f}",
        _duration(rank.lag_secs),
        _remark(rank),
    )


def _duration(secs: float | None) -> str:
    if secs is None or secs >= 1.0:
        return render.in_seconds(secs)
    return render.in_nanoseconds(round(secs * 1e9))


def _ending(rank: Rank) -> str:
    if rank.ended_how != "died":
        return rank.ended_how or ""
    if rank.exception is not None and rank.exit_code == 1:
        return rank.exception[:_REMARK_CHARS]
    if rank.exit_code == 0:
        return "ended"
    return rank.signal or ("died" if rank.exit_code is None else f"exit code {rank.exit_code}")


def _remark(rank: Rank) -> str:
    if rank.ended_how is not None:
        return _ending(rank)
    if rank.silent:
        return f"silent, last point {render.ago(rank.last_time)}"
    slow, late = (rank.straggler or 0.0) >= _SLOW, (rank.lag_secs or 0.0) >= _LATE_SECS
    return "slow" if slow else "late" if late else ""
