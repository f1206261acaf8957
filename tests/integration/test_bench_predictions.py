"""The detection bench measures predictions rightly: known processes, steady clocks, known gains."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from detection import curves, final, remaining, stopping
from detection.curves import Floats, Run, Series
from detection.labels import Label
from detection.rivals import final as final_rivals


def random_walks(count: int) -> list[Run]:
    found = []
    for seed in range(count):
        values = np.cumsum(np.random.default_rng(seed).normal(0, 1, 101))
        series = {"val_acc": Series(np.arange(101.0), values)}
        found.append(Run(str(seed), "walk", "supervised", "g", "val_acc", "max", series))
    return found


def exact(steps: Floats, values: Floats, *, end: float, goal: str, kind: str) -> final.Prediction:
    """Predict a random walk with the quantiles that it has."""
    spread = np.sqrt(end - steps[-1])
    z = {50: 0.6745, 80: 1.2816, 90: 1.6449}
    bounds = {n: (values[-1] - q * spread, values[-1] + q * spread) for n, q in z.items()}
    return final.Prediction(values[-1], bounds)


def test_the_intervals_of_a_known_process_cover_what_they_say() -> None:
    walks = random_walks(400)
    found = final.score("exact", exact, walks, {run.id: Label() for run in walks})
    for share in final.CUTS:
        errors = found["exact", share, "supervised", "walk"]
        assert len(errors.nmae) == 400
        for level in final.LEVELS:
            assert errors.coverage(level) == pytest.approx(level / 100, abs=0.07)
        assert errors.skill == pytest.approx(0, abs=1e-12)
        # The score of a good distribution is below the error of its middle.
        assert np.mean(errors.crps) < 0.8 * np.mean(errors.nmae)


def test_the_continuous_ranked_probability_score_is_near_that_of_the_normal_distribution() -> None:
    z = {50: 0.6745, 80: 1.2816, 90: 1.6449}
    normal = final.Prediction(0.0, {level: (-q, q) for level, q in z.items()})
    assert final.crps(normal, 0.0) == pytest.approx(0.2337, abs=0.05)
    assert final.crps(normal, 2.0) == pytest.approx(1.4527, abs=0.1)
    assert final.crps(final.Prediction(1.0), 3.5) == 2.5


def test_the_last_value_has_no_skill_and_a_clairvoyant_has_all_of_it() -> None:
    walks = random_walks(20)
    truth = {run.series["val_acc"].values[0]: run.series["val_acc"].values[-1] for run in walks}

    def clairvoyant(
        steps: Floats, values: Floats, *, end: float, goal: str, kind: str
    ) -> final.Prediction:
        return final.Prediction(truth[values[0]])

    known = {run.id: Label() for run in walks}
    last = final_rivals.rivals()["last value"]
    for errors in final.score("last", last, walks, known).values():
        assert errors.skill == 0
    for errors in final.score("clairvoyant", clairvoyant, walks, known).values():
        assert (errors.skill, max(errors.nmae)) == (1, 0)


def test_the_truth_about_remaining_time_starts_at_the_last_entry_of_the_clock() -> None:
    steps = np.arange(0.0, 1000, 10)
    wall = curves.Wall(steps, 2 * steps + 7)
    series = {"loss": Series(steps, np.ones(100))}
    run = Run("r", "s", "pretrain", "g", "loss", "min", series, wall)

    def right(
        steps: Floats, seconds: Floats, *, end: float, parts: Mapping[str, Floats], **_: object
    ) -> remaining.Eta:
        left = 2 * (end - steps[-1])
        return remaining.Eta(left, {50: (0, 1), 80: (left, left), 90: (0, 2 * left)})

    found = remaining.score("right", right, [run])
    assert {key[1] for key in found} == set(remaining.CUTS)
    for errors in found.values():
        assert errors.ape == [0]
        assert [errors.coverage(level) for level in (50, 80, 90)] == [0, 1, 1]
        assert errors.width[90] == [2]


def test_a_clock_that_goes_back_is_read_where_it_grows() -> None:
    steps = np.arange(30.0)
    seconds = steps.copy()
    seconds[10] = 2
    steps[20] = 5
    series = {"loss": Series(steps, steps)}
    run = Run("r", "s", "rl", "g", "loss", "min", series, curves.Wall(steps, seconds))
    wall = remaining.clock_of(run)
    assert wall is not None
    assert (np.diff(wall.steps) > 0).all()
    assert (np.diff(wall.seconds) >= 0).all()
    assert len(wall.steps) == 28


def advises(*said: stopping.Said) -> stopping.Advisor:
    def advisor(
        steps: Floats, values: Floats, *, end: float, goal: str, kind: str
    ) -> Sequence[stopping.Said]:
        return said

    return advisor


def test_advice_is_wrong_while_there_is_gain_ahead_and_saves_the_rest_afterwards() -> None:
    values = np.concatenate([np.linspace(0.1, 0.9, 50), np.full(50, 0.9)])
    series = {"val_acc": Series(np.arange(100.0), values)}
    run = Run("r", "s", "supervised", "g", "val_acc", "max", series)
    known = {"r": Label()}
    said = {
        "early": advises(stopping.Said(20, stop=True, p_gain=0.1)),
        "right": advises(
            stopping.Said(20, stop=False, p_gain=0.9), stopping.Said(74, stop=True, p_gain=0.1)
        ),
        "silent": advises(),
    }
    found = {name: stopping.score(name, advisor, [run], known) for name, advisor in said.items()}
    early, right, silent = (next(iter(found[name].values())) for name in said)
    assert (early.wrong_share, early.saved_share) == (1, 0)
    assert right.wrong_share == 0
    assert right.saved_share == pytest.approx((1 - 74 / 99) / (1 - 49 / 99))
    assert right.brier == pytest.approx(0.01)
    assert silent.fired == 0
    assert np.isnan(silent.wrong_share)
