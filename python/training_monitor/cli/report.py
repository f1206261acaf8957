"""`training-monitor report`: how a run goes, in sentences."""

from __future__ import annotations

import textwrap

from training_monitor.catalog import find_run, newest_run
from training_monitor.cli import render
from training_monitor.cli.flags import reader_of
from training_monitor.cli.options import add_root_dir, add_run
from training_monitor.cli.outline import take_outline
from training_monitor.query import RunView
from training_monitor.settings import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from training_monitor.report.progress import Progress

HELP = "Print how a run goes: status, trends, estimates, issues, recommendations."

_TITLE = "Training Progress Report"
_FORMATS = ("text", "md", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the format, the baseline, the price and the root directory."""
    add_run(parser, optional=True)
    parser.add_argument(
        "--format", choices=_FORMATS, default="text", help="how it is written (default: text)"
    )
    parser.add_argument("--baseline", metavar="RUN", help="compare with this run")
    row = TABLE["cost_per_gpu_hour"]
    parser.add_argument(
        "--cost-per-gpu-hour", metavar="PRICE", type=reader_of(row), default=None,
        help="price of one GPU for one hour (default: as recorded, or $TM_COST_PER_GPU_HOUR)",
    )  # fmt: skip
    add_root_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    from training_monitor.report.progress import progress_of

    root = arguments.root_dir
    path = newest_run(root) if arguments.run is None else find_run(arguments.run, root)
    view = RunView(path)
    render.tell_of_copy(view.copy)
    baseline = None if arguments.baseline is None else RunView(find_run(arguments.baseline, root))
    progress = progress_of(
        view,
        state=take_outline(path).state,
        baseline=baseline,
        cost_per_gpu_hour=arguments.cost_per_gpu_hour,
    )
    if arguments.format == "json":
        render.print_json(progress.to_json())
    elif arguments.format == "md":
        print_markdown(progress)
    else:
        print_text(progress)
    return 0


def print_markdown(progress: Progress) -> None:
    """Print the report as Markdown."""
    print(f"## {_TITLE}: {_escaped(progress.run)}\n\n{render.moment(progress.time)}")
    for heading, lines in progress.sections().items():
        print(f"\n**{_escaped(heading)}**\n")
        for line in lines:
            print(f"- {_escaped(line)}")


def print_text(progress: Progress) -> None:
    """Print the report for a terminal."""
    print(render.heading(f"{_TITLE}: {render.safe(progress.run)}, {render.moment(progress.time)}"))
    for heading, lines in progress.sections().items():
        print(f"\n{render.heading(render.safe(heading))}")
        for line in lines:
            room = render.line_chars() - 4
            first, *rest = textwrap.wrap(render.safe(line), room) or [""]
            print(f"  - {first}")
            for further in rest:
                print(f"    {further}")


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|" else char for char in render.safe(text))
