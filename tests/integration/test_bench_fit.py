"""The constants of the forecast can be fitted again from a folder of curves."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

BENCHES = Path(__file__).resolve().parents[2] / "benches"


def curves(folder: Path) -> None:
    random = np.random.default_rng(0)
    steps = np.arange(10, 401, 10)
    with gzip.open(folder / "made.jsonl.gz", "wt") as lines:
        for number in range(24):
            reward = number % 2 == 1
            values = 1.0 + steps ** -random.uniform(0.2, 0.8) + random.normal(0.0, 0.01, steps.size)
            run = {
                "id": f"made/{number}",
                "kind": "rl" if reward else "supervised",
                "metric": "reward" if reward else "val_loss",
                "direction": "max" if reward else "min",
                "group": f"made/{number % 6}",
                "series": {
                    "val_loss": {"x": steps.tolist(), "y": values.tolist()},
                    "reward": {"x": steps.tolist(), "y": (-values).tolist()},
                },
            }
            lines.write(json.dumps(run) + "\n")


def fit(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "detection.fit", str(folder), *flags],
        env={**os.environ, "PYTHONPATH": str(BENCHES)},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_a_folder_of_curves_is_fitted_and_judged_on_groups_left_out(tmp_path: Path) -> None:
    curves(tmp_path)
    done = fit(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "| **supervised** | 12 |" in done.stdout
    assert "| **rl** | 12 |" in done.stdout
    assert "nan" not in done.stdout


def test_constants_are_not_written_from_curves_of_some_kinds(tmp_path: Path) -> None:
    curves(tmp_path)
    done = fit(tmp_path, "--every", "2", "--write")
    assert done.returncode == 1
    assert "nothing written: curves of loss only" in done.stderr
