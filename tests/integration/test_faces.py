"""Phase, time left, findings and advice as the commands print them."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import training_monitor as tm
from harness import findings, processes
from harness.curves import START, falling, record, start_live, write
from training_monitor.cli import report, status
from training_monitor.cli.course import Ahead, course_facts, course_lines, print_findings
from training_monitor.cli.outline import Outline
from training_monitor.cli.replay import print_replay
from training_monitor.detect.finding import Finding
from training_monitor.foresight.replay import Replay
from training_monitor.found import PhaseChange, all_findings
from training_monitor.judge.notes import alert_line, finding_line, phase_line
from training_monitor.judge.prospect import Prospect
from training_monitor.machine import Finding as Seen
from training_monitor.predict.advice import Advice
from training_monitor.predict.cost import cost_of
from training_monitor.predict.eta import Eta
from training_monitor.predict.forecast import Forecast
from training_monitor.predict.phase import Phase, Transition
from training_monitor.predict.total import Total
from training_monitor.report.progress import Progress
from training_monitor.report.trend import trend_of

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SPIKE = Finding(
    "spike", "critical", "train/loss", 31_219, START, advice="Look at the data of this step.",
    text="train/loss jumped to 5.10 at step 31,219: 2.20 before (38 sigma)", rank=0,
    value=5.1, reference=2.2, sigma=38.0, threshold=5.5, since=31_219,
)  # fmt: skip
FORECAST = Forecast(2.65, 2.63, 2.67, 2.61, 2.7, 2.58, 2.74, 60_000, 0.1, "the last value")
ADVICE = Advice(0.04, 0.005, 0.001, 0.0004, 2.66, 29_000.0, 0.1, 60_000.0, True, 0.48)
ETA = Eta(
    seconds=4800.0, low={50: 4700.0, 80: 3900.0, 90: 3600.0}, rate=0.16, growth=1.0,
    high={50: 5000.0, 80: 6000.0, 90: 7000.0}, step=31_219, total=60_000, parts=(),
    confidence="medium",
)  # fmt: skip
PHASE = PhaseChange(
    START - 300, 29_500, "STABLE_CONVERGENCE", "PLATEAU", "It has stayed near 2.66."
)
AHEAD = Ahead(
    phase=PHASE,
    step=31_219,
    total=Total(60_000, "config", "config trainer.max_steps", True),
    eta=ETA,
    prospect=Prospect("val/loss", "min", 31_000, 2.67, FORECAST, ADVICE, True),
    cost=cost_of(3600.0, gpus=8, cost_per_gpu_hour=2.5, eta=ETA),
    findings=[
        Seen(START, "", "train/loss", "spike", SPIKE.text, "detector", True, severity="critical",
             advice=SPIKE.advice, step=31_219, rank=0),
        Seen(START, "", "lr", "lr_jump", "lr jumped", "detector", False),
    ],
)  # fmt: skip


def golden(name: str, text: str) -> None:
    """Compare with the file, or write it when UPDATE_GOLDEN is set."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"UPDATE_GOLDEN=1 writes {path}"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def told(root: Path) -> Path:
    """Return a run in which a brain has found something."""
    run_dir = record(root, "told", {"train/loss": falling(500), "lr": [0.1] * 500},
                     config={"max_steps": 1000})  # fmt: skip
    at = tm.open_run(run_dir).attempts[0].started + 0.001
    spike = replace(SPIKE, step=400, since=400, time=at)
    change = Transition(300, at, Phase.LEARNING_FAST, Phase.PLATEAU, "It stayed.")
    told = findings.alert("x", time=at, severity="critical", title="critical: a spike in loss")
    write(run_dir, finding_line(spike), phase_line(change), alert_line(told.to_json(), time=at))
    return run_dir


def run_json(*words: object) -> dict[str, object]:
    done = processes.training_monitor(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout, parse_constant=pytest.fail)
    return found


# --- status and show


def test_status_says_phase_time_left_advice_and_findings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: START)
    outline = Outline(
        name="grpo_v2", dir="/home/me/ai_logger/grpo_v2", state="recording", monitor=4711,
        attempts=1, last_step=31_219, points=158_400, gaps=0, accepted=158_418, backlog_bytes=0,
        last_point_at=START - 0.5,
    )  # fmt: skip
    status.print_status(outline, 12.0, [("train/loss", 5.1)], (), AHEAD)
    golden("status_ahead.txt", capsys.readouterr().out)


def test_what_is_not_known_has_no_line() -> None:
    assert course_lines(Ahead()) == []
    assert set(course_facts(Ahead()).values()) == {None}


def test_only_findings_that_stand_are_printed_and_not_all_of_a_flood(
    capsys: pytest.CaptureFixture[str],
) -> None:
    many = [replace(AHEAD.findings[0], time=START + at) for at in range(12)]
    print_findings([*many, AHEAD.findings[1]])
    text = capsys.readouterr().out
    assert text.count("critical") == 8
    assert "and 4 more findings" in text
    assert "lr jumped" not in text
    print_findings([AHEAD.findings[1]])
    assert capsys.readouterr().out == ""


def test_status_and_show_of_a_judged_run(told: Path) -> None:
    for command in ("status", "show"):
        text = processes.training_monitor(command, told).stdout
        assert re.search(r"^ *phase +PLATEAU since step 300, .* ago$", text, re.MULTILINE), text
        assert re.search(
            r"^ *ends at +step 1,000 \(config max_steps\), 50% done$", text, re.MULTILINE
        )
        assert "train/loss jumped to 5.10" in text
        assert SPIKE.advice in text
        assert "time left" not in text, "it is over"
        facts = run_json(command, told, "--json")
        assert facts["phase"]["after"] == "PLATEAU"  # type: ignore[index]
        assert facts["total"]["steps"] == 1000  # type: ignore[index]
        assert facts["eta"] is None
        assert "spike" in [one["name"] for one in facts["findings"]]  # type: ignore[attr-defined]


def test_a_live_run_says_how_long_it_still_takes(tmp_path: Path, root: Path) -> None:
    process = start_live(tmp_path, root)
    text = processes.training_monitor("status", "live", "--root-dir", root).stdout
    assert re.search(r"time left +\d+[mh]", text), text
    assert re.search(r"final value +loss ", text), text
    (tmp_path / "stop").touch()
    processes.finish(process)


# --- report


def progress(**changes: object) -> Progress:
    steps = np.arange(0, 31_219, 100)
    plain = {
        "run": "grpo_v2",
        "dir": "/home/me/ai_logger/grpo_v2",
        "state": "recording",
        "time": START,
        "step": 31_219,
        "total": AHEAD.total,
        "phase": PHASE,
        "values": {"val/loss": 2.67, "train/loss": 2.847, "mfu": 41.2},
        "trends": [
            trend_of("train/loss", steps, 4 - steps / 5e4),
            trend_of("mfu", steps, 41 + np.sin(steps)),
        ],
        "eta": ETA,
        "prospect": AHEAD.prospect,
        "cost": AHEAD.cost,
        "findings": AHEAD.findings[:1],
        "past": AHEAD.findings[1:],
    }
    return Progress(**{**plain, **changes})  # type: ignore[arg-type]


def test_report_as_text_is_the_golden_one(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_text(progress())
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    golden("report.txt", text)


def test_report_as_markdown_is_the_golden_one(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_markdown(progress(run="evil*run*\x1b[31m"))
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text
    golden("report.md", text)


def test_report_of_a_run_that_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    well = progress(findings=[], past=[], phase=None, prospect=None, eta=None, total=None)
    sections = well.sections()
    assert sections["Issues Detected"] == ["None"]
    assert sections["Recommendations"] == ["The training goes normally: no intervention is needed."]
    assert "nobody says at which step the run ends" in sections["Estimates"][0]


def test_report_of_a_recorded_run(told: Path, root: Path) -> None:
    text = processes.training_monitor("report", told).stdout
    assert "Step: 499 / 1,000 (49.9%; config max_steps)" in text
    assert "Phase: PLATEAU since step 300. It stayed." in text
    assert re.search(r"train/loss falls: [\d.]+ to [\d.]+\s+since", text), text
    assert "critical: train/loss jumped to 5.10" in text
    assert SPIKE.advice in text
    record(root, "other", {"train/loss": falling(500) + 1})
    facts = run_json("report", told, "--format", "json", "--baseline", "other",
                     "--root-dir", root, "--cost-per-gpu-hour", "2")  # fmt: skip
    assert facts["comparisons"][0]["standing"] == "ahead"  # type: ignore[index]
    assert facts["cost"]["spent"] > 0  # type: ignore[index]
    assert facts["sections"]["Current Status"][0] == "State: ended"  # type: ignore[index]


def test_report_without_a_brain_judges_the_run_itself(root: Path) -> None:
    loss = falling(500)
    loss[300] = np.nan
    run_dir = record(root, "alone", {"loss": loss})
    text = processes.training_monitor("report", run_dir, "--format", "md").stdout
    assert "loss is not finite" in text or "loss is nan" in text.lower(), text


# --- replay


def test_replay_is_the_golden_one(capsys: pytest.CaptureFixture[str]) -> None:
    over = replace(AHEAD.findings[0], time=START + 9, over=True, severity="info", step=31_230,
                   text="train/loss is back at 2.21 11 steps after its jump at 31,219")  # fmt: skip
    odd = replace(AHEAD.findings[0], time=float("nan"), step=None, text="evil\x1b[31m\nname")
    print_replay(Replay([odd, AHEAD.findings[0], over], [PHASE]), [])
    golden("replay.txt", capsys.readouterr().out)


def test_replay_says_what_was_told_and_what_others_thresholds_find(told: Path) -> None:
    text = processes.training_monitor("replay", told, "--metric", "train/loss").stdout
    assert "\ntold at the time:\n" in text
    assert "a spike in loss" in text
    loss = falling(500)
    loss[300] += 1
    run_dir = record(told.parent, "spiky", {"loss": loss})
    assert "loss jumped to" in processes.training_monitor("replay", run_dir).stdout
    facts = run_json("replay", run_dir, "--json", "--set", "spike.sigma=1e6",
                     "--set", "spike.at_once=1e6")  # fmt: skip
    assert facts["thresholds"] == {"spike.sigma": 1e6, "spike.at_once": 1e6}
    assert "spike" not in [one["name"] for one in facts["findings"]]  # type: ignore[attr-defined]


def test_replay_with_a_wrong_name_says_which_there_are(told: Path) -> None:
    done = processes.training_monitor("replay", told, "--set", "spike.sgma=7")
    assert done.returncode == 2
    assert "did you mean 'spike.sigma'?" in done.stderr
    done = processes.training_monitor("replay", told, "--metric", "train/los")
    assert done.returncode == 1
    assert "no metric 'train/los' in run 'told'; did you mean 'train/loss'?" in done.stderr


def test_findings_stand_until_they_are_over(told: Path) -> None:
    from training_monitor import _core

    (found,) = [one for one in all_findings(_core.RunReader(told)) if one.by == "detector"]
    assert found.stands
    over = replace(SPIKE, step=410, since=400, time=found.time + 1, over=True, severity="info")
    write(told, finding_line(over))
    ends = [one for one in all_findings(_core.RunReader(told)) if one.by == "detector"]
    assert [one.stands for one in ends] == [False, False]
