"""A crash-proof recorder for the metrics of ML training runs.

::

    import training_monitor as tm

    with tm.init("grpo_v2", config={"lr": 1e-4}):
        for step in range(1000):
            tm.log({"loss": loss}, step)
"""

# Only the extension is imported here, the rest when it is first asked for: a training script
# pays for what it uses, and `import training_monitor` stays in the single milliseconds.
from training_monitor._core import __version__, log, should_stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.answers import Series
    from training_monitor.errors import (
        MissingLibraryError,
        QueryError,
        RejectedError,
        RunDirError,
        RunNotFoundError,
        SettingError,
        SpoolError,
        StoreError,
        TrainingMonitorError,
        TrainingMonitorWarning,
        UnknownSettingError,
    )
    from training_monitor.launch import init
    from training_monitor.query import RunView, open_run
    from training_monitor.run import Run, alert, close, define_metric, finish
    from training_monitor.tables import Table
    from training_monitor.vitals import Health, health

__all__ = [
    "Health",
    "MissingLibraryError",
    "QueryError",
    "RejectedError",
    "Run",
    "RunDirError",
    "RunNotFoundError",
    "RunView",
    "Series",
    "SettingError",
    "SpoolError",
    "StoreError",
    "Table",
    "TrainingMonitorError",
    "TrainingMonitorWarning",
    "UnknownSettingError",
    "__version__",
    "alert",
    "close",
    "define_metric",
    "finish",
    "health",
    "init",
    "log",
    "open_run",
    "should_stop",
]

_ROOMS = {
    "answers": ("Series",),
    "launch": ("init",),
    "query": ("RunView", "open_run"),
    "run": ("Run", "alert", "close", "define_metric", "finish"),
    "tables": ("Table",),
    "vitals": ("Health", "health"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the room where a public name lives (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_ROOM_OF.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
