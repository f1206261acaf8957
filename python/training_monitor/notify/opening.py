"""Open the desk of a run: its files, the sinks that the settings name, and what was left."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from training_monitor.notify.courier import Courier
from training_monitor.notify.desk import Desk
from training_monitor.notify.outbox import Outbox
from training_monitor.notify.outbox_file import FileStorage
from training_monitor.notify.policy import Rules
from training_monitor.notify.sinks.command import Command
from training_monitor.notify.sinks.log_file import LogFile
from training_monitor.notify.sinks.terminal import Terminal
from training_monitor.notify.sinks.webhook import Webhook
from training_monitor.settings import secret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from training_monitor.notify.sinks.sink import Sink
    from training_monitor.settings import Settings

__all__ = ["LOG", "OUTBOX", "STATE", "open_desk"]

# In the run directory; `rust/core/src/belongings.rs` knows them too.
LOG = "training_monitor.alerts.log"
OUTBOX = ".alerts.outbox"
STATE = ".alerts.state"


def open_desk(
    run_dir: str,
    run: str,
    settings: Settings,
    *,
    is_foreground: bool = False,
    further: Sequence[Sink] = (),
    now: Callable[[], float] = time.time,
) -> Desk:
    """Open the desk of a run, which one process at a time can have, and start to deliver.

    Args:
        run_dir: The run directory.
        run: The name of the run.
        settings: With the bounds and the command; the webhook is a secret of the environment.
            In `mode="offline"` nothing leaves the machine.
        is_foreground: Whether alerts are printed: not where a training has the terminal.
        further: Sinks of other rooms.
        now: The wall clock.

    Raises:
        OutboxHeldError: Another process has it.
        OSError: The run directory cannot be written.
    """
    sinks: list[Sink] = [LogFile(os.path.join(run_dir, LOG)), *further]
    if is_foreground:
        sinks.append(Terminal())
    if settings.mode == "online":
        if settings.alert_command is not None:
            sinks.append(Command(settings.alert_command))
        if (webhook := secret("alert_webhook")) is not None:
            sinks.append(Webhook(webhook))
    storage = FileStorage(os.path.join(run_dir, OUTBOX))
    outbox = Outbox(storage, [sink.name for sink in sinks], now=now())
    rules = Rules(
        cooldown_secs=60 * settings.alert_cooldown_min,
        warnings_per_hour=settings.alerts_per_hour,
        criticals_per_hour=max(20, 2 * settings.alerts_per_hour),
    )
    courier = Courier(outbox, sinks, now=now)
    return Desk(run, outbox, os.path.join(run_dir, STATE), rules=rules, courier=courier)
