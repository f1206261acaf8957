"""Train a small network on handwritten digits and record every step.

The data are the 1,797 scanned digits that ship inside scikit-learn; the network is plain numpy, so
that the whole training loop can be read here. Three lines of it belong to training_monitor.

    python examples/digits.py
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import training_monitor as tm

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
WARMUP_STEPS = 200
VALIDATE_EVERY = 50
# A learning rate that is so many times too high, as a slip in a schedule makes it.
MISTAKE = 40.0


class Network:
    """A multilayer perceptron with ReLU between its layers, trained by momentum SGD."""

    def __init__(self, sizes: list[int], rng: np.random.Generator) -> None:
        pairs = list(pairwise(sizes))
        self.weights = [rng.normal(0.0, np.sqrt(2 / n), (n, m)) for n, m in pairs]
        self.biases = [np.zeros(m) for m in sizes[1:]]
        self.momentum = [np.zeros_like(w) for w in self.weights]
        self.bias_momentum = [np.zeros_like(b) for b in self.biases]

    def forward(self, images: Array) -> list[Array]:
        """Return the activations of every layer; the last are the logits."""
        layers = [images]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            layers.append(np.maximum(layers[-1] @ weight + bias, 0.0))
        layers.append(layers[-1] @ self.weights[-1] + self.biases[-1])
        return layers

    def backward(self, layers: list[Array], labels: Labels) -> tuple[list[Array], list[Array]]:
        """Return the gradients of the mean cross entropy with respect to weights and biases."""
        error = softmax(layers[-1])
        error[np.arange(len(labels)), labels] -= 1.0
        error /= len(labels)
        weight_grads: list[Array] = []
        bias_grads: list[Array] = []
        for depth in reversed(range(len(self.weights))):
            weight_grads.insert(0, layers[depth].T @ error + WEIGHT_DECAY * self.weights[depth])
            bias_grads.insert(0, error.sum(axis=0))
            error = (error @ self.weights[depth].T) * (layers[depth] > 0.0)
        return weight_grads, bias_grads

    def update(self, grads: tuple[list[Array], list[Array]], lr: float) -> list[float]:
        """Take one step and return, per layer, how far the weights moved relative to their norm."""
        ratios = []
        for depth, (weight_grad, bias_grad) in enumerate(zip(*grads, strict=True)):
            self.momentum[depth] = MOMENTUM * self.momentum[depth] - lr * weight_grad
            self.bias_momentum[depth] = MOMENTUM * self.bias_momentum[depth] - lr * bias_grad
            ratios.append(norm(self.momentum[depth]) / norm(self.weights[depth]))
            self.weights[depth] += self.momentum[depth]
            self.biases[depth] += self.bias_momentum[depth]
        return ratios


def softmax(logits: Array) -> Array:
    """Return the class probabilities of each row."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def loss_and_accuracy(logits: Array, labels: Labels) -> tuple[float, float]:
    """Return the mean cross entropy and the share of correct answers."""
    likelihood = softmax(logits)[np.arange(len(labels)), labels]
    return float(-np.log(likelihood + 1e-12).mean()), float(
        (logits.argmax(axis=1) == labels).mean()
    )


def norm(values: Array) -> float:
    """Return the Euclidean norm of all entries."""
    return float(np.sqrt(np.vdot(values, values)))


def shift(images: Array, rng: np.random.Generator) -> Array:
    """Move a batch of 8 x 8 images by up to one pixel, so that none is seen twice."""
    moved = np.roll(images.reshape(-1, 8, 8), tuple(rng.integers(-1, 2, 2)), axis=(1, 2))
    return moved.reshape(len(images), 64)


def batches(
    images: Array, labels: Labels, size: int, rng: np.random.Generator
) -> Iterator[tuple[Array, Labels]]:
    """Yield one epoch of shuffled, shifted minibatches."""
    order = rng.permutation(len(images))
    for start in range(0, len(order) - size + 1, size):
        chosen = order[start : start + size]
        yield shift(images[chosen], rng), labels[chosen]


def learning_rate(step: int, total: int, peak: float) -> float:
    """Warm up linearly, then follow a cosine down to zero."""
    if step < WARMUP_STEPS:
        return peak * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, total - WARMUP_STEPS)
    return float(peak * 0.5 * (1 + np.cos(np.pi * progress)))


def describe(
    network: Network, layers: list[Array], grads: list[Array], ratios: list[float]
) -> dict[str, float]:
    """Return what a person who debugs this network would look at, layer by layer."""
    metrics = {}
    for depth, (weight, grad) in enumerate(zip(network.weights, grads, strict=True)):
        metrics[f"grad_norm/layer{depth}"] = norm(grad)
        metrics[f"weight_norm/layer{depth}"] = norm(weight)
        metrics[f"update_ratio/layer{depth}"] = ratios[depth]
    for depth, activations in enumerate(layers[1:-1]):
        metrics[f"active/layer{depth}"] = float((activations > 0).mean())
    return metrics


def train(args: argparse.Namespace, record: TextIO | None) -> None:
    """Train, validate now and then, and log some twenty numbers at every step."""
    rng = np.random.default_rng(args.seed)
    digits = load_digits()
    images, labels = digits.data / 16.0, digits.target
    held_out, kept = np.split(rng.permutation(len(images)), [360])
    network = Network([64, args.width, args.width, 10], rng)
    total = args.epochs * (len(kept) // args.batch_size)

    step = 0
    for epoch in range(args.epochs):
        for batch, answers in batches(images[kept], labels[kept], args.batch_size, rng):
            began = time.perf_counter()
            lr = learning_rate(step, total, args.lr)
            if args.mistake is not None and step >= args.mistake:
                lr *= MISTAKE
            layers = network.forward(batch)
            grads = network.backward(layers, answers)
            ratios = network.update(grads, lr)
            step_secs = time.perf_counter() - began

            metrics = describe(network, layers, grads[0], ratios)
            metrics["loss"], metrics["accuracy"] = loss_and_accuracy(layers[-1], answers)
            metrics |= {"lr": lr, "epoch": epoch, "time/step_ms": step_secs * 1e3}
            metrics["time/samples_per_sec"] = len(answers) / step_secs
            if step % VALIDATE_EVERY == 0 or step == total - 1:
                scores = loss_and_accuracy(network.forward(images[held_out])[-1], labels[held_out])
                metrics["val/loss"], metrics["val/accuracy"] = scores

            tm.log(metrics, step)
            if record:
                record.write(json.dumps([step, metrics]) + "\n")
            step += 1


def main() -> None:
    """Parse the flags, train, and say where the network ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root-dir", default="ai_logger")
    parser.add_argument("--name", default="digits", help="name of the run")
    parser.add_argument("--mistake", type=int, help="from this step on the learning rate is wrong")
    parser.add_argument("--record", type=Path, help="also write every call to this JSONL file")
    args = parser.parse_args()

    tm.init(args.name, config=args, root_dir=args.root_dir)
    with args.record.open("w") if args.record else nullcontext() as record:
        train(args, record)
    tm.close()


if __name__ == "__main__":
    main()
