"""The words of alerts: what, how bad, since when, what to do."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.findings import START, found, told
from training_monitor.notify.alert import Alert, Notice
from training_monitor.notify.notices import (
    PhaseNotice,
    Remaining,
    StopAdvice,
    of_phase,
    of_stop,
    of_user,
)
from training_monitor.notify.policy import Policy
from training_monitor.notify.texts import duration, rank_list, when


def say(notice: Notice) -> Alert:
    policy = Policy("run")
    policy.announce(notice, START)
    (alert,) = told(policy, 30)
    return alert


def test_an_incident_says_what_how_bad_since_when_and_what_to_do() -> None:
    policy = Policy("run")
    policy.take(
        found(
            "lr_jump",
            "lr",
            step=31_000,
            text="lr went from 1e-4 to 1e-2 at step 31,000",
            advice="Check the schedule.",
        ),
        START,
    )
    policy.take(
        found(
            "spike",
            "train_loss",
            at=1,
            step=31_219,
            severity="critical",
            text="train_loss jumped to 5.10 at step 31,219: 2.20 before (38 sigma)",
        ),
        START + 1,
    )
    (alert,) = told(policy, 30)
    began = time.strftime("%H:%M", time.localtime(START))
    assert alert.title == "critical: a spike in train_loss after a jump of the learning rate in lr"
    assert alert.text.splitlines() == [
        "Likely cause: lr went from 1e-4 to 1e-2 at step 31,000",
        "What followed:",
        "- critical: train_loss jumped to 5.10 at step 31,219: 2.20 before (38 sigma)",
        f"Since {began}, step 31,000.",
        "What to do: Check the schedule.",
    ]
    assert alert.short == (
        "critical: lr went from 1e-4 to 1e-2 at step 31,000; then a spike in train_loss"
    )


def test_many_metrics_with_one_trouble_take_one_line() -> None:
    policy = Policy("run")
    for layer in range(20):
        metric = f"layer{layer}/grad_norm"
        policy.take(found("spike", metric, text=f"{metric} jumped to 9e4"), START)
    worst = found(
        "non_finite", "train_loss", severity="critical", text="train_loss is NaN", advice="Go back."
    )
    policy.take(worst, START)
    (alert,) = told(policy, 30)
    assert alert.text.splitlines()[:4] == [
        "Likely cause: layer0/grad_norm jumped to 9e4",
        "What followed:",
        "- warning: layer1/grad_norm jumped to 9e4, and 18 more like it",
        "- critical: train_loss is NaN",
    ]
    assert alert.text.endswith("What to do: Go back.")
    assert alert.short == (
        "critical: layer0/grad_norm jumped to 9e4; then values that are not finite in train_loss "
        "and 19 more"
    )


def test_a_phase_change_reads_like_a_person_who_knows_the_run() -> None:
    alert = say(
        of_phase(
            PhaseNotice(
                "STABLE_CONVERGENCE",
                "PLATEAU",
                "Learning velocity dropped to 0.6% improvement per epoch.",
                START,
                step=14,
                values=(("Loss", "0.4523"), ("LR", "1.00e-05"), ("Val mAP", "0.275")),
                remaining=Remaining(4800, 3900, 6000, "medium", "It may converge early."),
                advice="Lower the learning rate by 10x, or stop early.",
            )
        )
    )
    assert alert.title == ("warning: PLATEAU: training went from STABLE_CONVERGENCE to PLATEAU")
    assert alert.text.splitlines() == [
        "Change: STABLE_CONVERGENCE -> PLATEAU",
        "Reason: Learning velocity dropped to 0.6% improvement per epoch.",
        "Now:",
        "  Loss: 0.4523",
        "  LR: 1.00e-05",
        "  Val mAP: 0.275",
        "ETA: 1h 20m (from 1h 5m to 1h 40m), medium confidence",
        "  It may converge early.",
        "What to do: Lower the learning rate by 10x, or stop early.",
    ]
    assert alert.short.startswith("PLATEAU: Learning velocity dropped to 0.6%")
    assert alert.findings[0]["phase"] == "PLATEAU"


def test_advice_to_stop_says_what_it_saves_and_which_checkpoint_to_use() -> None:
    alert = say(
        of_stop(
            StopAdvice(
                metric="val_map",
                time=START,
                step=14,
                p_gain=0.04,
                gain=0.005,
                best=0.275,
                best_at="epoch 10",
                current=0.274,
                current_at="epoch 14",
                since="4 epochs",
                saves_secs=9600,
                saves_gpu_hours=10.67,
                saves_cost="$21.33",
                checkpoint="epoch_10.pth",
            )
        )
    )
    assert alert.title == "warning: early termination is recommended"
    assert alert.text.splitlines() == [
        "No improvement for 4 epochs.",
        "Best val_map: 0.275 (epoch 10)",
        "Current: 0.274 (epoch 14)",
        "What to do: stop now. P(gain > 0.5%) = 4%",
        "Saves: 2h 40m, 10.7 GPU hours, $21.33",
        "Use checkpoint: epoch_10.pth",
    ]
    assert alert.short == (
        "Stop now: P(gain > 0.5%) = 4%, saves 2h 40m, 10.7 GPU hours, $21.33; best 0.275 (epoch 10)"
    )


@pytest.mark.parametrize(
    ("level", "severity"), [("INFO", "info"), ("warn", "warning"), ("ERROR", "critical")]
)
def test_an_alert_of_the_user_is_told_in_its_own_words(level: str, severity: str) -> None:
    alert = say(of_user("eval is\nbad", "line 1\nline 2", level, time=START, wait_secs=60))
    assert alert.title == f"{severity}: eval is bad"
    assert alert.text == "line 1\nline 2"
    assert alert.severity == severity


def test_ranks_of_one_job_say_the_same_once_within_the_users_own_time() -> None:
    policy = Policy("run")
    for rank in range(64):
        notice = of_user("nan", "", "ERROR", time=START + rank * 0.01, wait_secs=60)
        policy.announce(notice, notice.time)
    assert len(told(policy, 50)) == 1
    policy.announce(of_user("nan", "", "ERROR", time=START + 61, wait_secs=60), START + 61)
    assert len(policy.due(START + 61)) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (59.4, "59s"),
        (59.9, "1m"),
        (3599, "1h"),
        (4800, "1h 20m"),
        (86_400, "24h"),
        (3 * 86_400 + 4 * 3600, "3d 4h"),
    ],
)
def test_durations_are_told_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_ranks_are_drawn_together() -> None:
    assert rank_list([]) == ""
    assert rank_list([3, 1, 2, 0, 7, 9, 10]) == "0-3, 7, 9-10"
    assert rank_list(range(0, 1000, 2)).endswith(", 22, ...")


@pytest.mark.parametrize("at", [float("inf"), float("nan"), 1e300, -1e300])
def test_a_time_that_is_none_is_no_error(at: float) -> None:
    assert when(at, START) == "an unknown time"


@pytest.mark.parametrize("length", [1, 100, 170, 180, 5000])
@pytest.mark.parametrize("others", [0, 1, 5])
def test_short_forms_fit_a_lock_screen_whatever_is_found(length: int, others: int) -> None:
    policy = Policy("run")
    names: list[Any] = ["x" * length + str(n) for n in range(others + 1)]
    for name in names:
        policy.take(found("spike", name, text="y" * length), START)
    (alert,) = told(policy, 30)
    assert 0 < len(alert.short) <= 178
    assert 0 < len(alert.title) <= 120
