"""The keys that let a relay and the monitor of its run know each other: CURVE (RFC 26 of ZeroMQ).

Both pairs of keys are made from one secret, which the relays have from the run directory, where
that is shared, or from TM_RELAY_KEY. Who does not have it is not let in, and reads nothing.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass

from training_monitor.errors import SettingError
from training_monitor.settings import secret

__all__ = ["Keys", "key_path", "keys_of", "make_key", "read_key"]

_NAME = ".relay.key"
_LEAST_LENGTH = 16
# scrypt (RFC 7914): 16 MiB and some 50 ms for each guess at a secret that a person chose.
_COST = {"n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True, slots=True)
class Keys:
    """Both pairs, each key as 40 characters of Z85."""

    monitor_public: bytes
    monitor_secret: bytes
    relay_public: bytes
    relay_secret: bytes


def key_path(run_dir: str) -> str:
    """Return the file with the secret of a run."""
    return os.path.join(run_dir, _NAME)


def read_key(run_dir: str) -> str | None:
    """Return the secret of a run: TM_RELAY_KEY, else what the run directory holds, else None.

    Raises:
        SettingError: TM_RELAY_KEY is too short to be a secret.
    """
    given = secret("relay_key")
    if given is not None:
        if len(given) < _LEAST_LENGTH:
            raise SettingError(
                f"TM_RELAY_KEY has {len(given)} characters: expected {_LEAST_LENGTH} at least, as "
                "`openssl rand -hex 32` makes them"
            )
        return given
    try:
        with open(key_path(run_dir), encoding="ascii") as file:
            return file.read().strip() or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def make_key(run_dir: str) -> str:
    """Return the secret of a run, making one where there is none; only its owner can read it.

    Raises:
        OSError: The file cannot be made.
        SettingError: As `read_key`.
    """
    known = read_key(run_dir)
    if known is not None:
        return known
    path, draft = key_path(run_dir), f"{key_path(run_dir)}.{os.getpid()}"
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(file, 0o600)
        os.write(file, secrets.token_hex(32).encode() + b"\n")
        os.fsync(file)
    finally:
        os.close(file)
    try:
        # The first one counts.
        os.link(draft, path)
        os.unlink(draft)
    except FileExistsError:
        os.unlink(draft)
    except OSError:
        # A file system without links: there is one monitor, and it holds the lock of the run.
        os.replace(draft, path)
    made = read_key(run_dir)
    if made is None:
        raise OSError(f"cannot read {path!r} back")
    return made


def keys_of(text: str) -> Keys:
    """Return the keys that follow from a secret."""
    import zmq
    from zmq.utils import z85

    def pair(whose: bytes) -> tuple[bytes, bytes]:
        salt = b"training_monitor " + whose
        private = hashlib.scrypt(text.encode(), salt=salt, dklen=32, **_COST)
        encoded = z85.encode(private)
        return zmq.curve_public(encoded), encoded

    monitor_public, monitor_secret = pair(b"monitor")
    relay_public, relay_secret = pair(b"relay")
    return Keys(monitor_public, monitor_secret, relay_public, relay_secret)
