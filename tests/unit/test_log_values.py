"""Every kind of value through log() and back: bit for bit, or refused and counted, never raised."""

from __future__ import annotations

import decimal
import enum
import fractions
import math
import struct
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from harness.recorder import Recorder, column
from training_monitor import _core

NAN_WITH_PAYLOAD = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF))[0]
NEGATIVE_NAN = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0001))[0]


def bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


class Hostile:
    def __getattr__(self, name: str) -> object:
        raise OSError(name)


FLOATS: dict[str, tuple[Any, float]] = {
    "float": (1.5, 1.5),
    "negative zero": (-0.0, -0.0),
    "infinity": (math.inf, math.inf),
    "negative infinity": (-math.inf, -math.inf),
    "nan": (math.nan, math.nan),
    "nan with payload": (NAN_WITH_PAYLOAD, NAN_WITH_PAYLOAD),
    "negative nan": (NEGATIVE_NAN, NEGATIVE_NAN),
    "smallest subnormal": (5e-324, 5e-324),
    "largest": (sys.float_info.max, sys.float_info.max),
    "subclass of float": (type("F", (float,), {})(2.5), 2.5),
    "subclass with another __float__": (
        type("F", (float,), {"__float__": lambda _self: 99.0})(2.5),
        2.5,
    ),
    "np.float64": (np.float64(0.1), 0.1),
    "np.float64 nan": (np.float64(NAN_WITH_PAYLOAD), NAN_WITH_PAYLOAD),
    "np.float32": (np.float32(0.1), float(np.float32(0.1))),
    "np.float32 subnormal": (np.float32(1e-45), float(np.float32(1e-45))),
    "np.float32 infinity": (np.float32(math.inf), math.inf),
    "np.float16": (np.float16(0.1), float(np.float16(0.1))),
    "np.float16 subnormal": (np.float16(6e-8), float(np.float16(6e-8))),
    "np.float16 negative zero": (np.float16(-0.0), -0.0),
    "np.float16 infinity": (np.float16(math.inf), math.inf),
    "np.longdouble that fits": (np.longdouble(0.5), 0.5),
    "Decimal that fits": (decimal.Decimal("0.5"), 0.5),
    "Fraction that fits": (fractions.Fraction(1, 4), 0.25),
    "0-d float64": (np.array(0.1), 0.1),
    "0-d float32": (np.array(0.1, "f4"), float(np.float32(0.1))),
    "0-d float16": (np.array(0.1, "f2"), float(np.float16(0.1))),
    "0-d big-endian": (np.array(0.1, ">f8"), 0.1),
    "0-d longdouble that fits": (np.array(0.5, "g"), 0.5),
    "one element": (np.array([0.1]), 0.1),
    "one element of many axes": (np.full((1,) * 9, 0.1), 0.1),
    "one element of a view": (np.arange(10.0)[::3][1:2], 3.0),
    "one element, unaligned": (
        np.frombuffer(b"x" + struct.pack("<d", 0.1), "u1")[1:].view("f8"),
        0.1,
    ),
    "object with __float__": (type("O", (), {"__float__": lambda _self: 4.5})(), 4.5),
}

INTEGERS: dict[str, tuple[Any, int]] = {
    "int": (3, 3),
    "negative": (-3, -3),
    "largest i64": (2**63 - 1, 2**63 - 1),
    "smallest i64": (-(2**63), -(2**63)),
    "2**53 + 1": (2**53 + 1, 2**53 + 1),
    "2**63": (2**63, 2**63),
    "2**70": (2**70, 2**70),
    "-2**70": (-(2**70), -(2**70)),
    "10**1000": (10**1000, 10**1000),
    "IntEnum": (enum.IntEnum("E", "A B").B, 2),  # type: ignore[attr-defined]
    "subclass that shows itself otherwise": (
        type("I", (int,), {"__str__": lambda _self: "no", "__repr__": lambda _self: "no"})(2**70),
        2**70,
    ),
    "object with __index__": (type("O", (), {"__index__": lambda _self: 7})(), 7),
    "__index__ before __float__": (
        type("O", (), {"__index__": lambda _self: 2**53 + 1, "__float__": lambda _self: 0.0})(),
        2**53 + 1,
    ),
    "one element of int64": (np.array([2**63 - 1]), 2**63 - 1),
    "0-d uint64": (np.array(2**64 - 1, "u8"), 2**64 - 1),
}
for _name in ("int8", "int16", "int32", "int64", "longlong", "intc"):
    _info = np.iinfo(getattr(np, _name))
    INTEGERS[f"np.{_name} min"] = (getattr(np, _name)(_info.min), int(_info.min))
    INTEGERS[f"np.{_name} max"] = (getattr(np, _name)(_info.max), int(_info.max))
for _name in ("uint8", "uint16", "uint32", "uint64", "ulonglong", "uintc"):
    _info = np.iinfo(getattr(np, _name))
    INTEGERS[f"np.{_name} max"] = (getattr(np, _name)(_info.max), int(_info.max))

BOOLS = {"True": True, "False": False, "np.True_": np.True_, "0-d bool": np.array(True)}

TEXTS: dict[str, str] = {
    "ascii": "hello",
    "empty": "",
    "latin": "größe",
    "beyond the basic plane": "🚀",
    "nul": "a\0b",
    "lone surrogate": "a\ud800b",
    "surrogates the wrong way round": "\udfff\ud800",
    "long": "x" * 300_000,
    "subclass": type("S", (str,), {"__str__": lambda _self: "no"})("yes"),
    "np.str_": np.str_("numpy"),
}

REFUSED: dict[str, Any] = {
    "list": [1.0],
    "tuple": (1.0,),
    "set": {1.0},
    "bytes": b"1.0",
    "bytearray": bytearray(b"1"),
    "complex": 1 + 0j,
    "object": object(),
    "class": float,
    "function": len,
    "ellipsis": ...,
    "array of two": np.zeros(2),
    "array of none": np.zeros(0),
    "array of objects": np.array([object()]),
    "structured array": np.zeros(1, "i4,f4"),
    "np.complex64": np.complex64(1),
    "np.complex128": np.complex128(1),
    "np.datetime64": np.datetime64("2026-01-01"),
    "np.timedelta64": np.timedelta64(1, "s"),
    "np.bytes_": np.bytes_(b"1"),
    "np.void": np.void(b"1"),
    "0-d datetime": np.array("2026-01-01", "M8[s]"),
    "0-d text": np.array("text"),
    "masked": np.ma.masked,
    "np.longdouble that does not fit": np.longdouble(1) / 3,
    "Decimal that does not fit": decimal.Decimal("0.1"),
    "signalling Decimal": decimal.Decimal("sNaN"),
    "Fraction that does not fit": fractions.Fraction(1, 3),
    "int of 5,000 digits": 10**5000,
    "__float__ that raises": type("O", (), {"__float__": lambda _self: 1 / 0})(),
    "__float__ that lies": type("O", (), {"__float__": lambda _self: "1"})(),
    "__index__ that lies": type("O", (), {"__index__": lambda _self: 1.5})(),
    "attributes that raise": Hostile(),
}


@pytest.mark.parametrize("name", FLOATS)
def test_floats_come_back_bit_for_bit(run: Recorder, name: str) -> None:
    value, expected = FLOATS[name]
    for _ in range(3):  # the second time the type is known
        _core.log({"x": value})
    assert [bits(stored) for stored in run.values("x")] == [bits(expected)] * 3
    assert run.rejected() == {}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_come_back_exact(run: Recorder, name: str) -> None:
    value, expected = INTEGERS[name]
    for _ in range(3):
        _core.log({"x": value, "y": 0.5})
    stored = run.values("x")
    assert stored == [expected] * 3
    assert {type(value) for value in stored} == {int}
    assert run.rejected() == {}


@pytest.mark.parametrize("name", BOOLS)
def test_bools_stay_bools(run: Recorder, name: str) -> None:
    for _ in range(3):
        _core.log({"x": BOOLS[name]})
    assert run.values("x") == [bool(BOOLS[name])] * 3
    assert run.rejected() == {}


@pytest.mark.parametrize("name", TEXTS)
def test_text_comes_back_as_it_was(run: Recorder, name: str) -> None:
    text = TEXTS[name]
    _core.log({"x": text})
    (stored,) = run.values("x")
    assert type(stored) is str
    assert stored == str.__str__(text) == stored


def test_none_is_a_value_of_its_own(run: Recorder) -> None:
    _core.log({"x": None, "y": 1.0})
    _core.log({"x": 2.0, "y": 1.0})
    assert run.values("x") == [None, 2.0]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused_and_the_rest_is_kept(
    run: Recorder, name: str, quiet: None
) -> None:
    _core.log({"before": 1.0, "x": REFUSED[name], "after": 2})
    _core.log({"before": 1.0, "x": REFUSED[name], "after": 2})
    assert run.rejected() == {"bad_value": 2}
    reader = run.stored()
    assert column(reader, "before") == [1.0, 1.0]
    assert column(reader, "after") == [2, 2]
    with pytest.raises(KeyError, match='no metric named "x"'):
        reader.series("x")


@pytest.mark.parametrize("name", REFUSED)
def test_strict_raises_before_anything_is_recorded(run: Recorder, name: str) -> None:
    run.open(strict=True)
    with pytest.raises(_core.RejectedError, match=r'log\(\): "x": '):
        _core.log({"before": 1.0, "x": REFUSED[name]})
    assert _core.health()["accepted"] == 0
    assert run.rejected() == {"bad_value": 1}


def test_a_refusal_warns_once_at_the_users_line_and_never_raises(run: Recorder) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _core.log({"x": [1]})
        line = sys._getframe().f_lineno - 1
        _core.log({"y": [1]})
        _core.log({"x": b"other"})
    assert [(warning.filename, warning.lineno) for warning in told] == [
        (__file__, line),
        (__file__, line + 3),
    ]
    assert {warning.category for warning in told} == {_core.TrainingMonitorWarning}
    assert '"x": a value of type list cannot be recorded' in str(told[0].message)


def test_warnings_as_errors_do_not_reach_training(
    run: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _core.log({"x": [1], "y": 1.0})
    assert 'training_monitor: log(): "x": a value of type list' in capsys.readouterr().err
    assert run.values("y") == [1.0]


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_in_a_conversion_passes_through(
    run: Recorder, exception: type[BaseException]
) -> None:
    def interrupt(_self: object) -> float:
        raise exception

    with pytest.raises(exception):
        _core.log({"y": 1.0, "x": type("O", (), {"__float__": interrupt})()})
    assert _core.health()["accepted"] == 0
