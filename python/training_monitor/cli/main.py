"""The entry point: finds the command, runs it, and turns our errors into one line."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from training_monitor._core import __version__
from training_monitor.cli.flags import hide_secrets
from training_monitor.errors import TrainingMonitorError, closest, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Protocol

    class Command(Protocol):
        """What each file of a command offers."""

        HELP: str

        @staticmethod
        def add_arguments(parser: argparse.ArgumentParser) -> None:
            """Add the arguments of the command."""

        @staticmethod
        def run(arguments: argparse.Namespace) -> int:
            """Run the command; return the exit status."""


__all__ = ["COMMANDS", "main", "parser_of"]

# The file of each command, with the line about it in the help.
COMMANDS = {
    "runs": "list the runs",
    "status": "tell whether a run is alive, its rate and its last values",
    "show": "print a table of the metrics of a run",
    "report": "print how a run goes: trends, estimates, issues, advice",
    "live": "watch a run on the terminal",
    "replay": "judge a run anew, with other thresholds",
    "analyze": "have a model look at a run, and check what it says",
    "ask": "ask a model a question about a run",
    "chat": "talk with a model about a run",
    "sent": "print what of a run went to a model's server",
    "code": "print what code a run had, or what has changed in it",
    "stacks": "print where the ranks of a run are in their code",
    "recover": "bring home what dead processes left behind",
    "relay": "hand what is logged on this node to the monitor on another one",
    "query": "answer a SELECT over all points of a run",
    "export": "write all points into a file: csv, jsonl, parquet",
    "backup": "copy a run while it is recorded",
    "rm": "remove a run",
    "prune": "remove the oldest finished runs",
}
_WATCH = "watch"


class Parser(argparse.ArgumentParser):
    """The parser of the library, whose errors a terminal can show whatever the words were."""

    def error(self, message: str) -> NoReturn:
        """Print usage and message, and exit with 2."""
        super().error(plain(message))


def main(argv: list[str] | None = None) -> int:
    """Run one command; return the exit status.

    Args:
        argv: The words after the program's name; None means those of this process.
    """
    for name in ("stdout", "stderr"):
        # Closed by the shell (`>&-`): what is said goes nowhere.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A metric may be called anything, and a terminal may speak ASCII only.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        words = sys.argv[1:] if argv is None else argv
        return _run(hide_secrets(words) if argv is None else words)
    except BrokenPipeError:
        # The reader, `head` say, has seen enough; nothing may be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (TrainingMonitorError, OSError) as error:
        # Of all calls only getcwd() fails without naming a file.
        gone = isinstance(error, FileNotFoundError) and not error.filename
        said = "the working directory was removed: cd elsewhere" if gone else str(error)
        lines = [plain(line) for line in said.split("\n")]
        print("training-monitor:", "\n".join(lines), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(words: list[str]) -> int:
    name = words[0] if words and words[0] in COMMANDS else _WATCH
    parser = parser_of(name)
    if name == _WATCH and words and not words[0].startswith("-"):
        near = closest(words[0], list(COMMANDS))
        hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(COMMANDS)}"
        parser.error(f"no command {words[0]!r}; {hint}")
    if name == _WATCH and not words:
        parser.print_help()
        return 2
    arguments = parser.parse_args(words if name == _WATCH else words[1:])
    status: int = _load(name).run(arguments)
    sys.stdout.flush()
    return status


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of one command; that of `watch` is the one without a command."""
    program = "training-monitor" if name == _WATCH else f"training-monitor {name}"
    command = _load(name)
    parser = Parser(
        prog=program,
        description=command.HELP,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if name == _WATCH:
        parser.usage = "training-monitor --experiment NAME [flags]\n       training-monitor COMMAND"
        lines = [f"  {command_name:<10}{text}" for command_name, text in COMMANDS.items()]
        parser.epilog = "commands (each with --help):\n" + "\n".join(lines)
        parser.add_argument(
            "--version", action="version", version=f"training-monitor {__version__}"
        )
    command.add_arguments(parser)
    return parser


def _load(name: str) -> Command:
    return import_module(f"training_monitor.cli.{name}")  # type: ignore[return-value]
