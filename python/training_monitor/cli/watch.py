"""`training-monitor --experiment NAME`: the monitor of a run, started by hand."""

from __future__ import annotations

import os

from training_monitor.cli.flags import add_settings, to_settings
from training_monitor.errors import RunDirError
from training_monitor.monitor.process import serve
from training_monitor.spawn import handed_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = """\
Monitor a run in the foreground, before or while a training records it
with start_monitor=False. Ends with Ctrl-C, or when the training has ended
and everything is in the database.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each setting."""
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make the run directory where there is none, and monitor it."""
    settings = to_settings(arguments)
    run_dir = os.path.join(os.path.abspath(settings.root_dir), settings.experiment_name)
    try:
        os.makedirs(run_dir, mode=0o700, exist_ok=True)
    except OSError as error:
        raise RunDirError(
            f"cannot make {run_dir!r}: {error.strerror}; choose a writable place with --root-dir"
        ) from error
    # Where the next monitor finds it too, should this one be killed.
    os.environ.update(handed_on(settings))
    unused = settings.without_effect()
    if unused:
        print(f"no effect in this version: {', '.join(unused)}", flush=True)
    return serve(run_dir, foreground=True)
