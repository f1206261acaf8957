"""From init() to the tools: the log files that were named, and what was printed."""

from __future__ import annotations

from pathlib import Path

from harness.processes import PATIENCE_SECS, run_script
from training_monitor import _core
from training_monitor.analysis.tools.tool import Toolbox
from training_monitor.foresight.course import Course
from training_monitor.query import RunView


def test_what_was_named_and_printed_in_the_training_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    body = """
        tm.init("run", quiet=True, start_monitor=False, capture_output=True,
                log_paths=["logs/*.txt", "./train.out"])
        open("logs/a.txt", "w").write("from a log\\n")
        open("train.out", "w").write("from a file\\n")
        print("printed")
        tm.log({"loss": 1.0}, 0)
        os.chdir("/")
    """
    run_script(tmp_path, body)
    run_dir = tmp_path / "ai_logger" / "run"
    _core.Ingest(str(run_dir)).finish(PATIENCE_SECS)
    run = RunView(str(run_dir))
    paths = Course(run).settings["log_paths"]
    assert paths == [f"{tmp_path}/logs/*.txt", f"{tmp_path}/train.out"]
    box = Toolbox(run, None, log_paths=paths)
    listed = box.call("log_tail", {})
    assert all(name in listed for name in ("a.txt", "train.out", "output-rank0.log"))
    assert "| from a log" in box.call("log_tail", {"file": "a.txt"})
    assert "| printed" in box.call("log_tail", {"file": "output-rank0.log"})
    assert str(tmp_path) not in listed
