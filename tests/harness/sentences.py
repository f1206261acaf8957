"""True sentences about a random run, and the same with one fact falsified.

A template holds facts in braces. Each has a true text, and a way to be false; facts that are one
statement (a value and its step) share a group, and a judge may strike them together.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from harness.answering import FakeRun, FakeSnapshot

# Names, and whether they stand for a loss (falls), a score (rises) or a level with peaks.
NAMES = {
    "loss": "fall",
    "val_loss": "bowl",
    "train/loss": "fall",
    "eval/loss": "bowl",
    "accuracy": "rise",
    "eval/accuracy": "rise",
    "grad_norm": "peaks",
    "kl": "peaks",
    "reward": "rise",
    "perplexity": "fall",
    "entropy": "fall",
    "ppo/value_loss": "peaks",
    "wer": "fall",
    "throughput": "level",
}
SPOKEN = {
    "val_loss": ["validation loss", "val loss"],
    "grad_norm": ["grad norm", "gradient norm"],
    "eval/accuracy": ["eval accuracy"],
    "eval/loss": ["eval loss"],
    "train/loss": ["training loss"],
    "kl": ["KL"],
}
ABOUTS = ("", "", "", "about ", "~", "roughly ", "around ")


@dataclass
class Fact:
    """One fact of a sentence: its text, and texts that are not true."""

    text: str
    false: Callable[[], str]


@dataclass
class Case:
    """A sentence with facts at known places."""

    text: str
    spans: dict[str, tuple[int, int]]
    facts: dict[str, Fact] = field(default_factory=dict)


def random_run(seed: int) -> FakeRun:
    """Return a run of a few metrics, of any length and scale."""
    draw = np.random.default_rng(seed)
    every = int(draw.choice([1, 1, 5, 10, 50]))
    step = np.arange(int(draw.integers(40, 1500))) * every + int(draw.choice([0, 0, 1, 100]))
    names = list(draw.permutation(list(NAMES)))[:5]
    if "loss" not in names and "train/loss" not in names:
        names.append("loss")
    # "loss" would mean any of them, and no sentence could say which.
    if "loss" in names and "train/loss" in names:
        names.remove("train/loss")
    if "val_loss" in names and "eval/loss" in names:
        names.remove("eval/loss")
    if "accuracy" in names and "eval/accuracy" in names:
        names.remove("accuracy")
    curves = {name: (step, shaped(NAMES[name], len(step), draw)) for name in names}
    config = {"lr": float(draw.choice([1e-4, 3e-4, 2.5e-5, 1e-3])),
              "batch_size": int(draw.choice([16, 48, 256, 1024])),
              "weight_decay": float(draw.choice([0.01, 0.1, 0.05]))}  # fmt: skip
    return FakeRun(curves, config)


def shaped(kind: str, count: int, draw: np.random.Generator) -> np.ndarray:
    """Return values that fall, rise, turn, or stay with peaks."""
    at = np.linspace(0, 1, count)
    scale = float(10 ** draw.uniform(-0.5, 1.5))
    noise = draw.normal(0, 0.004, count)
    if kind == "fall":
        return scale * (0.2 + np.exp(-4 * at) + noise)
    if kind == "bowl":
        return scale * (0.4 + 2 * (at - 0.6) ** 2 + noise)
    if kind == "rise":
        return 0.1 + 0.85 * (1 - np.exp(-3 * at)) + noise
    if kind == "peaks":
        values = scale * (1 + 10 * noise)
        values[int(draw.integers(count // 4, count))] *= float(draw.uniform(5, 60))
        return values
    return 1000 * scale * (1 + noise)


def written(value: float, digits: int, draw: random.Random) -> str:
    """Write a value with so many digits that count, in one of the usual ways."""
    if value == 0 or not 1e-3 <= abs(value) < 1e5:
        return f"{value:.{max(digits - 1, 1)}e}".replace("e-0", "e-").replace("e+0", "e")
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:.{decimals}f}"
    if abs(value) >= 1000 and draw.random() < 0.5:
        text = f"{value:,.{decimals}f}"
    return text


class NoLieError(Exception):
    """There is no other value for this fact that would not be true as well."""


class Maker:
    """Draws the facts of one sentence."""

    def __init__(self, run: FakeRun, draw: random.Random) -> None:
        self.run, self.draw = run, draw
        self.metric, self.other = draw.sample(sorted(run.curves), 2)
        self.step, self.value = run.curves[self.metric]
        self.digits = draw.choice([2, 3, 3, 4, 5])
        low = draw.randrange(0, len(self.step) - 8)
        high = draw.randrange(low + 4, len(self.step))
        self.at = (low, high)
        self.facts: dict[str, Fact] = {}

    def number(
        self, value: float, digits: int | None = None, *, unit: str = "", signed: bool = False
    ) -> Fact:
        digits = digits or self.digits
        text = written(value, digits, self.draw)
        if signed and value > 0:
            text = "+" + text

        def false() -> str:
            for _ in range(200):
                factor = self.draw.choice(
                    [self.draw.uniform(1.15, 3.0), self.draw.uniform(0.2, 0.87)]
                )
                other = written(value * factor, digits, self.draw)
                if abs(float(other.replace(",", "")) / value - 1) > 0.12:
                    return ("+" if signed and value > 0 else "") + other + unit
            raise AssertionError("no false number")

        return Fact(text + unit, false)

    def count(self, value: int) -> Fact:
        return Fact(f"{value:,}", lambda: f"{value * self.draw.choice([2, 3, 4]):,}")

    def place(self, index: int, *, after: int = -1, before: int = 1 << 62) -> Fact:
        """A step; false it is another step of the run with another value, or one beyond its end."""
        right = int(self.step[index])

        def false() -> str:
            if self.draw.random() < 0.3 and before > len(self.step):
                return self.step_text(int(self.step[-1]) + self.draw.randint(500, 5000))
            for _ in range(300):
                other = self.draw.randrange(len(self.step))
                if not after < other < before:
                    continue
                beside = self.at[0] if after >= 0 else self.at[1]
                if before > len(self.step) and after < 0:
                    beside = -1
                if self.same_change(index, other, beside):
                    continue
                if all(self.differs(name, index, other) for name in (self.metric, self.other)):
                    return self.step_text(int(self.step[other]))
            raise NoLieError

        return Fact(self.step_text(right), false)

    def same_change(self, index: int, other: int, beside: int) -> bool:
        """Whether a change to or from a step is the same from another one."""
        if beside < 0:
            return False
        right, wrong = (abs(self.value[at] - self.value[beside]) for at in (index, other))
        return bool(abs(right - wrong) < 0.05 * max(right, wrong))

    def differs(self, name: str, index: int, other: int) -> bool:
        one, two = self.run.curves[name][1][[index, other]]
        return bool(abs(one - two) > 0.12 * max(abs(one), abs(two)))

    def step_text(self, step: int) -> str:
        return f"{step:,}" if step >= 1000 and self.draw.random() < 0.4 else str(step)

    def name(self, metric: str) -> str:
        spoken = SPOKEN.get(metric, [metric])
        return self.draw.choice([metric, f"`{metric}`", *spoken])

    def fact(self, name: str) -> Fact:
        low, high = self.at
        value, draw = self.value, self.draw
        a, b = float(value[low]), float(value[high])
        other = self.run.curves[self.other][1]
        simple: dict[str, Callable[[], Fact]] = {
            "va": lambda: self.number(a),
            "vb": lambda: self.number(b),
            "na": lambda: self.number(float(other[low])),
            "nb": lambda: self.number(float(other[high])),
            "a": lambda: self.place(low, before=high),
            "b": lambda: self.place(high, after=low),
            "last": lambda: self.number(float(value[-1])),
            "first": lambda: self.number(float(value[0])),
            "max": lambda: self.number(float(value.max())),
            "min": lambda: self.number(float(value.min())),
            "mean": lambda: self.number(float(value.mean()), 4),
            "median": lambda: self.number(float(np.median(value)), 4),
            "std": lambda: self.number(float(value.std()), 3),
            "amax": lambda: self.place(int(value.argmax())),
            "amin": lambda: self.place(int(value.argmin())),
            "delta": lambda: self.number(b - a, 3, signed=True),
            "move": lambda: self.number(abs(b - a), 3),
            "whole": lambda: self.number(abs(float(value[-1] - value[0])), 3),
            "pct": lambda: self.number(
                abs(100 * (b - a) / a), 3, unit=draw.choice(["%", " %", " percent"])
            ),
            "wholepct": lambda: self.number(
                abs(100 * (value[-1] - value[0]) / value[0]), 3, unit="%"
            ),
            "ratio": lambda: self.number(
                float(value.max() / np.median(value)), 3, unit=draw.choice(["x", "\u00d7"])
            ),
            "tail": lambda: self.number(float(value[-self.tail() :].mean()), 4),
            "lr": lambda: self.number(self.run.config["lr"], 2),
            "batch": lambda: self.count(self.run.config["batch_size"]),
            "decay": lambda: self.number(self.run.config["weight_decay"], 2),
            "line": lambda: Fact(
                f"train.py:{self.line()}", lambda: f"train.py:{self.wrong_line()}"
            ),
            "lineof": lambda: Fact(
                f"line {self.line()} of train.py", lambda: f"line {self.wrong_line()} of train.py"
            ),
            "end": lambda: Fact(
                self.step_text(int(self.step[-1])),
                lambda: self.step_text(int(self.step[-1] * 1.3) + 50),
            ),
            "metric": lambda: Fact(
                f"`{self.metric}`",
                lambda: f"`{draw.choice(['val/bleu', 'aux_loss', 'train/mfu', 'lm_z_loss'])}`",
            ),
        }
        return simple[name]()

    def tail(self) -> int:
        # One point a step, or the last steps would be fewer points.
        return min(len(self.step), 20)

    def line(self) -> int:
        return 3

    def wrong_line(self) -> int:
        return self.draw.choice([14, 20, 300])


CODE = FakeSnapshot(
    {
        "train.py": "import torch\n\nmax_grad_norm = 1.0\n"
        + "\n".join(f"x{i} = None" for i in range(30)),
        "model/net.py": "class Net:\n    pass\n",
    }
)

TEMPLATES = (
    "{m} was {va} at step {a}.",
    "At step {a}, {m} was {va}.",
    "At step {a} the {m} stood at {va} and by step {b} it was {vb}.",
    "{m} = {va} (step {a}).",
    "Step {a}: {m} {va}, {n} {na}.",
    "- **{m}**: {va} at step {a}, {vb} at step {b}",
    "{m} went from {va} at step {a} to {vb} at step {b}.",
    "{m} moved from {va} (step {a}) to {vb} (step {b}).",
    "Between step {a} and step {b}, {m} went from {va} to {vb}.",
    "From step {a} to step {b} the {m} changed from {va} to {vb}.",
    "{m} went from {va} to {vb} over steps {a}\u2013{b}.",
    "{m} went from {va} to {vb} over steps {a}-{b} (\u0394={delta}).",
    "Over steps {a} to {b}, {m} went {va} \u2192 {vb}.",
    "{m}: {va} \u2192 {vb} (steps {a} to {b})",
    "{m} changed by {move} between steps {a} and {b}.",
    "Between steps {a} and {b}, {m} changed by {pct}.",
    "{m} went from {va} at step {a} to {vb} at step {b}, a change of {pct}.",
    "{m} went from {va} (step {a}) to {vb} (step {b}), a difference of {move}.",
    "{m} is currently {last}.",
    "The current {m} is {last}.",
    "Right now {m} sits at {last}.",
    "The latest {m} value is {last}.",
    "{m} is now {last}, having started at {first}.",
    "{m} started at {first} and is now at {last}.",
    "{m} went from an initial {first} to {last} now.",
    "{m} has gone from {first} to {last}, a change of {wholepct}.",
    "In total, {m} has changed by {whole} since the start.",
    "{m} peaked at {max} at step {amax}.",
    "The maximum of {m} is {max} (step {amax}).",
    "{m} reached its highest value, {max}, at step {amax}.",
    "{m} reached a peak of {max} around step {amax}.",
    "The lowest {m} so far was {min} at step {amin}.",
    "{m} bottomed out at {min} (step {amin}).",
    "{m} hit its minimum of {min} at step {amin} and is now {last}.",
    "The mean {m} is {mean}.",
    "{m} averages {mean} over the whole run.",
    "The median of {m} is {median}.",
    "The standard deviation of {m} is {std}.",
    "{m} peaked at {max}, which is {ratio} its median.",
    "The peak of {m} ({max}) is {ratio} the median of {median}.",
    "Your config sets lr={lr}.",
    "The learning rate in your config is {lr}.",
    "You train with a batch size of {batch}.",
    "With batch_size={batch} and weight_decay={decay}, {m} is now {last}.",
    "Lower the learning rate from {lr} to 1e-6.",
    "Consider a smaller batch size (currently {batch}).",
    "Since {m} was {va} at step {a}, try clipping at 0.123.",
    "If {m} exceeds 123456, stop; it is currently {last}.",
    "Clipping is set with `max_grad_norm = 1.0` in {line}.",
    "See {line}: `max_grad_norm`.",
    "The clip value is on {lineof} (`max_grad_norm = 1.0`).",
    "{metric} was {va} at step {a}.",
    "The run has reached step {end}.",
    "So far the run has logged data up to step {end}; {m} is at {last}.",
    "At step {a}, {m} was {va} while {n} was {na}.",
    "{m} was {va} and {n} was {na} at step {a}.",
    "{m} and {n} were {va} and {na} at step {a}.",
    "While {m} went from {va} to {vb} between steps {a} and {b}, {n} went from {na} to {nb}.",
    "{m} was {va} and {vb} at steps {a} and {b}, respectively.",
    "We saw {m} of {va} @ step {a}; later, at step {b}, it was {vb}.",
    "Looking at {m}, step {a} shows {va}. The latest value is {last}.",
    "{m} looks fine. It was {va} at step {a}.",
    "By step {b}, {m} had reached {vb}, compared with {va} at step {a}.",
    "At step {b} {m} was {vb}, up or down from {va} at step {a}, i.e. a {pct} change.",
    "**{m}** (step {a}): {va}; **{n}** (step {b}): {nb}.",
    "| {m} | {va} at step {a} | {vb} at step {b} |",
)
# Facts that are one statement: a judge may strike them together.
GROUPS = (
    {"va", "a"},
    {"vb", "b"},
    {"na", "a"},
    {"nb", "b"},
    {"max", "amax"},
    {"min", "amin"},
    {"metric", "va", "a"},
    {"delta", "a", "b"},
    {"move", "a", "b"},
    {"pct", "a", "b"},
    {"va", "a", "b"},
    {"vb", "a", "b"},
)


def make(template: str, run: FakeRun, draw: random.Random) -> Case:
    """Return a true sentence."""
    maker = Maker(run, draw)
    return filled(template, maker, {})


def filled(template: str, maker: Maker, given: dict[str, str]) -> Case:
    case = Case("", {}, maker.facts)
    at = 0
    for match in re.finditer(r"\{(\w+)\}", template):
        case.text += template[at : match.start()]
        name = match[1]
        if name in ("m", "n"):
            key = f"name_{name}"
            if key not in maker.facts:
                metric = maker.metric if name == "m" else maker.other
                said = maker.name(metric)
                maker.facts[key] = Fact(said, said.upper)
            text = maker.facts[key].text
        else:
            if name not in maker.facts:
                maker.facts[name] = maker.fact(name)
            text = given.get(name, maker.facts[name].text)
            case.spans[name] = (len(case.text), len(case.text) + len(text))
        case.text += text
        at = match.end()
    case.text += template[at:]
    return case


def falsified(template: str, run: FakeRun, draw: random.Random) -> tuple[Case, str]:
    """Return a sentence in which one fact is false, and which."""
    maker = Maker(run, draw)
    case = filled(template, maker, {})
    for name in draw.sample(sorted(case.spans), len(case.spans)):
        with suppress(NoLieError):
            return filled(template, maker, {name: maker.facts[name].false()}), name
    return falsified(template, run, draw)


def partners(name: str) -> set[str]:
    """Return the facts that may be struck together with one."""
    return set().union(*(group for group in GROUPS if name in group), {name})
