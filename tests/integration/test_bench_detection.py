"""The detection bench measures detectors rightly: oracles, silence, alarms at known places."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from detection import (
    bench,
    cases,
    churn,
    curves,
    events,
    healthy,
    hindsight,
    injected,
    labels,
    page,
    roles,
    sheets,
    synthetic,
)
from detection.alarms import Alarm, SeriesDetector, cooled
from detection.curves import Floats, Run, Series
from detection.labels import Label
from detection.rivals import spikes
from meta import source

SPIKE_ROLES = frozenset({"loss", "grad_norm"})


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return [
        generate(seed)
        for generate in (synthetic.language_model, synthetic.classifier, synthetic.agent)
        for seed in range(4)
    ]


@pytest.fixture(scope="module")
def known(runs: list[Run]) -> dict[str, Label]:
    return {run.id: labels.label(run) for run in runs}


@pytest.fixture(scope="module")
def hosts(runs: list[Run], known: dict[str, Label]) -> list[cases.Host]:
    return cases.hosts(runs, known)


@dataclass(frozen=True)
class Oracle:
    """Knows the clean series, and tells the first point that differs."""

    clean: Mapping[tuple[str, str], Series]
    kinds: frozenset[str] = frozenset({"spike", "slowdown", "divergence", "reward_drop"})
    name: str = "oracle"
    lateness: int = 0

    def replay(self, run: Run) -> list[Alarm]:
        found = []
        for name, series in run.series.items():
            before = self.clean.get((run.id, name))
            if before is None:
                continue
            changed = np.flatnonzero(series.values != before.values[: len(series)])
            if len(changed) and changed[0] + self.lateness < len(series):
                index = int(changed[0]) + self.lateness
                found += [Alarm(kind, "warning", name, 0.0, index) for kind in self.kinds]
        return found


def constant(*places: int | slice) -> SeriesDetector:
    """Return a detector that alarms at fixed places of every loss and norm."""

    def rule(values: Floats) -> np.ndarray:
        marks = np.zeros(len(values), dtype=bool)
        for place in places:
            if isinstance(place, slice) or place < len(values):
                marks[place] = True
        return np.flatnonzero(marks)

    return SeriesDetector("constant", "spike", SPIKE_ROLES, rule)


def pooled(found: injected.Tallies, kind: str) -> injected.Tally:
    total = injected.Tally()
    for key, tally in found.items():
        if key[1] == kind:
            total.add(tally)
    return total


@pytest.mark.parametrize("kind", ["spike", "slowdown", "divergence", "reward_drop"])
def test_an_oracle_finds_every_injected_fault_at_once_and_nothing_else(
    hosts: list[cases.Host], kind: str
) -> None:
    clean = {(host.run.id, host.metric): host.series for host in hosts}
    found = pooled(injected.score(Oracle(clean), hosts), kind)
    assert found.cases > 3
    assert (found.recall, found.precision, found.f1, found.cancelled) == (1, 1, 1, 0)
    assert found.delay(0.9) == 0


def test_a_late_oracle_has_its_lateness_as_delay_and_misses_beyond_the_window(
    hosts: list[cases.Host],
) -> None:
    clean = {(host.run.id, host.metric): host.series for host in hosts}
    late = pooled(injected.score(Oracle(clean, lateness=5), hosts), "spike")
    assert (late.recall, late.delay(0.5)) == (1, 5)
    too_late = pooled(injected.score(Oracle(clean, lateness=8), hosts), "spike")
    assert too_late.recall == 0


def test_silence_finds_nothing_and_alarms_nobody(
    hosts: list[cases.Host], runs: list[Run], known: dict[str, Label]
) -> None:
    found = pooled(injected.score(constant(), hosts), "spike")
    assert (found.recall, found.f1, found.false) == (0, 0, 0)
    assert np.isnan(found.precision)
    assert all(
        q.per_10k == 0 == q.run_share for q in healthy.score(constant(), runs, known).values()
    )


def test_one_who_always_alarms_is_cancelled_by_the_clean_twin_and_has_no_precision(
    hosts: list[cases.Host], runs: list[Run], known: dict[str, Label]
) -> None:
    always = constant(slice(None))
    found = pooled(injected.score(always, hosts), "spike")
    assert found.cancelled == found.cases
    assert (found.hits, found.precision, found.f1) == (0, 0, 0)
    for quiet in healthy.score(always, runs, known).values():
        assert quiet.raw_per_10k == 10_000
        assert quiet.alarms == pytest.approx(quiet.points / 21, abs=quiet.runs)
        assert quiet.run_share == 1


def test_the_clean_twin_cancels_only_the_cases_in_whose_window_it_alarms() -> None:
    values = np.random.default_rng(1).normal(3, 0.1, 400)
    series = Series(np.arange(400.0), values)
    run = Run("r", "s", "pretrain", "g", "loss", "min", {"loss": series})
    host = cases.Host(run, "loss", "loss")
    made = [case for case in cases.cases(host) if case.fault.kind == "spike"]
    first = made[0]
    found = pooled(injected.score_host(host, [constant(first.onset + 2)]), "spike")
    covered = sum(case.onset <= first.onset + 2 < case.until for case in made)
    assert found.cancelled == covered >= 1
    assert found.cases == len(made) == 12


def test_a_cool_down_silences_twenty_points_after_an_alarm() -> None:
    assert cooled([3, 4, 23, 24, 44, 45, 46]) == [3, 24, 45]
    assert cooled([]) == []


def test_faults_are_the_same_every_time_and_change_nothing_before_their_onset(
    hosts: list[cases.Host],
) -> None:
    for host in hosts:
        for one, again in zip(cases.cases(host), cases.cases(host), strict=True):
            assert (one.onset, one.until) == (again.onset, again.until)
            injected_values = one.run.series[host.metric].values
            np.testing.assert_array_equal(injected_values, again.run.series[host.metric].values)
            before = slice(0, one.onset)
            np.testing.assert_array_equal(injected_values[before], host.series.values[before])
            assert len(injected_values) == one.until > one.onset


def test_a_hindsight_spike_is_no_false_alarm_and_what_lies_apart_is_one() -> None:
    values = np.random.default_rng(3).normal(2, 0.02, 300)
    values[150] = 4
    run = Run("r", "s", "pretrain", "g", "loss", "min", {"loss": Series(np.arange(300.0), values)})
    assert np.flatnonzero(hindsight.spikes(values)).tolist() == [150]
    known = {"r": labels.label(run)}
    (at_spike,) = healthy.score(constant(150, 170), [run], known).values()
    (apart,) = healthy.score(constant(171), [run], known).values()
    assert (at_spike.alarms, apart.alarms) == (0, 1)
    assert at_spike.points == 300 - (2 + 1 + 20)
    (counted,) = events.count(run, known["r"], constant(152), constant(152).replay(run)).values()
    assert (counted.events, counted.hits, counted.delays) == (1, 1, [2.0])


def test_overfitting_is_found_after_the_best_evaluation_and_early_before_it() -> None:
    epochs = np.arange(60.0)
    val = 1 + np.abs(epochs - 30) / 100
    series = {"train_loss": Series(epochs, 1 - epochs / 100), "val_loss": Series(epochs, val)}
    run = Run("r", "s", "supervised", "g", "val_loss", "min", series)
    label = labels.label(run)
    assert (label.overfit, label.overfit_from) == (True, 30)

    def at(index: int) -> list[Alarm]:
        return [Alarm("overfitting", "warning", "val_loss", float(index), index)]

    detector = Oracle({}, kinds=frozenset({"overfitting"}))
    key = ("oracle", "overfitting", "s")
    right, early = (events.count(run, label, detector, at(place))[key] for place in (35, 20))
    assert (right.hits, right.early, right.delays) == (1, 0, [5.0])
    assert (early.hits, early.early) == (0, 1)
    assert np.isnan(early.precision), "there was no clean run to be wrong about"
    early.add(events.Events(clean=1))
    assert early.precision == 0


def test_a_reward_that_falls_for_good_is_a_collapse_and_noise_is_none() -> None:
    rng = np.random.default_rng(0)
    rewards = np.concatenate([np.linspace(0, 100, 150), np.full(100, 100), np.full(150, 20)])
    rewards += rng.normal(0, 5, len(rewards))
    index = labels.collapse_index(rewards)
    assert index is not None
    assert 250 <= index <= 280
    assert labels.collapse_index(rewards[:250]) is None
    assert labels.collapse_index(rng.normal(0, 1, 400)) is None


def test_windowed_rules_say_what_a_loop_over_the_past_says() -> None:
    values = np.random.default_rng(5).standard_t(3, 400) + 5

    def loop(window: int, least: int, z: float) -> list[int]:
        found = []
        for index in range(least, len(values)):
            past = values[max(0, index - window) : index]
            if values[index] > past.mean() + z * past.std():
                found.append(index)
        return found

    assert spikes.z_over(values, z=3, window=30).tolist() == loop(30, 30, 3)
    assert spikes.z_over(values, z=3, window=100, least=30).tolist() == loop(100, 30, 3)


@pytest.mark.parametrize("detector", spikes.rivals(), ids=lambda detector: detector.name)
def test_no_rule_sees_the_future(detector: SeriesDetector) -> None:
    values = np.abs(np.random.default_rng(8).standard_t(2, 1300)) + 3
    whole = [place for place in detector.rule(values).tolist() if place < 1200]
    # What a rule says about a point depends on the points up to it alone.
    assert whole == detector.rule(values[:1200]).tolist()


def test_a_state_machine_is_judged_by_its_transitions() -> None:
    steps = np.arange(40.0)
    restless = 1 + np.cumsum(np.tile([0.0, 0.2], 20))
    run = Run("r", "s", "rl", "g", "reward", "max", {"reward": Series(steps, restless)})
    assert len(churn.Percentages().states(run)) > churn.MOST_TRANSITIONS


def test_curves_come_back_as_they_were_written(runs: list[Run], tmp_path: Path) -> None:
    broken = Series(np.arange(3.0), np.array([1.0, np.nan, np.inf]))
    wrong = Run("x", "synthetic-llm", "rl", "g", "a", "max", {"a": broken})
    synthetic.write([*runs, wrong], tmp_path)
    (tmp_path / "more.jsonl").write_text('{"series": {"a": {"x": [1], "y": [2]}}}\n\n[]\n')
    found = {run.id: run for run in curves.load(tmp_path)}
    assert set(found) == {run.id for run in runs} | {"x", "more/0"}
    for run in [*runs, wrong]:
        again = found[run.id]
        assert (again.kind, again.metric, again.goal) == (run.kind, run.metric, run.goal)
        for name, series in run.series.items():
            np.testing.assert_array_equal(again.series[name].values, series.values)
        assert (again.wall is None) == (run.wall is None)


def test_made_classifiers_overfit_about_as_often_as_they_are_told_to() -> None:
    made = [synthetic.classifier(seed) for seed in range(60)]
    overfit = [labels.label(run).overfit for run in made]
    assert 0.2 < np.mean(overfit) < 0.5


def test_the_page_is_written_for_made_curves(tmp_path: Path) -> None:
    synthetic.write(synthetic.make(2), tmp_path)
    out = tmp_path / "page.md"
    done = subprocess.run(
        [sys.executable, "-m", "detection", "--data", tmp_path, "--only", "slowdown eta stop",
         "--jobs", "2", "--out", out],
        env={**os.environ, "PYTHONPATH": str(source.REPOSITORY / "benches")},
        cwd=source.REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    text = out.read_text()
    assert "## slowdown: injected" in text
    assert "| S2 1.5x of first 50 | step_time |" in text
    assert "## Remaining time" in text
    assert "## Advice to stop" in text
    assert "## spike" not in text
    assert "## Final value" not in text


def test_only_a_regular_clock_tells_the_time_of_a_step() -> None:
    regular = synthetic.language_model(1)
    episodes = np.cumsum(np.random.default_rng(0).integers(20, 900, 100)).astype(float)
    wall = curves.Wall(episodes, 0.01 * episodes)
    series = {"reward": Series(episodes, episodes)}
    agent = Run("r", "s", "rl", "g", "reward", "max", series, wall)
    times = roles.step_times(regular)
    assert times is not None
    assert len(times) == len(regular.series["train_loss"]) - 1
    assert roles.step_times(agent) is None


@pytest.mark.parametrize(
    ("name", "is_a"),
    [
        ("train/loss", "loss"),
        ("eval_wer", "error"),
        ("power", "score"),
        ("f1_score", "score"),
        ("score", "reward"),
        ("rollout/ep_rew_mean", "reward"),
        ("episode_return", "reward"),
        ("policy/entropy", "entropy"),
        ("learning_rate", "lr"),
        ("train/grad_norm", "grad_norm"),
        ("approx_kl", "kl"),
        ("gpu_memory", "memory"),
    ],
)
def test_a_name_tells_what_a_series_is(name: str, is_a: str) -> None:
    assert roles.role(name) == is_a


def test_odd_runs_are_scored_without_a_crash() -> None:
    many = np.arange(200.0)
    restarted = np.concatenate([np.arange(100.0), np.arange(50.0, 150)])
    noise = np.random.default_rng(2).normal(5, 1, 200)
    odd = {
        "constant": Series(many, np.ones(200)),
        "zero": Series(many, np.zeros(200)),
        "restarted": Series(restarted, noise),
        "one step": Series(np.zeros(200), noise),
        "nothing finite": Series(many, np.full(200, np.nan)),
        "two": Series(many[:2], noise[:2]),
        "huge": Series(many, noise * 1e300),
        "below zero": Series(many, -noise),
    }
    made = [
        Run(f"{kind} {name}", "odd", kind, "g", metric, goal,
            {metric: series, "train_loss": series, "grad_norm": series},
            curves.Wall(series.steps, np.abs(series.values)))
        for name, series in odd.items()
        for kind, metric, goal in [("supervised", "val_loss", "min"), ("grpo", "reward", "max")]
    ]  # fmt: skip
    made.append(replace(made[0], id="without its metric", metric="absent"))
    known = {run.id: labels.label(run) for run in made}
    tested = bench.systems()
    results = bench.measure(made, cases.hosts(made, known), known, tested)
    assert "## Cost" in page.page(results, tested, ["odd"])


def test_a_sheet_shows_what_was_told_and_what_was_not(tmp_path: Path) -> None:
    made = [synthetic.classifier(seed) for seed in range(6)]
    collected = sheets.collect(made, {run.id: labels.label(run) for run in made})
    chosen = collected["overfitting"].chosen("overfitting", seed=0)
    assert {curve.why for curve in chosen} == {"found", "healthy"}
    assert all(bool(curve.findings) == (curve.why == "found") for curve in chosen)
    again = collected["overfitting"].chosen("overfitting", seed=0)
    assert [curve.run for curve in again] == [curve.run for curve in chosen]
    sheets.draw(chosen[:2], "overfitting", tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes()[:4] == b"\x89PNG"


def test_what_is_no_run_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    good = json.dumps({"id": "good", "series": {"loss": {"x": [0, 1], "y": [2.0, "nan"]}}})
    clock = {"wall": {"x": [], "t": []}, "series": {"loss": {"x": [0, None], "y": [1.0, 2.0]}}}
    lines = [good, "{", '"text"', json.dumps({"series": {}}), json.dumps(clock)]
    (tmp_path / "some.jsonl").write_text("\n".join(lines))
    whole = gzip.compress(f"{good}\n".encode() * 1000)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    problems: list[str] = []
    runs = curves.load(tmp_path, tell=problems.append)
    assert {run.id for run in runs if run.source == "some"} == {"good", "some/4"}
    assert [len(run.series["loss"]) for run in runs if run.source == "some"] == [2, 1]
    assert all(run.wall is None for run in runs)
    assert [problem.split(":")[0] for problem in problems] == [
        "cut.jsonl.gz cannot be read to its end",
        "some.jsonl, line 2",
        "some.jsonl, line 3",
        "some.jsonl, line 4",
    ]
