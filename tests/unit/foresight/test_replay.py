"""Judging stored points anew: what is found does not depend on how they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import training_monitor as tm
from harness.curves import START, falling, record, write
from training_monitor.detect.named import named_thresholds, read_threshold, threshold_names
from training_monitor.detect.thresholds import Thresholds
from training_monitor.foresight.merged import slices
from training_monitor.found import PhaseChange
from training_monitor.judge.judge import Judge
from training_monitor.judge.news import News
from training_monitor.judge.notes import phase_line
from training_monitor.predict.phase import Phase, Transition


@pytest.fixture(scope="module")
def spiky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    loss = falling(800)
    loss[500] += 4
    loss[700] = np.nan
    root = tmp_path_factory.mktemp("replay")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TM_GRACE_SECS", "0.5")
        return record(root, "spiky", {"loss": loss, "lr": [0.1] * 800})


# --- slices


def points(times: list[float], *, chunk: int = 3) -> Iterator[Any]:
    steps, at = np.arange(len(times)), np.array(times)
    for begin in range(0, len(times), chunk):
        part = slice(begin, begin + chunk)
        yield steps[part], at[part], at[part], np.zeros(len(steps[part]), np.uint32)


def test_slices_end_where_something_is_compared() -> None:
    series = {"train": [float(at) for at in range(10)], "val": [3.0, 7.0]}
    found = [
        (end, {one.metric: one.times.tolist() for one in news})
        for end, news in slices(
            lambda name: points(series[name], chunk=100), series, attempt=1, cut_at=["val"]
        )
    ]
    assert found == [
        (3.0, {"train": [0, 1, 2, 3], "val": [3]}),
        (7.0, {"train": [4, 5, 6, 7], "val": [7]}),
        (9.0, {"train": [8, 9]}),
    ]


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_slices_hold_every_point_once_and_in_order(chunk: int) -> None:
    series = {
        "a": [float(at) for at in range(100)],
        "b": [0.5, 0.5, 50.0, 20.0, 99.0],
        "late": [500.0, 501.0],
    }
    ends, seen = [], {name: [] for name in series}  # type: ignore[var-annotated]
    for end, news in slices(lambda name: points(series[name], chunk=chunk), series, attempt=1):
        ends.append(end)
        for one in news:
            seen[one.metric] += one.times.tolist()
            assert max(one.times) <= end
    assert seen == series
    assert ends == sorted(ends)


def test_ranks_are_told_apart() -> None:
    chunk = (np.arange(4), np.arange(4.0), np.arange(4.0), np.array([0, 1, 0, 1], np.uint32))
    ((_, news),) = slices(lambda _: iter([chunk]), ["loss"], attempt=2)
    assert [(one.rank, one.attempt, one.steps.tolist()) for one in news] == [
        (0, 2, [0, 2]), (1, 2, [1, 3]),
    ]  # fmt: skip


# --- findings


def test_a_replay_finds_the_spike_and_what_is_not_finite(spiky: Path) -> None:
    found = tm.open_run(spiky).replay(metrics=["loss"])
    kinds = [(one.name, one.step, one.over) for one in found.findings]
    assert ("spike", 500, False) in kinds
    assert ("non_finite", 700, False) in kinds
    assert all(one.source == "loss" for one in found.findings)
    assert [one.time for one in found] == sorted(one.time for one in found)


def test_a_replay_finds_what_the_judge_finds(spiky: Path) -> None:
    run = tm.open_run(spiky)
    judge = Judge()
    judge.watch.knows(["loss", "lr"])
    points = run.series("loss", raw=True)
    judged = judge.feed([News("loss", 0, 1, points.step, points.time, points.value)])
    mine = [(one.name, one.step) for one in run.replay(metrics=["loss"]).findings]
    assert mine == [(one.kind, one.step) for one in judged.findings if one.metric == "loss"]


def test_other_thresholds_find_something_else(spiky: Path) -> None:
    run = tm.open_run(spiky)

    def spikes(thresholds: object) -> list[int | None]:
        found = run.replay(thresholds, metrics=["loss"]).findings  # type: ignore[arg-type]
        return [one.step for one in found if one.name == "spike" and not one.over]

    assert spikes(None) == [500]
    assert spikes({"spike.sigma": 1e6, "spike.at_once": 1e6}) == []
    assert spikes(named_thresholds({"spike.at_once": 1e6, "spike.sigma": 1e6})) == []


def test_metrics_beyond_those_that_are_judged_together_are_looked_at_too(root: Path) -> None:
    values = falling(300)
    values[200] = np.inf
    curves = {f"odd_{at:03}": [0.0] * 10 for at in range(130)} | {"zzz": values}
    run = tm.open_run(record(root, "wide", curves))
    found = run.replay(metrics=["zzz"]).findings
    assert next((one.name, one.step) for one in found if not one.over) == ("non_finite", 200)


def test_attempts_that_were_replaced_are_judged_too(root: Path) -> None:
    bad = falling(400)
    bad[300] = np.nan
    record(root, "again", {"loss": bad})
    run_dir = record(root, "again", {"loss": falling(400)})
    run = tm.open_run(run_dir)
    assert np.isfinite(run.series("loss").value).all()
    found = [(one.name, one.step, one.over) for one in run.replay().findings]
    assert ("non_finite", 300, False) in found


# --- phases


def test_stored_phases_are_believed_and_others_worked_out(spiky: Path, root: Path) -> None:
    assert tm.open_run(spiky).phases() == tm.open_run(spiky).replay().phases
    run_dir = record(root, "told", {"loss": falling(100)})
    change = Transition(50, START, Phase.LEARNING_FAST, Phase.PLATEAU, "It stayed.")
    write(run_dir, phase_line(change))
    run = tm.open_run(run_dir)
    assert run.phase == "PLATEAU"
    assert run.phases() == [PhaseChange(START, 50, "LEARNING_FAST", "PLATEAU", "It stayed.")]


# --- thresholds by name


def test_every_threshold_can_be_set_by_its_name() -> None:
    names = threshold_names()
    assert names["spike.sigma"] == Thresholds().spike.sigma
    assert names["reward.drop.fraction"] == Thresholds().reward.drop.fraction
    assert named_thresholds(names) == Thresholds()
    changed = named_thresholds({"reward.drop.fraction": 0.5, "plateau.points": 7.0})
    assert changed.reward.drop.fraction == 0.5
    assert changed.plateau.points == 7
    assert type(changed.plateau.points) is int
    assert changed.reward.flatline == Thresholds().reward.flatline


@pytest.mark.parametrize(
    ("text", "found"),
    [("spike.sigma=7", ("spike.sigma", 7.0)), (" spike.sigma = 1e1 ", ("spike.sigma", 10.0)),
     ("policy.kl_cap=none", ("policy.kl_cap", None))],
)  # fmt: skip
def test_thresholds_are_read_from_text(text: str, found: tuple[str, float | None]) -> None:
    assert read_threshold(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spike.sgma=7", "no threshold 'spike.sgma'; did you mean 'spike.sigma'?.*spike.habit"),
        ("foo=7", "no threshold 'foo'; there are: spike.sigma, .*silence.points"),
        ("reward=7", "no threshold 'reward'; .*reward.drop.fraction"),
        ("spike.sigma", "sets nothing: expected name=value"),
        ("spike.sigma=x", "spike.sigma='x' is not valid: expected a number"),
        ("spike.sigma=nan", "spike.sigma=nan is not valid: expected a number"),
        ("spike.sigma=none", "spike.sigma cannot be none"),
        ("plateau.points=1.5", "plateau.points=1.5 is not valid: expected a whole number"),
    ],
)
def test_a_wrong_threshold_says_which_there_are(text: str, message: str) -> None:
    with pytest.raises(tm.SettingError, match=message):
        named_thresholds(dict([read_threshold(text)]))
