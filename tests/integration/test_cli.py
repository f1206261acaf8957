"""The commands as a user types them: output, JSON, errors, exit status."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes, reading
from harness.metrics import METRICS
from training_monitor.cli import main, render, show, status
from training_monitor.cli.outline import Outline

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))


def golden(name: str, text: str) -> None:
    """Compare with the file, or write it when UPDATE_GOLDEN is set."""
    path = GOLDEN / name
    if UPDATE:
        path.write_text(text)
    assert text == path.read_text(), f"UPDATE_GOLDEN=1 writes {path}"


def on_terminal(words: list[str], **environ: str) -> str:
    """Run a command on a terminal of 80 columns and return what it shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "training_monitor", *words],
        stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", **environ},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 20)[0]:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    process.wait(20)
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


@pytest.fixture
def recorded(root: Path) -> Path:
    """Return the directory of a run that has ended."""
    with tm.init("digits", root_dir=root, quiet=True, config={"lr": 0.1}):
        for step in range(1000):
            tm.log(
                {"loss": 1 / (step + 1), "train/accuracy": step / 1000, "epoch": step // 100}, step
            )
        tm.log(
            {"note": "done", "a\x1b[31mred": 1.0, "very/long/" + "name/" * 20: float("nan")}, 1000
        )
    reading.settled(root / "digits")
    return root / "digits"


def run_command(*words: object, code: int = 0) -> str:
    done = processes.training_monitor(*words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr if code else done.stdout


def strict_json(text: str) -> object:
    return json.loads(text, parse_constant=pytest.fail)


# --- help


@pytest.mark.parametrize("name", ["watch", *main.COMMANDS])
def test_help_is_the_golden_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = main.parser_of(name).format_help()
    assert max(map(len, text.splitlines())) <= 80
    if sys.version_info[:2] == (3, 11):  # argparse words its help differently elsewhere
        golden(f"help_{name}.txt", text)


def test_no_words_print_the_help() -> None:
    text = run_command(code=2)
    assert "commands (each with --help):" in text


def test_version() -> None:
    assert run_command("--version") == f"training-monitor {tm.__version__}\n"


def test_unknown_command_names_the_nearest() -> None:
    assert "no command 'statsu'; did you mean 'status'?" in run_command("statsu", code=2)


def test_missing_experiment_is_named() -> None:
    assert "experiment_name is missing" in run_command("--gpus", "0", code=1)


# --- tables


def test_table_of_metrics_is_the_golden_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show.print_metrics(METRICS)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    assert "\x1b" not in text
    golden("show.txt", text)


def test_status_is_the_golden_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    producer = {"rank": 0, "pid": 7, "life": "alive", "rejected": 3, "log_p99_ns": 312}
    outline = Outline(
        name="grpo_v2", dir="/home/me/ai_logger/grpo_v2", state="recording", monitor=4711,
        attempts=2, last_step=8799, points=158_400, gaps=1, accepted=158_418, backlog_bytes=1536,
        last_point_at=999_999.25, producers=[producer],
    )  # fmt: skip
    values = [(f"metric{number:02}", number / 7) for number in range(14)]
    status.print_status(outline, 3601.4, values)
    golden("status.txt", capsys.readouterr().out)


def test_names_are_cut_in_the_middle(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_table(("A", "B"), [("x" * 50 + "end", "1" * 60)])
    line = capsys.readouterr().out.splitlines()[1]
    assert len(line) == 80
    assert line.startswith("xxxxxxxx..xxxxxend")


@pytest.mark.parametrize(
    ("secs", "text"),
    [(0.0, "0.0 s"), (9.94, "9.9 s"), (59.0, "59 s"), (90, "1.5 min"), (7200, "2.0 h"),
     (86_000, "24 h"), (10 * 86400, "10 d"), (None, "-")],
)  # fmt: skip
def test_durations(secs: float | None, text: str) -> None:
    assert render.in_seconds(secs) == text


def test_json_has_no_numbers_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_json({"a": float("nan"), "b": [float("inf"), -float("inf")], 3: "\x1b\udc80"})
    assert strict_json(capsys.readouterr().out) == {
        "a": "NaN", "b": ["Infinity", "-Infinity"], "3": "\x1b\udc80",
    }  # fmt: skip


# --- a recorded run


def test_runs_lists_the_run(recorded: Path, root: Path) -> None:
    text = run_command("runs", "--root-dir", root)
    assert re.search(r"^digits +ended +1 +1,000 +3,003 +\d", text, re.MULTILINE), text
    (run,) = strict_json(run_command("runs", "--root-dir", root, "--json"))
    assert (run["name"], run["points"], run["last_step"]) == ("digits", 3003, 1000)
    assert run["state"] == "ended"
    assert run["monitor"] is None


def test_runs_of_nothing(tmp_path: Path) -> None:
    assert run_command("runs", "--root-dir", tmp_path) == f"no runs under {tmp_path}\n"
    assert run_command("runs", "--root-dir", tmp_path, "--json") == "[]\n"


def test_show_prints_every_metric(recorded: Path, root: Path) -> None:
    text = run_command("show", "digits", "--root-dir", root)
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"^loss +loss +0\.001 +0\.001 +1 +1,000 +0\.\.999$", text, re.MULTILINE), text
    assert "\x1b" not in text
    assert r"a\x1b[31mred" in text
    rows = strict_json(run_command("show", recorded, "--json"))["metrics"]
    by_name = {row["name"]: row for row in rows}
    assert by_name["epoch"]["last_value"] == 9
    assert by_name["note"]["last_value"] == "done"
    assert by_name["very/long/" + "name/" * 20]["last_value"] == "NaN"


def test_status_of_an_ended_run(recorded: Path, root: Path) -> None:
    text = run_command("status", "--root-dir", root)
    assert "ended, no monitor" in text
    assert "3,003 points" in text
    facts = strict_json(run_command("status", recorded, "--json"))
    assert facts["last_values"]["note"] == "done"
    assert facts["lag_s"] == 0
    assert facts["points_per_s"] is None


def test_colour_only_on_a_terminal_that_wants_it(recorded: Path, root: Path) -> None:
    words = ["show", "digits", "--root-dir", str(root)]
    piped = run_command(*words)
    terminal = on_terminal(words, NO_COLOR="")
    assert terminal.startswith("\x1b[1mMETRIC")
    assert terminal.replace("\x1b[1m", "").replace("\x1b[0m", "") == piped
    assert on_terminal(words, NO_COLOR="1") == piped
    assert on_terminal(words, TERM="dumb") == piped


def test_output_into_a_closed_pipe_is_no_error(recorded: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m training_monitor show {recorded} | true",
        shell=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""


def test_output_in_ascii_only(tmp_path: Path, root: Path) -> None:
    with tm.init("unicode", root_dir=root, quiet=True):
        tm.log({"verlust_ä_损失": 1.0}, 0)
    reading.settled(root / "unicode")
    done = subprocess.run(
        [sys.executable, "-m", "training_monitor", "show", str(root / "unicode")],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert rb"verlust_\xe4_\u635f\u5931" in done.stdout


def test_run_that_is_not_there_names_the_nearest(recorded: Path, root: Path) -> None:
    for command in ("status", "show", "recover"):
        text = run_command(command, "digts", "--root-dir", root, code=1)
        assert text == (
            f"training-monitor: no run 'digts' under '{root}'; did you mean 'digits'?\n"
        )


def test_run_without_a_database_says_how_to_get_one(root: Path) -> None:
    (root / "empty" / ".spool").mkdir(parents=True)
    text = run_command("show", "empty", "--root-dir", root, code=1)
    assert text == (
        "training-monitor: run 'empty' has nothing in its database yet; its monitor, or "
        f"`training-monitor recover {root / 'empty'}`, brings it there\n"
    )


def test_damaged_database_is_named(root: Path) -> None:
    (root / "bad").mkdir(parents=True)
    (root / "bad" / "training_monitor.db").write_bytes(b"not a database\n" * 1000)
    assert "damaged, no monitor" in run_command("status", "bad", "--root-dir", root, code=1)
    text = run_command("show", "bad", "--root-dir", root, code=1)
    assert text.startswith(f"training-monitor: cannot read '{root}/bad/training_monitor.db': ")


# --- live


def test_status_of_a_live_run(tmp_path: Path, root: Path) -> None:
    process = processes.start_script(
        tmp_path,
        """
        tm.init("live", root_dir=sys.argv[1], quiet=True)
        print("ready", flush=True)
        step = 0
        while not os.path.exists(sys.argv[2]):
            tm.log({"loss": 1 / (step + 1)}, step)
            step += 1
            time.sleep(0.001)
        """,
        root,
        tmp_path / "stop",
    )
    assert process.stdout is not None
    process.stdout.readline()
    reading.wait_for_points(root / "live", "loss", 100)
    facts = strict_json(run_command("status", "--root-dir", root, "--json"))
    assert facts["state"] == "recording"
    assert facts["monitor"] == processes.monitor_pid(root / "live")
    assert 50 < facts["points_per_s"] < 1100
    assert facts["log_p99_ns"] > 0
    assert facts["lag_s"] < 3
    text = run_command("status", "live", "--root-dir", root)
    assert f"recording, monitor {facts['monitor']}" in text
    assert "points/s" in text
    (tmp_path / "stop").touch()
    processes.finish(process)


def test_recover_brings_home_what_was_left(tmp_path: Path, root: Path) -> None:
    processes.run_script(
        tmp_path,
        """
        tm.init("lost", root_dir=sys.argv[1], start_monitor=False)
        for step in range(1000):
            tm.log({"loss": float(step)}, step)
        os.kill(os.getpid(), 9)
        """,
        root,
        code=-9,
    )
    assert "left behind, no monitor" in run_command("status", "lost", "--root-dir", root, code=1)
    text = run_command("recover", "lost", "--root-dir", root)
    assert text.startswith("lost: 1,000 points brought home\n")
    assert reading.steps_of(root / "lost", "loss") == list(range(1000))
    again = strict_json(run_command("recover", "lost", "--root-dir", root, "--json"))
    assert (again["recovered_points"], again["points"]) == (0, 1000)
    assert "ended, no monitor" in run_command("status", "lost", "--root-dir", root)


def test_monitor_by_hand_serves_a_trainer_that_starts_none(tmp_path: Path, root: Path) -> None:
    by_hand = subprocess.Popen(
        [sys.executable, "-m", "training_monitor", "--experiment", "hand", "--root-dir", str(root),
         "--gpus", "0,1", "--notify-all-analyses"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    processes.until(lambda: processes.monitor_pid(root / "hand") == by_hand.pid, "the monitor")
    time.sleep(1.0)
    assert by_hand.poll() is None, "it waits for the first producer as long as it takes"
    processes.run_script(
        tmp_path,
        """
        with tm.init("hand", root_dir=sys.argv[1], start_monitor=False) as run:
            tm.log({"loss": 1.0}, 0)
        assert tm.health().durable in (0, 1)
        print(run.name)
        """,
        root,
    )
    out, err = by_hand.communicate(timeout=60)
    assert by_hand.returncode == 0, err
    assert "no effect in this version: notify_all_analyses" in out
    assert "waiting for the first producer" in err
    assert "left: 1 points durable" in err
    assert reading.raw(root / "hand", "loss") == [(0, 1.0)]


def test_monitor_by_hand_ends_with_ctrl_c(root: Path) -> None:
    by_hand = subprocess.Popen(
        [sys.executable, "-m", "training_monitor", "--experiment", "x", "--root-dir", str(root)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    processes.until(lambda: processes.monitor_pid(root / "x") == by_hand.pid, "the monitor")
    by_hand.send_signal(2)
    _, err = by_hand.communicate(timeout=60)
    assert by_hand.returncode == 0, err
    assert "Traceback" not in err


def test_second_monitor_by_hand_says_who_is_at_work(root: Path) -> None:
    words = [sys.executable, "-m", "training_monitor", "--experiment", "x", "--root-dir", str(root)]
    first = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    processes.until(lambda: processes.monitor_pid(root / "x") == first.pid, "the monitor")
    second = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert second.returncode == 0
    assert f"monitor {first.pid} is already at work" in second.stderr
    first.send_signal(2)
    first.wait(10)


def test_secret_on_the_command_line_is_not_seen_in_ps(root: Path) -> None:
    token = "123456:ABC-secret"  # noqa: S105
    by_hand = subprocess.Popen(
        [sys.executable, "-m", "training_monitor", "--experiment", "x", "--root-dir", str(root),
         f"--token={token}", "--chat", "42"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    processes.until(lambda: processes.monitor_pid(root / "x") == by_hand.pid, "the monitor")
    command = processes.commands([by_hand.pid])[by_hand.pid]
    environ = Path(f"/proc/{by_hand.pid}/environ").read_text()
    assert token not in command
    assert "--chat" not in command
    assert f"TELEGRAM_BOT_TOKEN={token}" in environ
    assert "TELEGRAM_CHAT_ID=42" in environ
    by_hand.send_signal(15)
    _, err = by_hand.communicate(timeout=60)
    assert token not in err + (root / "x" / "training_monitor.log").read_text()


def test_a_root_below_home_means_the_same_to_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
        with tm.init("one", quiet=True):
            tm.log({"loss": 1.0}, 0)
        """
    monkeypatch.setenv("TM_ROOT_DIR", "~/runs")
    processes.run_script(tmp_path, script)
    home = tmp_path / "home"
    reading.settled(home / "runs" / "one")
    assert tm.open_run("one").dir == str(home / "runs" / "one")
    assert "1 points" in processes.training_monitor("rm", "one").stdout
    monkeypatch.delenv("TM_ROOT_DIR")
    assert tm.open_run("one", root_dir=Path("~/runs")).dir == str(home / "runs" / "one")
    assert "one" in processes.training_monitor("runs", "--root-dir=~/runs").stdout
    assert "one" in processes.training_monitor("status", "--root-dir=~/runs").stdout
    done = processes.training_monitor("runs", "--root-dir", "")
    assert done.returncode == 2
    assert "expected a path" in done.stderr
