"""Every parameter of init() with every odd value: taken as documented, or one clear error."""

from __future__ import annotations

import argparse
import math
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import training_monitor as tm
from harness import processes
from training_monitor.errors import SettingError
from training_monitor.job import find_job
from training_monitor.settings import TABLE, Settings, resolve


class RaisesAlways:
    """Every question to it is an error."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class LyingNumber:
    """Has the methods of a number, and they fail or return something else."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def __float__(self) -> Any:
        return self._given()

    def __index__(self) -> Any:
        return self._given()

    def _given(self) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class BrokenPath:
    def __fspath__(self) -> str:
        raise OSError("no path today")


class Unequal(str):
    """Must not be asked whether it equals a word: it answers with an array."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> Any:
        return np.array([True, False])


TORTURE: dict[str, object] = {
    "huge int": 10**400,
    "huge negative int": -(10**400),
    "2**63": 2**63,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "-0.0": -0.0,
    "complex": 1j,
    "decimal": Decimal("2.5"),
    "signalling nan": Decimal("sNaN"),
    "fraction": Fraction(1, 3),
    "bool": True,
    "bytes": b"\xff",
    "bytearray": bytearray(b"x"),
    "empty bytes": b"",
    "empty text": "",
    "blank": " ",
    "NUL": "a\0b",
    "newline": "a\nb",
    "escape": "\x1b[31mred",
    "surrogate": "\ud800",
    "lone byte": "\udcff",
    "long text": "x" * 100_000,
    "digits": "9" * 5000,
    "subclass of str": Unequal("auto"),
    "numpy str": np.str_("auto"),
    "array": np.arange(3.0),
    "array of one": np.array([2.0]),
    "array of none": np.array([]),
    "0-d array": np.array(2.0),
    "numpy float": np.float32(2.5),
    "numpy int": np.int64(5),
    "numpy nan": np.float64("nan"),
    "numpy bool": np.True_,
    "class": float,
    "class of texts": str,
    "dict class": dict,
    "own class": LyingNumber,
    "function": print,
    "lambda": lambda: None,
    "module": types,
    "object": object(),
    "ellipsis": ...,
    "not implemented": NotImplemented,
    "raises always": RaisesAlways(),
    "number that raises": LyingNumber(RuntimeError("no")),
    "number that is text": LyingNumber("5"),
    "number that is huge": LyingNumber(10**400),
    "path that raises": BrokenPath(),
    "path": Path("somewhere"),
    "empty list": [],
    "list of nan": [math.nan],
    "list of huge": [10**400],
    "list in itself": [[[]]],
    "tuple of texts": ("a", "b"),
    "list of bytes": [b"a"],
    "list that raises": [RaisesAlways()],
    "endless range": range(10**30),
    "long range": range(10**9),
    "set": {1},
    "generator": (n for n in range(3)),
    "empty dict": {},
    "dict": {"a": 1},
    "mapping": types.MappingProxyType({"a": 1}),
    "namespace": argparse.Namespace(a=1),
    "exception": ValueError("x"),
}

TEXTS = {key: value for key, value in TORTURE.items() if type(value) is str and value}


def accepted(arguments: Mapping[str, object], environ: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the settings; None when they are refused as they should be."""
    name, value = next(iter(arguments.items())) if arguments else next(iter(environ.items()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, error = resolved(arguments, {"TM_EXPERIMENT_NAME": "run", **environ})
        if error is not None:
            text = str(error)
            assert type(error) is SettingError
            assert text.startswith(f"{name}="), "the parameter"
            row = TABLE[name.removeprefix("TM_").lower()]
            assert text.endswith(row.kind.allowed), "what is allowed"
            assert "is not valid: " in text
            assert len(text) < 400, "the value is shortened"
            assert text.isprintable(), f"one line that a terminal can show: {text!r}"
            assert value is not None
            return None
    return dict(found) if found is not None else None


def resolved(
    arguments: Mapping[str, object], environ: Mapping[str, str]
) -> tuple[Settings | None, SettingError | None]:
    """Return the settings, or why there are none."""
    try:
        return resolve(arguments, environ), None
    except SettingError as error:
        return None, error


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Say in a failure which value it was."""
    try:
        yield
    except Exception as error:
        raise AssertionError(what) from error


@pytest.mark.parametrize("name", TABLE)
def test_odd_arguments_are_kept_as_documented_or_refused_by_name(name: str) -> None:
    for odd, value in TORTURE.items():
        with naming(f"{name} given {odd}"):
            found = accepted({name: value}, {})
            if found is not None:
                check_kept(name, found[name])


@pytest.mark.parametrize("name", [name for name in TABLE if name != "config"])
def test_odd_variables_are_kept_as_documented_or_refused_by_name(name: str) -> None:
    for odd, text in TEXTS.items():
        with naming(f"TM_{name.upper()} set to {odd}"):
            found = accepted({}, {f"TM_{name.upper()}": text})
            if found is not None:
                check_kept(name, found[name])


def check_kept(name: str, kept: object) -> None:
    """Check that the value is of the type that the signature of init() promises."""
    if name == "config":
        assert kept is not None
        assert not isinstance(kept, (type, str, bytes, int, float))
        return
    promised = str(tm.init.__annotations__[name])
    if "list[int]" in promised:
        assert isinstance(kept, list)
        assert all(type(number) is int and 0 <= number < 2**16 for number in kept)
    elif "list[str]" in promised and name not in ("training_command", "alert_command"):
        assert isinstance(kept, list)
        assert all(type(text) is str for text in kept)
    else:
        assert type(kept) in (bool, int, float, str), f"{kept!r} is of {type(kept)}"
        assert type(kept).__name__ in promised or "PathLike" in promised or name == "disk_budget"
    if isinstance(kept, float):
        assert math.isfinite(kept)


@pytest.mark.parametrize(
    "variable", ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_PROCID"]
)
@pytest.mark.parametrize("digits", ["9" * 5000, str(2**32), str(2**31)])
def test_number_of_a_launcher_that_is_too_large_is_named(variable: str, digits: str) -> None:
    environ = {"RANK": "0", "WORLD_SIZE": "1", variable: digits}
    if variable.startswith("SLURM"):
        environ = {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", variable: digits}
    with pytest.raises(SettingError) as caught:
        find_job(1, environ)
    message = str(caught.value)
    assert message.startswith(f"{variable}='")
    assert message.endswith("expected a whole number from 0 to 2147483646")
    assert len(message) < 250


@pytest.mark.parametrize("text", ["", " ", "abc", "-1", "1.5", "1e3", "٣x", "\udcff"])
def test_number_of_a_launcher_that_is_none_counts_as_not_set(text: str) -> None:
    assert find_job(1, {"RANK": text, "WORLD_SIZE": text}).rank == 0


@pytest.mark.parametrize("tasks", ["9" * 5000, "4(x" + "9" * 5000 + ")", "x", "4(x2", "\udcff"])
def test_odd_tasks_per_node_of_slurm_are_no_trouble(tasks: str) -> None:
    environ = {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": "1",
        "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_STEP_TASKS_PER_NODE": tasks,
    }
    job = find_job(1, environ)
    assert (job.rank, job.world) == (1, 8)
    assert 0 < job.local_world < 2**31


def test_bytes_of_no_encoding_in_names_and_variables_are_recorded(
    tmp_path: Path, root: Path
) -> None:
    out = processes.run_script(
        tmp_path,
        """
        os.environ["TM_RUN_ID"] = "job-\\udcff"
        os.environ["ANYTHING"] = "\\udcfe"
        sys.argv.append("--name=\\udcfd")
        run = tm.init("odd", config={"a": "\\udcfc"}, root_dir=sys.argv[1] + "-\\udcfb", quiet=True)
        tm.log({"loss": 1.0, "te\\udcfaxt": "\\udcf9"}, 0)
        tm.close()
        print(tm.health().rejected, tm.open_run(run.dir).series("loss").value.tolist())
        """,
        root,
    )
    assert out == "0 [1.0]\n"
