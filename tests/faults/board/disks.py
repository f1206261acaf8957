"""Disks that fill and are freed again and again, under the lanes and under the database."""

from __future__ import annotations

import json

from faults.board.row import Measured, Row, Stage, Unfit
from harness import disk

# Runs in a user namespace. The filler takes what is left of the disk, and gives it back.
CYCLES = """
import json, random, warnings
warnings.simplefilter("ignore")
WHERE, CYCLES, SEED, MIB = ARGUMENTS
rng = random.Random(SEED)
run_dir = root / "full"
if WHERE == "lanes":
    mount(run_dir / ".spool", f"{MIB}m")
    filler = run_dir / ".spool" / "filler"
else:
    mount(run_dir, f"{MIB}m")
    bind(root.parent / "big", run_dir / ".spool")
    filler = run_dir / "filler"

def fill():
    chunk = bytes(1 << 16)
    with filler.open("wb", buffering=0) as file:
        while len(chunk) > 512:
            try:
                file.write(chunk)
            except OSError:
                chunk = chunk[: len(chunk) // 2]

os.environ["TM_LANE_BYTES"] = str(1 << 20)
tm.init("full", root_dir=root, quiet=True)
untold = tm.health().rejected
step = calls = 0
longest = 0.0

def log_for(secs, pause_every=50):
    global step, calls, longest
    until = time.perf_counter() + secs
    while (began := time.perf_counter()) < until:
        for _ in range(pause_every):
            before = time.perf_counter()
            tm.log({f"key{n}": step * 1.5 + n for n in range(10)}, step)
            longest = max(longest, time.perf_counter() - before)
            step += 1
        time.sleep(0.0005)

stopped, ever_rejected = [], 0
for cycle in range(CYCLES):
    log_for(0.05)
    fill()
    if WHERE == "lanes" and cycle % 2:
        # A monitor that stands still lets the lanes run over; one that works does not.
        stopped = [pid for pid in processes.mentioning(run_dir)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
    refused = tm.health().rejected
    log_for(rng.uniform(0.1, 0.5))
    ever_rejected += tm.health().rejected > refused
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    stopped = []
    filler.unlink()
    accepted = tm.health().accepted
    processes.until(lambda: tm.health().durable >= accepted, f"cycle {cycle} to catch up")
health = tm.health()
assert health.accepted + (health.rejected - untold) * 10 == step * 10, (health, step)
tm.close()
reading.settled(run_dir)
stored = {n: reading.raw(run_dir, f"key{n}") for n in range(10)}
for n, points in stored.items():
    assert all(value == at * 1.5 + n for at, value in points), "no wrong value"
    assert len({at for at, _ in points}) == len(points), "none twice"
print(json.dumps({
    "logged": step * 10, "accepted": health.accepted, "stored": sum(map(len, stored.values())),
    "rejected": (health.rejected - untold) * 10, "longest_ms": longest * 1e3,
    "full_cycles": ever_rejected,
}))
"""


def cycles(stage: Stage, where: str, count: int, mib: int) -> dict[str, float]:
    """Fill and free one disk so often; return the account."""
    if disk.refusal():
        raise Unfit(f"no tmpfs in a user namespace: {disk.refusal()}")
    directory = stage.directory / f"{where}{mib}"
    directory.mkdir()
    body = CYCLES.replace("ARGUMENTS", repr((where, count, stage.seed, mib)))
    said = disk.run_with_small_disk(directory, directory / "root", body, within_secs=240)
    account: dict[str, float] = json.loads(said.splitlines()[-1])
    return account


def full_disk(stage: Stage) -> Measured:
    """Fill the disk of the lanes, then that of the database."""
    accounts = {
        (where, mib): cycles(stage, where, count, mib)
        for where, count, mib in stage.size(
            [("lanes", 13, 3), ("lanes", 12, 8), ("database", 13, 96), ("database", 12, 64)],
            [("lanes", 2, 3), ("database", 2, 16)],
        )
    }
    sums = {name: int(sum(it[name] for it in accounts.values())) for name in ("accepted", "stored")}
    rejected = int(sum(it["rejected"] for it in accounts.values()))
    longest = max(it["longest_ms"] for it in accounts.values())
    lost = sums["accepted"] - sums["stored"]
    count = stage.size(50, 4)
    text = (
        f"{count} cycles: {sums['accepted']:,} accepted, {lost} lost; {rejected:,} refused "
        f"and counted; longest log() {longest:.1f} ms; 0 trainers died"
    )
    assert not stage.full or rejected, "no disk was ever full"
    return Measured(text, lost == 0 and (longest <= 50 or not stage.full))


ROWS = [
    Row("5", "disk full, then free", "accepted = stored, 0 deaths, log() <= 50 ms", full_disk, 600)
]
