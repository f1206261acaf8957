"""Where the monitor of a run listens for relays, and where a relay looks for it."""

from __future__ import annotations

import contextlib
import json
import os
import socket

from training_monitor.errors import SettingError, shown
from training_monitor.job import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    import zmq

__all__ = ["bind", "candidates", "endpoint_path", "publish", "withdraw", "works_here"]

_NAME = ".endpoint.json"
# When a port is taken, the next ones are tried; a relay that knows only the first looks there too.
PORTS_TRIED = 16
DEFAULT_PORT = 5555
LOOPBACK = "127.0.0.1"


def endpoint_path(run_dir: str) -> str:
    """Return the file that tells where the monitor of a run listens."""
    return os.path.join(run_dir, _NAME)


def bind(router: zmq.Socket[bytes], host: str, port: int) -> int:
    """Bind to the port, or the next free one; return it. Port 0 is any free one.

    Raises:
        OSError: The address is none of this machine, or there is no free port.
    """
    import zmq

    wanted = range(port, min(port + PORTS_TRIED, 65536)) if port else [0]
    for number in (*wanted, 0):
        try:
            router.bind(f"tcp://{host}:{number or '*'}")
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE and number:
                continue
            raise OSError(error.errno, f"cannot listen on {host}:{number}: {error}") from error
        address = router.getsockopt_string(zmq.LAST_ENDPOINT)
        return int(address.rpartition(":")[2])
    raise OSError("no port is free")


def publish(run_dir: str, host: str, port: int) -> None:
    """Write down where we listen, for whoever shares the run directory.

    Raises:
        OSError: The file cannot be written.
    """
    is_any = host in ("*", "0.0.0.0", "[::]")  # noqa: S104 -- a comparison
    addresses = _own_addresses() if is_any else [host]
    facts = {"port": port, "addresses": addresses, "pid": os.getpid(), "machine": _machine()}
    path, draft = endpoint_path(run_dir), f"{endpoint_path(run_dir)}.{os.getpid()}"
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w", encoding="utf-8") as text:
        text.write(json.dumps(facts) + "\n")
    os.replace(draft, path)


def works_here(run_dir: str) -> bool:
    """Return whether the monitor that listens for a run is a process that can be seen from here.

    Nodes may share the run directory; a process id alone says nothing about another one.
    """
    try:
        with open(endpoint_path(run_dir), encoding="utf-8") as file:
            facts = json.load(file)
        return facts["machine"] == _machine() and os.path.isdir(f"/proc/{int(facts['pid'])}")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _machine() -> list[str]:
    """Return what tells this machine, and who sees its processes, from all others."""
    return [Process.current().boot_id, os.readlink("/proc/self/ns/pid")]


def withdraw(run_dir: str) -> None:
    """Say no longer that anybody listens, unless somebody else does by now."""
    with contextlib.suppress(OSError, ValueError):
        with open(endpoint_path(run_dir), encoding="utf-8") as file:
            facts = json.load(file)
        if facts.get("pid") == os.getpid():
            os.unlink(endpoint_path(run_dir))


def candidates(run_dir: str, environ: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the addresses at which the monitor may listen, the surest first.

    Raises:
        SettingError: TM_MONITOR_ADDRESS is no address.
    """
    port = _number(environ.get("TM_ZMQ_PORT", "")) or DEFAULT_PORT
    found: list[tuple[str, int]] = []
    given = environ.get("TM_MONITOR_ADDRESS", "")
    if given:
        host, number = address_of(given)
        found += [(host, number)] if number else _from(host, port)
    found += _published(run_dir)
    if not given and environ.get("MASTER_ADDR"):
        found += _from(environ["MASTER_ADDR"], port)
    return list(dict.fromkeys(found))


def address_of(text: str) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port`` or ``tcp://host:port``; port 0: none given.

    Raises:
        SettingError: It is none of these.
    """
    plain = text.strip().removeprefix("tcp://")
    host, colon, number = plain.rpartition(":")
    if not colon or plain.endswith("]"):
        host, number = plain, "0"
    port = _number(number)
    is_odd = any(char.isspace() or char in "/,;" for char in host)
    if not host or port is None or is_odd or (":" in host and not host.startswith("[")):
        raise SettingError(
            f"{shown(text)} is no address of a monitor: expected host, host:port or tcp://host:port"
        )
    return host.strip("[]"), port


def _from(host: str, port: int) -> list[tuple[str, int]]:
    return [(host, number) for number in range(port, min(port + PORTS_TRIED, 65536))]


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and int(text) <= 65535 else None


def _published(run_dir: str) -> list[tuple[str, int]]:
    try:
        with open(endpoint_path(run_dir), encoding="utf-8") as file:
            facts = json.load(file)
        return [(str(address), int(facts["port"])) for address in facts["addresses"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _own_addresses() -> list[str]:
    """Return names and numbers by which other machines may reach this one."""
    name = socket.gethostname()
    found = [name]
    with contextlib.suppress(OSError):
        found += [str(row[4][0]) for row in socket.getaddrinfo(name, None, socket.AF_INET)]
    # The address of the way out, where a name leads to loopback: no packet is sent for this.
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(("192.0.2.1", 9))
        found.append(way.getsockname()[0])
    kept = [address for address in dict.fromkeys(found) if not address.startswith("127.")]
    return kept or [LOOPBACK]
