"""A process that is killed between decision and delivery, many times: nothing lost, none thrice."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from harness import processes
from harness.receiver import Answer, receiver

# Findings come from a list, as the brain reads them from the database: from a position on.
TELLER = """
import sys, time
from harness.findings import START, found
from training_monitor.notify.courier import Courier
from training_monitor.notify.desk import Desk
from training_monitor.notify.outbox import Outbox, Patience
from training_monitor.notify.outbox_file import FileStorage
from training_monitor.notify.policy import Rules
from training_monitor.notify.sinks.command import Command
from training_monitor.notify.sinks.log_file import LogFile
from training_monitor.notify.sinks.webhook import Webhook

directory, url, command, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
rules = Rules(warning_wait_secs=0, warnings_per_hour=1e6)
sinks = [Webhook(url), LogFile(f"{directory}/alerts.log"), Command(command)]
storage = FileStorage(f"{directory}/outbox")
names = [sink.name for sink in sinks]
patience = Patience(backoff_secs=(0.03,))
outbox = Outbox(storage, names, now=time.time(), patience=patience)
desk = Desk("run", outbox, f"{directory}/state", rules=rules)
courier = Courier(outbox, sinks)
print("up", flush=True)
for number in range(desk.position or 0, count):
    finding = found(f"kind_{number}", at=number)
    desk.take([finding], now=time.time(), position=number + 1)
    courier.wake()
    time.sleep(0.004)
while any(one.waiting for one in outbox.health().values()):
    time.sleep(0.01)
courier.close(within_secs=60)
print("done", flush=True)
"""
ALERTS = 100
KILLS = 30


def test_kills_between_decision_and_delivery_lose_nothing_and_tell_nothing_thrice(
    tmp_path: Path,
) -> None:
    generator = random.Random(5)
    ran = tmp_path / "ran"
    teller = tmp_path / "teller.py"
    teller.write_text(TELLER)
    on_alert = tmp_path / "on_alert.sh"
    on_alert.write_text(f'echo "$TM_ALERT_ID" >> {ran}\n')
    tests = Path(__file__).resolve().parents[1]
    env = {**os.environ, "PYTHONPATH": str(tests)}
    kills = 0
    with receiver(Answer(200)) as server:
        argv = [
            *(sys.executable, str(teller), str(tmp_path)),
            *(server.url, f"/bin/sh {on_alert}", str(ALERTS)),
        ]
        while True:
            process = processes.start_prepared(argv, env)
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            if kills >= KILLS:
                assert processes.finish(process) == "done\n"
                break
            try:
                process.wait(generator.uniform(0.0, 0.12))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
            process.communicate()
        by_webhook = Counter(server.ids)

    logged = Counter(line.split()[2] for line in (tmp_path / "alerts.log").read_text().splitlines())
    by_command = Counter(ran.read_text().split())
    state = json.loads((tmp_path / "state").read_text())
    assert kills == KILLS
    assert state["policy"]["counts"]["told"] == ALERTS
    assert set(by_webhook) == set(logged) == set(by_command)
    assert len(logged) == ALERTS
    assert max(logged.values()) == 1, "a file can be looked at"
    assert max(by_webhook.values()) <= 2
    assert max(by_command.values()) <= 2
