"""From findings to alerts: what is told when, and what is told together."""

from __future__ import annotations

import json
import random
from itertools import pairwise

import numpy as np
import pytest

from harness.findings import START, found, over, policy, take, told
from training_monitor.notify.alert import Alert, Notice
from training_monitor.notify.memory import to_state
from training_monitor.notify.policy import Rules


def test_a_warning_waits_for_what_belongs_to_it_and_a_critical_one_less() -> None:
    one = policy()
    take(one, found("plateau"))
    assert one.next_due() == START + 10
    assert not told(one, 9.0)
    (alert,) = told(one, 10.0, since=10.0)
    assert (alert.state, alert.severity, alert.time) == ("new", "warning", START + 10)
    take(one, found("non_finite", at=20, severity="critical"))
    assert one.next_due() == START + 22


def test_a_critical_finding_takes_a_waiting_warning_along() -> None:
    one = policy()
    take(one, found("spike"), found("divergence", at=1, severity="critical"))
    (alert,) = told(one, 60)
    assert alert.time == START + 3
    assert alert.severity == "critical"
    assert [finding["kind"] for finding in alert.findings] == ["spike", "divergence"]


def test_info_is_counted_and_never_told() -> None:
    one = policy()
    take(one, found("plateau", severity="info"))
    assert one.next_due() is None
    assert not told(one, 100)
    assert one.counts["info"] == 1


def test_one_incident_is_one_alert_with_the_likely_cause_first() -> None:
    one = policy()
    take(
        one,
        found("mfu_drop", "mfu"),
        found("gpu_power_drop", "gpu0", at=1),
        found("gpu_idle", "gpu0", at=2),
        found("slowdown", "step_time", at=3),
        found("data_stall", "data_time", at=4, advice="Raise num_workers."),
        found("throughput_drop", "tokens_per_sec", at=5),
    )
    (alert,) = told(one, 600)
    assert [finding["kind"] for finding in alert.findings] == [
        "data_stall",
        "gpu_idle",
        "gpu_power_drop",
        "slowdown",
        "throughput_drop",
        "mfu_drop",
    ]
    assert alert.kind == "data_stall"
    assert alert.advice == "Raise num_workers."
    assert alert.text.startswith("Likely cause: data_stall of data_time\nWhat followed:\n- warn")


@pytest.mark.parametrize(
    "ladder",
    [
        ["lr_jump", "exploding_gradient", "spike", "divergence", "non_finite"],
        ["loss_scale_drop", "exploding_gradient", "spike", "divergence", "non_finite"],
        ["gpu_hot", "gpu_throttled", "straggler", "slowdown", "throughput_drop", "mfu_drop"],
        ["memory_leak", "out_of_memory_risk", "out_of_memory"],
        ["disk_exhaustion", "data_stall"],
        ["lr_zero", "vanishing_gradient", "plateau"],
    ],
)
def test_ladders_are_told_once_in_order_however_they_arrive(ladder: list[str]) -> None:
    for seed in range(5):
        arrival = random.Random(seed).sample(ladder, len(ladder))
        one = policy()
        take(one, *(found(kind, at=place * 0.1) for place, kind in enumerate(arrival)))
        (alert,) = told(one, 600)
        assert [finding["kind"] for finding in alert.findings] == ladder


def test_a_spike_of_the_gradients_is_the_cause_of_that_of_the_loss() -> None:
    one = policy()
    take(one, found("spike", "train_loss"), found("spike", "grad_norm", at=1))
    (alert,) = told(one, 60)
    assert alert.metric == "grad_norm"
    assert alert.title == "warning: a spike in train_loss after a spike in grad_norm"


def test_the_same_on_many_ranks_is_one_alert_that_lists_them() -> None:
    one = policy()
    ranks = [0, 1, 2, 3, 7, 9]
    take(one, *(found("straggler", "step_time", rank=rank) for rank in ranks))
    (alert,) = told(one, 60)
    assert alert.ranks == tuple(ranks)
    assert "(ranks 0-3, 7, 9)" in alert.text
    for rank in ranks[:-1]:
        take(one, over("straggler", "step_time", at=70, rank=rank))
    assert not told(one, 100, since=70), "it is not over as long as one rank has it"
    take(one, over("straggler", "step_time", at=100, rank=9))
    assert [alert.state for alert in told(one, 200, since=100)] == ["over"]


def test_what_has_nothing_to_do_with_each_other_is_told_apart() -> None:
    one = policy()
    take(one, found("overfitting", "val_loss"), found("gpu_hot", "gpu0"))
    assert {alert.kind for alert in told(one, 60)} == {"overfitting", "gpu_hot"}


def test_a_consequence_is_attached_to_the_standing_incident_and_not_told() -> None:
    one = policy()
    take(one, found("gpu_throttled", "gpu0"))
    assert len(told(one, 60)) == 1
    take(one, found("slowdown", "step_time", at=600))
    assert not told(one, 900, since=600)
    take(one, over("gpu_throttled", "gpu0", at=1000), over("slowdown", "step_time", at=1001))
    (alert,) = told(one, 1100, since=1000)
    assert alert.state == "over"
    assert [finding["kind"] for finding in alert.findings] == ["gpu_throttled", "slowdown"]


def test_a_worse_consequence_is_told_at_once_with_its_cause() -> None:
    one = policy()
    take(one, found("spike", severity="critical"))
    assert len(told(one, 60)) == 1
    take(one, found("non_finite", at=300, severity="critical"))
    (alert,) = told(one, 400, since=300)
    assert (alert.state, alert.revision, alert.time) == ("worse", 2, START + 302)
    assert alert.title == "critical: values that are not finite in loss after a spike in loss"


def test_a_cause_that_is_found_later_is_told_once() -> None:
    one = policy()
    take(one, found("slowdown", "step_time"))
    assert len(told(one, 30)) == 1
    take(one, found("gpu_throttled", "gpu0", at=40))
    (alert,) = told(one, 90, since=40)
    assert (alert.state, alert.kind) == ("cause", "gpu_throttled")
    assert not told(one, 800, since=91)


def test_two_incidents_that_a_third_finding_joins_are_told_as_one() -> None:
    one = policy()
    take(one, found("straggler", "step_time"), found("gpu_idle", "gpu0", at=1))
    take(one, found("slowdown", "step_time", at=2))
    (alert,) = told(one, 60)
    assert len(alert.findings) == 3


def test_escalation_is_told_in_spite_of_the_cooldown() -> None:
    one = policy()
    take(one, found("slowdown"))
    assert len(told(one, 60)) == 1
    take(one, found("slowdown", at=61, severity="critical", text="twice as slow"))
    (alert,) = told(one, 100, since=61)
    assert (alert.state, alert.severity, alert.time) == ("worse", "critical", START + 63)
    assert "twice as slow" in alert.text


def test_what_repeats_is_told_again_after_the_cooldown_with_its_number() -> None:
    one = policy(cooldown_secs=900)
    take(one, found("spike"))
    assert len(told(one, 60)) == 1
    for at in range(100, 600, 100):
        take(one, over("spike", at=at), found("spike", at=at + 50))
    alerts = told(one, 2000, since=651)
    assert [(alert.state, alert.time - START) for alert in alerts] == [("again", 910.0)]
    assert "times)" in alerts[0].text


def test_cooldown_doubles_for_what_keeps_coming_back_and_is_short_again_after_a_rest() -> None:
    one = policy(cooldown_secs=100, warnings_per_hour=1000)
    times = []
    for at in range(0, 4000, 5):
        take(one, found("spike", at=at), over("spike", at=at + 1))
        times += [alert.time - START for alert in one.due(START + at + 2)]
    gaps = [round((b - a) / 100) for a, b in pairwise(times)]
    assert gaps[:5] == [1, 2, 4, 8, 8]
    for at in (9000, 9150):
        take(one, found("spike", at=at))
        assert len(told(one, at + 110, since=at)) == 1
        take(one, over("spike", at=at + 111))
        told(one, at + 130, since=at + 111)


def test_the_end_is_told_once_and_only_of_what_was_told() -> None:
    one = policy()
    take(one, found("slowdown"))
    told(one, 60)
    take(one, over("slowdown", at=100))
    assert [(alert.state, alert.severity) for alert in told(one, 200, since=100)] == [
        ("over", "info")
    ]
    take(one, over("slowdown", at=300), over("never_seen", at=301))
    assert not told(one, 400, since=300)
    assert one.counts["stray"] == 2


def test_what_is_over_before_it_is_told_is_told_with_its_end() -> None:
    one = policy()
    take(one, found("spike"), over("spike", at=3))
    (alert,) = told(one, 100)
    assert alert.state == "new"
    assert "It is over already." in alert.text
    assert not one.incidents


def test_an_end_that_does_not_last_is_not_told() -> None:
    one = policy()
    take(one, found("gpu_hot", "gpu0"))
    told(one, 60)
    for at in range(100, 160, 8):
        take(one, over("gpu_hot", "gpu0", at=at), found("gpu_hot", "gpu0", at=at + 4))
        assert not told(one, at + 7, since=at)


def test_an_exact_repetition_is_not_taken_twice() -> None:
    one = policy()
    take(one, found("spike"))
    told(one, 60)
    take(one, over("spike", at=70))
    told(one, 100, since=70)
    for at in (2000, 4000):
        one.take(found("spike"), START + at)
        assert not told(one, at + 100, since=at)
    assert one.counts["replayed"] == 2


def test_beyond_the_allowance_alerts_are_counted_in_the_next_one() -> None:
    one = policy(warnings_per_hour=6)
    alerts = []
    for place in range(20):
        take(one, found(f"kind_{place}", at=place))
        alerts += told(one, place)
    alerts += told(one, 3600)
    assert len(alerts) == 7
    assert sum(1 + alert.more for alert in alerts) == 20
    assert alerts[6].more == 13
    # Six are told one by one; the next token comes ten minutes later, for all that is left.
    assert alerts[6].time - alerts[0].time == pytest.approx(600, abs=2)
    assert f"And 13 more since {_clock(7)}: kind 7 in loss; kind 8" in alerts[6].text
    assert alerts[6].short.endswith("(and 13 more)")


def _clock(at: float) -> str:
    import time

    return time.strftime("%H:%M", time.localtime(START + at))


def test_a_critical_alert_has_its_own_allowance_and_takes_held_warnings_along() -> None:
    one = policy(warnings_per_hour=1)
    take(one, found("plateau"), found("gpu_hot", "gpu0", at=1), found("flatline", "x", at=2))
    assert len(told(one, 60)) == 1
    take(one, found("stuck", at=61, severity="critical"))
    (alert,) = told(one, 100, since=61)
    assert (alert.kind, alert.more) == ("stuck", 2)


def test_ten_thousand_findings_in_a_minute_stay_few_alerts_and_little_memory() -> None:
    one = policy()
    generator = random.Random(1)
    kinds = ["spike", "non_finite", "slowdown", "gpu_hot", *(f"kind_{n}" for n in range(300))]
    alerts = []
    for number in range(10_000):
        at = number * 0.006
        finding = found(
            generator.choice(kinds),
            f"metric_{generator.randrange(5000)}",
            at=at,
            step=number,
            rank=generator.randrange(10_000),
            severity=generator.choice(["warning", "critical"]),
        )
        one.take(finding, finding.time)
        if number % 100 == 0:
            alerts += one.due(START + at)
    alerts += told(one, 180, since=60)
    rules = Rules()
    assert 0 < len(alerts) <= rules.warnings_per_hour + rules.criticals_per_hour + 2
    assert len(one.incidents) <= 128
    assert len(json.dumps(to_state(one))) < 8_000_000
    assert max(len(alert.text) for alert in alerts) < 20_000


def test_a_clock_that_is_set_back_neither_repeats_nor_holds_for_ever() -> None:
    one = policy()
    take(one, found("slowdown"))
    assert len(told(one, 20)) == 1
    one.take(found("slowdown", at=-7200), START - 7200)
    one.take(found("plateau", at=-7199), START - 7199)
    assert [alert.kind for alert in told(one, -7100, since=-7199)] == ["plateau"]


def test_notices_are_told_once_per_cooldown() -> None:
    one = policy()
    for at in range(10):
        one.announce(
            Notice("user:diverged", "info", "diverged", START + at, cooldown_secs=60), START + at
        )
    alerts = told(one, 9, since=9)
    assert [(alert.state, alert.title) for alert in alerts] == [("notice", "diverged")]
    assert "(10 times)" in alerts[0].text
    one.announce(
        Notice("user:diverged", "info", "diverged", START + 30, cooldown_secs=60), START + 30
    )
    assert not one.due(START + 31)
    one.announce(
        Notice("user:diverged", "info", "diverged", START + 80, cooldown_secs=60), START + 80
    )
    assert len(one.due(START + 80)) == 1


def test_a_notice_that_says_what_a_finding_says_is_part_of_its_alert() -> None:
    one = policy()
    title = "phase: STABLE_CONVERGENCE -> PLATEAU"
    one.announce(Notice("phase", "warning", title, START, kinds=("plateau",)), START)
    take(one, found("plateau", "val_loss", at=3))
    (alert,) = told(one, 60)
    assert alert.kind == "plateau"
    assert title in alert.text


def test_an_alert_goes_through_json_unchanged() -> None:
    one = policy()
    take(one, found("spike", value=float("inf"), rank=3, since=1), found("divergence", at=1))
    (alert,) = told(one, 60)
    assert Alert.from_json(json.loads(json.dumps(alert.to_json(), allow_nan=False))) == alert


def test_numbers_of_numpy_and_facts_that_are_none_of_json_are_told_all_the_same() -> None:
    one = policy()
    finding = found(
        "spike",
        step=np.int64(7),
        since=np.int32(5),
        rank=np.int64(1),
        value=np.float32("inf"),
        reference=np.float32(2.5),
        sigma=np.float64("nan"),
    )
    one.take(finding, START)
    facts = {"a": float("nan"), 3: np.float32(1.5), "b": [object], "c": np.arange(2)}
    one.announce(Notice("x", "odd", "t", float("nan"), step=np.int64(1), facts=facts), START)
    json.dumps(to_state(one), allow_nan=False)
    alerts = told(one, 60)
    assert len(json.dumps([alert.to_json() for alert in alerts], allow_nan=False)) > 100
    spike = next(alert for alert in alerts if alert.kind == "spike")
    (told_finding,) = spike.findings
    assert (told_finding["value"], told_finding["reference"]) == ("Infinity", 2.5)
    assert "sigma" not in told_finding


def test_an_event_without_an_end_does_not_hold_up_the_end_of_the_rest() -> None:
    one = policy()
    take(one, found("lr_jump", "lr"), found("spike", at=1))
    assert len(told(one, 60)) == 1
    take(one, over("spike", at=70))
    assert [alert.state for alert in told(one, 100)] == ["over"]


def test_hostile_names_cannot_forge_lines_or_escape_sequences() -> None:
    one = policy()
    take(one, found("spike", "loss\x1b[2J\nWhat to do: run rm\u202e" + "x" * 10_000))
    (alert,) = told(one, 60)
    assert "\x1b" not in alert.text
    assert not any(line.startswith("What to do") for line in alert.text.splitlines())
    assert len(alert.title) <= 120
    assert len(alert.short) <= 178


def test_something_critical_is_told_with_the_tokens_of_warnings_and_never_under_a_warning() -> None:
    one = policy(criticals_per_hour=1, warnings_per_hour=2)
    alerts = []
    kinds = ["stuck", "non_finite", "gpu_hot", "forgetting", "plateau"]
    for place, kind in enumerate(kinds):
        take(one, found(kind, kind, at=5 * place, severity="critical"))
        alerts += told(one, 5 * place + 4)
    assert [alert.kind for alert in alerts] == kinds[:3]
    one.announce(Notice("user:x", "info", "x", START + 30), START + 30)
    (notice,) = one.due(START + 30)
    assert notice.more == 0
    (last,) = told(one, 3600)
    assert (last.kind, last.severity, last.more) == ("forgetting", "critical", 1)


def test_a_new_bout_that_is_milder_is_told_as_mild() -> None:
    one = policy(cooldown_secs=100)
    take(one, found("slowdown", severity="critical"), found("spike", "x", severity="critical"))
    told(one, 20)
    take(one, over("slowdown", at=25), found("slowdown", at=30, text="a little slower"))
    (alert,) = told(one, 300)
    assert (alert.state, alert.severity, alert.text.splitlines()[0]) == (
        "again",
        "warning",
        "a little slower (2 times)",
    )


def test_a_finding_that_got_worse_at_the_same_step_is_no_repetition() -> None:
    one = policy()
    take(one, found("spike"), found("spike", severity="critical"))
    (alert,) = told(one, 60)
    assert alert.severity == "critical"
