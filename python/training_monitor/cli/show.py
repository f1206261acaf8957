"""`training-monitor show`: a table of the metrics of a run."""

from __future__ import annotations

from dataclasses import asdict

from training_monitor.catalog import find_run
from training_monitor.cli import machine, render
from training_monitor.cli.course import course_facts, course_lines, look_ahead, print_findings
from training_monitor.cli.options import add_json, add_root_dir, add_run
from training_monitor.cli.outline import Outline, take_outline
from training_monitor.cli.ranks import end_lines, print_ranks, rank_facts, ranks_of
from training_monitor.cli.status import rejections
from training_monitor.query import Metric, RunView

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from training_monitor.detect.meaning import Meaning

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
    meanings = view.meanings()
    seen = machine.look(path)
    ranks = ranks_of(path)
    outline = take_outline(view.dir)
    ahead = look_ahead(path, is_live=outline.state == "recording")
    if arguments.json:
        rows = [
            asdict(metric) | {"meaning": _facts(meanings.get(metric.name))} for metric in metrics
        ]
        facts = {"run": view.name, "dir": view.dir, "metrics": rows} | rank_facts(ranks)
        render.print_json(facts | course_facts(ahead) | machine.machine_facts(seen))
    elif metrics:
        print_metrics(metrics, meanings)
        print_headline(meanings)
    else:
        print(f"run {render.safe(view.name)} has no metrics yet")
    if not arguments.json:
        print_lines(course_lines(ahead), 11)
        print_findings(ahead.findings)
        print_ranks(ranks)
        _print_losses(outline)
        lines = machine.machine_lines(seen)
        print_lines([*lines, *end_lines(ranks, lines)])
    return 0


def _facts(meaning: Meaning | None) -> dict[str, object] | None:
    """Return what a metric was taken for; None: it came while the others were read."""
    return None if meaning is None else asdict(meaning)


def _print_losses(outline: Outline) -> None:
    """Say what the table cannot show: calls and values that were never recorded."""
    if outline.rejected_by:
        print(f"\nrejected: {rejections(outline)}")


def print_lines(lines: Sequence[tuple[str, str]], width: int = 9) -> None:
    """Print lines with a word in front of each, below the metrics."""
    if lines:
        print()
    for word, text in lines:
        print(f"{render.safe(word):<{width}} {render.safe(text)}")


def print_headline(meanings: Mapping[str, Meaning]) -> None:
    """Say by which metric the run is judged, and how to name another one."""
    for name, meaning in meanings.items():
        if meaning.headline:
            print(f"\nheadline  {render.safe(name)} ({meaning})")


def print_metrics(metrics: Sequence[Metric], meanings: Mapping[str, Meaning] | None = None) -> None:
    """Print one line per metric; what it was taken for as far as the line holds it."""
    titles = ("METRIC", "LAST", "MIN", "MAX", "POINTS", "STEPS")
    rows = [
        (
            metric.name,
            render.number(metric.last_value),
            render.number(metric.min),
            render.number(metric.max),
            render.whole(metric.count),
            render.span(metric.first_step, metric.last_step),
        )
        for metric in metrics
    ]
    wide_titles = (titles[0], "TAKEN FOR", *titles[1:])
    for words in _forms(metrics, meanings or {}):
        wider = [(row[0], word, *row[1:]) for row, word in zip(rows, words, strict=True)]
        if render.fits([wide_titles, *wider]):
            render.print_table(wide_titles, wider, left=2)
            return
    render.print_table(titles, rows)


def _forms(metrics: Sequence[Metric], meanings: Mapping[str, Meaning]) -> Iterator[Sequence[str]]:
    """Return what the metrics were taken for, in full and in fewer words."""
    known = [meanings.get(metric.name) for metric in metrics]
    if any(known):
        yield [str(meaning or "-") for meaning in known]
        yield [meaning.short if meaning else "-" for meaning in known]
