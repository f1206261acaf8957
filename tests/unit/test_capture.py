"""What Python prints, kept in the run: whole lines, nobody hurt, streams as they were."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.processes import run_script, until
from training_monitor.capture import Capture, capture_output, output_path

Begin = Callable[[], Capture]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Return what begins the capture; pytest changes the streams between fixture and test."""
    begun: list[Capture] = []

    def start() -> Capture:
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        monkeypatch.setattr(sys, "stderr", None)
        begun.append(capture_output(str(tmp_path), 0, most_bytes=20_000))
        return begun[0]

    yield start
    for capture in begun:
        capture.stop()


def lines(run_dir: Path, end: str = "") -> list[str]:
    text = Path(output_path(str(run_dir), 0) + end).read_text()
    first, *rest = text.splitlines()
    assert first.startswith("--- training_monitor: output of process ")
    return rest


def test_lines_go_where_they_went_and_into_the_file(tmp_path: Path, begin: Begin) -> None:
    capture = begin()
    stdout = capture._streams[0][1]._stream
    print("one", 2, sep="-")
    print("no end", end="")
    sys.stdout.writelines(["", " yet\n", "three\n"])
    assert stdout.getvalue() == "one-2\nno end yet\nthree\n"
    assert lines(tmp_path) == ["one-2", "no end yet", "three"]
    print("rest", end="")
    capture.stop()
    assert sys.stdout is stdout
    print("after")
    assert lines(tmp_path)[-1] == "rest"
    assert stat.S_IMODE(os.stat(output_path(str(tmp_path), 0)).st_mode) == 0o600


@pytest.mark.parametrize("style", ["\r{}", "{}\r"])
def test_a_bar_is_one_line(tmp_path: Path, begin: Begin, style: str) -> None:
    begin()
    print("before")
    for done in range(1000):
        sys.stdout.write(style.format(f"{done}/1000"))
        sys.stdout.flush()
    print("\nafter")
    found = lines(tmp_path)
    assert found[0] == "before"
    assert found[-2:] == ["999/1000", "after"]
    assert len(found) <= 4


def test_bars_below_each_other_are_few_lines(tmp_path: Path, begin: Begin) -> None:
    begin()
    for done in range(500):
        sys.stdout.write(f"\router {done // 100}")
        sys.stdout.write("\n")
        sys.stdout.write(f"\rinner {done}")
        sys.stdout.write("\x1b[A")
    print("\n\ndone")
    found = lines(tmp_path)
    assert found[-1] == "done"
    assert any("499" in line for line in found)
    assert len(found) < 50


def test_streams_answer_as_the_ones_they_wrap(tmp_path: Path) -> None:
    body = """
        import io
        plain = sys.stdout
        run = tm.init("run", capture_output=True, quiet=True, start_monitor=False)
        out = sys.stdout
        assert out is not plain
        assert isinstance(out, io.TextIOWrapper)
        assert (out.fileno(), out.encoding, out.errors) == (1, plain.encoding, plain.errors)
        assert out.isatty() is plain.isatty()
        assert out.buffer is plain.buffer
        out.reconfigure(line_buffering=True)
        assert plain.line_buffering
        out.mark = 3
        assert plain.mark == 3
        assert repr(out) == repr(plain)
        import subprocess
        subprocess.run([sys.executable, "-c", "print('from a child')"], stdout=out, check=True)
        out.buffer.write(b"bytes\\n")
        tm.close()
        assert sys.stdout is plain
        assert out.write("kept handle\\n") == 12
    """
    printed = run_script(tmp_path, body)
    assert printed.split("\n")[:3] == ["from a child", "bytes", "kept handle"]
    text = (tmp_path / "ai_logger/run/output-rank0.log").read_text()
    assert "kept handle" not in text


def test_what_libraries_do_with_streams_works(tmp_path: Path, begin: Begin) -> None:
    capture = begin()
    aside = io.StringIO()
    with contextlib.redirect_stdout(aside):
        print("aside")
    print("kept")
    assert aside.getvalue() == "aside\n"
    assert lines(tmp_path) == ["kept"]
    wrapped = sys.stdout

    class Other:
        def write(self, text: str) -> int:
            return wrapped.write(text)

    sys.stdout = Other()  # type: ignore[assignment]
    capture.stop()
    assert isinstance(sys.stdout, Other)
    print("handed on")
    assert lines(tmp_path) == ["kept"]


def test_an_error_of_the_stream_is_the_one_that_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    broken = Broken()
    monkeypatch.setattr(sys, "stdout", broken)
    capture = capture_output(str(tmp_path), 0)
    try:
        with pytest.raises(BrokenPipeError):
            print("x")
        with pytest.raises(BrokenPipeError):
            sys.stdout.write(3)  # type: ignore[arg-type]
    finally:
        capture.stop()


def test_it_is_rotated_once_and_stays_within_its_size(tmp_path: Path, begin: Begin) -> None:
    begin()
    for number in range(10_000):
        print("line", number)
    old, new = lines(tmp_path, ".1"), lines(tmp_path)
    assert new[-1] == "line 9999"
    assert int(new[0].split()[1]) == int(old[-1].split()[1]) + 1
    sizes = [os.path.getsize(output_path(str(tmp_path), 0) + end) for end in ("", ".1")]
    assert max(sizes) < 20_000 + 200
    assert sorted(path.name for path in tmp_path.glob("output*")) == [
        "output-rank0.log", "output-rank0.log.1"]  # fmt: skip


def test_secrets_are_taken_out_and_odd_text_is_kept(tmp_path: Path, begin: Begin) -> None:
    begin()
    token = "ghp_" + "a1B2" * 9
    print("token", token)
    print("lone \udc80 surrogate")
    print("x" * 3_000_000)
    text = Path(output_path(str(tmp_path), 0)).read_text()
    rotated = Path(output_path(str(tmp_path), 0) + ".1")
    text += rotated.read_text() if rotated.exists() else ""
    assert token not in text
    assert "lone \\udc80 surrogate" in text
    assert "characters are left out]" in text
    assert len(text) < 400_000


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_and_a_closed_file_hurt_nobody(tmp_path: Path, begin: Begin) -> None:
    capture = begin()
    file = capture._file
    assert file is not None
    handle = os.open("/dev/full", os.O_WRONLY)
    full = os.fstat(handle)
    os.dup2(handle, file._handle)
    file._identity = (full.st_dev, full.st_ino)
    print("lost")
    # Somebody closes what he does not know, and opens a file of his own under that number.
    os.close(file._handle)
    own = tmp_path / "own.txt"
    while os.open(own, os.O_RDWR | os.O_CREAT, 0o600) != file._handle:
        pass
    print("found")
    assert own.read_bytes() == b""
    assert lines(tmp_path)[-1] == "found"
    os.close(file._handle)
    print("found again")
    assert lines(tmp_path)[-1] == "found again"


def test_threads_and_signals_in_the_middle_lose_nothing(tmp_path: Path) -> None:
    body = """
        import signal, threading
        tm.init("run", capture_output=True, quiet=True, start_monitor=False)
        signal.signal(signal.SIGALRM, lambda *_: print("alarm\\n", end=""))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        def work(name):
            for number in range(500):
                sys.stdout.write(f"{name}:{number}.\\n")
        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        signal.setitimer(signal.ITIMER_REAL, 0)
        tm.close()
    """
    run_script(tmp_path, body)
    text = (tmp_path / "ai_logger/run/output-rank0.log").read_text()
    missing = [
        f"{name}:{at}." for name in "abcd" for at in range(500) if f"{name}:{at}." not in text
    ]
    assert not missing


def test_a_forked_child_writes_too_and_repeats_nothing(tmp_path: Path) -> None:
    body = """
        tm.init("run", capture_output=True, quiet=True, start_monitor=False)
        print("open line", end="")
        pid = os.fork()
        if pid == 0:
            print("child")
            os._exit(0)
        os.waitpid(pid, 0)
        print(" of the parent")
        tm.close()
        tm.init("run", capture_output=True, quiet=True, start_monitor=False)
        print("second", file=sys.stderr)
        tm.close()
    """
    run_script(tmp_path, body)
    text = (tmp_path / "ai_logger/run/output-rank0.log").read_text()
    kept = [line for line in text.splitlines() if not line.startswith("---")]
    assert kept == ["child", "open line of the parent", "second"]
    assert text.count("from here on") == 2


def test_what_was_printed_before_a_kill_is_there(tmp_path: Path) -> None:
    body = """
        tm.init("run", capture_output=True, quiet=True, start_monitor=False)
        print("last words")
        os.kill(os.getpid(), 9)
    """
    run_script(tmp_path, body, code=-signal.SIGKILL)
    assert "last words" in (tmp_path / "ai_logger/run/output-rank0.log").read_text()


def test_without_close_the_end_is_kept_too(tmp_path: Path) -> None:
    body = """
        tm.init("run", capture_output=True, quiet=True, start_monitor=False)
        print("no line break", end="")
        raise ValueError("the end")
    """
    run_script(tmp_path, body, code=1)
    text = (tmp_path / "ai_logger/run/output-rank0.log").read_text()
    assert "no line break" in text
    assert "ValueError: the end" in text


def test_a_place_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    body = """
        os.makedirs("ai_logger/run/output-rank0.log")
        tm.init("run", capture_output=True, quiet=True, start_monitor=False)
        tm.log({"loss": 1.0})
        print("still here")
    """
    assert run_script(tmp_path, body) == "still here\n"


def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    body = """
        plain = sys.stdout
        tm.init("run", quiet=True, start_monitor=False)
        assert sys.stdout is plain
        assert "training_monitor.capture" not in sys.modules
    """
    run_script(tmp_path, body)
    assert not (tmp_path / "ai_logger/run/output-rank0.log").exists()


def test_a_stuck_writer_in_another_thread_stops_nobody(tmp_path: Path, begin: Begin) -> None:
    capture = begin()
    wrapped = capture._streams[0][1]
    assert wrapped._lines._lock.acquire(blocking=False)
    done = threading.Event()
    threading.Thread(target=lambda: (print("past it"), done.set()), daemon=True).start()
    until(done.is_set, "the line is out", within_secs=20)
    wrapped._lines._lock.release()
    print("next")
    assert lines(tmp_path) == ["past it", "next"]


def test_threads_that_print_on_both_streams_rotate_once_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    capture = capture_output(str(tmp_path), 0, most_bytes=5000)
    streams = [sys.stdout, sys.stderr] * 2

    def work(stream: io.StringIO, name: int) -> None:
        for number in range(1500):
            stream.write(f"{name} {number}\n")

    threads = [
        threading.Thread(target=work, args=(stream, at)) for at, stream in enumerate(streams)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    capture.stop()
    for end in ("", ".1"):
        for line in lines(tmp_path, end):
            name, number = line.split()
            assert (name in "0123", number.isdigit()) == (True, True)
        assert os.path.getsize(output_path(str(tmp_path), 0) + end) < 5400
