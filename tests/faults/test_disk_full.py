"""A full disk: what was accepted arrives, the rest is refused and counted, training goes on."""

from pathlib import Path

import pytest

from harness.disk import run_with_small_disk


@pytest.mark.parametrize("then", ["goes on", "is killed"])
def test_full_disk_under_the_lanes_rejects_counts_and_recovers(
    tmp_path: Path, root: Path, then: str
) -> None:
    run_with_small_disk(
        tmp_path,
        root,
        """
        run_dir = root / "full"
        mount(run_dir / ".spool", "1m")
        tm.init("full", root_dir=root)
        # Known from here on: what is refused later takes the fast path.
        after = {f"after{n}": 1.0 for n in range(5)}
        tm.log(after, 10**6)
        processes.until(lambda: len(processes.mentioning(run_dir)) > 1, "monitor and poller")
        family = processes.mentioning(run_dir)
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        for step in range(30_000):
            # Frames of several sizes and layouts meet the end of the room.
            tm.log({f"key{n}": step * 1.5 + n for n in range(10) if (step // 3 + n) % 7}, step)
        full = tm.health()
        calls = full.accepted_frames + full.rejected
        assert 30_001 <= calls <= 30_004, full
        assert full.rejected > 0 and full.accepted > 10_000, full
        while tm.health().rejected < full.rejected + 10:
            tm.log(after, 10**6)  # fills the last hole
        for pid in family:
            os.kill(pid, signal.SIGCONT if THEN == "goes on" else signal.SIGKILL)

        def accepts_again():
            before = tm.health().accepted
            tm.log(after, 10**6)
            health = tm.health()
            return health.accepted > before and health.durable >= full.accepted

        # While every call is refused, too, log() is what brings a monitor back.
        processes.until(accepts_again, "a monitor, and log() to accept again")
        tm.close()
        reading.settled(run_dir)
        stored = {n: reading.raw(run_dir, f"key{n}") for n in range(10)}
        for n, points in stored.items():
            assert all(value == step * 1.5 + n for step, value in points)
            assert len({step for step, _ in points}) == len(points)
        assert sum(map(len, stored.values())) == full.accepted - len(after), full
        calls = {}
        for n, points in stored.items():
            for step, _ in points:
                calls.setdefault(step, set()).add(n)
        for step, found in calls.items():
            assert found == {n for n in range(10) if (step // 3 + n) % 7}, "whole or not at all"
        """.replace("THEN", repr(then)),
    )


def test_no_room_for_a_lane_rejects_and_training_goes_on(tmp_path: Path, root: Path) -> None:
    run_with_small_disk(
        tmp_path,
        root,
        """
        import warnings
        warnings.simplefilter("ignore")
        run_dir = root / "none"
        mount(run_dir / ".spool", "300k")
        tm.init("none", root_dir=root)
        before = tm.health().rejected
        for step in range(1000):
            tm.log({"loss": 1.0}, step)
        health = tm.health()
        assert health.accepted + health.rejected - before == 1000, health
        assert health.rejected > before
        tm.close()
        reading.settled(run_dir)
        """,
    )


def test_no_room_for_anything_is_a_clear_error(tmp_path: Path, root: Path) -> None:
    run_with_small_disk(
        tmp_path,
        root,
        """
        mount(root, "16k")
        try:
            tm.init("none", root_dir=root)
        except tm.TrainingMonitorError as error:
            assert str(root) in str(error), error
            assert "space" in str(error), error
        else:
            raise AssertionError("init() without room for a byte has to say so")
        tm.log({"loss": 1.0})
        """,
    )


def test_full_disk_under_the_database_keeps_everything_in_the_lanes(
    tmp_path: Path, root: Path
) -> None:
    run_with_small_disk(
        tmp_path,
        root,
        """
        import random
        run_dir = root / "full"
        mount(run_dir, "1m")
        bind(root.parent / "big", run_dir / ".spool")
        tm.init("full", root_dir=root, strict=True)
        noise = random.Random(7)
        table = [[noise.random() for _ in range(10)] for _ in range(1000)]
        longest = points = 0
        for step in range(60_000):
            row = table[step % 1000]
            metrics = {f"key{n}": row[n] + step for n in range(10) if (step + n) % 7}
            points += len(metrics)
            began = time.perf_counter()
            tm.log(metrics, step)
            longest = max(longest, time.perf_counter() - began)
            if step % 1000 == 0:
                time.sleep(0.02)
        health = tm.health()
        assert health.accepted == points and health.rejected == 0, health
        assert health.durable < points, "the disk was never full"
        killed = processes.monitor_pid(run_dir)
        processes.kill(killed)
        processes.until(lambda: processes.monitor_pid(run_dir) not in {0, killed}, "another one")
        mount(run_dir, "200m", remount=True)
        processes.until(lambda: tm.health().durable == points, "the database to catch up")
        tm.close()
        reading.settled(run_dir)
        for n in range(10):
            stored = reading.raw(run_dir, f"key{n}")
            assert [step for step, _ in stored] == [s for s in range(60_000) if (s + n) % 7]
            assert all(value == table[step % 1000][n] + step for step, value in stored)
        print(f"longest log() {longest * 1e3:.1f} ms")
        """,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["trainer ends full", "monitor dies full"])
def test_rejected_calls_are_told_after_the_run(tmp_path: Path, root: Path, victim: str) -> None:
    run_with_small_disk(
        tmp_path,
        root,
        """
        import random, warnings
        warnings.simplefilter("ignore")
        run_dir = root / "full"
        mount(run_dir / ".spool", "3m")
        tm.init("full", root_dir=root, quiet=True, start_monitor=False)
        before = tm.health().rejected
        noise = random.Random(11)
        kept = []
        # Keys and their number change, so that frames of every size meet the end of the room.
        for step in range(200_000):
            names = noise.sample(range(60), noise.randrange(1, 30))
            tm.log({f"key{name}": float(step + name) for name in names}, step)
            if tm.health().rejected - before > 500:
                break
        full = tm.health()
        rejected = full.rejected - before
        assert rejected > 500, full
        assert full.rejected_by["no_space"] >= rejected
        if VICTIM == "monitor dies full":
            command = [sys.executable, "-m", "training_monitor", "--experiment", "full"]
            null = subprocess.DEVNULL
            monitor = subprocess.Popen([*command, "--root-dir", root], stdout=null, stderr=null)
            processes.until(lambda: tm.health().durable, "the monitor to begin")
            monitor.kill()
            monitor.wait()
        tm.close()
        reading.settled(run_dir)
        done = processes.training_monitor("recover", "full", "--root-dir", root)
        assert done.returncode == 0, done.stdout + done.stderr
        view = tm.open_run(run_dir)
        points = {m.name: view.series(m.name, raw=True) for m in view.metrics()}
        assert sum(map(len, points.values())) == full.accepted, full
        for name, series in points.items():
            number = int(name.removeprefix("key"))
            assert (series.value == series.step + number).all(), name
        gaps = [gap for gap in view.gaps if gap.reason == "rejected"]
        told = sum(gap.frames_lost for gap in gaps)
        # The frames of config and close are calls as well.
        assert rejected <= told <= rejected + 2, (gaps, rejected)
        assert all(0 <= time.time() - gap.noticed < 120 for gap in gaps)
        for command in ("status", "show"):
            said = processes.training_monitor(command, "full", "--root-dir", root).stdout
            assert f"{told:,} calls or values (no space {told:,}); " in said, said
        """.replace("VICTIM", repr(victim)),
        within_secs=120,
    )
