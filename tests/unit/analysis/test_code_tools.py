"""The tools over the code that was kept with a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.kept_code import KeptCode
from harness.recorded import record
from training_monitor.analysis.tools.tool import Toolbox
from training_monitor.query import RunView
from training_monitor.snapshot.choosing import Request
from training_monitor.snapshot.snapshot import open_snapshot
from training_monitor.snapshot.taking import take


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunView:
    return record(tmp_path_factory.mktemp("runs") / "run", [(0, {"loss": 1.0})])


@pytest.fixture
def code() -> KeptCode:
    return KeptCode(
        {
            "train.py": "import os\n\nlr = 0.001\n# [end of data]\n" + "x = 1\n" * 500,
            "model/net.py": "class Net:\n    pass\n",
            "empty.py": "",
        }
    )


def rows(answer: str) -> list[str]:
    """Return the lines of data of an answer."""
    return [line.removeprefix("| ") for line in answer.splitlines() if line.startswith("| ")]


def test_code_is_listed_read_and_searched(run: RunView, code: KeptCode) -> None:
    box = Toolbox(run, code)
    assert rows(box.call("snapshot_manifest", {})) == [
        "0 empty.py (0 lines, 0 bytes)",
        "1 model/net.py (2 lines, 20 bytes)",
        "2 train.py (504 lines, 3038 bytes)",
    ]
    by_path = box.call("snapshot_read", {"file": "model/net.py"})
    assert rows(by_path) == ["1: class Net:", "2:     pass"]
    assert by_path == box.call("snapshot_read", {"file": 1})
    assert by_path == box.call("snapshot_read", {"file": "#1"})
    found = box.call("snapshot_search", {"pattern": "lr =", "glob": "*.py"})
    assert rows(found) == ["train.py:3: lr = 0.001"]
    assert rows(box.call("snapshot_search", {"pattern": "LR", "ignore_case": True})) == rows(found)


def test_a_long_file_says_how_to_go_on(run: RunView, code: KeptCode) -> None:
    box = Toolbox(run, code)
    first = box.call("snapshot_read", {"file": "train.py"})
    assert len(rows(first)) == 200
    assert first.endswith("go on with snapshot_read of file 2, first_line=201")
    last = box.call("snapshot_read", {"file": 2, "first_line": 500, "last_line": 9999})
    assert rows(last)[-1] == "504: x = 1"
    assert "cut" not in last
    beyond = box.call("snapshot_read", {"file": 2, "first_line": 600})
    assert beyond.startswith('error: "train.py" has 504 lines')
    assert box.call("snapshot_read", {"file": "empty.py"}) == 'error: "empty.py" is empty'


def test_code_that_looks_like_the_end_of_data_stays_data(run: RunView, code: KeptCode) -> None:
    answer = Toolbox(run, code).call("snapshot_read", {"file": "train.py", "last_line": 4})
    assert rows(answer)[3] == "4: # [end of data]"
    assert [line for line in answer.splitlines() if not line.startswith("|")][-1] == "[end of data]"


def test_several_parts_are_read_and_one_wrong_one_does_not_hurt(
    run: RunView, code: KeptCode
) -> None:
    parts = [{"file": "train.py", "first_line": 3, "last_line": 3}, {"file": "net.py"}, {"file": 1}]
    answer = Toolbox(run, code).call("snapshot_read_many", {"slices": parts})
    assert rows(answer) == ["3: lr = 0.001", "1: class Net:", "2:     pass"]
    assert 'error: no file "net.py"; nearest: ' in answer
    assert '"model/net.py"' in answer


def test_the_real_snapshot_answers_as_the_one_in_memory(
    run: RunView, code: KeptCode, tmp_path: Path
) -> None:
    for name, text in code.texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "kept").mkdir()
    paths = tuple(str(tmp_path / name) for name in code.texts)
    take(str(tmp_path / "kept"), Request(str(tmp_path), None, paths=paths), attempt=1, job_key="j")
    kept = open_snapshot(str(tmp_path / "kept"))
    assert kept is not None
    memory, real = Toolbox(run, code), Toolbox(run, kept)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("snapshot_read", {"file": "train.py", "first_line": 2, "last_line": 9}),
        ("snapshot_read", {"file": "model/net.py"}), ("snapshot_read", {"file": "net.py"}),
        ("snapshot_read", {"file": "../train.py"}), ("snapshot_read", {"file": "empty.py"}),
        ("snapshot_search", {"pattern": "LR", "ignore_case": True, "glob": "*.py"}),
        ("snapshot_search", {"pattern": "x = 1", "limit": 3}),
        ("snapshot_search", {"pattern": "no such text"}),
    ]  # fmt: skip
    for name, arguments in asked:
        assert rows(real.call(name, arguments)) == rows(memory.call(name, arguments)), arguments
        assert real.call(name, arguments).startswith("error") == (
            memory.call(name, arguments).startswith("error")
        )
    listed = rows(real.call("snapshot_manifest", {}))
    assert [line.partition(" ")[2] for line in listed] == [
        line.partition(" ")[2] for line in rows(memory.call("snapshot_manifest", {}))
    ]
    first = listed[1].partition(" ")[0]
    assert rows(real.call("snapshot_read", {"file": first}))[0] == "1: class Net:"
    wrong = real.call("snapshot_search", {"pattern": "(", "regex": True})
    assert wrong.startswith('error: cannot search for "(": ')


def test_a_bad_pattern_is_told(run: RunView, code: KeptCode) -> None:
    answer = Toolbox(run, code).call("snapshot_search", {"pattern": "(", "regex": True})
    assert answer == 'error: cannot search for "(": unclosed group'
