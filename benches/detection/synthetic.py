"""Made curves of all kinds, seeded, in the format of the real ones.

`python -m detection.synthetic DIR [COUNT] [SEED]` writes them into a folder.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detection.curves import Floats, Run, Series, Wall

__all__ = ["GENERATORS", "make", "traces", "write"]

Random = np.random.Generator
Curves = Mapping[str, tuple[Floats, Floats]]


def _run(
    name: str,
    kind: str,
    seed: int,
    metric: str,
    goal: str,
    curves: Curves,
    *,
    seconds: Floats | None = None,
    parts: Mapping[str, Floats] | None = None,
) -> Run:
    series = {key: Series(steps, values) for key, (steps, values) in curves.items()}
    steps = next(iter(curves.values()))[0]
    wall = None if seconds is None else Wall(steps, seconds, parts or {})
    source = f"synthetic-{name}"
    return Run(f"{source}/{seed}", source, kind, f"{source}/{seed % 5}", metric, goal, series, wall)


def language_model(seed: int) -> Run:
    """Return a pre-training run: power law, noise, warm-up and cosine decay of the rate."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(600, 1500))
    steps = np.arange(1.0, count + 1) * int(rng.choice([1, 1, 10]))
    share = np.arange(count) / count
    peak = 10 ** rng.uniform(-4, -2.5)
    lr = peak * np.minimum(1, share / 0.03) * (0.1 + 0.45 * (1 + np.cos(np.pi * share)))
    floor, height = rng.uniform(1.8, 3.2), rng.uniform(3, 6)
    clean = floor + height * (1 + 400 * share) ** -rng.uniform(0.3, 0.6)
    clean -= 0.15 * np.clip((share - 0.6) / 0.4, 0, 1) ** 2
    noise = _correlated(rng, count, 0.3) * rng.uniform(0.004, 0.02)
    norm = np.exp(rng.normal(np.log(0.5) + 1.2 * np.exp(-share * 30), 0.12, count))
    every = max(1, count // 40)
    return _run(
        "llm", "pretrain", seed, "val_loss", "min",
        {
            "train_loss": (steps, clean * np.exp(noise)),
            "val_loss": (steps[every - 1 :: every], _evaluated(rng, clean, every, 0.002) + 0.02),
            "grad_norm": (steps, norm),
            "lr": (steps, lr),
        },
        seconds=_clock(rng, count, every),
    )  # fmt: skip


def classifier(seed: int) -> Run:
    """Return a supervised run by epochs; two in five overfit from somewhere in the middle on."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(40, 120))
    epochs = np.arange(1.0, count + 1)
    share = epochs / count
    train = 0.05 + 2.2 * np.exp(-4 * share) * np.exp(rng.normal(0, 0.01, count))
    gap = 0.1 + rng.uniform(0, 0.1)
    rise = rng.uniform(0.6, 2.0) if rng.random() < 0.4 else 0.0
    val = train + gap + rise * np.clip(share - rng.uniform(0.35, 0.6), 0, None)
    score = 0.9 - 0.6 * np.exp(-5 * share) - 0.02 * rise * share
    train_seconds = np.cumsum(np.exp(rng.normal(3, 0.03, count)))
    eval_seconds = np.cumsum(np.exp(rng.normal(1.5, 0.1, count)))
    return _run(
        "supervised", "supervised", seed, "val_acc", "max",
        {
            "train_loss": (epochs, train),
            "val_loss": (epochs, val * np.exp(rng.normal(0, 0.008, count))),
            "val_acc": (epochs, score + rng.normal(0, 0.004, count)),
        },
        seconds=train_seconds + eval_seconds,
        parts={"train": train_seconds, "eval": eval_seconds},
    )  # fmt: skip


def agent(seed: int) -> Run:
    """Return rewards of an agent: noisy, rising to a level, sometimes below zero all the way."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(120, 400))
    steps = np.arange(1.0, count + 1) * 1000
    share = np.arange(count) / count
    height, low = 10 ** rng.uniform(0, 3), -(10 ** rng.uniform(0, 3)) * rng.integers(0, 2)
    rise = 1 / (1 + np.exp(-rng.uniform(8, 20) * (share - rng.uniform(0.15, 0.5))))
    noise = _correlated(rng, count, 0.4) * height * rng.uniform(0.03, 0.12)
    return _run(
        "rl", "rl", seed, "episode_reward", "max",
        {"episode_reward": (steps, low + height * rise + noise)},
        seconds=np.cumsum(np.exp(rng.normal(0, 0.15, count)) * (1 + share)),
    )  # fmt: skip


def policy(seed: int) -> Run:
    """Return the set of metrics of a GRPO run: reward and spread, KL, entropy, lengths, norm."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(200, 600))
    steps = np.arange(1.0, count + 1)
    share = np.arange(count) / count
    reward = 0.1 + 0.6 * (1 - np.exp(-3 * share)) + _correlated(rng, count, 0.3) * 0.04
    length = 300 * (1 + share) * np.exp(rng.normal(0, 0.06, count))
    kl = 0.02 * (1 - np.exp(-5 * share)) * np.exp(_correlated(rng, count, 0.3) * 0.35) + 1e-4
    return _run(
        "grpo", "grpo", seed, "reward", "max",
        {
            "reward": (steps, reward),
            "reward_std": (steps, 0.3 * np.exp(rng.normal(-0.4 * share, 0.1, count))),
            "kl": (steps, kl),
            "entropy": (steps, 1.6 * np.exp(-0.5 * share + rng.normal(0, 0.04, count))),
            "completion_length": (steps, length),
            "grad_norm": (steps, np.exp(rng.normal(-1, 0.3, count))),
            "loss": (steps, 0.01 * rng.normal(0, 1, count) + kl),
        },
        seconds=np.cumsum(5 + length * 0.05),
    )  # fmt: skip


def device(seed: int) -> Run:
    """Return the memory of a GPU as a share of its capacity: a level, phases, noise, a step."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1200, 3000))
    steps = np.arange(1.0, count + 1)
    level = rng.uniform(0.3, 0.7)
    used = level + rng.normal(0, 0.002, count) + 0.02 * np.clip(steps / 20, 0, 1)
    used += 0.08 * (steps % rng.integers(150, 400) < 15)  # evaluations take more
    used += 0.03 * (steps > rng.integers(200, 900))  # a larger batch shape, seen once
    return _run(
        "memory", "device", seed, "gpu_memory", "min",
        {"gpu_memory": (steps, np.clip(used, 0, 0.98))},
    )  # fmt: skip


GENERATORS: dict[str, Callable[[int], Run]] = {
    "llm": language_model,
    "supervised": classifier,
    "rl": agent,
    "grpo": policy,
    "memory": device,
}


def make(count: int, *, seed: int = 0) -> list[Run]:
    """Return `count` runs of each kind."""
    return [
        generate(seed * 1000 + index) for generate in GENERATORS.values() for index in range(count)
    ]


def traces(count: int = 40) -> list[Run]:
    """Return what curves in the open lack, or have too short: memory, KL and entropy alone."""
    found = []
    for generate, names in ((policy, ("kl", "entropy")), (device, ("gpu_memory",))):
        for index in range(count):
            run = generate(7000 + index)
            found.append(run.with_series({name: run.series[name] for name in names}))
    return found


def write(runs: list[Run], folder: Path) -> None:
    """Write runs into a folder, a file for each source."""
    folder.mkdir(parents=True, exist_ok=True)
    by_source: dict[str, list[Run]] = {}
    for run in runs:
        by_source.setdefault(run.source, []).append(run)
    for source, some in by_source.items():
        with gzip.open(folder / f"{source}.jsonl.gz", "wt") as out:
            out.writelines(json.dumps(_plain(run)) + "\n" for run in some)


def _plain(run: Run) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "id": run.id,
        "kind": run.kind,
        "metric": run.metric,
        "direction": run.goal,
        "group": run.group,
        "series": {
            name: {"x": item.steps.tolist(), "y": [_number(v) for v in item.values.tolist()]}
            for name, item in run.series.items()
        },
        "meta": dict(run.meta),
    }
    if run.wall is not None:
        total = "total" if run.wall.parts else "t"
        parts = {name: part.tolist() for name, part in run.wall.parts.items()}
        raw["wall"] = {"x": run.wall.steps.tolist(), total: run.wall.seconds.tolist(), **parts}
    return raw


def _number(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)


def _correlated(rng: Random, count: int, share: float) -> Floats:
    """Return noise of spread one in which each value keeps a share of the one before."""
    fresh = rng.normal(0, np.sqrt(1 - share**2), count)
    out = np.empty(count)
    value = 0.0
    for index, one in enumerate(fresh.tolist()):
        value = share * value + one
        out[index] = value
    return out


def _evaluated(rng: Random, clean: Floats, every: int, noise: float) -> Floats:
    values: Floats = clean[every - 1 :: every]
    return values * np.exp(rng.normal(0, noise, len(values)))


def _clock(rng: Random, count: int, every: int) -> Floats:
    """Return seconds: steps with a few per cent of noise, a slow first one, periodic pauses."""
    took = rng.uniform(0.1, 2) * np.exp(rng.normal(0, 0.03, count))
    took[0] *= 30
    took[every - 1 :: every] += 5 * float(np.median(took))
    return np.cumsum(took)


if __name__ == "__main__":
    _, to, *numbers = sys.argv
    write(
        make(int(numbers[0]) if numbers else 40, seed=int(numbers[1]) if numbers[1:] else 0),
        Path(to),
    )
