"""The live view on a real terminal: it draws, resizes, and leaves the terminal as it was."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness import processes
from harness.curves import falling, record, start_live
from training_monitor.cli.picture import Line, Section, fitted, sparkline

SEQUENCE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")

# Ctrl-C reaches those whose terminal it is.
LEADER = (
    "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "from training_monitor.cli.main import main; sys.exit(main())"
)


class Terminal:
    """A terminal in which the live view runs."""

    def __init__(self, *words: object, columns: int = 80, lines: int = 40, **environ: str) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-c", LEADER, "live", *map(str, words)],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environ},
        )  # fmt: skip
        self._theirs = theirs
        self.bytes = b""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def read(self) -> None:
        while select.select([self._ours], [], [], 0.05)[0]:
            self.bytes += os.read(self._ours, 65536)

    def text(self) -> str:
        """Return everything that was drawn, without what moves the cursor."""
        self.read()
        return SEQUENCE.sub(b"", self.bytes).decode(errors="replace")

    def picture(self) -> list[str]:
        """Return the lines of the last picture that was drawn whole."""
        self.read()
        whole = self.bytes.split(b"\x1b[H")
        text = SEQUENCE.sub(b"", whole[-2] if len(whole) > 1 else b"").decode(errors="replace")
        return text.replace("\r", "").split("\n")

    def shows(self, words: str) -> None:
        processes.until(lambda: words in self.text(), f"{words!r} on {self.text()[-3000:]!r}")

    def ends(self) -> int:
        processes.until(lambda: self.read() or self.process.poll() is not None, "it to leave")
        self.read()
        return self.process.wait()

    def attributes(self) -> list[object]:
        return termios.tcgetattr(self._theirs)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@contextlib.contextmanager
def terminal(*words: object, **facts: object) -> Iterator[Terminal]:
    one = Terminal(*words, **facts)  # type: ignore[arg-type]
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def recorded(root: Path) -> Path:
    curves = {"train/loss": falling(300), "val/loss": falling(30), "lr": [0.1] * 300}
    return record(root, "curves", curves, config={"max_steps": 600})


FORMS = [
    pytest.param((), id="rich"),
    pytest.param(("--plain",), id="plain"),
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["q", "ctrl-c", "sigterm"])
def test_it_draws_and_leaves_the_terminal_as_it_was(
    form: tuple[str, ...], how: str, recorded: Path
) -> None:
    if not form:
        pytest.importorskip("rich")
    with terminal(recorded, *form) as screen:
        screen.shows("train/loss")
        screen.shows("step 600 (config max_steps), 50% done")
        assert b"\x1b[?1049h" in screen.bytes
        if how == "sigterm":
            screen.process.send_signal(signal.SIGTERM)
        else:
            screen.type(b"q" if how == "q" else b"\x03")
        assert screen.ends() == 0
        assert screen.bytes.rindex(b"\x1b[?1049l") > screen.bytes.rindex(b"\x1b[?1049h")
        assert screen.bytes.rindex(b"\x1b[?25h") > screen.bytes.rindex(b"\x1b[?25l")
        assert screen.attributes() == screen.before
        assert "Traceback" not in screen.text()


@pytest.mark.parametrize("form", FORMS)
def test_it_follows_the_size_of_the_window(form: tuple[str, ...], recorded: Path) -> None:
    if not form:
        pytest.importorskip("rich")
    with terminal(recorded, *form, columns=100, lines=40) as screen:
        screen.shows("lr")
        for columns, lines in ((40, 12), (10, 3), (160, 60)):
            screen.resize(columns, lines)
            screen.process.send_signal(signal.SIGWINCH)

            def fits(columns: int = columns, lines: int = lines) -> bool:
                rows = screen.picture()
                return "curv" in "".join(rows) and columns // 2 < max(map(len, rows)) <= columns

            processes.until(fits, f"a picture of {columns} columns")
            processes.until(lambda at=lines: len(screen.picture()) <= at, f"{lines} lines")
        screen.type(b"q")
        assert screen.ends() == 0


def test_a_live_run_is_followed(tmp_path: Path, root: Path) -> None:
    process = start_live(tmp_path, root)
    with terminal("live", "--root-dir", root, "--plain") as screen:
        screen.shows("recording")
        screen.shows("time left")
        seen = set()

        def has_moved() -> bool:
            seen.update(re.findall(r"step ([\d,]+) +[\d,]+ points", screen.text()))
            return len(seen) >= 3

        processes.until(has_moved, "three different steps")
        screen.type(b"q")
        assert screen.ends() == 0
    (tmp_path / "stop").touch()
    processes.finish(process)


def test_into_a_pipe_it_prints_once(recorded: Path) -> None:
    began = time.monotonic()
    done = processes.training_monitor("live", recorded)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < processes.PATIENCE_SECS
    assert "\x1b" not in done.stdout
    assert done.stdout.startswith("curves\n  ended   step 299")
    assert re.search(r"^  val/loss +[\d.]+ \S+", done.stdout, re.MULTILINE), done.stdout


def test_a_run_without_a_database_says_so_and_waits(root: Path) -> None:
    (root / "empty" / ".spool").mkdir(parents=True)
    with terminal(root / "empty", "--plain") as screen:
        screen.shows("has nothing in its database yet")
        screen.type(b"q")
        assert screen.ends() == 0


def test_names_that_move_the_cursor_are_shown_as_text(root: Path) -> None:
    run_dir = record(root, "evil", {"a\x1b[2Jb": np.arange(10.0)})
    done = processes.training_monitor("live", run_dir)
    assert "\x1b" not in done.stdout
    assert r"a\x1b[2Jb" in done.stdout


# --- what it is made of


@pytest.mark.parametrize(
    ("values", "width", "shown"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([7, 0], 8, "█▁"),
        ([0, 2, 7, 7], 2, "▁█"),
        ([1, 1, 1], 3, "▁▁▁"),
        ([0, float("nan"), 7], 3, "▁ █"),
        ([float("inf"), float("nan")], 2, "  "),
        ([0, float("inf"), 7], 3, "▁ █"),
        ([-1.7e308, 1.7e308], 2, "▁█"),
        ([], 5, ""),
    ],
)
def test_sparklines(values: list[float], width: int, shown: str) -> None:
    assert sparkline(values, width) == shown
    assert sparkline(values, width, is_ascii=True).isascii()


@pytest.mark.parametrize("height", range(1, 30))
def test_sections_fit_the_screen(height: int) -> None:
    sections = [
        Section(name, [Line(name)] * count) for name, count in zip("abc", (1, 5, 9), strict=True)
    ]
    shown = fitted([*sections, Section("empty")], height, frame=2)
    assert shown[0].title == "a"
    assert sum(2 + len(one.lines) for one in shown) <= max(height, 3)
    if height >= 21:
        assert [len(one.lines) for one in shown] == [1, 5, 9]
