"""Secrets as they stand in files, made up from a seed: none of them opens anything.

Nothing here looks like a key before it is put together.
"""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass

LOWER = string.ascii_lowercase
WORD = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
BASE64 = WORD + "+/"


@dataclass(frozen=True, slots=True)
class Secret:
    """One made-up secret.

    Attributes:
        kind: What it is.
        text: The secret.
        is_known: Whether it is known by its looks; otherwise by the name before it.
        name: The name that it has in code.
    """

    kind: str
    text: str
    is_known: bool
    name: str


@dataclass(frozen=True, slots=True)
class Planted:
    """A text with one secret in it."""

    secret: Secret
    where: str
    text: str


def _some(rng: random.Random, letters: str, count: int) -> str:
    """Return random letters; with one digit at least, as any that is long has."""
    text = "".join(rng.choice(letters) for _ in range(count - 1))
    at = rng.randrange(count)
    return text[:at] + rng.choice("23456789") + text[at:]


def _key(rng: random.Random, what: str, lines: int = 12) -> str:
    body = "\n".join(_some(rng, BASE64, 64) for _ in range(lines))
    return f"-----BEGIN {what}-----\n{body}\n{_some(rng, BASE64, 30)}==\n-----END {what}-----"


def _jwt(rng: random.Random) -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": _some(rng, string.digits, 9), "iat": 1700000}]
    spelled = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*spelled, _some(rng, WORD + "-_", 43)])


# Known by their looks, whatever stands before them: what it is, its name in code, how it is made.
KNOWN: dict[str, tuple[str, Callable[[random.Random], str]]] = {
    "openai": ("openai_key", lambda r: "sk-" + "proj-" + _some(r, WORD, 48)),
    "anthropic": ("client_key", lambda r: "sk-" + "ant-api03-" + _some(r, WORD + "-_", 80)),
    "hugging face": ("hub", lambda r: "hf" + "_" + _some(r, WORD, 34)),
    "github": ("gh", lambda r: "ghp" + "_" + _some(r, WORD, 36)),
    "github fine": ("gh", lambda r: "github" + "_pat_" + _some(r, WORD + "_", 70)),
    "gitlab": ("gl", lambda r: "glp" + "at-" + _some(r, WORD, 20)),
    "aws id": ("aws", lambda r: "AK" + "IA" + _some(r, string.ascii_uppercase + "234567", 16)),
    "google": ("maps", lambda r: "AI" + "za" + _some(r, WORD + "-_", 35)),
    "google oauth": ("oauth", lambda r: "GOC" + "SPX-" + _some(r, WORD + "-_", 28)),
    "slack": (
        "bot",
        lambda r: "xo" + "xb-" + _some(r, string.digits, 12) + "-" + _some(r, WORD, 24),
    ),
    "slack webhook": (
        "hook",
        lambda r: (
            "https://hooks."
            "slack.com/services/T"
            + _some(r, WORD, 8)
            + "/B"
            + _some(r, WORD, 8)
            + "/"
            + _some(r, WORD, 24)
        ),
    ),
    "discord webhook": (
        "hook",
        lambda r: (
            "https://discord.com/"
            "api/webhooks/" + _some(r, string.digits, 18) + "/" + _some(r, WORD + "-_", 68)
        ),
    ),
    "discord": (
        "bot",
        lambda r: "M" + _some(r, WORD, 23) + "." + _some(r, WORD, 6) + "." + _some(r, WORD, 27),
    ),
    "telegram": (
        "bot",
        lambda r: _some(r, string.digits, 10) + ":" + "AA" + _some(r, WORD + "-_", 33),
    ),
    "stripe": ("billing", lambda r: "sk_" + "live_" + _some(r, WORD, 24)),
    "sendgrid": (
        "mail",
        lambda r: "SG" + "." + _some(r, WORD, 22) + "." + _some(r, WORD + "-_", 43),
    ),
    "twilio": ("sms", lambda r: "S" + "K" + _some(r, HEX, 32)),
    "npm": ("registry", lambda r: "npm" + "_" + _some(r, WORD, 36)),
    "pypi": ("upload", lambda r: "py" + "pi-AgEIcHlwaS5vcmc" + _some(r, WORD + "-_", 60)),
    "databricks": ("dbx", lambda r: "da" + "pi" + _some(r, HEX, 32)),
    "jwt": ("session", _jwt),
    "rsa key": ("pem", lambda r: _key(r, "RSA PRIVATE" + " KEY")),
    "openssh key": ("pem", lambda r: _key(r, "OPENSSH PRIVATE" + " KEY", 5)),
    "database url": (
        "dsn",
        lambda r: "postgresql://train:" + _some(r, WORD + "-_.", 16) + "@db.internal:5432/runs",
    ),
    "neptune": (
        "neptune",
        lambda r: base64.b64encode(
            json.dumps({"api_address": "https://app", "api_key": _some(r, HEX, 32)}).encode()
        ).decode(),
    ),
}
# Known by the names before them alone.
NAMED: dict[str, tuple[str, Callable[[random.Random], str]]] = {
    "password": ("db_password", lambda r: _some(r, WORD + "!#%*", 14)),
    "aws secret": ("aws_secret_access_key", lambda r: _some(r, BASE64, 40)),
    "wandb": ("wandb_api_key", lambda r: _some(r, HEX, 40)),
    "comet": ("comet_api_key", lambda r: _some(r, WORD, 25)),
    "azure storage": ("account_key", lambda r: _some(r, BASE64, 86) + "=="),
    "token": ("access_token", lambda r: _some(r, WORD, 32)),
    "client secret": ("client_secret", lambda r: _some(r, WORD + "~-.", 34)),
}


def make(kind: str, rng: random.Random) -> Secret:
    """Return a secret of a kind."""
    name, made = (KNOWN | NAMED)[kind]
    return Secret(kind, made(rng), kind in KNOWN, name)


def _shouted(secret: Secret) -> str:
    return secret.name.upper()


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _notebook(secret: Secret, rng: random.Random) -> str:
    quote = rng.choice("'\"")
    cell = {
        "cell_type": "code",
        "source": ["import os\n", f"{secret.name} = {quote}{secret.text}{quote}\n"],
    }
    return json.dumps({"cells": [cell], "nbformat": 4}, indent=1)


def _traceback(secret: Secret, rng: random.Random) -> str:
    said = rng.choice(
        (
            f"ValueError: bad credentials: {secret.name}={secret.text!r}",
            f"requests.exceptions.HTTPError: 401 for {{'{secret.name}': {secret.text!r}}}",
        )
    )
    return f'Traceback (most recent call last):\n  File "train.py", line 12, in <module>\n{said}\n'


WHERE: dict[str, Callable[[Secret, random.Random], str]] = {
    "code": lambda s, r: r.choice(
        (
            f'{s.name} = "{s.text}"',
            f"{_shouted(s)}: str = '{s.text}'",
            f'client = Client({s.name}="{s.text}", timeout=3)',
            f'os.environ["{_shouted(s)}"] = "{s.text}"',
            f'{s.name} = os.getenv("{_shouted(s)}", "{s.text}")',
            f'parser.add_argument("--{s.name.replace("_", "-")}", default="{s.text}")',
            f'HEADERS = {{"{s.name}": "{s.text}"}}',
            f'{s.name} = (\n    "{s.text}"\n)',
        )
        if "\n" not in s.text
        else (f'{s.name} = """{s.text}"""', f'{s.name} = """\\\n{s.text}\n"""')
    ),
    "yaml": lambda s, r: (
        r.choice(
            (
                f"{s.name}: {s.text}",
                f'  {s.name}: "{s.text}"',
                f"auth:\n  {s.name}: '{s.text}'  # do not share",
                f"- {s.name}: {s.text}",
            )
        )
        if "\n" not in s.text
        else f"{s.name}: |\n  " + s.text.replace("\n", "\n  ")
    ),
    "env": lambda s, r: r.choice(
        (
            f"{_shouted(s)}={s.text}",
            f'export {_shouted(s)}="{s.text}"',
            f"ENV {_shouted(s)}={s.text}",
        )
    ),
    "ini": lambda s, _: f"[server]\n{s.name} = {s.text}\ntimeout = 3",
    "argv": lambda s, r: r.choice(
        (
            f"python train.py --{s.name.replace('_', '-')}={s.text} --lr 3e-4",
            f"python train.py --{s.name.replace('_', '-')} '{s.text}' --lr 3e-4",
            f"['train.py', '--{s.name}', {s.text!r}, '--lr', '3e-4']",
        )
    ),
    "json": lambda s, r: json.dumps(
        {"lr": 0.1, s.name: s.text, "epochs": 3}, indent=r.choice((None, 2))
    ),
    "notebook": _notebook,
    "traceback": _traceback,
    "log": lambda s, _: f"2026-01-02 03:04:05 INFO connecting, {s.name}={s.text}",
}


def planted(count: int, seed: int) -> list[Planted]:
    """Return so many texts: every kind in every place, again and again."""
    rng = random.Random(seed)
    kinds, places = [*KNOWN, *NAMED], list(WHERE)
    pairs = [(kind, where) for kind in kinds for where in places]
    found = []
    for number in range(count):
        kind, where = pairs[number % len(pairs)]
        secret = make(kind, rng)
        found.append(Planted(secret, where, WHERE[where](secret, rng)))
    return found


def core_of(secret: Secret) -> list[str]:
    """Return the parts of a secret, as long as 12 characters, none of which may stay."""
    if "\n" in secret.text:
        return secret.text.split("\n")[1:-1]
    text = secret.text
    if secret.kind == "database url":
        text = text.split(":")[2].split("@")[0]
    elif "webhook" in secret.kind:
        text = text.rpartition("/")[2]
    return [text[at : at + 12] for at in range(0, max(1, len(text) - 11), 6)]
