"""The metrics that every bench logs. Only the stdlib here: other environments import it."""

from __future__ import annotations

import math
import random

KEYS = [
    "loss", "accuracy", "lr", "grad_norm", "weight_norm", "update_ratio",
    "reward", "kl", "entropy", "step_ms",
]  # fmt: skip


def noisy_dicts(count: int, seed: int = 7) -> list[dict[str, float]]:
    """Return distinct dicts of ten noisy, decaying floats."""
    source = random.Random(seed)
    return [
        {
            key: at + math.exp(-step / 5000.0) + 0.01 * source.gauss(0, 1)
            for at, key in enumerate(KEYS)
        }
        for step in range(count)
    ]
