"""A thousand planted secrets of more than 25 kinds are found; ordinary code stays as it is."""

import json
import random
import sysconfig
import time
from pathlib import Path

import pytest

from harness.planted import KNOWN, NAMED, Planted, core_of, make, planted
from training_monitor import _core

COUNT = 1_200
# Of all lines of ordinary code; what stands there after `password=` in tests is counted as well.
MOST_FALSE = 0.01
MOST_CORPUS_BYTES = 12 * 2**20
TEXTS = {".py", ".pyi", ".yaml", ".yml", ".toml", ".json", ".cfg", ".ini", ".sh", ".md", ".txt"}


def stays(one: Planted, clean: str) -> bool:
    parts = [*core_of(one.secret), *(json.dumps(part)[1:-1] for part in core_of(one.secret))]
    return any(part in clean for part in parts)


def test_secrets_of_known_formats_never_stay_and_others_hardly_ever() -> None:
    assert len(KNOWN) >= 25
    texts = planted(COUNT, seed=20)
    assert len(texts) >= 1_000
    left = [one for one in texts if stays(one, _core.redact(one.text))]
    assert not [f"{one.secret.kind} in {one.where}" for one in left if one.secret.is_known]
    assert len(left) <= 0.01 * len(texts), [f"{one.secret.kind} in {one.where}" for one in left]


def test_a_file_of_many_secrets_keeps_its_lines() -> None:
    texts = planted(COUNT, seed=21)
    whole = "\n\n".join(one.text for one in texts)
    clean, places = _core.redact_places(whole.encode())
    assert clean.count(b"\n") == whole.count("\n"), "each line stays where it was"
    left = [one for one in texts if stays(one, clean.decode())]
    assert len(left) <= 0.01 * len(texts)
    assert len(places) >= len(texts)
    lines = clean.split(b"\n")
    assert all(b"[redacted]" in lines[line - 1] for line, _ in places)


@pytest.mark.parametrize("kind", [*KNOWN, *NAMED])
def test_a_place_has_the_line_and_a_kind_and_never_the_secret(kind: str) -> None:
    secret = make(kind, random.Random(5))
    text = f"import os\n\n{secret.name} = '''{secret.text}'''\nlr = 0.1\n"
    clean, places = _core.redact_places(text.encode())
    assert [line for line, _ in places] == [3]
    assert places[0][1]
    assert secret.text not in places[0][1]
    assert clean.endswith(b"\nlr = 0.1\n")
    assert clean.startswith(b"import os\n\n")


def corpus() -> list[Path]:
    """Return files of the standard library and of what is installed, the same ones each time."""
    places = sysconfig.get_paths()
    found = sorted(
        path
        for place in {places["stdlib"], places["purelib"]}
        for path in Path(place).rglob("*")
        if path.suffix in TEXTS and "botocore/data" not in str(path) and path.is_file()
    )
    random.Random(7).shuffle(found)
    return found


def test_ordinary_code_has_few_lines_that_are_taken_for_secrets() -> None:
    lines = hit = size = 0
    for path in corpus():
        data = path.read_bytes()
        if b"\0" in data or len(data) > 2**20:
            continue
        clean, places = _core.redact_places(data)
        assert clean.count(b"\n") == data.count(b"\n")
        lines += data.count(b"\n") + 1
        hit += len({line for line, _ in places})
        size += len(data)
        if size > MOST_CORPUS_BYTES:
            break
    assert lines > 50_000, "there is a corpus"
    assert hit <= MOST_FALSE * lines, f"{hit} of {lines} lines"


@pytest.mark.parametrize(
    "text",
    [
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "sha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
        "image: app@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "run_id: 123e4567-e89b-12d3-a456-426614174000",
        "data = base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk')",
        'cache_key = "d41d8cd98f00b204e9800998ecf8427e"',
        "rng_key = '0a1b2c3d4e5f60718293a4b5c6d7e8f9'",
        "def login(user: str, password: str | None = None) -> Token:",
        "    password=password, token=self.token, auth=auth,",
        "secret_key = config.secret_key_1",
        "password = getpass.getpass('Password: ')",
        'parser.add_argument("--api-key", help="your API key", default=None)',
        '"AWS::SecretsManager::Secret": "c85175a4ebcce361"',
        "token = tokenizer.decode(ids[0])",
        "tokens: int = 4096",
        'API_KEY = os.environ["API_KEY"]',
        "password: ${DB_PASSWORD}",
        "api_key: <your-api-key>",
        'auth_token = f"{user}:{session}"',
        "credentials: CredentialProviderFunction | None = None",
        "PEM_HEAD = '-----BEGIN RSA PRIVATE" + " KEY-----'\nPEM_TAIL = x_y(1)\n",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert _core.redact(text) == text


def test_a_key_that_is_cut_off_is_left_out_from_both_ends() -> None:
    key = make("rsa key", random.Random(3)).text
    lines = key.split("\n")
    head, tail = "\n".join(lines[:6]), "\n".join(lines[4:])
    for piece in (head, tail, "\n".join(f"+{line}" for line in lines[4:])):
        clean = _core.redact(f"lr = 1\n{piece}\nseed = 2\n")
        assert not any(line in clean for line in lines[1:-1])
        assert clean.startswith("lr = 1\n")
        assert clean.endswith("seed = 2\n")


@pytest.mark.parametrize(
    "piece",
    [
        "-----BEGIN RSA PRIVATE" + " KEY-----\n",
        "-----END RSA PRIVATE" + " KEY-----\n",
        "a://", "sk-1", "sk-", "password='", "password=", '"--token", ', "eyJ.", "Bearer ", "://a:1",
        "api_key: |\n  ", '\\"password\\": \\"', "A" * 64 + "\n", "12345678:", "token=(\n",
    ],
)  # fmt: skip
def test_no_text_takes_much_longer_than_another(piece: str) -> None:
    def spent(text: bytes) -> float:
        began = time.process_time()
        _core.redact_places(text)
        return time.process_time() - began

    plain = min(spent(b"loss = criterion(output, y)\n" * 7_000) for _ in range(3))
    assert spent((piece * (200_000 // len(piece))).encode()) < 400 * plain + 0.5


@pytest.mark.parametrize("count", [600, 2_000, 5_000, 30_000])
@pytest.mark.parametrize(
    "around",
    [
        "hf" + "_{}",
        "sk" + "-{}",
        "Authorization: Bearer {}",
        "password={}",
        'api_key = "{}"',
        "eyJ" + "hbGciOi.{}.abcd",
        "eyJ" + "hbGciOi.abcd.{}",
    ],
)
def test_no_end_of_a_long_secret_stays(around: str, count: int) -> None:
    text = "aB3dE6gH9j" * (count // 10)
    if ".{}." in around and count > 16_000:
        pytest.skip("no such token is that long")
    clean = _core.redact(f"x = 1\n{around.format(text)}\ny = 2\n")
    assert "aB3dE6gH9j" not in clean
    assert clean.endswith("\ny = 2\n")
