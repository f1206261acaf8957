"""Secrets are left out of configs and texts; ordinary words stay."""

import json
from typing import Any

import pytest

from training_monitor import _core


def through_json(value: Any) -> Any:
    return json.loads(_core.to_json(value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "hunter2"),
        ("db_password", 12345),
        ("OPENAI_API_KEY", "abc"),
        ("apiKey", "abc"),
        ("api-key", "abc"),
        ("aws_secret_access_key", "abc"),
        ("private_key", b"abc"),
        ("credentials", {"user": "u"}),
        ("Authorization", "Basic abc"),
        ("token", "a1b2c3d4e5"),
        ("hf_token", "a1b2c3d4e5"),
        ("telegramBotToken", "a1b2c3d4e5"),
        ("PGPASSWORD", "hunter2"),
        ("MYSQLPASSWD", "hunter2"),
        ("passwordhash", "hunter2"),
        ("sslpassphrase", "hunter2"),
        ("CLIENTSECRET", "hunter2"),
        ("secretkey", "hunter2"),
        ("MYAPIKEY", "hunter2"),
        ("apikeys", ["hunter2"]),
        ("WANDBAPIKEY", "hunter2"),
        ("APITOKEN", "a1b2c3d4e5"),
        ("password_file_content", "hunter2"),
        ("wandb_key", "0123456789abcdef0123456789abcdef01234567"),
        ("neptuneKey", "eyJhcGlfYWRkcmVzcyI6Imh0dHBzOi8"),
        ("comet-key", b"0123456789abcdef0123456789abcdef01234567"),
    ],
)
def test_values_under_secret_names_are_left_out(name: str, value: object) -> None:
    before = _core.redactions()
    assert through_json({"outer": {name: value}}) == {"outer": {name: "[redacted]"}}
    assert _core.redactions() == before + 1
    assert "[redacted]" not in _core.to_json({name: value}, redact=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokens", 10),
        ("max_tokens", 4096),
        ("num_tokens", "4096"),
        ("token_ids", [1, 2]),
        ("tokenizer", "meta-llama/Llama-3.1-8B"),
        ("tokenizer_name", "gpt2-medium-1234"),
        ("eos_token", "<|endoftext|>"),
        ("pad_token", "[PAD]"),
        ("token", None),
        ("use_auth_token", True),
        ("token_dropout", 0.1),
        ("author", "Jane Doe"),
        ("key", "value1234567"),
        ("monkey", "value1234567"),
        ("password", None),
        ("password", ""),
        ("tokens_per_sec", 1234.5),
        ("TOKENS_PER_SEC", "12345678"),
        ("tokens_per_second", "12345678a"),
        ("secretary", "Jane Doe 12345"),
        ("secretariat", "Geneva"),
        ("authors", ["Jane Doe"]),
        ("authority", "example.com"),
        ("detokenizer", "mosesdecoder12"),
        ("tokenization", "bpe12345678"),
        ("passwordless", "yes12345"),
        # About a secret, and not the secret.
        ("password_policy_len", 12),
        ("password_min_length", 12),
        ("secrets_count", 3),
        ("auth_enabled", "yes"),
        ("api_key_ttl_secs", 3600),
        # A key to look something up by.
        ("sort_key", "total_amount_by_customer_id_2"),
        ("image_key", "observation.images.cam_high_0"),
        ("primary_key", 12345678901234567890),
        ("batch_key", "0123456789012345678901"),
        ("wandb_key", None),
    ],
)
def test_values_under_harmless_names_stay(name: str, value: object) -> None:
    assert through_json({name: value}) == {name: value}


# Put together here, so that no scanner takes this file for a leak.
RANDOM = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7"
SECRETS = [
    "sk-" + "proj-" + RANDOM,
    "hf" + "_" + RANDOM,
    "ghp" + "_" + RANDOM,
    "github" + "_pat_" + RANDOM,
    "xox" + "b-123456789012-" + RANDOM,
    "AKI" + "A" + "ABCDEFGHIJ234567",
    "AIz" + "a" + "Sy" + RANDOM + "0123456",
    "glp" + "at-" + RANDOM,
    "123456789" + ":" + "AA" + RANDOM + "012345",
    "eyJ" + "hbGciOi" + "." + "eyJzdWIi" + "." + RANDOM,
    "-----BEGIN RSA " + "PRIVATE KEY-----\nabc\n-----END RSA " + "PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret[:6])
@pytest.mark.parametrize("around", ["{}", "before {} after", "'{}'", "x={},y", "ü\ud800{}ü"])
def test_known_formats_are_left_out_of_text(secret: str, around: str) -> None:
    if "\ud800" in around:
        around = around.replace("\ud800", "🚀")
    assert _core.redact(around.format(secret)) == around.format("[redacted]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://me:pw@host/db", "postgres://me:[redacted]@host/db"),
        ("--api-key=XYZ12345 --lr 3", "--api-key=[redacted] --lr 3"),
        ("--password hunter22 --lr 3", "--password [redacted] --lr 3"),
        ("HF_TOKEN=a1b2c3d4e5 python train.py", "HF_TOKEN=[redacted] python train.py"),
        ("password: hunter22", "password: [redacted]"),
        ("{'secret': 'hunter22', 'lr': 1}", "{'secret': '[redacted]', 'lr': 1}"),
        ('api_key = "abcd1234"', 'api_key = "[redacted]"'),
        ("PGPASSWORD=hunter22 psql", "PGPASSWORD=[redacted] psql"),
        ("MYAPIKEY=hunter22", "MYAPIKEY=[redacted]"),
        ("--token 'a1b2c3d4e5' --lr 3", "--token '[redacted]' --lr 3"),
        ("['--token', 'a1b2c3d4e5', '--lr']", "['--token', '[redacted]', '--lr']"),
        ('["--api-key", "hunter22"]', '["--api-key", "[redacted]"]'),
        ("https://h/b?a=1&sig=hunter22%3D&b=2", "https://h/b?a=1&sig=[redacted]&b=2"),
        ("https://h/b?signature=hunter22", "https://h/b?signature=[redacted]"),
        ("https://h/b?X-Amz-Signature=abcdef#top", "https://h/b?X-Amz-Signature=[redacted]#top"),
        ("https://h/?x-goog-signature=abcdef", "https://h/?x-goog-signature=[redacted]"),
        ("https://h/?token=hunter22hunter&a=b", "https://h/?token=[redacted]&a=b"),
        ("https://h/?key=hunter22hunter&a=b", "https://h/?key=[redacted]&a=b"),
        (f"--wandb_key={'0a1b' * 10} --lr 3", "--wandb_key=[redacted] --lr 3"),
        (f"--wandb-key {'0a1b' * 10}", "--wandb-key [redacted]"),
        (f"WANDB_KEY='{'0a1b' * 10}' python", "WANDB_KEY='[redacted]' python"),
        ("--sort_key=total_amount_by_customer_id", "--sort_key=total_amount_by_customer_id"),
    ],
)
def test_assignments_to_secret_names_are_left_out_of_text(text: str, expected: str) -> None:
    assert _core.redact(text) == expected
    assert _core.redact(expected) == expected, "a text that is clean already"


@pytest.mark.parametrize("kind", [list, tuple])
def test_values_after_flags_with_secret_names_are_left_out_of_lists(kind: type) -> None:
    words = [
        "train.py",
        "--token",
        "a1b2c3d4e5",
        "--password",
        "pw",
        "--api-key",
        b"abc",
        "--lr",
        3,
    ]
    found = through_json({"argv": kind(words), "deep": [kind(words)]})
    clean = ["train.py", "--token", "[redacted]", "--password", "[redacted]", "--api-key"]
    clean += ["[redacted]", "--lr", 3]
    assert found == {"argv": clean, "deep": [clean]}
    harmless = [
        "--max-tokens",
        "12345678",
        "--tokenizer",
        "gpt2-1234567",
        "--password",
        "--lr",
        "3",
    ]
    assert through_json(harmless) == harmless, "a flag without a value is followed by a flag"


def test_names_of_known_kinds_in_a_list_are_no_flags() -> None:
    words = ["password", "hunter22", "--password=hunter22", None, "token"]
    assert through_json(words) == ["password", "hunter22", "--password=[redacted]", None, "token"]


@pytest.mark.parametrize(
    ("kept", "secret"),
    [
        ("slack://", "TokenA/TokenB/TokenC"),
        ("TGRAM://", "123456:abcdef/42"),
        ("mailtos://", "me:pw@example.com?to=a,b"),
        ("https://hooks.slack.com/services/", "T00/B00/XyZ"),
        ("https://discord.com/api/webhooks/", "1234/XyZ"),
        ("https://discordapp.com/api/v10/webhooks/", "1234/XyZ"),
        ("https://acme.webhook.office.com/", "webhookb2/a@b/IncomingWebhook/c/d"),
        ("https://example.com/team/webhook/", "XyZ?a=b"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "before {} after", "'{}'", "url={}"])
def test_addresses_that_anybody_can_send_to_are_left_out(
    kept: str, secret: str, around: str
) -> None:
    clean = around.format(f"{kept}[redacted]")
    assert _core.redact(around.format(kept + secret)) == clean
    assert _core.redact(clean) == clean
    assert through_json({"notify": [kept + secret]}) == {"notify": [f"{kept}[redacted]"]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.com/docs/webhooks",
        "https://hooks.slack.com/services/",
        "s3://bucket/key gs://bucket/key hf://datasets/a/b",
        "file:///data/x tcp://10.0.0.1:29500 postgresql://host/db",
        "loss: 0.123 step: 10",
        "max_tokens=4096 tokens: 10",
        "token = next(tokens)",
        "eos_token='</s>'",
        "OPENAI_API_KEY=$KEY",
        "password: None",
        "https://example.com/a:b@c",
        "see sk-learn-is-a-nice-library-for-people",
        "commit 0123456789abcdef0123456789abcdef01234567",
        "12:30:45",
        "signature=(int, str) design=hunter22",
        "https://example.com/plot?x=loss&key=step&design=hunter22",
        "see ?significance=0.0123456",
        "tokens_per_sec=12345.678 secretary=jane12345 password_policy_len=12345678",
        "https://h/b?sig=[redacted]",
        "--api-key=[redacted]",
        "a\ud800b",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert _core.redact(text) == text


def test_a_megabyte_is_no_burden() -> None:
    text = "lorem ipsum: dolor --sit=amet eyJ sk- 1234567: " * 20_000
    assert _core.redact(text) == text
