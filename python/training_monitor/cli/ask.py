"""`training-monitor ask`: one question about a run."""

from __future__ import annotations

import sys
import time

from training_monitor.cli import render
from training_monitor.cli.explaining import add_model, analyst_of, keep, tell_notices
from training_monitor.cli.options import add_json, add_root_dir, add_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = """\
Ask a model about a run, live or finished, as in
  training-monitor ask grpo_v2 "why did the loss jump?"
It looks at metrics and code with read-only tools; what it states is checked.
Question and answer belong to the conversation of the run.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the question, the model, the root directory and --json."""
    add_run(parser, optional=False)
    parser.add_argument("question", metavar="QUESTION", nargs="+", help="what you want to know")
    add_model(parser)
    add_root_dir(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask and print the answer; the exit status is 1 where there is no model to ask."""
    from training_monitor.analyses import message_line

    run_dir, analyst = analyst_of(arguments)
    said = analyst.answer(" ".join(arguments.question), now=time.time())
    if arguments.json:
        render.print_json(said.answer.to_json())
    else:
        for line in said.answer.text.splitlines():
            print(render.safe(line))
    tell_notices(analyst)
    sys.stdout.flush()
    keep(run_dir, message_line(said.question) + message_line(said.answer))
    return 0 if analyst.is_able else 1
