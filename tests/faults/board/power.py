"""Power cuts: the image of a mounted ext4 is copied as it stands on the disk, and recovered.

What was not synced is in the page cache above the image, and so not in the copy. Before each cut
random pages of the lanes are written back, as a kernel does, so that any of them may be there.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import training_monitor as tm
from faults.board.row import Measured, Row, Stage, Unfit
from harness import processes
from harness.faulty import Call, Fault, Faults

ACCEPTED, DURABLE, STOP, CELLS = 0, 1, 2, 8
KEYS = 3
TRAINER = """
import mmap, random
with open(sys.argv[2], "r+b") as file:
    cells = memoryview(mmap.mmap(file.fileno(), 64)).cast("Q")
rng = random.Random(int(sys.argv[3]))
tm.init("cut", root_dir=sys.argv[1], strict=True, quiet=True)
index = 0
while not cells[2]:
    for _ in range(rng.choice([1, 5, 20])):
        tm.log({"index": float(index), "half": index * 0.5, "negative": -float(index)}, index)
        index += 1
        cells[0] = index
    cells[1] = tm.health().durable
    time.sleep(0.002)
tm.close()
"""
SYNC_FILE_RANGE_ALL = 7
CLONE_NEWNS = 0x20000
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(slots=True)
class Tally:
    """What all cuts showed."""

    cuts: int = 0
    stored: int = 0
    holes: int = 0
    oldest_lost_secs: float = 0.0
    adding: threading.Lock = field(default_factory=threading.Lock)


def own_mounts() -> None:
    """Keep what is mounted from here on to this process and those it starts."""
    if os.geteuid() != 0:
        raise Unfit("loop devices need root")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise Unfit(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def mounted(image: Path, at: Path) -> None:
    """Mount an image."""
    at.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop", image, at], capture_output=True, text=True)
    if done.returncode:
        raise Unfit(f"no loop device: {done.stderr.strip()}")


class Cut:
    """A run on an image, cut off a few times."""

    def __init__(
        self, directory: Path, seed: int, tally: Tally, *, syncs_lie: bool = False
    ) -> None:
        self.directory, self.tally, self.rng = directory, tally, random.Random(seed)
        directory.mkdir()
        self.image, self.disk = directory / "disk.img", directory / "disk"
        with self.image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self.image], check=True)
        mounted(self.image, self.disk)
        self.run_dir = self.disk / "cut"
        counter = directory / "counter"
        counter.write_bytes(bytes(8 * CELLS))
        with counter.open("r+b") as opened:
            self.cells = memoryview(mmap.mmap(opened.fileno(), 8 * CELLS)).cast("Q")
        faults = Faults(directory / "faults", below=self.disk)
        if syncs_lie:
            faults.arm(Call.SYNC, at=1, every=1, fault=Fault.LIE)
        # When how much was accepted, by a clock that stands still while we copy.
        self.times: list[float] = []
        self.counts: list[int] = []
        self.stood = 0.0
        self.copying = threading.Lock()
        self.ended = False
        self.process = processes.start_script(
            directory, TRAINER, self.disk, counter, seed,
            env={
                "TM_LANE_BYTES": str(self.rng.choice([64 << 10, 1 << 20])),
                **(faults.env if syncs_lie else {}),
            },
        )  # fmt: skip
        processes.until(lambda: self.cells[DURABLE] > 0, "the first durable point")
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()

    def play(self, cuts: int) -> None:
        """Let it log, cut, and judge, so often; then end it."""
        try:
            for number in range(cuts):
                time.sleep(self.rng.uniform(0.2, 1.5))
                assert self.process.poll() is None, "the trainer ended"
                self.cut(number)
            self.cells[STOP] = 1
            processes.finish(self.process)
        finally:
            self.ended = True
            self.watcher.join()
            processes.kill_all_mentioning(self.disk)
            subprocess.run(["umount", "-l", self.disk], check=False)
            self.image.unlink()

    def watch(self) -> None:
        """Note how much is accepted while time goes by; the copying is left out."""
        while not self.ended:
            with self.copying:
                self.times.append(time.monotonic() - self.stood)
                self.counts.append(self.cells[ACCEPTED])
            time.sleep(0.005)

    def cut(self, number: int) -> None:
        """Copy what is on the disk while nobody runs, and judge the copy."""
        copy = self.directory / f"copy{number}.img"
        self.write_back_some_pages()
        family = {*processes.mentioning(self.disk), self.process.pid}
        with self.copying:
            began = time.monotonic()
            send(family, signal.SIGSTOP)
            cut_at = began - self.stood
            durable, accepted = self.cells[DURABLE], self.cells[ACCEPTED]
            subprocess.run(["cp", "--sparse=always", self.image, copy], check=True)
            send(family, signal.SIGCONT)
            self.stood += time.monotonic() - began
        self.judge(copy, durable, accepted, cut_at)
        copy.unlink()

    def write_back_some_pages(self) -> None:
        """Write random pages of the lanes to the disk, without their metadata."""
        libc = ctypes.CDLL(None, use_errno=True)
        for lane in processes.files_below(self.run_dir / ".spool", "lane*"):
            with suppress(FileNotFoundError), open(lane, "rb") as file:
                pages = os.fstat(file.fileno()).st_size // 4096
                for page in self.rng.sample(
                    range(pages), self.rng.choice([0, pages // 8, pages // 2])
                ):
                    libc.sync_file_range(
                        file.fileno(), ctypes.c_long(page * 4096), ctypes.c_long(4096),
                        SYNC_FILE_RANGE_ALL,
                    )  # fmt: skip

    def judge(self, copy: Path, durable: int, accepted: int, cut_at: float) -> None:
        """Recover the copy as after a reboot, and compare."""
        disk = self.directory / "after"
        mounted(copy, disk)
        try:
            done = recover_after_reboot(disk / "cut", self.directory)
            assert done.returncode == 0, done.stdout + done.stderr
            stored, told = read(disk / "cut")
        finally:
            subprocess.run(["umount", disk], check=True)
        self.account(stored, durable // KEYS, accepted, cut_at, told)

    def account(
        self, stored: set[int], durable: int, accepted: int, cut_at: float, told: int
    ) -> None:
        """Add one cut to the tally."""
        end = max(stored, default=-1)
        missing = [index for index in range(accepted) if index not in stored]
        holes = sum(index < end for index in missing)
        acked_and_lost = sum(index < durable for index in missing)
        assert not acked_and_lost, f"{acked_and_lost} acknowledged calls lost"
        assert told >= holes, f"{holes} calls are missing, {told} were told"
        # It was accepted after this look, the last one that did not count it.
        before = bisect_right(self.counts, missing[0]) - 1 if missing else 0
        with self.tally.adding:
            self.tally.cuts += 1
            self.tally.stored += len(stored) * KEYS
            self.tally.holes += holes > 0
            if missing:
                age = cut_at - self.times[before]
                self.tally.oldest_lost_secs = max(self.tally.oldest_lost_secs, age)


def send(pids: set[int], number: signal.Signals) -> None:
    """Send a signal to all that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def read(run_dir: Path) -> tuple[set[int], int]:
    """Return which calls are stored, after a look at their values, and how many are told lost."""
    view = tm.open_run(run_dir)
    series = {key: view.series(key, raw=True) for key in ("index", "half", "negative")}
    steps = np.asarray(series["index"].step)
    for key, factor in (("index", 1.0), ("half", 0.5), ("negative", -1.0)):
        assert np.array_equal(series[key].step, steps), f"{key} is torn"
        assert np.array_equal(np.asarray(series[key].value), steps * factor), "a wrong value"
    assert len(np.unique(steps)) == len(steps), "a point is there twice"
    return set(steps.tolist()), sum(gap.frames_lost or 0 for gap in view.gaps)


def recover_after_reboot(run_dir: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Recover where the kernel tells another boot id."""
    fake = directory / "boot_id"
    fake.write_text(f"{uuid.uuid4()}\n")
    command = f"mount --bind {fake} {BOOT_ID} && exec {sys.executable} -m training_monitor recover"
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{command} {run_dir}"],
        capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def power(stage: Stage) -> Measured:
    """Cut the power of many runs many times."""
    own_mounts()
    tally, runs, cuts = Tally(), stage.size(10, 1), stage.size(20, 3)

    def play(number: int) -> None:
        directory = stage.directory / f"cut{number}"
        Cut(directory, stage.rng(number).getrandbits(32), tally).play(cuts)
        shutil.rmtree(directory)

    # Threads that are started from here on have the mounts of this one.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(play, range(runs)))
    text = (
        f"{tally.cuts} cuts of a copied ext4 image, {tally.stored:,} points there, none "
        f"acknowledged lost, 0 wrong, 0 twice; oldest lost {tally.oldest_lost_secs:.2f} s before "
        f"the cut; {tally.holes} cuts with holes, all told"
    )
    return Measured(text, not stage.full or tally.oldest_lost_secs <= 1.0)


def lying_disk(stage: Stage) -> Measured:
    """Cut the power of a run whose syncs do nothing: the judge has to notice."""
    own_mounts()
    cut = Cut(stage.directory / "lies", stage.seed, Tally(), syncs_lie=True)
    try:
        cut.play(3)
    except AssertionError as verdict:
        return Measured(f"noticed: {str(verdict)[:200]}", True)
    return Measured("nobody noticed that nothing was synced", False)


ROWS = [
    Row("judge", "a disk that lies about syncs", "the judge of row 4 notices", lying_disk, 120),
    Row("4", "power cut", "0 acknowledged lost; loss <= 1 s; holes told; 0 wrong", power, 500),
]
