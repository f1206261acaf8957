"""What `define_metric` is told, on its way into the run."""

from __future__ import annotations

from training_monitor import _core
from training_monitor.detect.definition import made_definition
from training_monitor.errors import warned
from training_monitor.foreign import WANDB_METRIC, check_keywords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["event_of", "warn_of_loss"]

_OURS = ("name", "kind", "goal", "step_metric")
# The user's line is so many frames above event_of(): above Run._define() and define_metric().
_FRAMES = 3

_told = False


def event_of(
    name: object,
    foreign: Mapping[str, object],
    *,
    kind: object = None,
    goal: object = None,
    step_metric: object = None,
) -> str:
    """Check what is said of a metric, and return it as the event that the run keeps.

    Raises:
        SettingError: It has a value it may not have, or a keyword that nobody knows.
    """
    if foreign:
        check_keywords(
            foreign,
            stacklevel=_FRAMES + 1,
            function="define_metric",
            ours=_OURS,
            theirs=WANDB_METRIC,
        )
    definition = made_definition(name, kind=kind, goal=goal, step_metric=step_metric)
    return _core.to_json(definition.facts())


def warn_of_loss(why: str, *, stacklevel: int = _FRAMES) -> None:
    """Warn once that a definition came when nothing is recorded.

    Args:
        why: What is the reason.
        stacklevel: How many frames above this one the user's line is.
    """
    global _told
    if not _told:
        _told = True
        warned(
            f"define_metric(): {why}; nothing is recorded (told once)", stacklevel=stacklevel + 1
        )
