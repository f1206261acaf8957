"""The sinks: real servers that refuse, hang and break, real commands, real files."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from harness import processes
from harness.findings import alert
from harness.receiver import Answer, receiver
from training_monitor.notify.courier import Courier
from training_monitor.notify.outbox import MemoryStorage, Outbox, Outcome, Patience, delivered
from training_monitor.notify.sinks.command import Command
from training_monitor.notify.sinks.log_file import LogFile
from training_monitor.notify.sinks.terminal import Terminal
from training_monitor.notify.sinks.webhook import Webhook

SECRET = "s3cr3t-p4th"  # noqa: S105 -- the one of the receiver


def deliver(sink: Any, **fields: Any) -> tuple[Outcome, int]:
    """Deliver one alert; return the outcome and how often it was said that it leaves."""
    calls: list[None] = []
    id_ = str(fields.pop("id", "id1"))
    outcome = sink.deliver(alert(id_, **fields).to_json(), lambda: calls.append(None))
    return outcome, len(calls)


def test_webhook_posts_the_alert_as_json() -> None:
    with receiver() as server:
        assert deliver(Webhook(server.url), findings=({"kind": "spike"},)) == (delivered, 1)
    (body,), (headers,) = server.requests, server.headers
    assert body["alert"]["id"] == headers["Idempotency-Key"] == "id1"
    assert body["alert"]["findings"] == [{"kind": "spike"}]
    assert body["text"] == body["content"] == "[run] title id1\nfirst line\nsecond line"
    assert headers["Content-Type"] == "application/json"
    assert int(headers["Content-Length"]) > 0


def test_webhook_lets_no_name_call_a_channel() -> None:
    with receiver() as server:
        deliver(Webhook(server.url), text="<!channel> & @everyone")
    (body,) = server.requests
    assert body["text"].endswith("&lt;!channel&gt; &amp; @everyone")
    assert body["allowed_mentions"] == {"parse": []}
    assert body["alert"]["text"] == "<!channel> & @everyone"


@pytest.mark.parametrize(
    ("answer", "status", "after", "answered"),
    [
        (Answer(204), "delivered", None, True),
        (Answer(429, {"Retry-After": "17"}), "later", 17, False),
        (Answer(429), "later", None, False),
        (Answer(429, {"Retry-After": "soon"}), "later", None, False),
        (Answer(429, {"Retry-After": "inf"}), "later", None, False),
        (Answer(503, {"Retry-After": "-3"}), "later", 0, True),
        (Answer(500), "later", None, True),
        (Answer(404), "refused", None, True),
        (Answer(302, {"Location": "http://127.0.0.1:9/"}), "refused", None, True),
        (Answer(0), "later", None, False),
    ],
    ids=lambda value: str(value) if not isinstance(value, Answer) else f"answer{value.status}",
)
def test_webhook_takes_the_answer_as_meant(
    answer: Answer, status: str, after: float | None, answered: bool
) -> None:
    with receiver(answer) as server:
        outcome, left = deliver(Webhook(server.url))
    assert (outcome.status, outcome.after_secs, outcome.answered) == (status, after, answered)
    assert left == 1
    assert SECRET not in outcome.why


def test_webhook_understands_a_date_to_come_back_at() -> None:
    date = formatdate(time.time() + 100, usegmt=True)
    with receiver(Answer(429, {"Retry-After": date})) as server:
        outcome, _ = deliver(Webhook(server.url))
    assert outcome.after_secs == pytest.approx(100, abs=30)


def test_webhook_does_not_wait_for_a_server_that_hangs() -> None:
    with receiver(Answer(hangs=True)) as server:
        outcome, left = deliver(Webhook(server.url, answer_secs=0.2))
    assert (outcome.status, outcome.answered, left) == ("later", False, 1)
    assert outcome.why == "no answer from the webhook: ReadTimeout"


def test_webhook_that_nobody_serves_never_left_and_does_not_show_its_address() -> None:
    with receiver() as server:
        url = server.url
    outcome, left = deliver(Webhook(url))
    assert (outcome.status, outcome.answered, left) == ("later", False, 0)
    assert SECRET not in outcome.why
    outcome, left = deliver(Webhook(f"http:///{SECRET}"))
    assert (outcome.status, left) == ("refused", 0)
    assert SECRET not in outcome.why


def test_webhook_adds_no_password_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = Path(os.environ["HOME"]) / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password pw\n")
    netrc.chmod(0o600)
    with receiver() as server:
        deliver(Webhook(server.url))
    assert "Authorization" not in server.headers[0]


def script(tmp_path: Path, body: str) -> str:
    path = tmp_path / "on alert.py"
    path.write_text("import json, os, subprocess, sys, time\n" + body)
    return f"{sys.executable} '{path}' --first 'two words'"


def test_command_gets_json_and_variables_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ["OPENAI_API_KEY", "TELEGRAM_TOKEN", "TM_ALERT_WEBHOOK", "TM_RELAY_KEY", "TM_MODE"]
    for name in secrets:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("MY_OWN", "mine")
    out = tmp_path / "seen.json"
    command = script(
        tmp_path,
        f"seen = {{'argv': sys.argv[1:], 'env': dict(os.environ), 'alert': json.load(sys.stdin)}}\n"
        f"open({str(out)!r}, 'w').write(json.dumps(seen))\n",
    )
    text = "it's\n$(touch x); `touch x` \0end"
    assert deliver(Command(command), text=text, step=None) == (delivered, 1)
    seen = json.loads(out.read_text())
    assert seen["argv"] == ["--first", "two words"]
    assert seen["alert"]["text"] == text
    assert seen["env"]["TM_ALERT_TEXT"] == text.replace("\0", "")
    assert seen["env"]["TM_ALERT_ID"] == "id1"
    assert seen["env"]["TM_ALERT_STEP"] == ""
    assert seen["env"]["MY_OWN"] == "mine"
    assert SECRET not in out.read_text()


def test_command_that_fails_says_how_and_shows_no_secret(tmp_path: Path) -> None:
    token = "sk-" + "a1B2" * 10
    command = script(tmp_path, f"print('\\x1b[2Jno api_key={token}'); sys.exit(3)\n")
    outcome, left = deliver(Command(command))
    assert (outcome.status, outcome.answered, left) == ("later", True, 1)
    assert outcome.why.startswith("the command failed (exit code 3):")
    assert token not in outcome.why
    assert "\x1b" not in outcome.why


@pytest.mark.parametrize("command", ["", "/no/such/program x", "'unfinished"])
def test_command_that_cannot_run_is_given_up(command: str) -> None:
    outcome, _ = deliver(Command(command))
    assert outcome.status == "refused"


def test_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = tmp_path / "hangs.sh"
    command.write_text(f"sleep 600 &\necho $$ $! > {pids}\nwait\n")
    outcome, _ = deliver(Command(f"/bin/sh {command}", limit_secs=3))
    assert outcome.why == "the command failed (ended after 3 s)"
    for pid in map(int, pids.read_text().split()):
        processes.until(lambda pid=pid: not processes.is_alive(pid), "the group to end")


def test_command_that_writes_without_end_or_leaves_a_child_does_not_hold_us(tmp_path: Path) -> None:
    outcome, _ = deliver(Command(script(tmp_path, "while 1: print('x' * 999)\n"), limit_secs=0.7))
    assert len(outcome.why) < 400
    command = script(tmp_path, "subprocess.Popen(['sleep', '600']); print('done')\n")
    before = time.monotonic()
    assert deliver(Command(command))[0] == delivered
    assert time.monotonic() - before < 25, "less than its time limit"


def test_log_file_has_each_alert_once_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "alerts.log"
    sink = LogFile(str(path))
    for id_ in ("id1", "id1", "id2"):
        assert deliver(sink, id=id_, title=f"critical: {id_}\x1b[2J") == (delivered, 0)
    lines = path.read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].split(" ", 1)[1] == (
        "warning  id1 [run] critical: id1 [2J -- first line | second line"
    )
    assert path.stat().st_mode & 0o777 == 0o600


def test_log_file_goes_on_after_a_torn_line_and_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "alerts.log"
    path.write_text("2026-01-05T12:00:00+0000 warning  id1 [run] torn")
    deliver(LogFile(str(path)))
    assert [" id1 " in line for line in path.read_text().splitlines()] == [True, True]
    path.write_bytes(b"x" * (4 * 2**20 + 1) + b"\n")
    for _ in range(2):
        deliver(LogFile(str(path)))
    assert (tmp_path / "alerts.log.1").stat().st_size == 4 * 2**20 + 2
    assert len(path.read_text().splitlines()) == 1
    assert deliver(LogFile(str(tmp_path)))[0].status == "later"


def test_terminal_prints_a_line_and_does_not_miss_a_closed_one() -> None:
    stream = io.StringIO()
    assert deliver(Terminal(stream)) == (delivered, 1)
    assert stream.getvalue().endswith("[run] title id1 -- first line | second line\n")
    stream.close()
    assert deliver(Terminal(stream))[0].status == "refused"


# The courier.


class Slow:
    """A sink that hangs until it is let go."""

    name = "slow"

    def __init__(self) -> None:
        import threading

        self.let_go = threading.Event()
        self.seen: list[str] = []

    def deliver(self, alert: Any, sending: Any) -> Outcome:
        sending()
        self.seen.append(alert["id"])
        self.let_go.wait()
        return delivered


class Broken:
    name = "broken"

    def deliver(self, alert: Any, sending: Any) -> Outcome:  # noqa: ARG002
        raise RuntimeError("api_key=sk-" + "a1B2" * 10)


def test_a_sink_that_hangs_delays_nobody_else_and_not_the_end(tmp_path: Path) -> None:
    slow, path = Slow(), tmp_path / "alerts.log"
    with receiver() as server:
        sinks = [slow, Broken(), LogFile(str(path)), Webhook(server.url)]
        outbox = Outbox(MemoryStorage(), [sink.name for sink in sinks], now=time.time())
        courier = Courier(outbox, sinks)
        for number in range(5):
            outbox.put(alert(f"id{number}"), time.time())
            courier.wake()
        wanted = [f"id{number}" for number in range(5)]
        processes.until(lambda: server.ids == wanted, "the webhook to have all")
        processes.until(lambda: path.exists() and len(path.read_text().splitlines()) == 5, "log")
        assert slow.seen == ["id0"]
        assert not courier.close(within_secs=0.2)
        health = outbox.health()
        assert health["slow"].waiting == 5
        assert health["broken"].waiting == 5
        assert "sink failed" in health["broken"].trouble
        assert "a1B2a1B2" not in health["broken"].trouble
        assert (health["webhook"].waiting, health["webhook"].delivered) == (0, 5)
        slow.let_go.set()


def test_an_alert_comes_through_when_the_server_does(tmp_path: Path) -> None:
    patience = Patience(backoff_secs=(0.05,))
    answers = [Answer(500), Answer(429, {"Retry-After": "0"}), Answer(0), Answer(200)]
    with receiver(*answers) as server:
        sink = Webhook(server.url)
        outbox = Outbox(MemoryStorage(), [sink.name], now=time.time(), patience=patience)
        courier = Courier(outbox, [sink])
        for id_ in ("id1", "id2"):
            outbox.put(alert(id_), time.time())
        courier.wake()
        processes.until(lambda: outbox.health()["webhook"].delivered == 2, "both to arrive")
        assert server.ids == ["id1"] * 4 + ["id2"]
        assert courier.close(within_secs=30)


def test_what_is_due_at_the_end_is_still_delivered() -> None:
    with receiver() as server:
        sink = Webhook(server.url)
        outbox = Outbox(MemoryStorage(), [sink.name], now=time.time())
        courier = Courier(outbox, [sink])
        for number in range(20):
            outbox.put(alert(f"id{number}"), time.time())
        assert courier.close(within_secs=30)
        assert len(server.ids) == 20
