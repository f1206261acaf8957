"""How the monitor of a run is started: one command, whoever starts it."""

from __future__ import annotations

import os
import sys

from training_monitor.settings import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.settings import Settings

__all__ = [
    "LOG_NAME",
    "handed_on",
    "monitor_argv",
    "monitor_env",
    "monitor_log",
    "node_log",
    "relay_lock",
]

LOG_NAME = "training_monitor.log"

# Variables that change how Python behaves, meant for the user's program and not for ours: with
# PYTHONINSPECT the monitor would never end, with PYTHONWARNINGS=error it might not start.
_NOT_OURS = frozenset(
    {
        "COVERAGE_PROCESS_START",
        "PYTHONASYNCIODEBUG",
        "PYTHONBREAKPOINT",
        "PYTHONDEBUG",
        "PYTHONDEVMODE",
        "PYTHONDUMPREFS",
        "PYTHONINSPECT",
        "PYTHONMALLOC",
        "PYTHONMALLOCSTATS",
        "PYTHONPROFILEIMPORTTIME",
        "PYTHONTRACEMALLOC",
        "PYTHONVERBOSE",
        "PYTHONWARNINGS",
    }
)


# The run directory says these, or config.json, as they are those of the attempt.
_OF_THE_TRAINER = frozenset(
    {"experiment_name", "root_dir", "keep_runs", "keep_days", "disk_budget"}
)


def monitor_argv(run_dir: str, relay: str | None = None) -> list[str]:
    """Return the command that monitors `run_dir`; the file is run by its path, see there.

    Args:
        run_dir: The run directory.
        relay: The name of the run, when the monitor is on another node: the command then starts
            the relay of this one.
    """
    bootstrap = os.path.join(os.path.dirname(os.path.abspath(__file__)), "monitor", "bootstrap.py")
    words = [_python(), bootstrap, "--run-dir", run_dir]
    return words if relay is None else [*words, "--relay", relay]


def monitor_env(settings: Settings | None = None) -> dict[str, str]:
    """Return the environment of the monitor: the trainer's, less Python's own switches.

    Args:
        settings: What the trainer goes by, which may be arguments of init(); None leaves it to
            the environment.
    """
    variables = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    return variables if settings is None else variables | handed_on(settings)


def handed_on(settings: Settings) -> dict[str, str]:
    """Return the settings that our processes go by, as variables for their environment."""
    return {
        TABLE[name].variable: TABLE[name].kind.spell(value)
        for name, value in settings
        if TABLE[name].flag and name not in _OF_THE_TRAINER and (name, value) != ("zmq_host", None)
    }


def monitor_log(run_dir: str) -> str:
    """Return the path of the monitor's log, which also takes its stdout and stderr."""
    return os.path.join(run_dir, LOG_NAME)


def node_log(run_dir: str, relay: str | None) -> str:
    """Return the path of the log of the monitor or, where there is one, of the relay of this node.

    Nodes may share the run directory, and no file system keeps lines of several whole.
    """
    if relay is None:
        return monitor_log(run_dir)
    return os.path.join(run_dir, f"training_monitor.relay-{_node()}.log")


def relay_lock(run_dir: str) -> str:
    """Return the file whose lock the relay of this node holds."""
    return os.path.join(run_dir, f".relay-{_node()}.lock")


def _node() -> str:
    name = os.uname().nodename
    return "".join(char if char.isalnum() or char in "-._" else "_" for char in name) or "node"


def _python() -> str:
    """Return the interpreter; a program that embeds Python may name itself or nothing."""
    name = os.path.basename(sys.executable or "")
    if name.startswith(("python", "pypy")):
        return sys.executable
    return os.path.join(sys.prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
