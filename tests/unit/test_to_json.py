"""Config values of every kind as readable, strict JSON, and text without its secrets."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import decimal
import enum
import functools
import json
import math
import pathlib
import types
from typing import Any, NamedTuple

import numpy as np
import pytest

from training_monitor import _core


def through_json(value: Any) -> Any:
    def refuse(word: str) -> object:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(_core.to_json(value), parse_constant=refuse)


@dataclasses.dataclass
class Optimizer:
    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    api_key: str = "abc"


class Colour(enum.Enum):
    RED = 1


class Plain:
    def __init__(self) -> None:
        self.depth = 3


class Broken:
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Pair(NamedTuple):
    left: int
    right: int


CIRCLE: dict[str, Any] = {}
CIRCLE["me"] = CIRCLE

VALUES: dict[str, tuple[Any, Any]] = {
    "None": (None, None),
    "bool": (True, True),
    "int": (2**100, 2**100),
    "IntEnum": (enum.IntEnum("E", "A").A, 1),  # type: ignore[attr-defined]
    "float": (1e-300, 1e-300),
    "float without fraction": (1e22, 1e22),
    "nan": (math.nan, "NaN"),
    "infinity": (-math.inf, "-Infinity"),
    "text": ('ü"\\\n\0\x7f🚀', 'ü"\\\n\0\x7f🚀'),
    "lone surrogate": ("a\ud800b", "a\ufffdb"),
    "integer beyond a double": (10**400, str(10**400)),
    "bytes": (b"text", "text"),
    "bytes that are no text": (b"\xff\x00", "<2 bytes>"),
    "list": ([1, [2]], [1, [2]]),
    "tuple": ((1, 2), [1, 2]),
    "namedtuple": (Pair(1, 2), {"left": 1, "right": 2}),
    "set": ({3, 1, 2}, [1, 2, 3]),
    "dict with other keys": ({1: 2, None: 3}, {"1": 2, "None": 3}),
    "mapping": (types.MappingProxyType({"a": 1}), {"a": 1}),
    "circle": (CIRCLE, {"me": "<dict inside itself>"}),
    "Path": (pathlib.PurePosixPath("/data"), "/data"),
    "Namespace": (argparse.Namespace(lr=0.1), {"lr": 0.1}),
    "SimpleNamespace": (types.SimpleNamespace(lr=0.1), {"lr": 0.1}),
    "dataclass": (Optimizer(), {"lr": 1e-4, "betas": [0.9, 0.99], "api_key": "[redacted]"}),
    "Enum": (Colour.RED, "Colour.RED"),
    "class": (decimal.Decimal, "decimal.Decimal"),
    "builtin class": (int, "int"),
    "function": (json.dumps, "json.dumps"),
    "builtin": (len, "len"),
    "partial": (functools.partial(len), "functools.partial(<built-in function len>)"),
    "object with fields": (Plain(), {"depth": 3}),
    "object without": (object(), "object"),
    "object that breaks": (Broken(), f"<{__name__}.Broken that cannot be shown>"),
    "date": (datetime.date(2026, 1, 2), "2026-01-02"),
    "np.float32": (np.float32(0.5), 0.5),
    "np.int64": (np.int64(5), 5),
    "np.bool": (np.True_, True),
    "dtype": (np.dtype("f4"), "float32"),
    "small array": (np.arange(3), [0, 1, 2]),
    "large array": (np.zeros((100, 2)), "<numpy.ndarray of shape [100, 2], float64>"),
}


@pytest.mark.parametrize("name", VALUES)
def test_config_values_are_readable(name: str) -> None:
    value, expected = VALUES[name]
    assert through_json({"x": value}) == {"x": expected}


def test_depth_and_size_are_bounded() -> None:
    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    assert "<too deep>" in _core.to_json(deep)
    wide: list[Any] = [1]
    for _ in range(20):
        wide = [wide, wide, wide, wide]
    text = _core.to_json(wide)
    assert "<cut: 3 more>" in text
    assert len(text) < 2_000_000


@pytest.mark.parametrize("kind", [list, tuple, set])
def test_more_values_than_a_config_may_hold_are_counted(kind: type) -> None:
    found = through_json({"before": 1, "many": kind(range(1_000_000)), "after": 2})
    assert found["before"] == 1
    assert found["<cut>"] == "<cut: 1 more>", "what came after"
    kept = [value for value in found["many"] if isinstance(value, int)]
    assert 90_000 < len(kept) < 100_000
    notes = [value for value in found["many"] if isinstance(value, str)]
    assert notes == [f"<cut: {1_000_000 - len(kept)} more>"]


def test_a_dict_with_too_many_names_is_cut() -> None:
    found = through_json({str(number): number for number in range(300_000)})
    assert found.popitem() == ("<cut>", f"<cut: {300_000 - len(found)} more>")
    assert found == {str(number): number for number in range(len(found))}


def test_long_texts_are_cut_and_hold_no_secret_at_the_cut() -> None:
    secret = "sk-" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7"
    for before in range(2**20 - 40, 2**20 + 1, 8):
        found = through_json("x" * (before - 1) + " " + secret + " y" * 70_000)
        assert len(found) < 2**20 + 100
        assert found.endswith("… <cut: " + f"{before + len(secret) + 140_000} bytes in all>")
        assert "sk-" not in found
    assert len(through_json(["ü" * 70_000_000] * 3)[0]) < 2**20


def test_many_long_texts_are_cut() -> None:
    found = through_json(["x" * 500_000] * 100)
    assert found[-1] == f"<cut: {100 - len(found) + 1} more>"
    assert 8 <= len(found) < 20


def test_ctrl_c_in_a_conversion_passes_through() -> None:
    class Interrupting:
        def __str__(self) -> str:
            raise KeyboardInterrupt

        __repr__ = __str__

    with pytest.raises(KeyboardInterrupt):
        _core.to_json([Interrupting()])
