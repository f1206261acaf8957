"""What callers do to log(): odd keys, nesting, arguments, steps, code that runs inside."""

from __future__ import annotations

import collections
import math
import subprocess
import sys
import types
import warnings
from typing import Any

import numpy as np
import pytest

from harness.recorder import Recorder, column
from training_monitor import _core


@pytest.mark.parametrize(
    "key",
    ["", "a/b", "größe", "🚀", "a\0b", "\ud800", "x" * 65_536, "é" * 32_768],
    ids=["empty", "slash", "latin", "astral", "nul", "surrogate", "64 KiB", "64 KiB of UTF-8"],
)
def test_keys_come_back_as_they_were(run: Recorder, key: str) -> None:
    _core.log({key: 1.0, "other": 2.0})
    _core.log({key: 3.0, "other": 4.0})
    assert run.values(key) == [1.0, 3.0]


@pytest.mark.parametrize("key", ["x" * 65_537, "é" * 32_769, "x" * 10_000_000])
def test_keys_that_are_too_long_are_refused(run: Recorder, key: str, quiet: None) -> None:
    _core.log({key: 1.0, "other": 2.0})
    assert run.rejected() == {"key_too_long": 1}
    assert run.values("other") == [2.0]


def test_names_without_end_are_refused_and_known_keys_still_recorded(
    run: Recorder, quiet: None
) -> None:
    most = 1 << 18
    for first in range(0, most, 4096):
        _core.log({f"loss/{number}": 1.0 for number in range(first, first + 4096)}, 0)
    _core.log({"one more": 1.0, "loss/7": 2.0}, 1)
    assert run.rejected() == {"too_many_keys": 1}
    assert run.values("loss/7") == [1.0, 2.0]


@pytest.mark.parametrize("key", [1, None, b"x", ("a",), 1.5, frozenset()])
def test_keys_that_are_no_text_are_refused(run: Recorder, key: object, quiet: None) -> None:
    _core.log({key: 1.0, "other": 2.0})  # type: ignore[dict-item]
    assert run.rejected() == {"bad_key": 1}
    assert run.values("other") == [2.0]


def test_a_key_of_a_subclass_of_str_goes_by_its_text(run: Recorder) -> None:
    class Key(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return 42

        def __eq__(self, other: object) -> bool:
            return False

    _core.log({Key("x"): 1.0, Key("x"): 2.0})  # two keys to the dict, one to us: the last wins
    assert run.values("x") == [2.0]


def test_keys_made_anew_each_call_name_the_same_metric(run: Recorder) -> None:
    for step in range(2_000):
        _core.log({f"m{index}": float(step * 10 + index) for index in range(10)}, step)
    reader = run.stored()
    for index in range(10):
        assert column(reader, f"m{index}") == [float(step * 10 + index) for step in range(2_000)]


def test_a_hundred_thousand_keys_in_one_call(run: Recorder) -> None:
    metrics = {f"group{index % 100}/metric{index}": float(index) for index in range(100_000)}
    _core.log(metrics, 1)
    _core.log(metrics, 2)
    assert _core.health()["accepted"] == 200_000
    reader = run.stored()
    assert reader.counts()["metrics"] == 100_000
    for index in (0, 1, 777, 99_999):
        assert column(reader, f"group{index % 100}/metric{index}") == [float(index)] * 2


def test_more_layouts_than_are_numbered(run: Recorder) -> None:
    names = [f"k{index}" for index in range(40)]
    for step in range(20_000):
        # A different set of keys each time.
        _core.log({names[bit]: float(step) for bit in range(15) if step >> bit & 1} | {"all": 1.0})
    assert run.rejected() == {}
    reader = run.stored()
    assert len(column(reader, "all")) == 20_000
    assert column(reader, "k0") == [float(step) for step in range(20_000) if step & 1]


# --- nesting


def test_nested_dicts_are_flattened(run: Recorder) -> None:
    inner = collections.OrderedDict(b=1.0, c={"d": True})
    view = types.MappingProxyType({"e": 2})
    _core.log({"a": inner, "v": view, "empty": {}, "": {"": 5.0}})
    (row,) = run.stored().steps(1)
    assert row["metrics"] == {"a/b": 1.0, "a/c/d": True, "v/e": 2, "/": 5.0}


def test_the_last_of_two_values_for_one_name_wins(run: Recorder) -> None:
    _core.log({"a/b": 1.0, "x": 2.0, "a": {"b": 3}})
    (row,) = run.stored().steps(1)
    assert row["metrics"] == {"a/b": 3, "x": 2.0}


def test_circles_and_depths_are_refused(run: Recorder, quiet: None) -> None:
    circle: dict[str, Any] = {"x": 1.0}
    circle["me"] = circle
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(100_000):
        inner["d"] = {}
        inner = inner["d"]
    _core.log({"circle": circle, "deep": deep, "y": 2.0})
    assert run.rejected() == {"too_deep": 2}
    (row,) = run.stored().steps(1)
    assert row["metrics"] == {"circle/x": 1.0, "y": 2.0}
    while deep:  # freeing it in one go would overflow the C stack of older Pythons
        deep = deep.pop("d", {})


def test_dicts_that_grow_by_powers_are_cut(run: Recorder, quiet: None) -> None:
    bomb: dict[str, Any] = {"x": 1.0}
    for _ in range(14):
        bomb = {str(index): bomb for index in range(8)}
    _core.log(bomb)
    refused = run.rejected()
    assert refused.pop("too_large") == 1
    assert set(refused) == {"too_many_keys"}


def test_a_config_that_is_too_large_is_refused_once(run: Recorder, quiet: None) -> None:
    _core.close_producer(0.0)
    run.open(config_json='{"blob": "' + "x" * (65 << 20) + '"}')
    for step in range(3):
        _core.log({"loss": 1.0}, step)  # the first one tries again what is unsaid
    assert run.rejected() == {"too_large": 1}
    assert run.values("loss") == [1.0, 1.0, 1.0]


# --- mappings and other arguments


@pytest.mark.parametrize(
    "mapping",
    [
        collections.OrderedDict(x=1.0),
        collections.defaultdict(float, x=1.0),
        collections.ChainMap({"x": 1.0}),
        collections.UserDict(x=1.0),
        types.MappingProxyType({"x": 1.0}),
        type("D", (dict,), {"items": lambda _self: [("x", 1.0)]})(),
    ],
    ids=lambda mapping: type(mapping).__name__,
)
def test_mappings_of_every_kind(run: Recorder, mapping: Any) -> None:
    _core.log(mapping)
    assert run.values("x") == [1.0]


@pytest.mark.parametrize("metrics", [None, 5, "x", [("x", 1.0)], object(), np.zeros(3)])
def test_what_is_no_mapping_is_refused(run: Recorder, metrics: Any, quiet: None) -> None:
    _core.log(metrics)
    assert run.rejected() == {"bad_value": 1}


def test_calls_that_do_not_fit_are_told_once_and_never_raise(run: Recorder) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _core.log({"x": 1.0}, 1, commit=False)  # type: ignore[call-arg]
        _core.log({"x": 2.0}, 2, commit=False)  # type: ignore[call-arg]
        _core.log({"x": 3.0}, 3, 4)  # type: ignore[misc]
        _core.log()  # type: ignore[call-arg]
    assert len(told) == 3
    assert "does not know the keyword commit" in str(told[0].message)
    assert run.values("x") == [1.0, 2.0, 3.0]


def test_keywords_are_found_whatever_their_spelling_in_memory(run: Recorder) -> None:
    _core.log(metrics={"x": 1.0}, step=5)
    step = bytes([115, 116, 101, 112]).decode()  # not the interned string of a call site
    _core.log({"x": 2.0}, **{step: 6, "force_analysis": True})
    reader = run.stored()
    assert np.asarray(reader.series("x")[0]).tolist() == [5, 6]


# --- steps


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (7, 7),
        (-7, -7),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (True, 1),
        (7.0, 7),
        (np.int32(7), 7),
        (np.uint64(7), 7),
        (np.float32(7), 7),
        (np.array(7), 7),
        (np.array([7]), 7),
        (type("O", (), {"__index__": lambda _self: 7})(), 7),
        (None, 0),
    ],
)
def test_steps_that_are_whole_numbers(run: Recorder, step: Any, expected: int) -> None:
    _core.log({"x": 1.0}, step)
    assert np.asarray(run.stored().series("x")[0]).tolist() == [expected]


@pytest.mark.parametrize(
    "step", [7.5, math.nan, math.inf, 2**63, 1e300, "7", b"7", [7], {}, np.zeros(2), 1j]
)
def test_steps_that_are_not_are_refused(run: Recorder, step: Any, quiet: None) -> None:
    _core.log({"x": 1.0}, step)
    assert run.rejected() == {"bad_step": 1}
    assert _core.health()["accepted"] == 0
    run.open(strict=True)
    with pytest.raises(_core.RejectedError, match="not a 64-bit integer"):
        _core.log({"x": 1.0}, step)


def test_without_a_step_it_is_one_after_the_last(run: Recorder) -> None:
    for step in (None, None, 10, None, 3, None):
        _core.log({"x": 1.0}, step)
    assert np.asarray(run.stored().series("x", raw=True)[0]).tolist() == [
        0, 1, 10, 11, 3, 4,
    ]  # fmt: skip


# --- tensors of other libraries, by their habits


class Tensor:
    """What torch, jax and their like have in common."""

    def __init__(self, value: Any, *, device: str = "cpu", count: int = 1) -> None:
        self.dtype = "float32"
        self.device = types.SimpleNamespace(type=device)
        self._value, self._count = value, count

    def numel(self) -> int:
        return self._count

    def item(self) -> Any:
        return self._value


@pytest.mark.parametrize("value", [1.5, 2**53 + 1, True])
def test_tensors_of_one_element(run: Recorder, value: Any) -> None:
    _core.log({"x": Tensor(value)})
    assert run.values("x") == [value]


def test_tensors_of_more_elements_or_other_kinds_are_refused(run: Recorder, quiet: None) -> None:
    _core.log({"x": Tensor(1.0, count=2), "y": Tensor(1j), "z": Tensor([1.0])})
    assert run.rejected() == {"bad_value": 3}


def test_tensors_on_a_device_are_fetched_counted_and_hinted_at_once(run: Recorder) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _core.log({"x": Tensor(1.5, device="cuda")})
        _core.log({"x": Tensor(2.5, device="cuda"), "y": Tensor(0.5)})
    assert [str(warning.message)[:34] for warning in told] == ["log() waited for a device to fetch"]
    assert _core.health()["device_syncs"] == 2
    assert run.values("x") == [1.5, 2.5]


def test_tensors_on_a_device_can_be_refused(run: Recorder, quiet: None) -> None:
    run.open(device_tensors="reject")
    _core.log({"x": Tensor(1.5, device="cuda"), "y": Tensor(0.5)})
    assert run.rejected() == {"device_tensor": 1}
    assert run.values("y") == [0.5]


# --- before and after


def test_log_without_a_run_warns_once_and_counts(run: Recorder) -> None:
    _core.close_producer(0.0)
    before = _core.health()["rejected_by"].get("no_producer", 0)
    program = (
        "import warnings\n"
        "from training_monitor import _core\n"
        "warnings.simplefilter('always')\n"
        "for _ in range(5): _core.log({'x': 1.0})\n"
        "print(_core.health()['rejected_by'])\n"
        "_core.disable()\n"
        "for _ in range(5): _core.log({'x': 1.0})\n"
        "print(_core.health()['rejected_by'], _core.health()['mode'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "{'no_producer': 5}\n{'no_producer': 5} disabled\n"
    assert done.stderr.count("log() before init()") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _core.log({"x": 1.0})
    assert _core.health()["rejected_by"]["no_producer"] == before + 1
