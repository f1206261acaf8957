"""What does the way between two nodes cost, beside pyzmq alone, and with many relays?"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import page
from training_monitor import _core
from training_monitor.monitor.journal import Journal
from training_monitor.monitor.keys import keys_of
from training_monitor.monitor.receiver import Receiver
from training_monitor.spawn import monitor_argv

MIB = 2**20
KEY = "only-for-this-measurement"
FRAME_BYTES = 64 * 1024

# Logs so many bytes into each of so many run directories, and leaves them there.
PRODUCER = """
import sys
import page
import training_monitor as tm
root, runs, wanted = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dicts = page.noisy_dicts(1_000)
for number in range(runs):
    run = tm.init(f"run{number}", root_dir=root, quiet=True, start_monitor=False,
                  node_limit="8GiB")
    step = 0
    while run.health().backlog_bytes < wanted:
        for step in range(step, step + 1_000):
            tm.log(dicts[step % 1_000], step)
    # Nobody is there to bring it home: close() would only wait.
    from training_monitor import _core
    _core.close_producer(0.0)
"""

# Sends frames with pyzmq and nothing else.
SENDER = """
import os, sys
import zmq
from training_monitor.monitor.keys import keys_of
port, frames, size, curve = map(int, sys.argv[1:])
dealer = zmq.Context().socket(zmq.DEALER)
if curve:
    keys = keys_of(os.environ["TM_RELAY_KEY"])
    dealer.curve_serverkey = keys.monitor_public
    dealer.curve_publickey, dealer.curve_secretkey = keys.relay_public, keys.relay_secret
dealer.connect(f"tcp://127.0.0.1:{port}")
body = os.urandom(size)
for _ in range(frames):
    dealer.send(body)
dealer.recv()
"""

# Many relays in one process, each with a connection of its own.
RELAYS = """
import os, sys, time
from training_monitor import _core
from training_monitor.monitor.dealer import Dealer
from training_monitor.monitor.keys import keys_of
root, count, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
keys = keys_of(os.environ["TM_RELAY_KEY"])
relays = []
for number in range(count):
    relay = _core.Relay(f"{root}/run{number}", run="bench", node_limit_bytes=2**33)
    relays.append((relay, Dealer(("127.0.0.1", port), keys)))
    relay.connected()
while any(relay.report()["producers"] for relay, _ in relays):
    for relay, dealer in relays:
        while (message := dealer.receive()) is not None:
            relay.receive(message)
        relay.turn()
        while (message := relay.next_message()) is not None:
            while not dealer.send(message):
                time.sleep(0.001)
    time.sleep(0.002)
"""


class Counter:
    """Stands where ingest would: takes everything, stores nothing, and counts."""

    def __init__(self, run: str) -> None:
        self.sink = _core.Sink(run)
        self.messages = 0
        self.first = self.last = 0.0

    def receive(self, connection: bytes, message: bytes) -> int:
        """Hand on a message; return the bytes of lanes in it."""
        if len(message) > 1000:
            self.messages += 1
            self.last = time.perf_counter()
            self.first = self.first or self.last
        return self.sink.receive(connection, message)

    def answers(self) -> list[tuple[bytes, bytes]]:
        """Return what there is to say."""
        return self.sink.answers()

    def relay_news(self) -> list[str]:
        """Return nothing: nobody reads it."""
        return []

    def relays(self) -> list[tuple[str, float, int, int]]:
        """Return nothing: it is not looked at."""
        return []


@contextmanager
def listening(directory: Path, counter: Counter) -> Iterator[int]:
    """Listen as a monitor does; yield the port."""
    home = directory / "home"
    home.mkdir(exist_ok=True)
    receiver = Receiver(
        str(home), Journal(str(directory / "log"), echo=True), host="127.0.0.1", port=0
    )
    receiver.start(counter)  # type: ignore[arg-type]
    try:
        yield receiver.port
    finally:
        receiver.stop()


def run_python(body: str, *args: object) -> subprocess.Popen[bytes]:
    """Start a script with the modules of the benches."""
    paths = os.pathsep.join(str(page.REPOSITORY / name) for name in ("benches", "benches/python"))
    command = [sys.executable, "-c", body, *map(str, args)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths})


def raw(total_bytes: int, frame_bytes: int, *, curve: bool) -> float:
    """Return bytes a second of pyzmq alone, DEALER to ROUTER."""
    import zmq

    router = zmq.Context().socket(zmq.ROUTER)
    if curve:
        router.curve_server = True
        router.curve_secretkey = keys_of(KEY).monitor_secret
    port = router.bind_to_random_port("tcp://127.0.0.1")
    frames = total_bytes // frame_bytes
    sender = run_python(SENDER, port, frames, frame_bytes, int(curve))
    identity, _ = router.recv_multipart()
    began = time.perf_counter()
    for _ in range(frames - 1):
        router.recv_multipart()
    took = time.perf_counter() - began
    router.send_multipart([identity, b""])
    sender.wait()
    router.close()
    return (frames - 1) * frame_bytes / took


def hop(directory: Path, total_bytes: int) -> float:
    """Return bytes of lanes a second from a real relay to a receiver that stores nothing."""
    run_python(PRODUCER, directory, 1, total_bytes).wait()
    counter = Counter("bench")
    with listening(directory, counter) as port:
        env = {**os.environ, "TM_MONITOR_ADDRESS": f"127.0.0.1:{port}", "TM_GRACE_SECS": "0"}
        command = monitor_argv(str(directory / "run0"), "bench")
        relay = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL)
        relay.wait()
        return counter.sink.taken_bytes() / (counter.last - counter.first)


def many(directory: Path, count: int, total_bytes: int) -> tuple[float, float, int]:
    """Return microseconds of CPU per message and nanoseconds per byte at the receiver."""
    run_python(PRODUCER, directory, count, total_bytes // count).wait()
    counter = Counter("bench")
    with listening(directory, counter) as port:
        before = time.process_time()
        run_python(RELAYS, directory, count, port).wait()
        used = time.process_time() - before
        taken = counter.sink.taken_bytes()
    return used / counter.messages * 1e6, used / taken * 1e9, counter.messages


def report_hop(megabytes: int, rounds: int) -> None:
    """Compare the way with pyzmq alone, in turn."""
    total = megabytes * MIB
    rows: dict[str, list[float]] = {}
    for _ in range(rounds):
        for curve in (False, True):
            for size in (FRAME_BYTES, 2 * FRAME_BYTES):
                name = f"pyzmq alone, {size // 1024} KiB{', CURVE' if curve else ''}"
                rows.setdefault(name, []).append(raw(total, size, curve=curve))
        with page.scratch() as directory:
            rows.setdefault("relay to receiver (CURVE)", []).append(hop(directory, total))
    base = max(rows[f"pyzmq alone, {FRAME_BYTES // 1024} KiB, CURVE"])
    page.table(
        ("way", "MiB/s, best of the rounds", "of pyzmq 64 KiB with CURVE"),
        [
            (name, f"{max(found) / MIB:,.0f}", f"{max(found) / base:.0%}")
            for name, found in rows.items()
        ],
    )


def report_many(counts: list[int], megabytes: int) -> None:
    """What a message costs the receiver, by the number of relays."""
    rows = []
    for count in counts:
        with page.scratch() as directory:
            per_message, per_byte, messages = many(directory, count, megabytes * MIB)
        rows.append((f"{count}", f"{messages:,}", f"{per_message:.0f}", f"{per_byte:.2f}"))
    page.table(("relays", "messages", "CPU us per message", "CPU ns per byte"), rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=512, help="megabytes of each way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--relays", type=int, nargs="*", default=[1, 4, 16, 64, 256])
    arguments = parser.parse_args()
    os.environ["TM_RELAY_KEY"] = KEY
    os.environ["TM_SYSTEM_INTERVAL_SECS"] = "none"
    page.heading("Between nodes")
    report_hop(arguments.mb, arguments.rounds)
    report_many(arguments.relays, min(arguments.mb, 128))


if __name__ == "__main__":
    main()
