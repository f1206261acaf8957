"""`training-monitor show`: a table of the metrics of a run."""

from __future__ import annotations

from dataclasses import asdict

from training_monitor.catalog import find_run
from training_monitor.cli import machine, render
from training_monitor.cli.options import add_json, add_root_dir, add_run
from training_monitor.cli.ranks import print_ranks, rank_facts, ranks_of
from training_monitor.cli.snapshot import take_snapshot
from training_monitor.cli.status import rejections
from training_monitor.query import Metric, RunView

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

HELP = "Print a table of the metrics of a run."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the root directory and --json."""
    add_run(parser, optional=False)
    add_root_dir(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    path = find_run(arguments.run, arguments.root_dir)
    view = RunView(path)
    render.tell_of_copy(view.copy)
    metrics = view.metrics()
    seen = machine.look(path)
    ranks = ranks_of(path)
    if arguments.json:
        rows = [asdict(metric) for metric in metrics]
        facts = {"run": view.name, "dir": view.dir, "metrics": rows} | rank_facts(ranks)
        render.print_json(facts | machine.machine_facts(seen))
    elif metrics:
        print_metrics(metrics)
    else:
        print(f"run {render.safe(view.name)} has no metrics yet")
    if not arguments.json:
        print_ranks(ranks)
        _print_losses(view.dir)
        print_machine(machine.machine_lines(seen))
    return 0


def _print_losses(run_dir: str) -> None:
    """Say what the table cannot show: calls and values that were never recorded."""
    snapshot = take_snapshot(run_dir)
    if snapshot.rejected_by:
        print(f"\nrejected: {rejections(snapshot)}")


def print_machine(lines: Sequence[tuple[str, str]]) -> None:
    """Print what the machine does, below the metrics."""
    if lines:
        print()
    for word, text in lines:
        print(f"{render.safe(word):<9} {render.safe(text)}")


def print_metrics(metrics: Sequence[Metric]) -> None:
    """Print one line per metric."""
    render.print_table(
        ("METRIC", "LAST", "MIN", "MAX", "POINTS", "STEPS"),
        [
            (
                metric.name,
                render.number(metric.last_value),
                render.number(metric.min),
                render.number(metric.max),
                render.whole(metric.count),
                render.span(metric.first_step, metric.last_step),
            )
            for metric in metrics
        ],
    )
