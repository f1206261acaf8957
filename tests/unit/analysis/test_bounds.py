"""What is asked of a model in an hour is bounded, whatever servers say and processes do."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from harness.conversations import Clock
from training_monitor.analysis.model.bounds import Bounds, Limits, Spent
from training_monitor.analysis.model.reply import Reply
from training_monitor.analysis.model.state import StateFile
from training_monitor.settings import resolve


def bounds(run_dir: Path | None, clock: Clock, **limits: object) -> Bounds:
    state = StateFile(None if run_dir is None else str(run_dir))
    return Bounds(Limits(**limits), state=state, clock=clock, elapsed=clock)


def test_bounds_are_those_of_the_settings() -> None:
    assert Limits.of(resolve({"experiment_name": "x"}, {})) == Limits()
    given = {
        "experiment_name": "x",
        "llm_calls_per_hour": 7,
        "llm_tokens_per_hour": 5000,
        "llm_cost_per_hour": 1.5,
        "llm_price_in": 2.5,
        "llm_price_out": 10,
        "max_prompt_len": 100_000,
    }
    limits = Limits.of(resolve(given, {}))
    assert (limits.calls_per_hour, limits.tokens_per_hour) == (7, 5000)
    assert limits.cost(1_000_000, 100_000) == 2.5 + 1.0
    assert limits.cost_per_hour == 1.5
    assert limits.tokens == 2_000_000
    assert Limits().cost(1e9, 1e9) == 0


def test_calls_of_the_last_hour_count(tmp_path: Path) -> None:
    clock = Clock()
    one = bounds(tmp_path, clock, calls_per_hour=3)
    for _ in range(3):
        assert one.take(Spent(1, 10, 10)).why == ""
        clock.now += 600
    assert one.take(Spent(1, 10, 10)).why == "llm_calls_per_hour=3 is reached"
    clock.now += 1700
    assert one.spent.calls == 3
    clock.now += 180
    assert one.take(Spent(1, 10, 10)).why == ""
    assert one.spent == Spent(3, 30, 30)


def test_money_is_a_bound(tmp_path: Path) -> None:
    one = bounds(tmp_path, Clock(), cost_per_hour=0.03, price_in=10.0, price_out=100.0)
    assert one.take(Spent(1, 1000, 100)).why == ""
    assert one.cost == pytest.approx(0.02)
    assert one.take(Spent(1, 1000, 100)).why == "llm_cost_per_hour=0.03 is reached"


def test_what_was_spent_survives_a_restart_and_is_shared(tmp_path: Path) -> None:
    clock = Clock()
    bounds(tmp_path, clock).take(Spent(1, 100, 10))
    other = bounds(tmp_path, clock, calls_per_hour=2)
    assert other.spent == Spent(1, 100, 10)
    bounds(tmp_path, clock).take(Spent(1, 100, 10))
    assert other.take(Spent(1, 1, 1)).why == "llm_calls_per_hour=2 is reached"
    assert (tmp_path / ".llm.state").stat().st_mode & 0o777 == 0o600


def test_processes_at_once_pass_no_bound(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from training_monitor.analysis.model.bounds import Bounds, Limits, Spent\n"
        "from training_monitor.analysis.model.state import StateFile\n"
        "one = Bounds(Limits(calls_per_hour=50), state=StateFile(sys.argv[1]))\n"
        "print(sum(not one.take(Spent(1, 1, 1)).why for _ in range(40)))\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert sum(int(one.communicate(timeout=120)[0]) for one in started) == 50


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"spent": 3}',
        b'{"spent": {"minutes": [1, 2]}}',
        b'{"spent": {"minutes": {"x": [1, 2, 3], "1": [1], "2": null, "1e9": [1, 2, 3]}}}',
        b'{"spent": {"minutes": {"30000000": [1, 1e400, 2]}, "chars_per_token": NaN}}',
        b"[" * 100_000,
        b"\xff" * 100,
    ],
)
def test_damaged_state_is_as_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / ".llm.state").write_bytes(content)
    one = bounds(tmp_path, Clock())
    assert one.spent == Spent()
    assert one.chars_per_token == 3.0
    assert one.take(Spent(1, 5, 5)).why == ""
    assert bounds(tmp_path, Clock()).spent == Spent(1, 5, 5)


def test_bounds_hold_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / ".llm.state").mkdir()
    one = bounds(tmp_path, Clock(), calls_per_hour=2)
    assert [bool(one.take(Spent(1, 1, 1)).why) for _ in range(4)] == [False, False, True, True]


def test_clock_that_is_set_back_neither_frees_nor_locks(tmp_path: Path) -> None:
    clock = Clock()
    one = bounds(tmp_path, clock, calls_per_hour=2)
    one.take(Spent(1, 1, 1))
    clock.now -= 10 * 86400
    assert one.take(Spent(1, 1, 1)).why == ""
    assert one.take(Spent(1, 1, 1)).why != ""
    clock.now += 3720
    assert one.take(Spent(1, 1, 1)).why == ""


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ((1000, 40), (1000, 40)),
        ((None, None), (1000, 20)),
        ((0, 0), (1000, 0)),
        ((3, 1), (1000, 20)),
        ((10**9, 10**9), (1000, 500)),
        ((4000, 0), (3500, 20)),
    ],
)
def test_usage_counts_where_it_can_be_true(
    said: tuple[int | None, int | None], counted: tuple[int, int], tmp_path: Path
) -> None:
    talk = bounds(tmp_path, Clock()).begin()
    taken = talk.take(3500, 500)
    assert talk.used == Spent(1, 3500, 500)
    text = "x" * (60 if counted[1] else 0)
    talk.answered(taken, Reply(text, (), said[0], said[1]), sent_chars=3000)
    assert (talk.used.tokens_in, talk.used.tokens_out) == counted
    assert bounds(tmp_path, Clock()).spent == talk.used


def test_characters_per_token_are_learned_and_kept(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(30):
        talk = bounds(tmp_path, clock).begin()
        talk.answered(talk.take(3000, 10), Reply("", (), 600, 1), sent_chars=3000)
    assert bounds(tmp_path, clock).chars_per_token == pytest.approx(5.0, abs=0.01)
    assert bounds(tmp_path, clock).tokens(5000) == pytest.approx(1000, abs=3)


def test_failed_request_counts_as_call_and_as_what_may_have_been_done(tmp_path: Path) -> None:
    for kind, counted in {"auth": (0, 0), "server": (1000, 0), "timeout": (1000, 500)}.items():
        talk = bounds(tmp_path / kind, Clock()).begin()
        talk.failed(talk.take(3500, 500), kind, sent_chars=3000)
        assert talk.used == Spent(1, *counted), kind


def test_answer_that_comes_later_is_counted_where_its_request_was(tmp_path: Path) -> None:
    clock = Clock()
    one = bounds(tmp_path, clock, tokens_per_hour=10_000)
    talk = one.begin()
    taken = talk.take(8000, 1000)
    clock.now += 120
    talk.answered(taken, Reply("", (), 2000, 0), sent_chars=8000)
    assert one.spent == Spent(1, 2000, 0)
    clock.now += 3550
    assert one.spent == Spent()
    late = bounds(tmp_path, clock).begin()
    taken = late.take(8000, 1000)
    clock.now += 10_000
    late.answered(taken, Reply("", (), 2000, 0), sent_chars=8000)
    assert one.spent == Spent()


def test_random_histories_pass_no_bound(tmp_path: Path) -> None:
    draw = random.Random(5)
    for history in range(30):
        (tmp_path / str(history)).mkdir()
        clock = Clock()
        limits = {
            "calls_per_hour": draw.randint(1, 30),
            "tokens_per_hour": draw.randint(1000, 50_000),
            "cost_per_hour": draw.uniform(0.001, 0.1),
            "price_in": draw.uniform(0, 5),
            "price_out": draw.uniform(0, 20),
        }
        used: list[tuple[float, Spent]] = []
        for _ in range(60):
            one = bounds(tmp_path / str(history), clock, **limits)
            talk = one.begin()
            taken = talk.take(draw.randint(10, 5000), draw.randint(1, 2000))
            began = clock.now
            clock.now += draw.expovariate(1 / 30)
            if not taken.why:
                said = draw.choice([None, draw.randint(0, 10**7)])
                sent = draw.randint(1, taken.spent.tokens_in)
                talk.answered(
                    taken, Reply("x" * draw.randint(0, 3000), (), said, said), sent_chars=sent
                )
                used.append((began, talk.used))
            clock.now += draw.expovariate(1 / 200)
            hour = Spent()
            for at, spent in used:
                if at > clock.now - 3600:
                    hour = hour.plus(spent)
            assert hour.calls <= limits["calls_per_hour"]
            assert hour.tokens <= limits["tokens_per_hour"]
            cost = Limits(**limits).cost(hour.tokens_in, hour.tokens_out)
            assert cost <= limits["cost_per_hour"] + 1e-9


def test_state_of_many_parts_is_kept_whole(tmp_path: Path) -> None:
    one, other = StateFile(str(tmp_path)), StateFile(str(tmp_path))
    one.change("a", lambda part: part | {"x": 1})
    other.change("b", lambda part: part | {"y": 2})
    one.change("a", lambda part: part | {"z": 3})
    assert json.loads((tmp_path / ".llm.state").read_text()) == {
        "a": {"x": 1, "z": 3},
        "b": {"y": 2},
    }
    assert other.part("a") == {"x": 1, "z": 3}
    assert StateFile(None).part("a") == {}
