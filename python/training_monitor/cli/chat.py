"""`training-monitor chat`: the conversation about a run, in the terminal."""

from __future__ import annotations

import sys
import time

from training_monitor.cli import render
from training_monitor.cli.explaining import add_model, analyst_of, keep, tell_notices
from training_monitor.cli.options import add_root_dir, add_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = """\
Talk with a model about a run: a question per line, an empty line or Ctrl-D
ends it. The conversation is kept with the run and goes on the next time.
"""

_SHOWN = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the model and the root directory."""
    add_run(parser, optional=True)
    add_model(parser)
    add_root_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask and answer until there is no further question."""
    from training_monitor.analyses import message_line
    from training_monitor.query import RunView

    run_dir, analyst = analyst_of(arguments)
    for message in RunView(run_dir).messages()[-_SHOWN:]:
        _print("> " if message.role == "user" else "", message.text)
    while True:
        print("> ", end="", flush=True)
        line = sys.stdin.readline()
        question = line.strip()
        if not question:
            if not line:
                print()
            return 0 if analyst.is_able else 1
        said = analyst.answer(question, now=time.time())
        _print("", said.answer.text)
        tell_notices(analyst)
        keep(run_dir, message_line(said.question) + message_line(said.answer))


def _print(mark: str, text: str) -> None:
    for line in text.splitlines():
        print(render.safe(f"{mark}{line}"))
