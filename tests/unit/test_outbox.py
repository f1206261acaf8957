"""The outbox: order, patience, doubts, and a file that takes every kind of damage."""

from __future__ import annotations

import os
import random
from itertools import pairwise
from pathlib import Path

import pytest

from harness import disk, findings
from harness.findings import alert
from training_monitor.notify.outbox import (
    MemoryStorage,
    Outbox,
    Patience,
    Storage,
    delivered,
    later,
    refused,
)
from training_monitor.notify.outbox_file import FileStorage, OutboxHeldError


def outbox(storage: Storage, *, now: float = 0.0, **patience: float) -> Outbox:
    return Outbox(storage, ["a", "b"], now=now, patience=Patience(**patience))  # type: ignore[arg-type]


def send(box: Outbox, sink: str, outcome: object, now: float) -> str:
    delivery = box.next(sink, now)
    assert delivery is not None
    box.begin(delivery, now)
    box.finish(delivery, outcome, now)  # type: ignore[arg-type]
    return delivery.id


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "outbox.jsonl")


def test_each_sink_gets_each_alert_once_in_order() -> None:
    box = outbox(MemoryStorage())
    for id_ in ("1", "2", "3"):
        assert box.put(alert(id_), 0.0)
        assert not box.put(alert(id_), 0.0), "an id that is known is not put twice"
    for sink in ("a", "b"):
        assert [send(box, sink, delivered, 1.0) for _ in range(3)] == ["1", "2", "3"]
        assert box.next(sink, 1.0) is None
    assert not box.put(alert("2"), 2.0), "nor after it was delivered"


def test_failed_tries_wait_longer_and_longer_and_others_wait_behind() -> None:
    box = outbox(MemoryStorage())
    box.put(alert("1"), 0.0)
    box.put(alert("2"), 0.0)
    now, waits = 0.0, []
    for _ in range(12):
        assert send(box, "a", later("gone"), now) == "1"
        due = box.wake_at("a", now)
        assert due is not None
        assert box.next("a", due - 0.01) is None
        waits.append(due - now)
        now = due
    assert waits == [2, 5, 15, 30, 60, 120, 300, 600, 900, 900, 900, 900]
    assert box.next("b", 0.0) is not None, "the other sink does not wait"


def test_what_a_receiver_asks_for_is_waited() -> None:
    box = outbox(MemoryStorage())
    box.put(alert("1"), 0.0)
    send(box, "a", later("429", after_secs=77), 0.0)
    assert box.wake_at("a", 0.0) == 77
    send(box, "a", later("429", after_secs=1e9), 77.0)
    assert box.wake_at("a", 77.0) == 77 + 3600


def test_what_is_refused_often_or_for_ever_is_given_up_in_sight() -> None:
    storage = MemoryStorage()
    box = outbox(storage, most_answered=3)
    for id_ in ("1", "2"):
        box.put(alert(id_), 0.0)
    send(box, "a", refused("answered 404"), 0.0)
    assert box.health()["a"].trouble == "answered 404"
    for now in (1.0, 100.0, 200.0):
        send(box, "a", later("answered 500", answered=True), now)
    assert storage.settled == [("1", "a", "given up"), ("2", "a", "given up")]
    health = box.health()["a"]
    assert (health.given_up, health.waiting) == (2, 0)
    assert health.trouble == "3 times, last: answered 500"


def test_a_sink_that_is_not_there_is_waited_for_a_day() -> None:
    box = outbox(MemoryStorage())
    box.put(alert("1"), 0.0)
    now, tries = 0.0, 0
    while (delivery := box.next("a", now)) is not None:
        box.finish(delivery, later("no answer"), now)
        tries += 1
        now = box.wake_at("a", now) or now
    assert 90 < tries < 110
    assert now > 86_400
    assert box.health()["a"].trouble == "not delivered within 24 hours"


def test_an_old_alert_is_tried_once_all_the_same() -> None:
    box = outbox(MemoryStorage())
    for id_ in ("1", "2"):
        box.put(alert(id_), 0.0)
    assert send(box, "a", later("gone"), 1e9) == "1"
    assert send(box, "a", delivered, 1e9 + 5000) == "2"
    health = box.health()["a"]
    assert (health.given_up, health.delivered) == (1, 1)


def test_a_clock_that_is_set_back_does_not_hold_an_alert() -> None:
    box = outbox(MemoryStorage(), now=1e9)
    box.put(alert("1"), 1e9)
    send(box, "a", later("gone"), 1e9)
    assert box.next("a", 1e9 - 500_000) is not None


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_try_without_an_outcome_is_made_once_more_and_no_third_time(kind: str, path: str) -> None:
    memory = MemoryStorage()

    def again() -> Storage:
        return memory if kind == "memory" else FileStorage(path)

    storage = again()
    box = outbox(storage)
    box.put(alert("1"), 0.0)
    sent = 0
    for now in (10.0, 20.0, 30.0, 40.0, 50.0):
        delivery = box.next("a", now)
        if delivery is not None:
            box.begin(delivery, now)
            sent += 1
        # The process dies here.
        if isinstance(storage, FileStorage):
            storage.close()
        storage = again()
        box = outbox(storage, now=now)
        assert box.next("a", now) is None, "not sent in the moment of a start"
    assert sent == 2
    if isinstance(storage, FileStorage):
        assert list(storage.given_up) == [("1", "a", "sent 2 times without an answer")]
    else:
        assert memory.settled == [("1", "a", "given up")]
    assert box.next("b", 50.0) is not None


def test_tries_that_never_left_are_no_doubts(path: str) -> None:
    for _ in range(5):
        storage = FileStorage(path)
        box = outbox(storage, now=1e6)
        box.put(alert("1"), 1e6)
        delivery = box.next("a", 1e6 + 9999)
        assert delivery is not None
        assert delivery.doubts == 0
        box.finish(delivery, later("no connection"), 1e6)
        storage.close()


def test_a_doubt_is_remembered_over_tries_that_never_left(path: str) -> None:
    for expected, leaves in [(0, True), (1, False), (1, True), (2, None)]:
        storage = FileStorage(path)
        box = outbox(storage)
        box.put(alert("1"), 0.0)
        delivery = box.next("a", 100.0)
        if leaves is None:
            assert delivery is None
            assert box.health()["a"].given_up == 1
        else:
            assert delivery is not None
            assert delivery.doubts == expected
            if leaves:
                box.begin(delivery, 100.0)
            else:
                box.finish(delivery, later("no connection"), 50.0)
        storage.close()


def test_file_goes_on_where_it_was(path: str) -> None:
    storage = FileStorage(path)
    box = outbox(storage)
    box.put(alert("1", findings=({"kind": "spike"},)), 5.0)
    box.put(alert("2"), 6.0)
    send(box, "a", delivered, 7.0)
    send(box, "b", later("500", answered=True), 7.0)
    storage.close()
    assert os.stat(path).st_mode & 0o777 == 0o600

    storage = FileStorage(path)
    kept = [(one.id, one.sink, one.added, one.tries, one.answered) for one in storage.open()]
    assert kept == [("1", "b", 5.0, 1, 1), ("2", "a", 6.0, 0, 0), ("2", "b", 6.0, 0, 0)]
    assert storage.open()[0].due == 9.0
    assert storage.open()[0].alert["findings"] == [{"kind": "spike"}] or storage.open()[0].alert[
        "findings"
    ] == ({"kind": "spike"},)
    assert not storage.append(alert("1").to_json(), ["a", "b"], 8.0)
    storage.close()


def test_two_processes_never_have_one_outbox(path: str) -> None:
    holder = findings.holding(path)
    with pytest.raises(OutboxHeldError, match="is held by another process"):
        FileStorage(path)
    holder.kill()
    holder.wait()
    FileStorage(path).close()


def test_the_last_line_may_be_cut_anywhere(path: str) -> None:
    storage = FileStorage(path)
    box = outbox(storage)
    box.put(alert("1"), 0.0)
    before = os.path.getsize(path)
    box.put(alert("2"), 0.0)
    storage.close()
    whole = Path(path).read_bytes()
    for length in [*range(before, len(whole), 11), len(whole) - 1]:
        Path(path).write_bytes(whole[:length])
        storage = FileStorage(path)
        ids = {one.id for one in storage.open()}
        # Without its last line break the line may be whole, and counts then.
        assert ids == ({"1", "2"} if length == len(whole) - 1 else {"1"})
        box = outbox(storage)
        box.put(alert("3"), 0.0)
        storage.close()
        storage = FileStorage(path)
        assert {one.id for one in storage.open()} == ids | {"3"}
        storage.close()


@pytest.mark.parametrize("seed", range(20))
def test_damaged_lines_cost_themselves_only(path: str, seed: int) -> None:
    generator = random.Random(seed)
    storage = FileStorage(path)
    box = outbox(storage)
    for number in range(20):
        box.put(alert(str(number)), 0.0)
        if generator.random() < 0.5:
            send(box, "a", generator.choice([delivered, later("x"), refused("y")]), number * 1e3)
    storage.close()
    lines = Path(path).read_bytes().split(b"\n")
    for _ in range(3):
        at = generator.randrange(len(lines) - 1)
        junk = [
            b"\xff\x00",
            b"{}",
            b"[1]",
            b'{"is":"tried"}',
            b'{"is":"alert","alert":3}',
            b"[" * 9999,
        ]
        lines[at] = generator.choice(junk)
    Path(path).write_bytes(b"\n".join(lines))
    storage = FileStorage(path)
    assert storage.damaged <= 3
    assert len({one.id for one in storage.open()}) >= 17
    storage.close()


def test_a_file_that_grew_is_made_anew_and_knows_the_same(path: str) -> None:
    storage = FileStorage(path, limit_bytes=20_000)
    box = outbox(storage)
    sizes = []
    for number in range(150):
        box.put(alert(str(number), text="x" * 300), 0.0)
        send(box, "b", delivered, 1.0)
        if number == 100:
            send(box, "a", later("x", answered=True), 1.0)
        elif number < 100:
            send(box, "a", delivered, 1.0)
        sizes.append(os.path.getsize(path))
    assert any(after < before for before, after in pairwise(sizes))
    assert max(sizes) < 100_000
    storage.close()
    storage = FileStorage(path, limit_bytes=20_000)
    kept = storage.open()
    assert [(one.id, one.sink) for one in kept] == [(str(n), "a") for n in range(100, 150)]
    assert (kept[0].tries, kept[0].answered, kept[0].doubts) == (1, 1, 0)
    assert not storage.append(alert("0").to_json(), ["a"], 0.0), "what was delivered is known"
    assert not os.path.exists(f"{path}.new")
    storage.close()


def test_a_try_under_way_is_in_doubt_also_after_the_file_was_made_anew(path: str) -> None:
    storage = FileStorage(path, limit_bytes=1)
    box = outbox(storage)
    box.put(alert("1"), 0.0)
    delivery = box.next("a", 1.0)
    assert delivery is not None
    box.begin(delivery, 1.0)
    box.put(alert("2"), 2.0)
    storage.close()
    assert FileStorage(path).open()[0].doubts == 1


def test_a_full_disk_neither_stops_nor_forgets(tmp_path: Path) -> None:
    script = """
    from training_monitor.notify.outbox import Outbox, delivered
    from training_monitor.notify.outbox_file import FileStorage
    from harness.findings import alert
    mount(str(root / "small"), "64k")
    os.chdir(root)
    storage = FileStorage("small/outbox")
    box = Outbox(storage, ["a"], now=0.0)
    with open("small/ballast", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"x" * 1024)
        except OSError:
            pass
    for number in range(60):
        assert box.put(alert(str(number)), 0.0)
    assert "No space left" in storage.trouble, storage.trouble
    one = box.next("a", 1.0)
    box.begin(one, 1.0)
    box.finish(one, delivered, 1.0)
    os.unlink("small/ballast")
    assert box.put(alert("last"), 2.0)
    assert not storage.trouble
    storage.close()
    ids = [one.id for one in FileStorage("small/outbox").open()]
    assert ids == [*map(str, range(1, 60)), "last"]
    """
    disk.run_with_small_disk(tmp_path, tmp_path, script)
