"""Nothing leaves that must not, and what left is kept byte for byte."""

import base64
import json
import os
import random
import socket
import string
import urllib.parse
from pathlib import Path

import pytest

from harness.openai_server import calls, openai_server, says
from training_monitor.analysis.model.client import ModelClient
from training_monitor.analysis.model.outgoing import Outgoing, read_sent
from training_monitor.analysis.model.privacy import LEVELS, PrivacyError, allows, secret_values
from training_monitor.analysis.model.sent import Records, sent_of

ODD = 'p"ä/ss\\w+rd %41\tx'
PLAIN = "correct-horse-battery"


def client_at(base_url: str) -> ModelClient:
    return ModelClient(model="m", base_url=base_url, api_key="k", reasoning_effort=None)


def test_privacy_off_makes_a_request_impossible(tmp_path: Path) -> None:
    gate = Outgoing(str(tmp_path), privacy="off", secrets=[])
    with openai_server() as server:
        for messages in ([], [{"role": "user", "content": "x"}]):
            with pytest.raises(PrivacyError, match="privacy is 'off'"):
                client_at(server.base_url).ask(messages, None, outgoing=gate)
        with pytest.raises(PrivacyError, match="privacy is 'off'"):
            gate.leaving(b"{}", purpose="x", to="x")
    assert server.requests == []
    assert read_sent(str(tmp_path)) == []


def test_gate_itself_stops_what_nobody_cleaned(tmp_path: Path) -> None:
    class Careless(Outgoing):
        def clean(self, value: object) -> object:
            return value

    gate = Careless(str(tmp_path), privacy="full", secrets=[PLAIN])
    messages = [{"role": "user", "content": f"it is {PLAIN}"}]
    caught = pytest.raises(PrivacyError, match="value of a secret variable")
    with openai_server() as server, caught:
        client_at(server.base_url).ask(messages, None, outgoing=gate)
    assert server.requests == []


def forms_of(value: str) -> dict[str, str]:
    """Return a text for each way in which a value may be hidden in it."""
    raw = value.encode()
    return {
        "plain": f"pw={value}!",
        "json": json.dumps({"a": [value]}),
        "json, not ascii": json.dumps({"a": [value]}, ensure_ascii=False),
        "json in json": json.dumps(json.dumps({"a": value})),
        "url": urllib.parse.quote(value),
        "url, all": "?q=" + urllib.parse.quote(value, safe=""),
        "form": urllib.parse.urlencode({"q": value}),
        "hex": raw.hex(),
        **{
            f"base64 after {before} bytes": base64.b64encode(
                b"u" * before + raw + b":tail"
            ).decode()
            for before in range(4)
        },
        **{
            f"base64 for addresses after {before} bytes": base64.urlsafe_b64encode(
                b"u" * before + raw
            ).decode()
            for before in range(4)
        },
    }


@pytest.mark.parametrize("value", [ODD, PLAIN, "ключ-от-двери", "Aa0Bb1Cc2Dd3=="])
def test_value_of_a_secret_variable_leaves_in_no_form(value: str, tmp_path: Path) -> None:
    gate = Outgoing(str(tmp_path), privacy="full", secrets=[value])
    with openai_server() as server:
        client = client_at(server.base_url)
        for name, text in forms_of(value).items():
            messages = [
                {"role": "user", "content": text},
                {"role": "tool", "tool_call_id": "1", "content": f"line 1\n{text}\nline 3"},
            ]
            client.ask(messages, None, outgoing=gate)
            raw = server.requests[-1].raw.decode()
            first, second = (one["content"] for one in server.requests[-1].body["messages"])
            assert "[redacted]" in first, name
            assert "line 1" in second
            assert "line 3" in second
            for form in forms_of(value).values():
                assert form.strip("pw=!?q") not in raw, name


def test_random_secrets_do_not_leave(tmp_path: Path) -> None:
    draw = random.Random(7)
    letters = string.ascii_letters + string.digits + "+/=_-\"\\ %&'\n" + "éßж中"
    values = ["".join(draw.choices(letters, k=draw.randint(8, 60))) for _ in range(200)]
    values = [value.strip() for value in values if len(value.strip()) >= 8]
    gate = Outgoing(str(tmp_path), privacy="full", secrets=values)
    for value in values:
        for name, text in forms_of(value).items():
            cleaned = gate.clean([{"role": "user", "content": text}])[0]["content"]
            assert "[redacted]" in cleaned, (name, value)


def test_known_formats_are_taken_out(tmp_path: Path) -> None:
    gate = Outgoing(str(tmp_path), privacy="full", secrets=[])
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    cleaned = gate.clean([{"role": "user", "content": f"token = {token}", "n": 3, "b": None}])
    assert cleaned == [{"role": "user", "content": "token = [redacted]", "n": 3, "b": None}]


def test_text_without_secrets_leaves_as_it_is(tmp_path: Path) -> None:
    gate = Outgoing(str(tmp_path), privacy="full", secrets=[PLAIN])
    messages = [{"role": "user", "content": "loss 0.25 at step 100 é ∆ 中 \u0000 <b>"}]
    assert gate.clean(messages) == messages
    assert gate.clean_text("half \ud83d of a pair") == "half ? of a pair"


def test_numbers_only_leaves_out_names_of_this_machine(tmp_path: Path) -> None:
    gate = Outgoing(str(tmp_path), privacy="numbers-only", secrets=[])
    home = os.path.expanduser("~")
    text = gate.clean_text(f"{tmp_path}/code {home}/x at {socket.gethostname()}")
    assert str(tmp_path) not in text
    assert home not in text
    if len(socket.gethostname()) > 3:
        assert socket.gethostname() not in text


def test_value_nested_without_end_is_refused(tmp_path: Path) -> None:
    gate = Outgoing(str(tmp_path), privacy="full", secrets=[])
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(PrivacyError, match="too deep"):
        gate.clean(deep)


def test_levels_let_out_less_and_less() -> None:
    kinds = ["request", "numbers", "findings", "config", "text", "command", "logs", "paths", "code"]
    let_out = {level: [kind for kind in kinds if allows(level, kind)] for level in LEVELS}
    assert let_out == {
        "full": kinds,
        "no-code": kinds[:-1],
        "numbers-only": kinds[:3],
        "off": [],
    }
    with pytest.raises(ValueError, match="what='everything'"):
        allows("full", "everything")


def test_secret_variables_are_found_by_name(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.touch()
    environ = {
        "OPENAI_API_KEY": "sk-x-aaaaaaaaaa",
        "TELEGRAM_CHAT_ID": "-1001234567",
        "HF_TOKEN": "hf_bbbbbbbbbbbbbbb",
        "MY_SECRET": "cccccccccc",
        "PGPASSWORD": "dddddddddd",
        "DATABASE_URL": "postgres://me:ee%2Feeeeee@db/x",
        "GOOGLE_APPLICATION_CREDENTIALS": str(file),
        "TOKENIZERS_PARALLELISM": "falsefalse",
        "PWD": "/home/someone",
        "SHORT_SECRET": "admin",
        "PATH": "/usr/bin:/usr/local/bin",
        "WANDB_API_KEY": "ffffffffff\udcff",
    }
    assert set(secret_values(environ)) == {
        "sk-x-aaaaaaaaaa",
        "-1001234567",
        "hf_bbbbbbbbbbbbbbb",
        "cccccccccc",
        "dddddddddd",
        "ee/eeeeee",
        "ffffffffff\udcff",
    }


def test_what_was_sent_is_kept_byte_for_byte(tmp_path: Path) -> None:
    gate = Outgoing(str(tmp_path), privacy="full", secrets=[PLAIN])
    draw = random.Random(3)
    with openai_server([calls(("a", {})), says("ok")]) as server:
        client = client_at(server.base_url)
        for _ in range(5):
            messages = [{"role": "user", "content": f"{PLAIN} ∆ {draw.random()} " * 50}]
            for turn in range(8):
                client.ask(
                    messages, [{"type": "function", "function": {"name": "a"}}], outgoing=gate
                )
                messages.append({"role": "assistant", "content": f"é{turn}中" * turn})
                if turn == 5:
                    messages[0] = {"role": "user", "content": "shorter"}
    sent = read_sent(str(tmp_path))
    assert [one.content for one in sent] == [request.raw for request in server.requests]
    assert [one.body for one in sent] == [request.body for request in server.requests]
    assert len({one.id for one in sent}) == 40
    file = tmp_path / "sent.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    # What was said before is not written down again.
    assert file.stat().st_size < sum(len(request.raw) for request in server.requests) / 2


def test_any_bytes_in_any_order_come_back(tmp_path: Path) -> None:
    draw = random.Random(11)
    alphabets = [b"ab", "aé中😀".encode(), bytes(range(256))]
    bodies: list[bytes] = []
    for _ in range(400):
        last = bodies[-1] if bodies and draw.random() < 0.8 else b""
        first, end = sorted(draw.choices(range(len(last) + 1), k=2))
        middle = bytes(draw.choices(draw.choice(alphabets), k=draw.randint(0, 60)))
        bodies.append(last[:first] + middle + last[end:])
    records = [Records(str(tmp_path)), Records(str(tmp_path))]
    for body in bodies:
        draw.choice(records).add(body, purpose="p", to="t", time=1.0)
    assert [one.content for one in read_sent(str(tmp_path))] == bodies
    assert [one.content for one in read_sent(str(tmp_path), last=3)] == bodies[-3:]


def test_file_of_what_was_sent_is_bounded(tmp_path: Path) -> None:
    records = Records(str(tmp_path), limit_bytes=10_000)
    for number in range(100):
        records.add(b"%d" % number * 500, purpose="p", to="t", time=1.0)
    sizes = [path.stat().st_size for path in tmp_path.glob("sent*.jsonl")]
    assert len(sizes) == 2
    assert max(sizes) < 12_000
    kept = [one.content for one in sent_of(str(tmp_path))]
    assert 10 < len(kept) < 100
    assert kept == [b"%d" % number * 500 for number in range(100 - len(kept), 100)]


def test_damaged_record_is_told_and_takes_no_other_with_it(tmp_path: Path) -> None:
    records = Records(str(tmp_path))
    for text in ("one" * 100, "two" * 100, "three" * 100):
        records.add(text.encode(), purpose="p", to="t", time=1.0)
    file = tmp_path / "sent.jsonl"
    lines = file.read_bytes().splitlines()
    whole = [line for line in lines if line]
    file.write_bytes(b"\n".join([whole[0], whole[1][:40], whole[2].replace(b"three", b"thrEe")]))
    records.add(b"four", purpose="p", to="t", time=1.0)
    contents = [one.content for one in read_sent(str(tmp_path))]
    assert contents == [b"one" * 100, None, None, b"four"]


def test_nothing_is_sent_that_cannot_be_written_down(tmp_path: Path) -> None:
    (tmp_path / "sent.jsonl").mkdir()
    gate = Outgoing(str(tmp_path), privacy="full", secrets=[])
    caught = pytest.raises(PrivacyError, match="could not be written down")
    with openai_server() as server, caught:
        client_at(server.base_url).ask([], None, outgoing=gate)
    assert server.requests == []


def test_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "sent.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Records(str(tmp_path)).add(b"x", purpose="p", to="t", time=1.0)
    assert not (tmp_path / "elsewhere").exists()
