"""A model that sends whatever may do harm, made up from a seed."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training_monitor.analysis.tools.form import Tool


class Attacker:
    """Makes up calls.

    Args:
        seed: The same one gives the same calls.
        tools: What it may call.
        names: Names of metrics and files that exist.
        places: Directories that it may know of.
        targets: What it wants to read.
    """

    def __init__(
        self,
        seed: int,
        tools: Sequence[Tool],
        *,
        names: Sequence[str],
        places: Sequence[Path],
        targets: Sequence[Path],
    ) -> None:
        self._random = random.Random(seed)
        self._tools = tools
        self._names = names
        self._places = places
        self._targets = [
            "etc/passwd",
            "etc/shadow",
            "proc/self/environ",
            "proc/self/mem",
            *(str(target).lstrip("/") for target in targets),
            "secrets.env",
            "outside/canary.txt",
            "outside/foreign",
            "training_monitor.db",
            ".relay.key",
            "foreign",
            "linked",
            "other.log",
            "link.log",
            "folder.log/canary.txt",
        ]

    def call(self) -> tuple[Any, Any]:
        """Return a name and arguments."""
        if self._random.random() < 0.05:
            return self._random.choice(
                [
                    "",
                    "rm",
                    None,
                    7,
                    "snapshot_read\0",
                    "METRICS_LIST",
                    "__class__",
                    "x" * 10_000,
                    ["findings"],
                ]
            ), self.anything()
        tool = self._random.choice(self._tools)
        if self._random.random() < 0.1:
            return tool.name, self.anything()
        arguments = {}
        for name, schema in tool.parameters["properties"].items():
            needed = name in tool.parameters["required"]
            if needed or self._random.random() < 0.5:
                arguments[name] = self.value(schema)
        if self._random.random() < 0.05:
            arguments[self.text()] = self.anything()
        if self._random.random() < 0.2:
            return tool.name, json.dumps(arguments, default=repr)
        return tool.name, arguments

    def value(self, schema: dict[str, Any]) -> Any:
        """Return something for a parameter: mostly of its type, never what was meant."""
        if self._random.random() < 0.1:
            return self.anything()
        kind = schema["type"]
        if kind == "integer":
            return self.number()
        if kind == "boolean":
            return self._random.choice([True, False, "true", "TRUE", 1, None])
        if kind == "array":
            few = range(self._random.choice([0, 1, 2, 5, 300]))
            return [self.value(schema["items"]) for _ in few]
        if kind == "object":
            return {name: self.value(one) for name, one in schema["properties"].items()}
        if isinstance(kind, list) and self._random.random() < 0.3:
            return self.number()
        return self._random.choice(schema["enum"]) if "enum" in schema else self.text()

    def number(self) -> Any:
        """Return a number that is hardly one."""
        return self._random.choice(
            [
                0,
                1,
                2,
                3,
                5,
                10,
                60,
                -1,
                2**31,
                2**63 - 1,
                2**63,
                -(2**63),
                2**64,
                10**100,
                -(10**400),
                math.nan,
                math.inf,
                -math.inf,
                1e308,
                3.7,
                "5",
                "0x10",
                "1e9",
                "\u0663",
                "9" * 5000,
                "#2",
                True,
                None,
                self._random.randrange(-5, 300),
            ]
        )

    def text(self) -> str:
        """Return a text: a path, a pattern, a query, a name."""
        return self._random.choice([self.path, self.pattern, self.word])()

    def path(self) -> str:
        """Return one of hundreds of spellings of a way out."""
        up = self._random.choice(
            [
                "../",
                "..\\",
                "%2e%2e/",
                "%2e%2e%2f",
                "..%2f",
                "..%252f",
                "..%c0%af",
                "....//",
                ".././",
                "..;/",
                "\uff0e\uff0e/",
                "..\uff0f",
                "\u2025/",
                "..\u2215",
                "..\u29f8",
                ".\u200b./",
                "..\0/",
                "./../",
                "a/../../",
                "model/../../",
                "//",
                "/./",
                "\\\\?\\",
                "~/",
                "file://",
            ]
        ) * self._random.choice([0, 1, 2, 3, 8, 40])
        start = self._random.choice(
            [
                "",
                "/",
                "./",
                "//",
                "code/",
                "train.py/",
                "model/",
                "\\",
                "C:\\",
                " ",
                *(f"{place}/" for place in self._places),
            ]
        )
        end = self._random.choice(
            ["", "", "\0", "\0.py", "/", "/.", "%00", "\n", " ", "\u202e", ":$DATA", "#1", "?x"]
        )
        return start + up + self._random.choice(self._targets) + end

    def pattern(self) -> str:
        """Return something for a regular expression or a glob."""
        return self._random.choice(
            [
                "(a+)+$",
                "(a|a)*b",
                "(.*)*x",
                "((((((((((a*)*)*)*)*)*)*)*)*)*",
                "a{1000}{1000}",
                "(",
                "[",
                "\\",
                "(?P<x>a)(?P=x)",
                "(?=.*)+",
                "(?i)" * 200,
                "^" * 900,
                ".*" * 300,
                "\\1",
                "x" * 999,
                "EVIL",
                "**/*",
                "*" * 500,
                "[!a-" * 50,
                "{a,{b,{c}}}" * 20,
                "../**",
                "/etc/*",
                "lr",
                "=",
                "canary",
                "secret",
                "\u0130\u0131",
                "$(cat /etc/passwd)",
                "`id`",
            ]
        )

    def word(self) -> str:
        """Return a name, real, nearly real, or of somebody else."""
        return self._random.choice(
            [
                *self._names,
                "note",
                "Loss",
                "loss\0",
                "l\u043ess",
                "loss; DROP TABLE points",
                "loss' UNION ALL",
                "train.py",
                "TRAIN.PY",
                "train.py\0",
                "\u202eyp.niart",
                "tra\u200bin.py",
                "model/net.py",
                "model\\net.py",
                "./train.py",
                "0",
                "3",
                "#1",
                "-1",
                "other",
                "mine",
                "OTHER",
                "other/",
                ".",
                "..",
                "",
                " ",
                "runs",
                "linked",
                "train.log",
                "link.log",
                "pipe.log",
                "host/cpu_percent",
                "output-rank0.log",
                "1",
                "2",
                "e\u0301" * 300,
                "\ud800",
                "\U000e0041" * 50,
                "x" * 50_000,
            ]
        )

    def anything(self) -> Any:
        """Return what is no argument at all."""
        deep: Any = "x"
        for _ in range(self._random.choice([1, 5, 60])):
            deep = [deep] if self._random.random() < 0.5 else {self.word(): deep}
        return self._random.choice(
            [
                None,
                "",
                "{",
                "[]",
                "null",
                "{}",
                '{"metric":',
                "[" * 90_000,
                '{"a":' * 20_000,
                7,
                -1.5,
                math.nan,
                True,
                [],
                [[]],
                deep,
                {"": ""},
                {"metric": deep},
                {1: 2},
                object(),
                "9" * 5000,
                '{"max_points": ' + "9" * 5000 + "}",
                {"metric": {"metric": "loss"}},
                {"file": ["train.py"]},
                {"slices": [[deep]]},
                {"run": {"name": "other"}},
                "x" * 200_000,
            ]
        )
