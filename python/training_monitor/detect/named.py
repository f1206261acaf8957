"""Thresholds by name, as spike.sigma or reward.drop.fraction."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from math import isfinite

from training_monitor.detect.thresholds import Thresholds
from training_monitor.errors import SettingError, closest, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["named_thresholds", "read_threshold", "threshold_names"]

_NONE = ("none", "off", "")


def threshold_names() -> dict[str, float | None]:
    """Return the default of each threshold, by its name."""
    return dict(_walk(Thresholds(), ""))


def read_threshold(text: str) -> tuple[str, float | None]:
    """Return name and value of `name=value`; the value `none` switches a rule off.

    Raises:
        SettingError: That is none, or there is no threshold of that name.
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip().lower()
    _check_name(name)
    if not equals:
        raise SettingError(f"{shown(text)} sets nothing: expected name=value, as spike.sigma=7")
    if value in _NONE:
        return name, None
    try:
        return name, float(value)
    except ValueError:
        raise SettingError(f"{name}={shown(value)} is not valid: expected a number") from None


def named_thresholds(values: Mapping[str, float | None]) -> Thresholds:
    """Return the defaults with some thresholds set to other values.

    Raises:
        SettingError: There is no threshold of a name, or it cannot have that value.
    """
    found = Thresholds()
    for name, value in values.items():
        _check_name(name)
        found = _with(found, name.split("."), _checked(name, value))
    return found


def _walk(group: Any, prefix: str) -> list[tuple[str, float | None]]:
    found: list[tuple[str, float | None]] = []
    for field in fields(group):
        value, name = getattr(group, field.name), f"{prefix}{field.name}"
        found += _walk(value, f"{name}.") if is_dataclass(value) else [(name, value)]
    return found


def _check_name(name: str) -> None:
    names = list(threshold_names())
    if name in names:
        return
    begins = name.partition(".")[0] + "."
    near = closest(name, names)
    some = [one for one in names if one.startswith(begins)] or names
    hint = f"did you mean {near!r}? " if near else ""
    raise SettingError(f"no threshold {shown(name)}; {hint}there are: {', '.join(some)}")


def _checked(name: str, value: float | None) -> float | None:
    default = threshold_names()[name]
    may_be_none, is_whole = default is None, isinstance(default, int)
    if value is None:
        if may_be_none:
            return None
        raise SettingError(f"{name} cannot be none: expected a number (default: {default:g})")
    if isinstance(value, (bool, str)) or not isfinite(value):
        raise SettingError(f"{name}={shown(value)} is not valid: expected a number")
    if is_whole and value != int(value):
        raise SettingError(f"{name}={value:g} is not valid: expected a whole number")
    return int(value) if is_whole else float(value)


def _with(group: Any, path: list[str], value: float | None) -> Any:
    inner = value if len(path) == 1 else _with(getattr(group, path[0]), path[1:], value)
    return replace(group, **{path[0]: inner})
