"""The flags of the commands: made from the table of settings, and those for secrets."""

from __future__ import annotations

import argparse
import os
import sys

from training_monitor.errors import shown
from training_monitor.kinds import Flag, Refused
from training_monitor.settings import SECRETS, TABLE, Settings, Unset, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from training_monitor.settings import Setting

__all__ = ["add_setting", "add_settings", "hide_secrets", "reader_of", "to_settings"]

_ALIASES: dict[str, tuple[str, ...]] = {"experiment_name": ("--experiment", "--experiment-name")}
_SECRET_FLAGS: dict[str, tuple[str, ...]] = {
    "openai_api_key": ("--openai-api-key",),
    "telegram_bot_token": ("--telegram-bot-token", "--token"),
    "telegram_chat_id": ("--telegram-chat-id", "--chat"),
    "alert_webhook": ("--alert-webhook",),
    "pushover_user_key": ("--pushover-user-key",),
    "pushover_app_token": ("--pushover-app-token",),
}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each setting that a monitor started by hand can have."""
    for row in TABLE.values():
        if not row.flag:
            continue
        add_setting(parser, row, default=Unset(row.name))
    secrets = parser.add_argument_group(
        "secrets", "Better set in the environment; these flags are moved there at once."
    )
    for name, names in _SECRET_FLAGS.items():
        secrets.add_argument(*names, dest=name, metavar="SECRET", help=f"sets {SECRETS[name][0]}")


def add_setting(
    parser: argparse.ArgumentParser, row: Setting[Any], *, default: object = None
) -> None:
    """Add the flag of one setting."""
    names = _ALIASES.get(row.name, ("--" + row.name.replace("_", "-"),))
    help_text = row.help + ("" if row.required else _default_text(row.default))
    common: dict[str, Any] = {"dest": row.name, "default": default, "help": help_text}
    if isinstance(row.kind, Flag):
        parser.add_argument(*names, action=argparse.BooleanOptionalAction, **common)
    else:
        parser.add_argument(*names, type=reader_of(row), metavar=_metavar(row), **common)


def to_settings(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the parsed flags, the environment and the defaults give."""
    return resolve({name: getattr(arguments, name, Unset(name)) for name in TABLE})


def hide_secrets(words: list[str]) -> list[str]:
    """Move secrets from the command line to the environment, and return the other words.

    A command line is visible to every user of the machine. When it held a secret, this process
    is replaced by one with a clean command line and does not return.
    """
    _, found = _split_secrets(words)
    if found:
        os.environ.update(found)
        sys.stdout.flush()
        argv, _ = _split_secrets(sys.orig_argv[1:])
        os.execv(sys.executable, [sys.executable, *argv])  # noqa: S606
    return words


def _split_secrets(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the words that are no secret, and the variables that the others set."""
    variables = {flag: SECRETS[name][0] for name, flags in _SECRET_FLAGS.items() for flag in flags}
    kept: list[str] = []
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag not in variables:
            kept.append(word)
        elif equals:
            found[variables[flag]] = value
        else:
            found[variables[flag]] = next(rest, "")
    return kept, found


def reader_of(row: Setting[Any]) -> Callable[[str], Any]:
    """Return what reads the flag of a setting, with the errors of argparse."""

    def read(text: str) -> Any:
        try:
            return row.kind.read(text)
        except Refused as refused:
            reason = f"{refused}; " if str(refused) else ""
            raise argparse.ArgumentTypeError(
                f"{shown(text)} is not valid: {reason}{row.kind.allowed}"
            ) from None

    return read


def _metavar(row: Setting[Any]) -> str:
    words = getattr(row.kind, "words", None) or getattr(
        getattr(row.kind, "kind", None), "words", None
    )
    if words:
        return "{" + ",".join(words) + "}"
    return {"experiment_name": "NAME", "gpus": "0,1"}.get(row.name, "VALUE")


def _default_text(default: object) -> str:
    if default is None:
        return ""
    word = {True: "on", False: "off"}.get(default) if isinstance(default, bool) else default
    return f" (default: {word})"
