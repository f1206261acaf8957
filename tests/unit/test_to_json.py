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
    assert "<cut: too many values>" in _core.to_json(wide)


def test_ctrl_c_in_a_conversion_passes_through() -> None:
    class Interrupting:
        def __str__(self) -> str:
            raise KeyboardInterrupt

        __repr__ = __str__

    with pytest.raises(KeyboardInterrupt):
        _core.to_json([Interrupting()])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "hunter2"),
        ("db_password", 12345),
        ("OPENAI_API_KEY", "abc"),
        ("apiKey", "abc"),
        ("api-key", "abc"),
        ("aws_secret_access_key", "abc"),
        ("private_key", b"abc"),
        ("credentials", {"user": "u"}),
        ("Authorization", "Basic abc"),
        ("token", "a1b2c3d4e5"),
        ("hf_token", "a1b2c3d4e5"),
        ("telegramBotToken", "a1b2c3d4e5"),
    ],
)
def test_values_under_secret_names_are_left_out(name: str, value: object) -> None:
    before = _core.redactions()
    assert through_json({"outer": {name: value}}) == {"outer": {name: "[redacted]"}}
    assert _core.redactions() == before + 1
    assert "[redacted]" not in _core.to_json({name: value}, redact=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokens", 10),
        ("max_tokens", 4096),
        ("num_tokens", "4096"),
        ("token_ids", [1, 2]),
        ("tokenizer", "meta-llama/Llama-3.1-8B"),
        ("tokenizer_name", "gpt2-medium-1234"),
        ("eos_token", "<|endoftext|>"),
        ("pad_token", "[PAD]"),
        ("token", None),
        ("use_auth_token", True),
        ("token_dropout", 0.1),
        ("author", "Jane Doe"),
        ("key", "value1234567"),
        ("monkey", "value1234567"),
        ("password", None),
        ("password", ""),
    ],
)
def test_values_under_harmless_names_stay(name: str, value: object) -> None:
    assert through_json({name: value}) == {name: value}


# Put together here, so that no scanner takes this file for a leak.
RANDOM = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7"
SECRETS = [
    "sk-" + "proj-" + RANDOM,
    "hf" + "_" + RANDOM,
    "ghp" + "_" + RANDOM,
    "github" + "_pat_" + RANDOM,
    "xox" + "b-123456789012-" + RANDOM,
    "AKI" + "A" + "ABCDEFGHIJ234567",
    "AIz" + "a" + "Sy" + RANDOM + "0123456",
    "glp" + "at-" + RANDOM,
    "123456789" + ":" + "AA" + RANDOM + "012345",
    "eyJ" + "hbGciOi" + "." + "eyJzdWIi" + "." + RANDOM,
    "-----BEGIN RSA " + "PRIVATE KEY-----\nabc\n-----END RSA " + "PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret[:6])
@pytest.mark.parametrize("around", ["{}", "before {} after", "'{}'", "x={},y", "ü\ud800{}ü"])
def test_known_formats_are_left_out_of_text(secret: str, around: str) -> None:
    if "\ud800" in around:
        around = around.replace("\ud800", "🚀")
    assert _core.redact(around.format(secret)) == around.format("[redacted]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://me:pw@host/db", "postgres://me:[redacted]@host/db"),
        ("--api-key=XYZ12345 --lr 3", "--api-key=[redacted] --lr 3"),
        ("--password hunter22 --lr 3", "--password [redacted] --lr 3"),
        ("HF_TOKEN=a1b2c3d4e5 python train.py", "HF_TOKEN=[redacted] python train.py"),
        ("password: hunter22", "password: [redacted]"),
        ("{'secret': 'hunter22', 'lr': 1}", "{'secret': '[redacted]', 'lr': 1}"),
        ('api_key = "abcd1234"', 'api_key = "[redacted]"'),
    ],
)
def test_assignments_to_secret_names_are_left_out_of_text(text: str, expected: str) -> None:
    assert _core.redact(text) == expected


@pytest.mark.parametrize(
    ("kept", "secret"),
    [
        ("slack://", "TokenA/TokenB/TokenC"),
        ("TGRAM://", "123456:abcdef/42"),
        ("mailtos://", "me:pw@example.com?to=a,b"),
        ("https://hooks.slack.com/services/", "T00/B00/XyZ"),
        ("https://discord.com/api/webhooks/", "1234/XyZ"),
        ("https://discordapp.com/api/v10/webhooks/", "1234/XyZ"),
        ("https://acme.webhook.office.com/", "webhookb2/a@b/IncomingWebhook/c/d"),
        ("https://example.com/team/webhook/", "XyZ?a=b"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "before {} after", "'{}'", "url={}"])
def test_addresses_that_anybody_can_send_to_are_left_out(
    kept: str, secret: str, around: str
) -> None:
    clean = around.format(f"{kept}[redacted]")
    assert _core.redact(around.format(kept + secret)) == clean
    assert _core.redact(clean) == clean
    assert through_json({"notify": [kept + secret]}) == {"notify": [f"{kept}[redacted]"]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.com/docs/webhooks",
        "https://hooks.slack.com/services/",
        "s3://bucket/key gs://bucket/key hf://datasets/a/b",
        "file:///data/x tcp://10.0.0.1:29500 postgresql://host/db",
        "loss: 0.123 step: 10",
        "max_tokens=4096 tokens: 10",
        "token = next(tokens)",
        "eos_token='</s>'",
        "OPENAI_API_KEY=$KEY",
        "password: None",
        "https://example.com/a:b@c",
        "see sk-learn-is-a-nice-library-for-people",
        "commit 0123456789abcdef0123456789abcdef01234567",
        "12:30:45",
        "a\ud800b",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert _core.redact(text) == text


def test_a_megabyte_is_no_burden() -> None:
    text = "lorem ipsum: dolor --sit=amet eyJ sk- 1234567: " * 20_000
    assert _core.redact(text) == text
