"""A process that is killed between decision and delivery, many times: nothing lost, none thrice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from harness.receiver import Answer, receiver

# Findings come from a list, as they are read from a database: from a position on. Each process is
# forked from one that has imported all, which saves the start of an interpreter per kill.
TELLER = """
import itertools, os, sys, time, traceback
import requests
from harness.findings import found
from training_monitor.notify.courier import Courier
from training_monitor.notify.desk import Desk
from training_monitor.notify.outbox import Outbox, Patience
from training_monitor.notify.outbox_file import FileStorage
from training_monitor.notify.policy import Rules
from training_monitor.notify.sinks.command import Command
from training_monitor.notify.sinks.log_file import LogFile
from training_monitor.notify.sinks.webhook import Webhook

directory, url, command = sys.argv[1:]

def tell(is_last):
    rules = Rules(warning_wait_secs=0, warnings_per_hour=1e6)
    sinks = [Webhook(url), LogFile(f"{directory}/alerts.log"), Command(command)]
    storage = FileStorage(f"{directory}/outbox", limit_bytes=100_000)
    patience = Patience(backoff_secs=(0.03,))
    outbox = Outbox(storage, [one.name for one in sinks], now=time.time(), patience=patience)
    courier = Courier(outbox, sinks)
    desk = Desk("run", outbox, f"{directory}/state", rules=rules, courier=courier)
    # The last one gives in again what was decided, but not known to be when the process died.
    first = desk.position or 0
    for number in [first] if is_last else itertools.count(first):
        desk.take([found(f"kind_{number}", at=number)], now=time.time(), position=number + 1)
        time.sleep(0.01)
    while not desk.is_idle():
        time.sleep(0.01)
    assert desk.close(within_secs=60)

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            tell(line == "end\\n")
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    print(pid, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
KILLS = 40


def test_kills_between_decision_and_delivery_lose_nothing_and_tell_nothing_thrice(
    tmp_path: Path,
) -> None:
    teller, on_alert, ran = (tmp_path / name for name in ("teller.py", "on_alert.sh", "ran"))
    teller.write_text(TELLER)
    on_alert.write_text(f'echo "$TM_ALERT_ID" >> {ran}\n')
    with receiver(Answer(200)) as server:
        argv = [sys.executable, str(teller), str(tmp_path), server.url, f"/bin/sh {on_alert}"]
        codes = play(argv)
        by_webhook = Counter(server.ids)

    logged = Counter(line.split()[2] for line in (tmp_path / "alerts.log").read_text().splitlines())
    by_command = Counter(ran.read_text().split())
    state = json.loads((tmp_path / "state").read_text())
    assert codes == [-signal.SIGKILL] * KILLS + [0]
    assert 5 <= state["position"] == state["policy"]["counts"]["told"] == len(logged)
    assert set(by_webhook) == set(by_command) == set(logged)
    assert max(logged.values()) == 1, "a file can be looked at"
    assert max(by_webhook.values()) <= 2
    assert max(by_command.values()) <= 2


def play(argv: list[str]) -> list[int]:
    """Kill the teller again and again, then let it finish; return how each of them ended."""
    generator = random.Random(5)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    codes: list[int] = []
    with subprocess.Popen(argv, env=env, text=True, **pipes) as process:  # type: ignore[call-overload]
        for kills_left in range(KILLS, -1, -1):
            process.stdin.write("go\n" if kills_left else "end\n")
            process.stdin.flush()
            pid = int(process.stdout.readline())
            if kills_left:
                # Where it ends by itself, which would be a failure, it says so on a line.
                select.select([process.stdout], [], [], generator.uniform(0.0, 0.1))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            word, code = process.stdout.readline().split()
            assert word == "ended"
            codes.append(int(code))
        process.stdin.close()
    return codes
