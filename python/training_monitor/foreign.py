"""Keywords that people bring along from other trackers, and what we call them."""

from __future__ import annotations

from training_monitor.errors import UnknownSettingError, closest, shown, warned
from training_monitor.settings import SECRETS, TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["WANDB", "WANDB_METRIC", "check_keywords"]

# The parameters of wandb.init(), and the nearest thing here; None where there is none.
WANDB: dict[str, str | None] = {
    "allow_val_change": None,
    "anonymous": None,
    "config_exclude_keys": "config",
    "config_include_keys": "config",
    "dir": "root_dir",
    "entity": None,
    "force": None,
    "fork_from": None,
    "group": "config",
    "id": "experiment_name",
    "job_type": "config",
    "magic": None,
    "monitor_gym": None,
    "name": "experiment_name",
    "notes": "config",
    "project": "root_dir",
    "reinit": None,
    "resume": "experiment_name",
    "resume_from": "experiment_name",
    "save_code": "code_snapshot_paths",
    "settings": None,
    "sync_tensorboard": None,
    "tags": "config",
    "tensorboard": None,
}

# What wandb's define_metric() takes besides, and the nearest thing here.
WANDB_METRIC: dict[str, str | None] = {
    "hidden": None,
    "overwrite": None,
    "step_sync": "step_metric",
    "summary": "goal",
}

_warned: set[tuple[str, str]] = set()


def check_keywords(
    unknown: Mapping[str, object],
    *,
    stacklevel: int,
    function: str = "init",
    ours: Iterable[str] = TABLE,
    theirs: Mapping[str, str | None] = WANDB,
) -> None:
    """Warn once about keywords of wandb, and refuse any other one.

    Args:
        unknown: The keywords that the function was given and does not have.
        stacklevel: How many frames above this one the user's line is.
        function: Its name.
        ours: The keywords that it has.
        theirs: Those of wandb, and the nearest one here.

    Raises:
        UnknownSettingError: A keyword that is neither ours nor wandb's.
    """
    for name, value in unknown.items():
        if name in SECRETS:
            raise UnknownSettingError(
                f"{function}() takes no secret: {name!r} is set in the environment, as "
                f"{SECRETS[name][0]}"
            )
        if name not in theirs:
            near = closest(name, [*ours, *theirs])
            near = theirs.get(near, near) if near else None
            question = f"; did you mean {near!r}?" if near else ""
            raise UnknownSettingError(
                f"{function}() has no parameter {name!r} (given {shown(value)}){question}"
            )
    fresh = sorted(name for name in unknown if (function, name) not in _warned)
    if fresh:
        _warned.update((function, name) for name in fresh)
        parts = [f"{name} (nearest: {theirs[name]})" if theirs[name] else name for name in fresh]
        warned(
            f"{function}() ignores keywords of wandb: {', '.join(parts)}", stacklevel=stacklevel + 1
        )
