"""Curves of metrics with matplotlib, for those who have it."""

from __future__ import annotations

from training_monitor.errors import MissingLibraryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["plot_series"]


def plot_series(curves: Mapping[str, tuple[Any, Any]], *, title: str, axes: Any = None) -> Any:
    """Draw (steps, values) by label; return the axes.

    Args:
        curves: What to draw.
        title: Stands above, when the axes are new.
        axes: Draw here; None makes new ones.
    """
    if axes is None:
        axes = _new_axes()
        axes.set_title(title)
    for label, (steps, values) in curves.items():
        # A name that starts with an underscore would be left out of the legend.
        axes.plot(steps, values, label=label if not label.startswith("_") else f" {label}")
    axes.set_xlabel("step")
    axes.legend()
    return axes


def _new_axes() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingLibraryError(
            "plot()", "matplotlib", "pip install 'training-monitor[plot]'"
        ) from error
    return pyplot.subplots()[1]
