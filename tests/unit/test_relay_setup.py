"""How a relay finds the monitor of its run, and who may come in."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import zmq

from harness.processes import training_monitor
from training_monitor.errors import SettingError
from training_monitor.job import find_job
from training_monitor.monitor.endpoint import address_of, bind, candidates, publish, withdraw
from training_monitor.monitor.keys import key_path, keys_of, make_key, read_key


@pytest.mark.parametrize(
    ("environ", "on_first_node"),
    [
        ({}, True),
        ({"RANK": "0", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}, True),
        ({"RANK": "3", "WORLD_SIZE": "16", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "8"}, True),
        ({"RANK": "8", "WORLD_SIZE": "16", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "8"}, False),
        ({"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "8"}, False),
        # Where the launcher numbers the nodes, it knows better.
        ({"RANK": "8", "WORLD_SIZE": "16", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),
        ({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "GROUP_RANK": "1"}, False),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4"}, True),
        # Nobody says where it is: as if on one node.
        ({"RANK": "1", "WORLD_SIZE": "4"}, True),
    ],
)
def test_only_nodes_without_rank_0_need_a_relay(
    environ: dict[str, str], on_first_node: bool
) -> None:
    assert find_job(1, environ).on_first_node is on_first_node


def test_an_address_is_a_host_with_or_without_a_port() -> None:
    assert address_of("node0") == ("node0", 0)
    assert address_of("tcp://10.0.0.1:5556") == ("10.0.0.1", 5556)
    assert address_of("[fe80::1]:5555") == ("fe80::1", 5555)
    for wrong in ("", "node0:port", "node0:99999", "a b:1", "http://node0:1/x", "a:5555:3", "::1"):
        with pytest.raises(SettingError, match="expected host"):
            address_of(wrong)


def test_the_surest_address_comes_first(tmp_path: Path) -> None:
    environ = {"MASTER_ADDR": "node0", "TM_ZMQ_PORT": "7000"}
    # The next free port is taken when the first is not: a relay looks there as well.
    assert candidates(str(tmp_path), environ)[:2] == [("node0", 7000), ("node0", 7001)]
    publish(str(tmp_path), "10.0.0.9", 7003)
    assert candidates(str(tmp_path), environ)[:2] == [("10.0.0.9", 7003), ("node0", 7000)]
    environ["TM_MONITOR_ADDRESS"] = "gateway:9999"
    assert candidates(str(tmp_path), environ) == [("gateway", 9999), ("10.0.0.9", 7003)]
    withdraw(str(tmp_path))
    assert candidates(str(tmp_path), {}) == []


def test_what_is_published_can_be_reached_from_outside(tmp_path: Path) -> None:
    publish(str(tmp_path), "*", 5555)
    facts = json.loads((tmp_path / ".endpoint.json").read_text())
    assert facts["pid"] == os.getpid()
    assert "*" not in facts["addresses"]
    assert facts["addresses"]


def test_a_port_that_is_taken_is_passed_over() -> None:
    context = zmq.Context()
    first, second = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    try:
        port = bind(first, "127.0.0.1", 0)
        assert port < bind(second, "127.0.0.1", port) <= port + 15
    finally:
        context.destroy(linger=0)


def test_the_secret_of_a_run_is_made_once_and_private(tmp_path: Path) -> None:
    made = make_key(str(tmp_path))
    assert make_key(str(tmp_path)) == read_key(str(tmp_path)) == made
    assert len(made) == 64
    assert stat.S_IMODE(os.stat(key_path(str(tmp_path))).st_mode) == 0o600
    assert [name for name in os.listdir(tmp_path) if "relay" in name] == [".relay.key"]


def test_the_environment_has_the_last_word_about_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(str(tmp_path))
    monkeypatch.setenv("TM_RELAY_KEY", "sixteen-letters!")
    assert make_key(str(tmp_path)) == "sixteen-letters!"
    monkeypatch.setenv("TM_RELAY_KEY", "short")
    with pytest.raises(SettingError, match=r"5 characters: expected 16") as refused:
        read_key(str(tmp_path))
    assert "short" not in str(refused.value).replace("too short", "")


def test_keys_follow_from_the_secret_and_differ_by_side() -> None:
    keys = keys_of("a secret of some length")
    assert keys == keys_of("a secret of some length")
    assert (
        len({keys.monitor_public, keys.monitor_secret, keys.relay_public, keys.relay_secret}) == 4
    )
    assert keys.relay_public != keys_of("another secret of some length").relay_public


def test_a_relay_by_hand_says_what_it_lacks(root: Path) -> None:
    (root / "run" / ".spool").mkdir(parents=True)
    asked = training_monitor("relay", "run", "--root-dir", root)
    assert asked.returncode == 1
    assert "--connect HOST[:PORT]" in asked.stderr
    asked = training_monitor("relay", "run", "--root-dir", root, "--connect", "host:1")
    assert "TM_RELAY_KEY" in asked.stderr
    asked = training_monitor("relay", "run", "--root-dir", root, "--connect", "host:x")
    assert "'host:x' is no address" in asked.stderr
