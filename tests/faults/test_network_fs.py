"""Runs on a file system that can hold neither mapped lanes nor a live database.

ramfs is one: a real file system that is not on the list, as any file system of the network that nobody has heard of.
"""

import textwrap
from pathlib import Path

from harness.disk import run_with_small_disk

TRAINER = '''
TRAINER = """
import os, sys
import training_monitor as tm
tm.init("net", root_dir=sys.argv[1], strict=True)
print("ready", flush=True)
sys.stdin.readline()
for step in range(int(sys.argv[2]), int(sys.argv[3])):
    tm.log({"loss": step * 0.5, "lr": 1e-3}, step)
print("logged", flush=True)
sys.stdin.readline()
"""

def train(first, end):
    command = [sys.executable, "-c", TRAINER, str(root), str(first), str(end)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\\n"
    return process

def log_all(process):
    process.stdin.write("\\n")
    process.stdin.flush()
    assert process.stdout.readline() == "logged\\n"

def copy_of(run_dir):
    return tm.open_run(run_dir / "training_monitor.db")

def until_stored(path, count):
    def stored():
        try:
            view = tm.open_run(path)
            return not count or len(view.series("loss", raw=True).step) >= count
        except (tm.TrainingMonitorError, OSError, KeyError):
            return False
    processes.until(stored, f"{count} points in {path}")

def kill_all(run_dir, trainer):
    """Kill the trainer, its monitor, and whatever these had started meanwhile."""
    trainer.kill()
    trainer.communicate()
    def are_dead():
        found = processes.mentioning(run_dir)
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not found
    processes.until(are_dead, "all to die")

'''


def run(tmp_path: Path, root: Path, body: str) -> None:
    """Run a script that knows how to train, in a mount namespace of its own."""
    run_with_small_disk(tmp_path, root, TRAINER + textwrap.dedent(body))


def test_the_live_database_is_on_a_local_disk_and_its_copy_stays(
    tmp_path: Path, root: Path
) -> None:
    run(
        tmp_path,
        root,
        """
        mount_network(root)
        base = local_disk(root.parent / "local")
        run_dir, copy = root / "net", root / "net" / "training_monitor.db"
        trainer = train(0, 1000)
        log_all(trainer)
        until_stored(run_dir, 1000)
        live = Path(tm.open_run(run_dir).database)
        assert live.parent.parent == base, live
        assert tm.open_run(run_dir).copy is None
        until_stored(copy, 1000)
        # Both versions in the header: not WAL, and no log beside it.
        assert copy.read_bytes()[18:20] == b"\\x01\\x01"
        assert not copy.with_name(copy.name + "-wal").exists()
        # The lanes are on the local disk, too, and log() is no system call.
        rows = tm._core.producers(str(run_dir))
        assert [row["mode"] for row in rows] == ["mmap"], rows
        view = tm.open_run(run_dir)
        assert len(view.series("loss").step) == 1000
        trainer.communicate("\\n")
        reading.settled(run_dir)
        assert list(base.iterdir()) == []
        assert not (run_dir / "training_monitor.live").exists()
        # A view that was opened on the live database goes on with the copy.
        assert len(view.series("loss").step) == 1000 and view.database == str(copy)
        assert reading.steps_of(run_dir, "loss") == list(range(1000))
        trainer = train(1000, 1500)
        log_all(trainer)
        trainer.communicate("\\n")
        reading.settled(run_dir)
        view = tm.open_run(run_dir)
        assert reading.steps_of(run_dir, "loss") == list(range(1500))
        assert len(view.attempts) == 2 and view.gaps == [], view.gaps
        """,
    )


def test_everything_killed_goes_on_where_it_was_on_the_same_machine(
    tmp_path: Path, root: Path
) -> None:
    run(
        tmp_path,
        root,
        """
        mount_network(root)
        base = local_disk(root.parent / "local")
        run_dir = root / "net"
        trainer = train(0, 5000)
        until_stored(run_dir, 0)
        log_all(trainer)
        kill_all(run_dir, trainer)
        (directory,) = [path for path in base.iterdir() if path.name.startswith("net-")]
        done = processes.training_monitor("recover", run_dir)
        assert done.returncode == 0, done
        assert reading.steps_of(run_dir, "loss") == list(range(5000))
        assert tm.open_run(run_dir).gaps == []
        assert list(base.iterdir()) == []
        """,
    )


def test_another_machine_reads_the_copy_and_starts_no_second_history(
    tmp_path: Path, root: Path
) -> None:
    run(
        tmp_path,
        root,
        """
        mount_network(root)
        base = local_disk(root.parent / "local")
        run_dir, copy = root / "net", root / "net" / "training_monitor.db"
        # The monitor is killed when the lanes are brought home, so that only the live database is out of reach.
        os.environ["TM_GRACE_SECS"] = "60"
        trainer = train(0, 1000)
        log_all(trainer)
        until_stored(copy, 1000)
        trainer.communicate("\\n")
        processes.until(lambda: not tm._core.producers(str(run_dir)), "the lanes to be brought home")
        kill_all(run_dir, trainer)
        hidden = base.parent

        def there(*words):
            script = f"done = processes.training_monitor(*{words!r})\\n"
            script += "print(done.returncode, done.stdout, done.stderr)"
            done = elsewhere(hidden, script)
            assert done.returncode == 0, done
            return done.stdout

        host = os.uname().nodename
        said = there("status", run_dir.as_posix())
        assert f"a copy, " in said and f"the live database is on {host}" in said, said
        said = there("show", run_dir.as_posix())
        assert said.startswith("0 ") and "loss" in said, said
        assert "this is a copy" in said, said
        said = there("recover", run_dir.as_posix())
        assert said.startswith("1 ") and f"is on {host}" in said and "--from-copy" in said, said
        said = there("rm", "--yes", run_dir.as_posix())
        assert said.startswith("1 ") and f"is on {host}" in said, said
        # Nothing was changed: here it goes on as if nobody had asked.
        done = processes.training_monitor("recover", run_dir)
        assert done.returncode == 0, done
        assert reading.steps_of(run_dir, "loss") == list(range(1000))
        # Now the last state is in the run directory, and any machine goes on with it.
        said = there("recover", run_dir.as_posix())
        assert said.startswith("0 "), said
        assert tm.open_run(run_dir).gaps == []
        """,
    )


def test_giving_up_what_another_machine_has_records_a_gap(tmp_path: Path, root: Path) -> None:
    run(
        tmp_path,
        root,
        """
        mount_network(root)
        base = local_disk(root.parent / "local")
        run_dir, copy = root / "net", root / "net" / "training_monitor.db"
        trainer = train(0, 1000)
        log_all(trainer)
        until_stored(copy, 1000)
        kill_all(run_dir, trainer)
        script = "print(processes.training_monitor('recover', '--from-copy', root / 'net'))"
        done = elsewhere(base.parent, script)
        # What its lanes held is there, too, and nobody here can tell.
        assert "out of reach: producer" in done.stdout, done
        assert not (run_dir / "training_monitor.live").exists()
        (gap,) = [gap for gap in tm.open_run(run_dir).gaps if gap.reason == "left_elsewhere"]
        assert str(base) in gap.detail and os.uname().nodename in gap.detail, gap
        assert reading.steps_of(run_dir, "loss") == list(range(1000))
        """,
    )


def test_a_local_disk_that_was_wiped_is_a_gap_and_the_copy_goes_on(
    tmp_path: Path, root: Path
) -> None:
    run(
        tmp_path,
        root,
        """
        import shutil
        mount_network(root)
        base = local_disk(root.parent / "local")
        run_dir, copy = root / "net", root / "net" / "training_monitor.db"
        trainer = train(0, 1000)
        log_all(trainer)
        until_stored(copy, 1000)
        # Under a monitor at work first.
        (live,) = [path for path in base.iterdir() if path.name.startswith("net-")]
        shutil.rmtree(live)
        def reasons():
            try:
                return [gap.reason for gap in tm.open_run(run_dir).gaps]
            except (tm.TrainingMonitorError, OSError):
                return []
        processes.until(lambda: live.exists() and "live_database_lost" in reasons(), "a new one")
        kill_all(run_dir, trainer)
        shutil.rmtree(live)
        before = reasons()
        done = processes.training_monitor("recover", run_dir)
        assert done.returncode == 0, done
        assert reasons().count("live_database_lost") > before.count("live_database_lost")
        assert reading.steps_of(run_dir, "loss") == list(range(1000))
        """,
    )


def test_rm_takes_the_live_database_along(tmp_path: Path, root: Path) -> None:
    run(
        tmp_path,
        root,
        """
        mount_network(root)
        base = local_disk(root.parent / "local")
        run_dir = root / "net"
        trainer = train(0, 10)
        log_all(trainer)
        until_stored(run_dir, 10)
        kill_all(run_dir, trainer)
        assert list(base.iterdir())
        done = processes.training_monitor("rm", "--yes", run_dir)
        assert done.returncode == 0, done
        assert not run_dir.exists()
        assert list(base.iterdir()) == []
        """,
    )


def test_lanes_by_pwrite_warn_once_and_hold_what_forks_log(tmp_path: Path, root: Path) -> None:
    run(
        tmp_path,
        root,
        """
        import warnings
        mount_fuse(root, 200 << 20)
        no_local_disk()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for name in ("one", "net"):
                tm.init(name, root_dir=root, strict=True)
        (warning,) = caught
        assert str(root) in str(warning.message) and "FUSE" in str(warning.message), warning
        assert "TMPDIR" in str(warning.message) and "root_dir" in str(warning.message)
        run_dir = root / "net"
        (producer,) = tm._core.producers(str(run_dir))
        assert producer["mode"] == "pwrite", producer
        for step in range(3000):
            tm.log({"loss": step * 0.5}, step)
        child = os.fork()
        if not child:
            for step in range(3000, 4000):
                tm.log({"loss": step * 0.5}, step)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        tm.close()
        reading.settled(run_dir)
        stored = sorted(reading.raw(run_dir, "loss"))
        assert stored == [(step, step * 0.5) for step in range(4000)]
        log = (run_dir / "training_monitor.log").read_text()
        assert "the database is on FUSE, and no local directory can hold it" in log, log
        """,
    )


def test_a_trainer_with_lanes_by_pwrite_is_asked_to_stop(tmp_path: Path, root: Path) -> None:
    run(
        tmp_path,
        root,
        """
        mount_fuse(root, 200 << 20)
        no_local_disk()
        run_dir = root / "net"
        tm.init("net", root_dir=root, start_monitor=False)
        tm.log({"loss": 1.0}, 0)
        ingest = tm._core.Ingest(str(run_dir))
        processes.until(lambda: ingest.status()["durable_points"] == 1, "the point")
        assert not tm.should_stop()
        ingest.set_stop("enough")
        processes.until(tm.should_stop, "to be asked to stop")
        assert tm._core.stop_reason() == "enough"
        tm.close()
        ingest.finish(60.0)
        """,
    )


def test_lanes_by_pwrite_survive_kills_of_trainer_and_monitor(tmp_path: Path, root: Path) -> None:
    run(
        tmp_path,
        root,
        """
        mount_fuse(root, 400 << 20)
        no_local_disk()
        run_dir = root / "net"
        endless = TRAINER.replace('print("logged"', 'print("logged", step').replace(
            "    tm.log", "    print(step, flush=True)\\n    tm.log"
        )
        first, told = 0, []
        for turn in range(3):
            command = [sys.executable, "-c", endless, str(root), str(first), str(10**9)]
            trainer = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert trainer.stdout.readline() == "ready\\n"
            trainer.stdin.write("\\n")
            trainer.stdin.flush()
            for _ in range(500 + 700 * turn):
                line = trainer.stdout.readline()
            # The monitor alone, then the rest.
            if pid := processes.monitor_pid(run_dir):
                os.kill(pid, signal.SIGKILL)
            trainer.kill()
            lines = trainer.stdout.read().split("\\n")
            # Before each call its step is told: all but the last were accepted.
            last = int(([line.strip()] + [step for step in lines[:-1] if step])[-1])
            kill_all(run_dir, trainer)
            told.append((first, last))
            first = last + 1000
        done = processes.training_monitor("recover", run_dir)
        assert done.returncode == 0, done
        steps = reading.steps_of(run_dir, "loss")
        assert len(set(steps)) == len(steps), "twice"
        for first, last in told:
            stored = [step for step in steps if first <= step <= last]
            assert stored in (list(range(first, last)), list(range(first, last + 1))), (first, last)
        assert tm.open_run(run_dir).gaps == []
        """,
    )


def test_a_full_network_disk_rejects_counts_and_catches_up(tmp_path: Path, root: Path) -> None:
    run(
        tmp_path,
        root,
        """
        import warnings
        warnings.simplefilter("ignore")
        mount_fuse(root, 12 << 20)
        no_local_disk()
        os.environ["TM_LANE_BYTES"] = str(1 << 20)
        run_dir = root / "net"
        tm.init("net", root_dir=root)
        noise = [os.urandom(8).hex() for _ in range(64)]
        for step in range(100_000):
            tm.log({"loss": step * 0.5, "text": noise[step % 64] * 20}, step)
            if tm.health().rejected > 100:
                break
        full = tm.health()
        assert full.rejected > 100 and full.accepted > 0, full
        assert (root / ".limit").write_text(str(400 << 20))

        def accepts_again():
            before = tm.health().accepted
            tm.log({"later": 1.0}, 10**6)
            return tm.health().accepted > before

        processes.until(accepts_again, "log() to accept again")
        accepted = tm.health().accepted
        tm.close()
        reading.settled(run_dir)
        steps = reading.steps_of(run_dir, "loss")
        assert len(set(steps)) == len(steps)
        view = tm.open_run(run_dir)
        stored = sum(metric.count for metric in view.metrics())
        assert stored == accepted, (stored, accepted)
        assert len(steps) == len(view.series("text", raw=True).step)
        """,
    )
