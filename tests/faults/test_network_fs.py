"""Runs on a file system that can hold neither mapped lanes nor a live database.

ramfs is one: a real file system that is not on the list, as those of the network that nobody has
heard of.
"""

from pathlib import Path

from harness.disk import run_on_network_disk as run


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
        # Killed when the lanes are brought home: only the live database is out of reach then.
        os.environ["TM_GRACE_SECS"] = "60"
        trainer = train(0, 1000)
        log_all(trainer)
        until_stored(copy, 1000)
        trainer.communicate("\\n")
        processes.until(lambda: not tm._core.producers(str(run_dir)), "the lanes to go")
        kill_all(run_dir, trainer)
        hidden = base.parent

        def there(*words):
            script = f"done = processes.training_monitor(*{words!r})\\n"
            script += "print(done.returncode, done.stdout, done.stderr)"
            out, err = elsewhere(hidden, script).communicate()
            assert out, err
            return out

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
        out, err = elsewhere(base.parent, script).communicate()
        # What its lanes held is there, too, and nobody here can tell.
        # Whether its end was published before it was cut off makes no difference.
        assert "out of reach: " in out, (out, err)
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


def test_a_machine_without_the_live_database_waits_and_takes_over_by_itself(
    tmp_path: Path, root: Path
) -> None:
    run(
        tmp_path,
        root,
        """
        mount_network(root)
        base = local_disk(root.parent / "local")
        run_dir = root / "net"
        os.environ["TM_GRACE_SECS"] = "60"
        trainer = train(0, 1000)
        log_all(trainer)
        until_stored(run_dir, 1000)
        trainer.communicate("\\n")
        processes.until(lambda: not tm._core.producers(str(run_dir)), "the lanes to go")
        kill_all(run_dir, trainer)
        os.environ["TM_GRACE_SECS"] = "0.5"
        other = elsewhere(
            base.parent,
            '''
            tm.init("net", root_dir=root, strict=True)
            for step in range(1000, 2000):
                tm.log({"loss": step * 0.5}, step)
            print("logged", flush=True)
            sys.stdin.readline()
            # The copy, which everybody sees, and then what was only held in the lanes here.
            processes.until(lambda: tm.health().durable >= 1000, "all to be durable")
            tm.close()
            reading.settled(root / "net")
            print("done", flush=True)
            ''',
        )
        assert other.stdout.readline() == "logged\\n", other.communicate()
        host = os.uname().nodename
        log = run_dir / "training_monitor.log"
        processes.until(lambda: f"this run is on {host}" in log.read_text(), "the monitor to wait")
        processes.until(
            lambda: processes.training_monitor("recover", run_dir).returncode == 0
            or not (run_dir / "training_monitor.live").exists(),
            "the live database to be brought home",
        )
        out, err = other.communicate("\\n")
        assert out == "done\\n", (out, err)
        assert reading.steps_of(run_dir, "loss") == list(range(2000))
        assert tm.open_run(run_dir).gaps == []
        """,
    )


def test_kills_while_the_last_state_is_published_lose_nothing(tmp_path: Path, root: Path) -> None:
    run(
        tmp_path,
        root,
        """
        import random
        draw = random.Random(11)
        mount_network(root)
        base = local_disk(root.parent / "local")
        run_dir, copy = root / "net", root / "net" / "training_monitor.db"
        trainer = train(0, 10_000)
        log_all(trainer)
        until_stored(run_dir, 10_000)
        kill_all(run_dir, trainer)
        count = 0
        for _ in range(6):
            command = [sys.executable, "-m", "training_monitor", "recover", run_dir]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            time.sleep(draw.uniform(0.1, 0.5))
            process.kill()
            process.wait()
            before = count
            try:
                count = len(tm.open_run(copy).series("loss", raw=True).step)
            except (FileNotFoundError, tm.TrainingMonitorError, KeyError):
                assert count == 0, "a copy that was whole is gone"
            assert count >= before, "an older copy took its place"
        assert processes.training_monitor("recover", run_dir).returncode == 0
        assert reading.steps_of(copy, "loss") == list(range(10_000))
        assert tm.open_run(run_dir).gaps == []
        assert list(base.iterdir()) == []
        """,
    )


def test_a_full_network_disk_keeps_the_old_copy_and_gets_the_new_one_later(
    tmp_path: Path, root: Path
) -> None:
    run(
        tmp_path,
        root,
        """
        mount_fuse(root, 400 << 20)
        base = local_disk(root.parent / "local")
        run_dir, copy = root / "net", root / "net" / "training_monitor.db"
        trainer = train(0, 1000)
        until_stored(copy, 0)
        (root / ".limit").write_text("0")
        log_all(trainer)
        trainer.communicate("\\n")
        until_stored(run_dir, 1000)
        reading.settled(run_dir)
        log = (run_dir / "training_monitor.log").read_text()
        assert len(tm.open_run(copy).attempts) == 1
        assert (run_dir / "training_monitor.live").exists()
        # It is still readable here, and nothing but a copy is missing.
        assert reading.steps_of(run_dir, "loss") == list(range(1000))
        failed = processes.training_monitor("recover", run_dir)
        assert failed.returncode == 1 and "not in the run directory" in failed.stdout, failed
        (root / ".limit").write_text(str(400 << 20))
        assert processes.training_monitor("recover", run_dir).returncode == 0
        assert reading.steps_of(copy, "loss") == list(range(1000))
        assert tm.open_run(run_dir).gaps == [] and list(base.iterdir()) == []
        """,
    )


def test_a_file_system_is_judged_by_what_lies_below(tmp_path: Path, root: Path) -> None:
    run(
        tmp_path,
        root,
        """
        root.mkdir()
        def judged(path):
            return tm._core.file_system(str(path))

        def overlay(name, kind):
            parts = [root / name / part for part in ("lower", "upper", "work", "merged")]
            (mount_network if kind == "ramfs" else lambda at: mount(at, "64m"))(root / name)
            for part in parts:
                part.mkdir()
            options = "userxattr,lowerdir={},upperdir={},workdir={}".format(*parts)
            command = ["mount", "-t", "overlay", "-o", options, "overlay", parts[3]]
            if subprocess.run(command, capture_output=True).returncode:
                return None
            return judged(parts[3])

        assert overlay("memory", "tmpfs") in (("overlay", True), None)
        assert overlay("network", "ramfs") in (("unknown", False), None)
        assert judged(root / "memory") == ("tmpfs", True)
        assert judged(root / "network") == ("unknown", False)
        mount_fuse(root / "fuse", 1 << 20)
        assert judged(root / "fuse") == ("FUSE", False)
        """,
    )


def test_lanes_go_to_the_next_place_when_one_has_no_room(tmp_path: Path, root: Path) -> None:
    run(
        tmp_path,
        root,
        """
        mount_network(root)
        no_local_disk()
        mount(root.parent / "small", "1m")
        roomy = f"/var/tmp/training_monitor-{os.geteuid()}"
        mount(roomy, "64m")
        os.chmod(roomy, 0o700)
        os.environ["TMPDIR"] = str(root.parent / "small")
        tm.init("net", root_dir=root, strict=True, start_monitor=False)
        (producer,) = tm._core.producers(str(root / "net"))
        assert producer["mode"] == "mmap" and producer["dir"].startswith(roomy), producer
        ingest = tm._core.Ingest(str(root / "net"))
        tm.log({"loss": 1.0}, 0)
        tm.close()
        assert ingest.finish(60.0)["durable_points"] == 1
        """,
    )
