"""How the monitor of a run is started: one command, whoever starts it."""

from __future__ import annotations

import os
import sys

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
    """Return the settings that monitor and poller go by, as variables for their environment."""
    gpus, interval_secs = settings.gpus, settings.system_interval_secs
    return {
        "TM_NODE_LIMIT": str(settings.node_limit),
        "TM_GPUS": "none" if gpus is None else ",".join(map(str, gpus)) or ",",
        "TM_SYSTEM_INTERVAL_SECS": "none" if interval_secs is None else str(interval_secs),
        "TM_EMA_ALPHA_SHORT": str(settings.ema_alpha_short),
        "TM_EMA_ALPHA_LONG": str(settings.ema_alpha_long),
        "TM_RECOVERY_MAX_AGE_MIN": str(settings.recovery_max_age_min),
        "TM_ZMQ_PORT": str(settings.zmq_port),
        "TM_MODE": settings.mode,
        "TM_DETECTION": "1" if settings.detection else "0",
        "TM_ALERT_COOLDOWN_MIN": str(settings.alert_cooldown_min),
        "TM_ALERTS_PER_HOUR": str(settings.alerts_per_hour),
        **_where_given(settings, "alert_command", "cost_per_gpu_hour", "total_steps"),
        **({} if settings.zmq_host is None else {"TM_ZMQ_HOST": settings.zmq_host}),
    }


def _where_given(settings: Settings, *names: str) -> dict[str, str]:
    """Return those of these settings that have a value, as variables."""
    values = dict(settings)
    known = ((name, values[name]) for name in names)
    return {f"TM_{name.upper()}": str(value) for name, value in known if value is not None}


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
