"""An address that only a recorded run names gets nothing, unless it is this machine."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from training_monitor.cli.explaining import _settings_of
from training_monitor.errors import SettingError
from training_monitor.settings import Unset


class View:
    """A run that was recorded with some settings."""

    name = "run"

    def __init__(self, **recorded: Any) -> None:
        self.launch = {"settings": recorded}


def flags(**given: str) -> argparse.Namespace:
    unset = {name: Unset(name) for name in ("openai_base_url", "privacy")}
    return argparse.Namespace(**unset | given)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "TM_OPENAI_BASE_URL", "TM_PRIVACY", "TM_MODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "address",
    ["https://evil.example/v1", "http://127.0.0.1.evil.example/v1", "http://localhost.evil.example",
     "http://10.0.0.7:8000/v1", "http://[2001:db8::1]/v1"],
)  # fmt: skip
def test_another_machine_is_refused_until_it_is_named(address: str) -> None:
    view = View(openai_base_url=address)
    with pytest.raises(SettingError, match="--openai-base-url"):
        _settings_of(view, flags())  # type: ignore[arg-type]
    named = _settings_of(view, flags(openai_base_url=address))  # type: ignore[arg-type]
    assert named.openai_base_url == address


@pytest.mark.parametrize("host", ["localhost:11434", "127.0.0.1:8000", "127.9.9.9", "[::1]:8080"])
def test_this_machine_is_taken_over(host: str) -> None:
    address = f"http://{host}/v1"
    found = _settings_of(View(openai_base_url=address), flags())  # type: ignore[arg-type]
    assert found.openai_base_url == address


def test_what_the_run_said_of_privacy_holds() -> None:
    found = _settings_of(View(privacy="numbers-only", mode="offline"), flags())  # type: ignore[arg-type]
    assert (found.privacy, found.mode) == ("numbers-only", "offline")
    found = _settings_of(View(privacy="no-code"), flags(privacy="full"))  # type: ignore[arg-type]
    assert found.privacy == "full"


def test_a_privacy_that_is_not_known_is_no_full_one() -> None:
    with pytest.raises(SettingError, match="privacy"):
        _settings_of(View(privacy="of a later version"), flags())  # type: ignore[arg-type]
