"""Keywords that people bring along from other trackers, and what we call them."""

from __future__ import annotations

from training_monitor.errors import UnknownSettingError, closest, shown, warned
from training_monitor.settings import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["WANDB", "check_keywords"]

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

_warned: set[str] = set()


def check_keywords(unknown: Mapping[str, object], *, stacklevel: int) -> None:
    """Warn once about keywords of wandb, and refuse any other one.

    Args:
        unknown: The keywords that init() was given and does not have.
        stacklevel: How many frames above this one the user's line is.

    Raises:
        UnknownSettingError: A keyword that is neither ours nor wandb's.
    """
    for name, value in unknown.items():
        if name not in WANDB:
            raise UnknownSettingError(f"init() has no parameter {name!r}{_hint(name, value)}")
    fresh = sorted(name for name in unknown if name not in _warned)
    if fresh:
        _warned.update(fresh)
        warned(_told(fresh), stacklevel=stacklevel + 1)


def _hint(name: str, value: object) -> str:
    near = closest(name, [*TABLE, *WANDB])
    near = WANDB.get(near, near) if near else None
    question = f"; did you mean {near!r}?" if near else ""
    return f" (given {shown(value)}){question}"


def _told(names: Iterable[str]) -> str:
    parts = [f"{name} (nearest: {WANDB[name]})" if WANDB[name] else name for name in names]
    return f"init() ignores keywords of wandb: {', '.join(parts)}"
