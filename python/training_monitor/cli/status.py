"""`training-monitor status`: how a run is doing at this moment."""

from __future__ import annotations

import time

from training_monitor import _core
from training_monitor.catalog import find_run, newest_run
from training_monitor.cli import machine, render
from training_monitor.cli.course import (
    Ahead,
    course_facts,
    course_lines,
    look_ahead,
    print_findings,
)
from training_monitor.cli.options import add_json, add_root_dir, add_run
from training_monitor.cli.outline import Outline, take_outline
from training_monitor.cli.ranks import end_lines, print_ranks, rank_facts, ranks_of
from training_monitor.monitor.lock import monitor_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

HELP = "Tell whether a run is alive, its last step, rate, backlog and last values."

_SAMPLE_SECS = 0.5
_VALUES = 12
_RANKS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the root directory and --json."""
    add_run(parser, optional=True)
    add_root_dir(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the status; the exit status is 0 as long as nothing is wrong with the run."""
    root = arguments.root_dir
    path = newest_run(root) if arguments.run is None else find_run(arguments.run, root)
    before = take_outline(path)
    outline, rate = before, None
    if before.state == "recording":
        began = time.monotonic()
        time.sleep(_SAMPLE_SECS)
        outline = take_outline(path)
        rate = max(outline.accepted - before.accepted, 0) / (time.monotonic() - began)
    values = [] if outline.error else _last_values(path)
    seen = machine.Seen() if outline.error else machine.look(path)
    ranks = [] if outline.error else ranks_of(path)
    is_live = outline.state == "recording"
    ahead = Ahead() if outline.error else look_ahead(path, is_live=is_live)
    if arguments.json:
        facts = outline.as_dict() | machine.machine_facts(seen) | rank_facts(ranks)
        facts |= {"points_per_s": rate, "lag_s": lag_secs(outline)}
        facts |= course_facts(ahead)
        facts |= {"log_p99_ns": _p99_ns(outline), "last_values": dict(values)}
        render.print_json(facts)
    else:
        lines = machine.machine_lines(seen)
        print_status(outline, rate, values, [*lines, *end_lines(ranks, lines)], ahead)
        print_ranks(ranks)
    return 0 if outline.state in ("recording", "draining", "ended") else 1


def lag_secs(outline: Outline, now: float | None = None) -> float | None:
    """Return how far the database is behind; 0 without a backlog, None when nothing is in it."""
    if not outline.backlog_bytes:
        return 0.0
    if outline.last_point_at is None:
        return None
    return max((time.time() if now is None else now) - outline.last_point_at, 0.0)


def print_status(
    outline: Outline,
    rate: float | None,
    values: list[tuple[str, object]],
    machine_lines: Sequence[tuple[str, str]] = (),
    ahead: Ahead | None = None,
) -> None:
    """Print the status for people."""
    ahead = Ahead() if ahead is None else ahead
    lines = [
        ("state", f"{outline.state}, {_served_by(outline)}"),
        ("directory", outline.dir),
        ("attempt", render.whole(outline.attempts)),
        ("last step", render.whole(outline.last_step)),
        *course_lines(ahead),
        ("rate", "-" if rate is None else f"{render.whole(round(rate))} points/s"),
        ("in the database", f"{render.whole(outline.points)} points"),
        ("last point", render.ago(outline.last_point_at)),
        ("lag", render.in_seconds(lag_secs(outline))),
        ("backlog", render.in_bytes(outline.backlog_bytes)),
        ("log() p99", render.in_nanoseconds(_p99_ns(outline))),
    ]
    if outline.gaps:
        lines.append(("gaps", f"{render.whole(outline.gaps)} recorded"))
    if outline.rejected_by:
        lines.append(("rejected", rejections(outline)))
    lines += _troubles(outline)
    print(render.heading(render.safe(outline.name)))
    for word, text in [*lines, *machine_lines]:
        print(f"  {word:<17}{render.safe(text)}")
    for producer in outline.producers:
        if producer["rejected"]:
            count = render.whole(producer["rejected"])
            print(f"  rank {producer['rank']} had {count} calls or points rejected")
    print_findings(ahead.findings)
    if outline.state == "left behind":
        how = "recover" if outline.monitor_is_here else "relay --connect HOST"
        print(f"\nbring it home: training-monitor {how} {render.safe(outline.dir)}")
    if values:
        print()
        rows = [(name, render.number(value)) for name, value in values[:_VALUES]]
        render.print_table(("METRIC", "LAST"), rows)
        if len(values) > _VALUES:
            more = f"{len(values) - _VALUES} more"
            print(f"... and {more}: training-monitor show {render.safe(outline.name)}")


def _served_by(outline: Outline) -> str:
    if outline.monitor is not None:
        return monitor_text(outline.monitor)
    if outline.relay is not None:
        return f"relay {outline.relay} hands it to the monitor on another node"
    return "no monitor"


def _troubles(outline: Outline) -> list[tuple[str, str]]:
    """Return what keeps the figures above from being the whole truth."""
    elsewhere = ", ".join(outline.elsewhere[:_RANKS])
    lines = [("on other nodes", elsewhere)] if elsewhere else []
    lines += [("out of reach", trouble) for trouble in outline.out_of_reach]
    if outline.copy is not None:
        lines.append(("read is", str(outline.copy)))
    if outline.error:
        lines.append(("error", outline.error))
    return lines


def rejections(outline: Outline) -> str:
    """Return what processes that ended had refused, by reason, and when there was no place last."""
    total = sum(outline.rejected_by.values())
    reasons = ", ".join(
        f"{reason.replace('_', ' ')} {render.whole(count)}"
        for reason, count in sorted(outline.rejected_by.items())
    )
    since = "" if outline.rejected_at is None else f"; {render.ago(outline.rejected_at)}"
    return f"{render.whole(total)} calls or values ({reasons}){since}"


def _p99_ns(outline: Outline) -> int | None:
    """Return the slowest rank's 99th percentile; None before a sample."""
    samples = [producer["log_p99_ns"] for producer in outline.producers]
    return max((sample for sample in samples if sample is not None), default=None)


def _last_values(path: str) -> list[tuple[str, object]]:
    try:
        rows: list[dict[str, Any]] = _core.RunReader(path).metrics()
    except FileNotFoundError:
        return []
    return sorted((row["name"], row["last_value"]) for row in rows)
