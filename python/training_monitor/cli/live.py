"""`training-monitor live`: a run on the terminal, as it goes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from importlib.util import find_spec

from training_monitor.catalog import find_run, newest_run
from training_monitor.cli.options import add_root_dir, add_run
from training_monitor.cli.picture import Painter
from training_monitor.cli.screen import PlainScreen, RichScreen, print_once, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from training_monitor.cli.screen import Screen

HELP = """\
Watch a run on the terminal: curves, phase, time left, findings, machine, ranks.

q or Ctrl-C leaves. Panels need rich: pip install 'training-monitor[tui]'. Into
a pipe it prints once.
"""

_LOOK_SECS = 1.0
# Looks become rarer where one costs so much that this share of a core would not do.
_SHARE_OF_A_CORE = 0.04
_LONGEST_PAUSE_SECS = 30.0
_LEAVE = b"qQ\x03\x04"
_ENDS = (signal.SIGTERM, signal.SIGHUP)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the root directory and --plain."""
    add_run(parser, optional=True)
    parser.add_argument("--plain", action="store_true", help="draw without rich")
    add_root_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the run until somebody leaves; print it once where there is no terminal."""
    root = arguments.root_dir
    path = newest_run(root) if arguments.run is None else find_run(arguments.run, root)
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    painter = Painter(path, is_ascii=not encoding.startswith("utf"))
    columns, _ = size()
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        print_once(painter.look(columns))
        return 0
    with_rich = not arguments.plain and find_spec("rich") is not None
    with _waiting() as ends, _keys():
        screen: Screen = RichScreen() if with_rich else PlainScreen()
        try:
            watch(painter, screen, ends)
        except KeyboardInterrupt:
            return 0
        finally:
            screen.close()
    return 0


def watch(painter: Painter, screen: Screen, ends: int) -> None:
    """Draw again and again until a key or a signal says to leave.

    Args:
        painter: Looks at the run.
        screen: Draws what it sees.
        ends: A pipe into which the numbers of signals come.
    """
    while True:
        began = time.process_time()
        columns, _ = size()
        # Borders and margins of the panels.
        screen.show(painter.look(columns - 4))
        spent = time.process_time() - began
        pause_secs = min(max(_LOOK_SECS, spent / _SHARE_OF_A_CORE), _LONGEST_PAUSE_SECS)
        if _leaves(pause_secs, ends):
            return


def _leaves(within_secs: float, ends: int) -> bool:
    """Wait for a key, a signal or the time; return whether it is time to leave."""
    keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    sources = [ends] if keyboard is None else [ends, keyboard]
    ready = select.select(sources, [], [], within_secs)[0]
    if keyboard in ready:
        typed = os.read(sys.stdin.fileno(), 64)
        if not typed or any(key in _LEAVE for key in typed):
            return True
    if ends in ready:
        return any(number in _ENDS for number in os.read(ends, 64))
    return False


@contextlib.contextmanager
def _waiting() -> Iterator[int]:
    """Let signals end a wait: another size of the window, and the end of this process."""
    ours, theirs = os.pipe()
    for end in (ours, theirs):
        os.set_blocking(end, False)
    numbers = (signal.SIGWINCH, *_ENDS)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    wakeup = signal.set_wakeup_fd(theirs)
    try:
        yield ours
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(ours)
        os.close(theirs)


@contextlib.contextmanager
def _keys() -> Iterator[None]:
    """Let keys come one by one and unseen, and give the terminal back as it was."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
