"""Hazards without a room of their own; README.md says which test is for which."""

import shutil
from pathlib import Path

import training_monitor as tm
from harness import processes, reading
from harness.disk import run_with_small_disk


def test_a_training_gets_no_thread_no_socket_and_no_signal_handler(
    tmp_path: Path, root: Path
) -> None:
    out = processes.run_script(
        tmp_path,
        """
        import signal
        def handlers():
            return {number: signal.getsignal(number) for number in signal.valid_signals()}
        def saved(number, frame):
            tm.log({"at the end": 1.0}, 1)
            print("the checkpoint is saved", flush=True)
        signal.signal(signal.SIGTERM, saved)
        before = handlers()
        tm.init("run", root_dir=sys.argv[1], strict=True, quiet=True)
        for step in range(1000):
            tm.log({"loss": 1.0}, step)
        assert handlers() == before
        assert len(os.listdir("/proc/self/task")) == 1
        links = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                links.append(os.readlink(f"/proc/self/fd/{fd}"))
            except FileNotFoundError:
                pass  # that of the listing itself
        assert not [link for link in links if link.startswith("socket:")], links
        os.kill(os.getpid(), signal.SIGTERM)
        tm.close()
        """,
        root,
    )
    assert out == "the checkpoint is saved\n"
    reading.settled(root / "run")
    assert reading.raw(root / "run", "at the end") == [(1, 1.0)]


def test_what_finds_no_room_leaves_no_bytes_on_the_disk(tmp_path: Path, root: Path) -> None:
    run_with_small_disk(
        tmp_path,
        root,
        """
        import warnings
        warnings.simplefilter("ignore")
        spool = root / "full" / ".spool"
        mount(spool, "3m")
        os.environ["TM_LANE_BYTES"] = str(1 << 20)
        tm.init("full", root_dir=root, quiet=True, start_monitor=False)
        untold, step = tm.health().rejected, 0
        while tm.health().rejected < untold + 100:
            tm.log({f"key{n}": 1.0 for n in range(20)}, step)
            step += 1
        free = os.statvfs(spool).f_bfree
        in_files = sum(os.stat(path).st_blocks * 512 for path in processes.files_below(spool, "*"))
        whole = os.statvfs(spool)
        used = (whole.f_blocks - whole.f_bfree) * whole.f_frsize
        assert used - in_files < 64 << 10, "something that no file has is taken"
        for step in range(5000):
            tm.log({f"key{n}": 1.0 for n in range(20)}, step)
        assert os.statvfs(spool).f_bfree == free, "each refusal takes room"
        os._exit(0)  # close() would wait for a monitor that nobody started
        """,
    )


def test_a_spool_that_was_cleaned_away_between_two_sessions_harms_nobody(
    tmp_path: Path, root: Path
) -> None:
    body = """
    tm.init("run", root_dir=sys.argv[1], strict=True, quiet=True, start_monitor=sys.argv[2] == "1")
    for step in range(100):
        tm.log({"loss": float(sys.argv[2])}, step)
    os._exit(0) if sys.argv[2] == "0" else tm.close()
    """
    processes.run_script(tmp_path, body, root, 0)
    run_dir = root / "run"
    shutil.rmtree(run_dir / ".spool")
    done = processes.training_monitor("recover", run_dir)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout + done.stderr, "it says something"
    processes.run_script(tmp_path, body, root, 1)
    reading.settled(run_dir)
    assert reading.raw(run_dir, "loss") == [(step, 1.0) for step in range(100)]
    assert [attempt.number for attempt in tm.open_run(run_dir).attempts][-1:] != []


def test_what_is_changed_after_the_call_is_stored_as_it_was(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        import numpy as np
        tm.init("run", root_dir=sys.argv[1], strict=True, quiet=True)
        metrics, scalar, nested = {"loss": 0.0}, np.array(0.0), {"deep": [0]}
        for step in range(500):
            metrics["loss"] = float(step)
            scalar[()] = step
            nested = {"deep": {"er": float(step)}}
            tm.log({**metrics, "scalar": scalar, **nested}, step)
            metrics["loss"] = -1.0
            scalar[()] = -1.0
            nested["deep"]["er"] = -1.0
        tm.close()
        """,
        root,
    )
    reading.settled(root / "run")
    for key in ("loss", "scalar", "deep/er"):
        assert reading.raw(root / "run", key) == [(step, float(step)) for step in range(500)], key
