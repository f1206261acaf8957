"""The digits again, data-parallel: every rank has its share of each batch, gradients are averaged.

Start it with a launcher that sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, such as torchrun:

    torchrun --nproc-per-node 4 --no-python python examples/digits_parallel.py

The three lines of training_monitor are those of `digits.py`; every rank has them. The sum over the
ranks is made by rank 0, over plain sockets, so that the whole of it can be read here.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TextIO

import numpy as np
from digits import Array, Network, learning_rate, loss_and_accuracy, norm, shift
from sklearn.datasets import load_digits

import training_monitor as tm

RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


class Ring:
    """Adds up arrays over all ranks: each sends its own to rank 0, and gets the sum back."""

    def __init__(self, timeout_secs: float = 30.0) -> None:
        address = os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ["MASTER_PORT"])
        deadline = time.monotonic() + timeout_secs
        self.peers: list[socket.socket] = []
        if RANK == 0:
            with socket.create_server(("", address[1]), backlog=WORLD) as server:
                server.settimeout(timeout_secs)
                self.peers = [server.accept()[0] for _ in range(WORLD - 1)]
        else:
            # Rank 0 may start last.
            while not self.peers and time.monotonic() < deadline:
                with suppress(OSError):
                    self.peers = [socket.create_connection(address, timeout=1.0)]
            if not self.peers:
                raise TimeoutError(f"rank 0 does not listen at {address}")
        for peer in self.peers:
            peer.settimeout(timeout_secs)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def sum(self, values: Array) -> Array:
        """Return the sum of what all ranks gave."""
        if RANK != 0:
            self.peers[0].sendall(values.tobytes())
            return self._receive(self.peers[0], values)
        for peer in self.peers:
            values = values + self._receive(peer, values)
        for peer in self.peers:
            peer.sendall(values.tobytes())
        return values

    def _receive(self, peer: socket.socket, like: Array) -> Array:
        received = bytearray()
        while len(received) < like.nbytes:
            piece = peer.recv(like.nbytes - len(received))
            if not piece:
                raise ConnectionError("another rank has ended")
            received += piece
        return np.frombuffer(bytes(received), like.dtype).reshape(like.shape)


def average(ring: Ring, grads: tuple[list[Array], list[Array]]) -> tuple[list[Array], list[Array]]:
    """Return the gradients averaged over all ranks."""
    flat = np.concatenate([part.ravel() for side in grads for part in side])
    flat = ring.sum(flat) / WORLD
    averaged: list[list[Array]] = []
    for side in grads:
        averaged.append([])
        for part in side:
            taken, flat = np.split(flat, [part.size])
            averaged[-1].append(taken.reshape(part.shape))
    return averaged[0], averaged[1]


def train(args: argparse.Namespace, record: TextIO | None) -> None:
    """Train from the first step, or from where a checkpoint was left."""
    digits = load_digits()
    images, labels = digits.data / 16.0, digits.target
    network, first = Network([64, args.width, 10], np.random.default_rng(args.seed)), 0
    if args.checkpoint and args.checkpoint.exists():
        with np.load(args.checkpoint) as saved:
            first = int(saved["step"])
            network.weights = [saved[f"weight{i}"] for i in range(len(network.weights))]
            network.biases = [saved[f"bias{i}"] for i in range(len(network.biases))]
    ring = Ring()
    for step in range(first, args.steps):
        # The same batch on every rank, of which each takes its share.
        rng = np.random.default_rng((args.seed, step))
        mine = rng.choice(len(images), args.batch_size, replace=False)[RANK::WORLD]
        batch, answers = shift(images[mine], rng), labels[mine]
        began = time.perf_counter()
        layers = network.forward(batch)
        own = network.backward(layers, answers)
        grads = average(ring, own)
        network.update(grads, learning_rate(step, args.steps, args.lr))
        loss, accuracy = loss_and_accuracy(layers[-1], answers)
        metrics = {
            "loss": loss,
            "accuracy": accuracy,
            "grad_norm/own": norm(own[0][0]),
            "grad_norm/averaged": norm(grads[0][0]),
            "time/step_ms": (time.perf_counter() - began) * 1e3,
        }
        tm.log(metrics, step)
        if record:
            record.write(json.dumps([step, metrics]) + "\n")
            record.flush()
        if RANK == 0 and args.checkpoint and step % 50 == 0:
            save(args.checkpoint, network, step + 1)


def save(path: Path, network: Network, step: int) -> None:
    """Write weights and the next step, whole or not at all."""
    draft = path.with_suffix(".draft.npz")
    arrays = {f"weight{i}": weight for i, weight in enumerate(network.weights)}
    arrays |= {f"bias{i}": bias for i, bias in enumerate(network.biases)}
    np.savez(draft, step=step, **arrays)  # type: ignore[arg-type]  # an array is no flag
    draft.replace(path)


def main() -> None:
    """Parse the command line, record the run, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=256, help="over all ranks")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, help="go on from here, and write it")
    parser.add_argument("--record", type=Path, help="also write each call to this file")
    args = parser.parse_args()
    tm.init("digits_parallel", config=vars(args), quiet=True)
    with args.record.open("a") if args.record else nullcontext() as record:
        train(args, record)
    tm.close()


if __name__ == "__main__":
    main()
