"""The tool over log files: which ones it reads, and how."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.recorded import record
from training_monitor.analysis.tools.tool import Toolbox
from training_monitor.query import RunView


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    return record(tmp_path_factory.mktemp("runs") / "run", [(0, {"loss": 1.0})])


def rows(answer: str) -> list[str]:
    """Return the lines of data of an answer."""
    return [line.removeprefix("| ") for line in answer.splitlines() if line.startswith("| ")]


def test_logs_are_those_of_the_list_only(run: RunView, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("one\nbar 10%\rbar 90%\r\n\x1b[31mred\x1b[0m\nlast\n")
    (tmp_path / "b.log").write_bytes(b"\x00\x01\x02\x03\x04\n")
    (tmp_path / "other.txt").write_text("not in the list")
    (tmp_path / "link.log").symlink_to(tmp_path / "other.txt")
    os.mkfifo(tmp_path / "pipe.log")
    box = Toolbox(run, None, log_paths=[f"{tmp_path}/*.log", f"{tmp_path}/pipe.log"])
    names = {line.split()[1] for line in rows(box.call("log_tail", {}))}
    assert names == {"a.log", "b.log"}
    assert rows(box.call("log_tail", {"file": "a.log"})) == ["one", "bar 90%", "red", "last"]
    assert rows(box.call("log_tail", {"file": "b.log"})) == ["(binary, 5 bytes)"]
    for name in ("other.txt", "link.log", "pipe.log", f"{tmp_path}/a.log", "../a.log", 0, 3):
        assert box.call("log_tail", {"file": name}).startswith("error: no log file ")


def test_a_link_that_the_user_names_is_followed_and_secrets_are_not(
    run: RunView, tmp_path: Path
) -> None:
    for name in ("run-7.log", "id_rsa", ".env", "home/.ssh/known_hosts", "home/ok.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"this is {name}\n")
    (tmp_path / "latest.log").symlink_to("run-7.log")
    (tmp_path / "innocent.log").symlink_to("id_rsa")
    (tmp_path / "environ.log").symlink_to("/proc/self/environ")
    named = ["latest.log", "innocent.log", "environ.log", "id_rsa", ".env", "home/.ssh/known_hosts"]
    paths = [*(str(tmp_path / name) for name in named), "/proc/self/environ", "/etc/passwd"]
    answer = Toolbox(run, None, log_paths=paths).call("log_tail", {})
    assert answer.startswith('"latest.log": the last 1 of 1 lines')
    assert rows(answer) == ["this is run-7.log"]


def test_logs_can_be_searched_and_end_with_the_newest(run: RunView, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {number} {'ERROR' * (number % 1000 == 7)}\n"
                           for number in range(100_000)))  # fmt: skip
    box = Toolbox(run, None, log_paths=[str(log)])
    answer = box.call("log_tail", {"lines": 3})
    assert rows(answer) == ["line 99997 ", "line 99998 ", "line 99999 "]
    found = box.call("log_tail", {"contains": "error", "ignore_case": True, "lines": 2})
    assert rows(found) == ["line 98007 ERROR", "line 99007 ERROR"]
    assert "of 100 lines" in found


def test_secrets_in_logs_and_texts_are_taken_out(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    log = tmp_path / "a.log"
    log.write_text(f"token {token}\n")
    run = record(tmp_path / "run", [(0, {"note": f"my {token}"}), (1, {"loss": 1.0})])
    box = Toolbox(run, None, log_paths=[str(log)])
    answers = [
        box.call("log_tail", {}),
        box.call("metrics_history", {"metric": "note"}),
        box.call("metrics_list", {}),
        box.call("steps_tail", {}),
    ]
    assert all("token" in answer or "my" in answer for answer in answers)
    assert not any(token in answer for answer in answers)


def test_without_log_files_it_says_how_to_get_some(run: RunView) -> None:
    answer = Toolbox(run, None).call("log_tail", {})
    assert answer.startswith("error: there are no log files: neither log_paths nor capture_output")
