"""Findings about the machine: told once, ended when they end, and never a flood."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from training_monitor import _core
from training_monitor.machine import is_of_the_machine, read_findings
from training_monitor.monitor.sampling import Loop, is_watched
from training_monitor.monitor.sender import Sender
from training_monitor.monitor.told import Told
from training_monitor.system.pace import Pace
from training_monitor.system.samples import DiskSample, Finding, Look

LOST = Finding("gpu_lost", "gpu1", "GPU 1 does not answer any more: GPU is lost", "gpu")
MISSING = Finding("gpu_missing", "gpu5", "there is no GPU 5: this machine has 2", "gpu")
SAMPLE = DiskSample(1, 2, 3, 4.5)


class Log:
    """What would stand in the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(f"INFO {text}")

    def warn(self, text: str) -> None:
        self.lines.append(f"WARN {text}")


class Piped:
    """A sender, and the findings that come out of its pipe."""

    def __init__(self) -> None:
        self.end, pipe = os.pipe()
        os.set_blocking(self.end, False)
        self.log = Log()
        journal: Any = self.log
        self.sender = Sender(pipe, journal)
        self.pipe = pipe
        self.half = b""

    def bytes(self) -> bytes:
        """Take what is in the pipe."""
        return os.read(self.end, 2**20)

    def take(self) -> list[dict[str, Any]]:
        """Take what is in the pipe; half a line waits for its rest."""
        try:
            self.half += self.bytes()
        except BlockingIOError:
            return []
        *whole, self.half = self.half.split(b"\n")
        return [json.loads(line) for line in whole]

    def found(self) -> list[tuple[str, str, str]]:
        lines = [line for line in self.take() if "finding" in line]
        return [(line["source"], line["finding"], line["text"]) for line in lines]

    def names(self) -> list[tuple[str, str]]:
        return [(source, name) for source, name, _ in self.found()]


@pytest.fixture
def piped() -> Iterator[Piped]:
    pipe = Piped()
    yield pipe
    os.close(pipe.end)
    os.close(pipe.pipe)


def everything(_source: str) -> bool:
    return True


class Failing:
    """A probe that fails as it is told to, look by look, and is done after the last one."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    @property
    def is_done(self) -> bool:
        return not self.texts

    def look(self) -> Look:
        text = self.texts.pop(0)
        if text:
            raise OSError(text)
        return Look({"disk:run": SAMPLE})


def run(probe: Failing, sender: Sender) -> list[float]:
    """Let a probe look until it is done; return how long it would have waited each time."""
    waits: list[float] = []
    Loop("disk", lambda: probe, Pace(0.0, 1.0), sender, wait=waits.append).run(1.0)
    return waits


# --- a probe that fails


def test_a_probe_that_fails_is_told_once_and_so_is_its_recovery(piped: Piped) -> None:
    run(Failing("", "Too many open files", "Too many open files", "", ""), piped.sender)
    assert piped.found() == [
        ("disk", "probe_failed", "cannot sample: OSError: Too many open files"),
        ("disk", "probe_back", "disk answers again"),
    ]
    assert piped.log.lines == [
        "WARN disk: cannot sample: OSError: Too many open files",
        "INFO disk: disk answers again",
    ]


def test_a_probe_never_gives_up_and_looks_less_and_less_often(piped: Piped) -> None:
    waits = run(Failing(*["no"] * 30, ""), piped.sender)
    pauses = waits[1:]
    assert pauses[:5] == pytest.approx([1, 2, 4, 8, 16], abs=0.5)
    assert pauses[9:30] == pytest.approx([300] * 21)
    assert pauses[30] < 1
    assert piped.names() == [("disk", "probe_failed"), ("disk", "probe_back")]


def test_a_probe_that_cannot_be_made_is_made_later(piped: Piped) -> None:
    tries = []

    def make() -> Failing:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")
        return Failing("")

    Loop("disk", make, Pace(0.0, 1.0), piped.sender, wait=lambda _: None).run(1.0)
    assert piped.names() == [("disk", "probe_failed"), ("disk", "probe_back")]


def test_a_probe_that_waits_after_failures_does_not_hang(piped: Piped) -> None:
    probe = Failing(*["no"] * 12, "")
    loop: Loop
    # Between two looks nothing is under way, whatever came before.
    loop = Loop("disk", lambda: probe, Pace(0.0, 1.0), piped.sender, wait=lambda _: loop.watch(0.0))
    loop.run(1.0)
    assert piped.names() == [("disk", "probe_failed"), ("disk", "probe_back")]


def test_a_look_that_takes_too_long_is_told_once_and_ends_with_the_look(piped: Piped) -> None:
    class Slow:
        is_done = False
        asking = "statvfs"

        def look(self) -> Look:
            loop.watch(3600.0)
            loop.watch(0.0)
            loop.watch(0.0)
            self.is_done = True
            return Look({"disk:run": SAMPLE})

    loop = Loop("disk", Slow, Pace(0.0, 1.0), piped.sender, wait=lambda _: None)
    loop.run(1.0)
    assert piped.names() == [("disk", "probe_hangs"), ("disk", "probe_back")]


def test_another_failure_of_the_same_kind_is_told(piped: Piped) -> None:
    run(Failing("one", "two", "two", ""), piped.sender)
    assert piped.found() == [
        ("disk", "probe_failed", "cannot sample: OSError: one"),
        # The database keeps the first of several findings of one name in a row.
        ("disk", "over", "no longer: cannot sample: OSError: one"),
        ("disk", "probe_failed", "cannot sample: OSError: two"),
        ("disk", "probe_back", "disk answers again"),
    ]


def test_what_was_told_is_in_the_database(piped: Piped, tmp_path: Path) -> None:
    run(Failing("one", "two", ""), piped.sender)
    run(Failing("one", "one"), piped.sender)
    ingest = _core.Ingest(tmp_path)
    assert ingest.add_system(piped.bytes())
    ingest.finish(60.0)
    rows = read_findings(_core.RunReader(tmp_path))
    told = ["probe_failed", "over", "probe_failed", "probe_back", "probe_failed"]
    assert [row.name for row in rows] == told
    assert [row.stands for row in rows] == [False, False, False, False, True]
    assert rows[2].text == "cannot sample: OSError: two"


# --- no flood


def test_a_flapping_finding_is_no_flood_and_the_last_word_is_right() -> None:
    now = [0.0]
    told = Told(lambda: now[0])
    count = 0
    for number in range(1000):
        told.found(Finding("probe_failed", "host", f"at 0x{number:x}"))
        count += len(told.due())
        told.looked("host", Look({"host": SAMPLE}))
        count += len(told.due())
        now[0] += 0.5
    assert count == 10
    told.found(Finding("probe_failed", "host", "the end"))
    assert told.due() == []
    now[0] += 600
    assert told.due()[-1].text == "the end"
    assert told.due() == []


# --- a monitor that takes nothing


def test_samples_that_nobody_takes_are_counted_and_findings_are_kept(piped: Piped) -> None:
    sample = Look({f"disk:{number}": SAMPLE for number in range(100)})
    # Well beyond what a pipe and the backlog hold.
    for _ in range(300):
        piped.sender.look("disk", sample)
    piped.sender.found(LOST)
    warning = "WARN the monitor takes no samples: they are left out until it does"
    assert piped.log.lines == [warning, f"WARN gpu1: {LOST.text}"]
    lines = []
    while more := piped.take():
        lines += more
        piped.sender.tell()
    assert [line["finding"] for line in lines if "finding" in line] == ["gpu_lost"]
    taken = len(lines) - 1
    assert 0 < taken < 300
    told = f"WARN the monitor took no samples: {300 - taken:,} were left out"
    assert piped.log.lines[2:] == [told]
    piped.sender.look("disk", sample)
    assert len(piped.take()) == 1
    assert piped.log.lines[3:] == []


# --- a poller after another one


def test_a_new_poller_ends_what_an_earlier_one_found(piped: Piped) -> None:
    failed = Finding("probe_failed", "host", "cannot sample: Too many open files", "host")
    hangs = Finding("probe_hangs", "gpu", "no answer for 15 s (nvmlInit)", "gpu")
    command = Finding("nvml_missing", "gpus", "nvidia-smi is asked instead", "gpu")
    piped.sender.inherit([LOST, MISSING, failed, hangs, command], everything)
    assert piped.names() == []
    piped.sender.look("host", Look({"host": SAMPLE}))
    assert piped.names() == [("host", "probe_back")]
    piped.sender.look("gpu", Look({"gpu0": SAMPLE, "gpu1": SAMPLE}))
    assert sorted(piped.names()) == [
        ("gpu", "probe_back"), ("gpu1", "gpu_back"), ("gpu5", "over"), ("gpus", "over"),
    ]  # fmt: skip
    piped.sender.look("gpu", Look({"gpu0": SAMPLE, "gpu1": SAMPLE}))
    assert piped.names() == []


def test_a_new_poller_repeats_nothing_that_still_holds(piped: Piped) -> None:
    piped.sender.inherit([LOST, MISSING], everything)
    piped.sender.look("gpu", Look({"gpu0": SAMPLE}, findings=(LOST, MISSING)))
    assert piped.names() == []


def test_a_gpu_that_is_not_even_listed_any_more_stays_lost(piped: Piped) -> None:
    piped.sender.inherit([LOST], everything)
    piped.sender.look("gpu", Look({"gpu0": SAMPLE}))
    assert piped.names() == []
    piped.sender.look("gpu", Look({"gpu0": SAMPLE, "gpu1": SAMPLE}))
    assert piped.names() == [("gpu1", "gpu_back")]


def test_what_nobody_watches_any_more_is_over(piped: Piped) -> None:
    piped.sender.inherit([LOST], lambda source: source != "gpu1")
    assert piped.found() == [("gpu1", "over", "gpu1 is not watched any more")]


@pytest.mark.parametrize(
    ("source", "gpus", "watched"),
    [
        ("gpu1", None, True),
        ("gpu1", [0, 1], True),
        ("gpu1/mig0", [0], False),
        ("gpu10", [1], False),
        ("gpus", [0], True),
        ("gpus", [], False),
        ("gpu", [], False),
        ("host", [], True),
    ],
)
def test_gpus_that_were_not_named_are_not_watched(
    source: str, gpus: list[int] | None, watched: bool
) -> None:
    assert is_watched(source, gpus) == watched


def test_findings_of_an_earlier_poller_that_come_late_change_nothing(piped: Piped) -> None:
    piped.sender.look("gpu", Look({"gpu0": SAMPLE}, findings=(LOST,)))
    assert piped.names() == [("gpu1", "gpu_lost")]
    piped.sender.inherit([LOST, MISSING], everything)
    piped.sender.look("gpu", Look({"gpu0": SAMPLE}))
    assert piped.names() == [("gpu5", "over")]


def test_each_finding_says_which_probe_found_it_and_so_does_its_end(piped: Piped) -> None:
    piped.sender.look("gpu", Look({"gpu0": SAMPLE}, findings=(Finding("gpu_lost", "gpu1", "t"),)))
    piped.sender.look("gpu", Look({"gpu0": SAMPLE, "gpu1": SAMPLE}))
    found = [line for line in piped.take() if "finding" in line]
    assert [(line["finding"], line["by"]) for line in found] == [
        ("gpu_lost", "gpu"), ("gpu_back", "gpu"),
    ]  # fmt: skip


def test_a_probe_ends_what_it_found_itself_whatever_the_name_of_the_source(piped: Piped) -> None:
    other = Finding("hot", "gpu0/room", "the room is hot", "room")
    piped.sender.inherit([other], everything)
    piped.sender.look("gpu", Look({"gpu0": SAMPLE}))
    assert piped.names() == []
    piped.sender.look("room", Look({"air": SAMPLE}))
    assert piped.names() == [("gpu0/room", "over")]


# --- what a reader sees


class Reader:
    """The rows of a database."""

    def __init__(
        self, *rows: tuple[float, str, str, str], sampled: dict[str, float] | None = None
    ) -> None:
        self.rows = rows
        self.sampled = sampled or {}
        self.attempt_starts = [0.0]

    def findings(self) -> list[tuple[float, str]]:
        names = ("host", "source", "finding")
        return [(time, json.dumps(dict(zip(names, row, strict=True)))) for time, *row in self.rows]

    def system_latest(self) -> list[dict[str, Any]]:
        places = {place: place.split("/") for place in self.sampled}
        return [
            {"host": host, "source": source, "time": self.sampled[place]}
            for place, (host, source) in places.items()
        ]

    def attempts(self) -> list[dict[str, Any]]:
        return [{"started": time} for time in self.attempt_starts]


def standing(reader: Any) -> list[tuple[str, str]]:
    return [(row.host, row.source) for row in read_findings(reader) if row.stands]


def test_a_finding_stands_until_its_source_is_well() -> None:
    lost = (5.0, "a", "gpu1", "gpu_lost")
    assert standing(Reader(lost, sampled={"a/gpu0": 9.0})) == [("a", "gpu1")]
    assert standing(Reader(lost, sampled={"a/gpu1": 9.0})) == []
    assert standing(Reader(lost, sampled={"a/gpu1": 4.0})) == [("a", "gpu1")]
    assert standing(Reader(lost, (6.0, "a", "gpu1", "gpu_back"))) == []
    assert standing(Reader(lost, (6.0, "b", "gpu1", "gpu_back"))) == [("a", "gpu1")]
    assert standing(Reader((5.0, "a", "gpus", "no_gpu"))) == []


def test_of_two_equal_findings_only_the_last_stands() -> None:
    failed, back = (5.0, "a", "disk", "probe_failed"), (5.0, "a", "disk", "probe_back")
    rows: Any = Reader(failed, back, failed)
    assert [row.stands for row in read_findings(rows)] == [False, False, True]


def test_a_finding_of_a_machine_that_the_newest_attempt_left_is_over() -> None:
    lost = (5.0, "a", "gpu1", "gpu_lost")
    reader = Reader(lost, sampled={"a/host": 9.0, "b/host": 30.0})
    assert standing(reader) == [("a", "gpu1")]
    reader.attempt_starts = [0.0, 20.0]
    assert standing(reader) == []
    reader.sampled["a/host"] = 21.0
    assert standing(reader) == [("a", "gpu1")]


def test_who_found_it_is_said_or_known_by_the_source_of_an_older_row() -> None:
    reader: Any = Reader(
        (1.0, "a", "gpu1", "gpu_lost"), (2.0, "a", "disk", "probe_failed"),
        (3.0, "a", "steps", "stuck"), (4.0, "a", "rank0/end", "killed"),
    )  # fmt: skip
    assert [row.by for row in read_findings(reader)] == ["gpu", "disk", "ingest", "ingest"]
    detail = {"host": "a", "source": "steps", "finding": "x", "text": "t", "by": "pedometer"}
    reader.findings = lambda: [(5.0, json.dumps(detail))]
    (row,) = read_findings(reader)
    assert (row.by, is_of_the_machine(row)) == ("pedometer", True)
