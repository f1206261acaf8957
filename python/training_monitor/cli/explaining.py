"""What the commands share that ask a model."""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
from urllib.parse import urlsplit

from training_monitor.catalog import find_run, newest_run
from training_monitor.cli import render
from training_monitor.cli.flags import add_setting
from training_monitor.errors import SettingError, StoreError
from training_monitor.query import RunView
from training_monitor.settings import TABLE, Settings, Unset, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from training_monitor.analyses import Analysis
    from training_monitor.analysis.analyst import Analyst

__all__ = ["add_model", "analyst_of", "keep", "tell_notices"]

_MODEL = ("openai_model", "openai_base_url", "reasoning_effort", "privacy", "max_prompt_len",
          "sig_figs")  # fmt: skip
_BOUNDS = ("mode", "max_conversation_history_tokens", "llm_calls_per_hour", "llm_tokens_per_hour",
           "llm_cost_per_hour", "llm_price_in", "llm_price_out", "log_paths")  # fmt: skip
# Asked for once, when the run was started.
_NOT_KEPT = frozenset({"regenerate_code_analysis"})


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which model is asked, and how."""
    for name in _MODEL:
        add_setting(parser, TABLE[name], default=Unset(name))
    anew = TABLE["regenerate_code_analysis"]
    parser.add_argument(
        "--regenerate-code-analysis", action="store_const", const=True,
        default=Unset(anew.name), help=anew.help,
    )  # fmt: skip


def analyst_of(arguments: argparse.Namespace) -> tuple[str, Analyst]:
    """Return the run directory and its analyst.

    A flag counts more than the environment, and that more than what the run was started with.
    """
    from training_monitor.analysis.analyst import Analyst

    root = arguments.root_dir
    path = newest_run(root) if arguments.run is None else find_run(arguments.run, root)
    run_dir = os.path.dirname(path) if path.endswith(".db") else path
    settings = _settings_of(RunView(run_dir), arguments)
    return run_dir, Analyst(run_dir, settings, impatient=True)


def keep(run_dir: str, lines: bytes, analysis: Analysis | None = None) -> None:
    """Bring what was said into the database; where that fails it was printed all the same."""
    from training_monitor.analyses import write_down
    from training_monitor.monitor.inbox import hand_in

    try:
        if analysis is not None:
            write_down(run_dir, analysis)
        hand_in(run_dir, lines)
    except (OSError, StoreError, ValueError) as error:
        print(render.safe(f"not kept with the run: {error}"), file=sys.stderr)


def tell_notices(analyst: Analyst) -> None:
    """Print what people should know of trouble with the model."""
    for notice in analyst.notices():
        print(render.safe(notice), file=sys.stderr)


def _settings_of(view: RunView, arguments: argparse.Namespace) -> Settings:
    recorded = view.launch.get("settings")
    known: dict[str, Any] = dict(recorded) if isinstance(recorded, dict) else {}
    given: dict[str, Any] = {"experiment_name": view.name}
    if os.environ.get("OPENAI_BASE_URL"):
        known.pop("openai_base_url", None)
    _check_address(known, arguments)
    for name in (*_MODEL, "regenerate_code_analysis", *_BOUNDS):
        flag = getattr(arguments, name, Unset(name))
        if not isinstance(flag, Unset):
            given[name] = flag
        elif not os.environ.get(TABLE[name].variable) and name in known and name not in _NOT_KEPT:
            try:
                given[name] = TABLE[name].take(known[name])
            except SettingError:
                if name in ("mode", "privacy"):
                    raise  # what must not leave is not guessed
                continue  # a later version may have written it
    return resolve(given)


def _check_address(known: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Refuse an address that only the run names: somebody else may have recorded it."""
    address = known.get("openai_base_url")
    is_given = not isinstance(arguments.openai_base_url, Unset) or bool(
        os.environ.get(TABLE["openai_base_url"].variable)
    )
    if not is_given and isinstance(address, str) and not _is_loopback(address):
        raise SettingError(
            f"the run was recorded with openai_base_url={address!r}: to send anything there, name "
            "it with --openai-base-url"
        )


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
