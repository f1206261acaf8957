"""Lanes that no mapping holds: a file system of the network, no local disk, a system call a frame.

The file system is a real one behind /dev/fuse, served by a process of the test.
"""

from pathlib import Path

from harness.disk import run_on_network_disk as run


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
        mount_fuse(root, 400 << 20)
        no_local_disk()
        os.environ["TM_LANE_BYTES"] = str(256 << 10)
        run_dir = root / "net"
        tm.init("net", root_dir=root)
        tm.log({"loss": 0.0, "text": "x"}, 0)
        until_stored(run_dir, 1)
        (root / ".limit").write_text("0")
        for step in range(1, 1501):
            tm.log({"loss": step * 0.5, "text": "x" * 300}, step)
        full = tm.health()
        assert full.rejected > 100 and full.accepted > 0, full
        assert (root / ".limit").write_text(str(400 << 20))

        def accepts_again():
            before = tm.health().accepted
            tm.log({"later": 1.0}, 10**6)
            return tm.health().accepted > before

        processes.until(accepts_again, "log() to accept again")
        tm.close()
        reading.settled(run_dir)
        (producer,) = tm._core.RunReader(str(run_dir)).producers()
        accepted = producer["accepted_points"]
        steps = reading.steps_of(run_dir, "loss")
        assert len(set(steps)) == len(steps)
        view = tm.open_run(run_dir)
        stored = sum(metric.count for metric in view.metrics())
        assert stored == accepted, (stored, accepted)
        assert len(steps) == len(view.series("text", raw=True).step)
        """,
    )
