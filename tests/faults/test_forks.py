"""Forked children log for themselves, however they end."""

from pathlib import Path

from harness import processes, reading


def test_hundred_forks_with_logging_children_and_threads(tmp_path: Path, root: Path) -> None:
    out = processes.run_script(
        tmp_path,
        """
        import threading
        tm.init("forks", root_dir=sys.argv[1], strict=True)
        stop = threading.Event()
        counts = [0, 0]

        def log_beside(n):
            while not stop.is_set():
                tm.log({f"thread{n}": 1.0}, counts[n])
                counts[n] += 1
                time.sleep(0.0005)

        threads = [threading.Thread(target=log_beside, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for number in range(100):
            tm.log({"parent": float(number)}, number)
            pid = os.fork()
            if pid == 0:
                for n in range(10):
                    tm.log({"child": float(n)}, number * 10 + n)
                if number % 3 == 0:
                    os._exit(0)
                if number % 3 == 1:
                    sys.exit(0)
                raise RuntimeError("a worker that fails")
            deadline = time.monotonic() + 60
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > deadline:
                    os.kill(pid, 9)
                    raise SystemExit(f"child {number} hangs")
                time.sleep(0.001)
        stop.set()
        for thread in threads:
            thread.join()
        tm.close()
        print(*counts)
        """,
        root,
        env={"PYTHONWARNINGS": "ignore::DeprecationWarning"},
    )
    run_dir = root / "forks"
    reading.settled(run_dir)
    assert reading.steps_of(run_dir, "child") == list(range(1000))
    assert reading.raw(run_dir, "parent") == [(n, float(n)) for n in range(100)]
    for n, count in enumerate(out.split()):
        assert reading.steps_of(run_dir, f"thread{n}") == list(range(int(count)))


def test_child_that_outlives_its_parent_keeps_logging(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        tm.init("orphan", root_dir=sys.argv[1], strict=True)
        tm.log({"parent": 1.0}, 0)
        parent = os.getpid()
        if os.fork() == 0:
            os.close(1), os.close(2)
            tm.log({"child": 1.0}, 0)
            while os.getppid() == parent:
                time.sleep(0.005)
            time.sleep(1.0)
            tm.log({"child": 2.0}, 1)
            os._exit(0)
        os._exit(0)
        """,
        root,
    )
    reading.settled(root / "orphan")
    assert reading.raw(root / "orphan", "child") == [(0, 1.0), (1, 2.0)]


def test_pool_workers_log_too(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        import multiprocessing
        def work(number):
            tm.log({"worker": float(number)}, number)
        if __name__ == "__main__":
            tm.init("pool", root_dir=sys.argv[1], strict=True)
            with multiprocessing.get_context("fork").Pool(4) as pool:
                pool.map(work, range(40))
            tm.close()
        """,
        root,
        env={"PYTHONWARNINGS": "ignore::DeprecationWarning"},
    )
    reading.settled(root / "pool")
    assert reading.steps_of(root / "pool", "worker") == list(range(40))
