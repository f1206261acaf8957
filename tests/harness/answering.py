"""A run and its code without a database, for what is said of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training_monitor.answers import Attempt, Metric, Series
from training_monitor.machine import Finding, SystemSeries

STARTED = 1_700_000_000.0

TRAIN = '''"""Train a small model."""
import torch
from torch import nn

from model.net import Net

LR = 3e-4
BATCH_SIZE = 32


def make_optimizer(net):
    return torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=0.0)


def train(net, loader, steps):
    optimizer = make_optimizer(net)
    loss_function = nn.CrossEntropyLoss()
    for step, (inputs, labels) in enumerate(loader):
        loss = loss_function(net(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        grad_norm = nn.utils.clip_grad_norm_(net.parameters(), 100.0)
        optimizer.step()
        if step >= steps:
            break
'''
NET = '''"""The model."""
from torch import nn


class Net(nn.Module):
    def __init__(self, width=128, dropout=0.1):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(width, 10)

    def forward(self, inputs):
        return self.head(self.layers(inputs))
'''


@dataclass
class FakeRun:
    """Answers as a RunView does."""

    curves: dict[str, tuple[Any, Any]]
    config: dict[str, Any] = field(default_factory=dict)
    found: list[Finding] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=dict)
    seconds: float = 7200.0
    reads: int = 0

    @property
    def attempts(self) -> list[Attempt]:
        return [Attempt(1, "job", STARTED, STARTED + self.seconds, 1, 1, self.config)]

    def metrics(self) -> list[Metric]:
        made = []
        for name, (step, value) in sorted(self.curves.items()):
            finite = np.asarray(value)[np.isfinite(value)]
            made.append(
                Metric(
                    name, "float", len(step), int(step[0]), int(step[-1]), float(value[-1]),
                    float(finite.min()) if len(finite) else None,
                    float(finite.max()) if len(finite) else None,
                )
            )  # fmt: skip
        return made

    def series(self, key: str, **_how: Any) -> Series:
        self.reads += 1
        step, value = self.curves[key]
        step = np.asarray(step, np.int64)
        nothing = np.zeros(len(step), np.uint32)
        return Series(step, np.asarray(value, float), STARTED + 0.1 * step, nothing, nothing + 1)

    def findings(self) -> list[Finding]:
        return self.found

    def system(self, _metric: Any = None, **_how: Any) -> Any:
        return self.machine


@dataclass(frozen=True)
class FakeEntry:
    id: int
    path: str


@dataclass(frozen=True)
class FakeHit:
    path: str
    line: int
    text: str


class FakeSnapshot:
    """Answers as a Snapshot does."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = {path: text.splitlines() for path, text in files.items()}
        self.entries = tuple(FakeEntry(at, path) for at, path in enumerate(sorted(files)))

    def lines(self, path_or_id: str | int, first: int = 1, last: int | None = None) -> list[str]:
        return self._files[str(path_or_id)][first - 1 : last]

    def search(
        self, pattern: str, *, regex: bool = False, limit: int = 100, **_how: Any
    ) -> tuple[list[FakeHit], bool]:
        wanted = pattern if regex else re.escape(pattern)
        hits = [
            FakeHit(path, at, line)
            for path, lines in self._files.items()
            for at, line in enumerate(lines, 1)
            if re.search(wanted, line)
        ]
        return hits[:limit], len(hits) > limit


def sampled(name: str, values: list[float]) -> SystemSeries:
    known = np.array(values, dtype=np.float64)
    time = np.array([STARTED + 10.0 * at for at in range(len(values))], dtype=np.float64)
    return SystemSeries(name, "here", time, known, known, known)


def digits_run() -> FakeRun:
    """Return a run of 800 of 1,000 steps that overfits, with one spike of the gradients."""
    draw = np.random.default_rng(11)
    step = np.arange(800)
    loss = 0.5 + 1.8 * np.exp(-step / 150) + draw.normal(0, 0.01, 800)
    grad_norm = 1.0 + draw.normal(0, 0.05, 800)
    grad_norm[412] = 57.31
    lr = np.where(step < 100, 3e-4 * (step + 1) / 100, 3e-4)
    val_step = np.arange(0, 800, 100)
    val_loss = np.array([2.351, 1.624, 1.302, 1.118, 1.047, 1.022, 1.163, 1.314])
    accuracy = np.array([0.112, 0.524, 0.687, 0.791, 0.853, 0.901, 0.922, 0.9318])
    speed = 4200 + draw.normal(0, 20, 800)
    curves = {
        "loss": (step, loss),
        "val_loss": (val_step, val_loss),
        "eval/accuracy": (val_step, accuracy),
        "grad_norm": (step, grad_norm),
        "lr": (step, lr),
        "tokens_per_sec": (step, speed),
        "step_time": (step, 0.12 + draw.normal(0, 0.002, 800)),
        "epoch": (step, step // 100),
    }
    config = {
        "lr": 3e-4,
        "batch_size": 32,
        "weight_decay": 0.0,
        "model": "gemma-3-4b",
        "max_steps": 1000,
        "warmup_steps": 100,
        "eval_every": 100,
        "optimizer": {"name": "AdamW", "betas": [0.9, 0.999]},
    }
    jump = "grad_norm jumped to 57.3, 52x its median"
    found = [
        Finding(STARTED + 41.2, "", "grad_norm", "spike", jump,
                by="detector", step=412, since=412, value=57.31, reference=1.0),
        Finding(STARTED + 70.0, "", "val_loss", "overfitting", "val_loss has risen since step 500",
                by="detector", step=700, since=500, value=1.314, reference=1.022),
    ]  # fmt: skip
    machine = {
        "gpu0/utilization_percent": sampled("gpu0/utilization_percent", [93, 94, 92, 93, 93]),
        "gpu0/memory_used_bytes": sampled("gpu0/memory_used_bytes", [71.2e9] * 5),
        "gpu0/temperature_celsius": sampled("gpu0/temperature_celsius", [61, 64, 67, 68, 68]),
        "host/cpu_percent": sampled("host/cpu_percent", [35, 41, 38, 36, 37]),
    }
    return FakeRun(curves, config, found, machine)


def digits_snapshot() -> FakeSnapshot:
    return FakeSnapshot({"train.py": TRAIN, "model/net.py": NET})
