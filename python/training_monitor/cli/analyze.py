"""`training-monitor analyze`: have a model look at a run now."""

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
Analyse a run, live or finished: a model reads its metrics and the code that
was kept with it, and every number, step and line that it states is checked.
Without a model (no OPENAI_API_KEY and no --openai-base-url) the findings,
the phase and the forecast say what they can.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the model, the root directory and --json."""
    add_run(parser, optional=True)
    add_model(parser)
    add_root_dir(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Analyse and print; the exit status is 1 where a model was to be asked and gave nothing."""
    from training_monitor.analyses import analysis_line
    from training_monitor.analysis.wording import long_text

    run_dir, analyst = analyst_of(arguments)
    if analyst.is_able and sys.stderr.isatty():
        print("asking the model ...", file=sys.stderr)
    made = analyst.analyse("asked", now=time.time())
    if arguments.json:
        render.print_json(made.to_json())
    else:
        for line in long_text(made, made.checks).splitlines():
            print(render.safe(line))
    tell_notices(analyst)
    sys.stdout.flush()
    keep(run_dir, analysis_line(made), made)
    return 1 if analyst.is_able and made.rung == "rules" else 0
