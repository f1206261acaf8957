"""`training-monitor stacks`: where the ranks of a run are in their code at this moment."""

from __future__ import annotations

import os
from dataclasses import asdict

from training_monitor.catalog import find_run, newest_run
from training_monitor.cli import render
from training_monitor.cli.options import add_json, add_root_dir, add_run
from training_monitor.monitor.asking import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from training_monitor.stacks import Stack

HELP = """\
Print the Python stacks of all ranks that log into a run on this machine.
Ranks answer that were started with stuck_stacks=True (TM_STUCK_STACKS=1);
for others py-spy is asked, where it is installed and permitted.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the root directory and --json."""
    add_run(parser, optional=True)
    add_root_dir(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print; the exit status is 0 when every rank has answered."""
    root = arguments.root_dir
    path = newest_run(root) if arguments.run is None else find_run(arguments.run, root)
    answers = ask(os.path.dirname(path) if path.endswith(".db") else path)
    if arguments.json:
        stacks = [asdict(stack) | {"frames": stack.frames} for stack in answers.stacks]
        render.print_json({"stacks": stacks, "troubles": answers.troubles})
    else:
        for stack in answers.stacks:
            _print_stack(stack)
        for trouble in answers.troubles:
            print(render.safe(f"no stacks of {trouble}"))
        if not answers.stacks and not answers.troubles:
            print("nobody logs into this run")
    return 0 if answers.stacks and not answers.troubles else 1


def _print_stack(stack: Stack) -> None:
    where = f"rank {stack.rank} (pid {stack.pid} on {stack.host}), by {stack.how}"
    print(render.heading(render.safe(where)))
    for line in stack.text.rstrip().splitlines():
        print(render.safe(line))
    print()
