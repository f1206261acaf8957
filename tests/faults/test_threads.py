"""Threads, nested calls and notebooks."""

from pathlib import Path

from harness import processes, reading


def test_thirty_two_threads_lose_nothing(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        import threading
        tm.init("threads", root_dir=sys.argv[1], strict=True)
        barrier = threading.Barrier(32)

        def log_many(n):
            barrier.wait()
            for step in range(2000):
                tm.log({f"thread{n}": float(step), "shared": float(n)}, step)

        threads = [threading.Thread(target=log_many, args=(n,)) for n in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tm.close()
        """,
        root,
    )
    run_dir = root / "threads"
    reading.settled(run_dir)
    for n in range(32):
        expected = [(step, float(step)) for step in range(2000)]
        assert sorted(reading.raw(run_dir, f"thread{n}")) == expected
    assert len(reading.raw(run_dir, "shared")) == 64_000


def test_init_in_a_thread_that_returns_keeps_the_monitor(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        import threading
        from pathlib import Path
        thread = threading.Thread(target=lambda: tm.init("inside", root_dir=sys.argv[1]))
        thread.start()
        thread.join()
        lock = Path(sys.argv[1]) / "inside" / ".monitor.lock"
        deadline = time.monotonic() + 60
        while not (lock.exists() and lock.read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.01)
        first = lock.read_text()
        for step in range(100):
            tm.log({"loss": float(step)}, step)
            time.sleep(0.01)
        assert lock.read_text() == first, "the monitor was replaced"
        os.kill(int(first.split()[0]), 0)
        tm.close()
        """,
        root,
    )
    reading.settled(root / "inside")
    assert reading.steps_of(root / "inside", "loss") == list(range(100))


def test_log_inside_log_keeps_both_frames(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        import gc
        tm.init("nested", root_dir=sys.argv[1], strict=True)

        class Number:
            def __float__(self):
                tm.log({"inner": 1.0}, self.step)
                return 2.0

        class Garbage:
            def __init__(self, step):
                self.me, self.step = self, step

            def __del__(self):
                tm.log({"collected": 1.0}, self.step)

        gc.set_threshold(1)
        for step in range(500):
            number = Number()
            number.step = step
            Garbage(step)
            tm.log({"outer": number, "plain": 1.0}, step)
        gc.collect()
        tm.close()
        """,
        root,
    )
    run_dir = root / "nested"
    reading.settled(run_dir)
    for key in ["inner", "outer", "plain", "collected"]:
        assert reading.steps_of(run_dir, key) == list(range(500)), key


def test_a_signal_handler_that_logs_neither_hangs_nor_tears_the_call_it_interrupts(
    tmp_path: Path, root: Path
) -> None:
    out = processes.run_script(
        tmp_path,
        """
        import itertools, signal
        tm.init("signals", root_dir=sys.argv[1], strict=True)
        numbers, handled = itertools.count(), 0

        def handler(number, frame):
            global handled
            n = next(numbers)  # the next signal may come before this one is done
            tm.log({"handled": n, "also": -float(n), f"new{n % 50}": 1}, n)
            handled = max(handled, n + 1)

        class Slow:
            def __float__(self):
                return sum(self.step for _ in range(50)) / 50

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        slow, step = Slow(), 0
        deadline = time.monotonic() + 60
        while handled < 500 and time.monotonic() < deadline:
            slow.step = step
            tm.log({"plain": float(step), "slow": slow, "twice": 2 * step}, step)
            step += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(handled, step)
        tm.close()
        """,
        root,
        within_secs=90,
    )
    handled, steps = map(int, out.split())
    run_dir = root / "signals"
    reading.settled(run_dir)
    assert handled >= 500
    for key, factor, count in [
        ("handled", 1, handled),
        ("also", -1, handled),
        ("plain", 1, steps),
        ("slow", 1, steps),
        ("twice", 2, steps),
    ]:
        expected = [(n, factor * n) for n in range(count)]
        assert sorted(reading.raw(run_dir, key)) == expected, key


def test_fifty_inits_in_one_process_like_a_notebook(tmp_path: Path, root: Path) -> None:
    out = processes.run_script(
        tmp_path,
        """
        def footprint():
            return [len(os.listdir(f"/proc/self/{what}")) for what in ("fd", "task")]

        before = None
        for cell in range(50):
            tm.init("notebook", root_dir=sys.argv[1], strict=True, config={"cell": cell})
            for step in range(10):
                tm.log({"loss": float(cell)}, cell * 10 + step)
            before = before or footprint()
        print(*before, *footprint())
        tm.close()
        """,
        root,
    )
    fds_before, threads_before, fds, threads = map(int, out.split())
    assert threads == threads_before == 1
    assert fds <= fds_before + 2
    run_dir = root / "notebook"
    reading.settled(run_dir)
    assert reading.raw(run_dir, "loss") == [(n, float(n // 10)) for n in range(500)]
