"""The lines about the machine in `status` and `show`, and what --json says of it."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass, field

from training_monitor import _core
from training_monitor.cli import render
from training_monitor.errors import StoreError
from training_monitor.found import all_findings
from training_monitor.machine import Finding, Latest, latest
from training_monitor.stacks import Stack, read_stacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Seen", "look", "machine_facts", "machine_lines"]

# What was sampled longer ago does not tell how the machine is.
_FRESH_SECS = 120.0
_SHOWN_GPUS = 16
_SHOWN_STACKS = 16
_SHOWN_FRAMES = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the machine of a run, and of where its ranks hang.

    Attributes:
        sources: The newest numbers of each source.
        findings: All of them, those of the metrics too.
        stacks: The Python stacks that belong to a finding that stands.
    """

    sources: list[Latest] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    stacks: list[Stack] = field(default_factory=list)


def look(path: str) -> Seen:
    """Return what is known of the machine of a run; nothing where nothing can be read."""
    try:
        reader = _core.RunReader(path)
        findings = all_findings(reader)
        taken = {finding.stacks for finding in findings if finding.stands}
        stacks = [stack for stack in read_stacks(reader) if stack.time in taken]
        return Seen(latest(reader), findings, stacks)
    except (FileNotFoundError, StoreError):
        return Seen()


def machine_facts(seen: Seen) -> dict[str, Any]:
    """Return the same for JSON."""
    return {
        "system": [asdict(source) for source in seen.sources],
        "findings": [asdict(finding) for finding in seen.findings],
        "stacks": [asdict(stack) | {"frames": stack.frames} for stack in seen.stacks],
    }


def machine_lines(seen: Seen) -> list[tuple[str, str]]:
    """Return a few lines about the machine, each with the word in front of it."""
    lines = _source_lines(seen.sources)
    lines += [
        (finding.source, finding.text)
        for finding in seen.findings
        if finding.stands and finding.by != "detector"
    ]
    for stack in seen.stacks[:_SHOWN_STACKS]:
        where = " < ".join(stack.frames[:_SHOWN_FRAMES]) or "in no Python code"
        lines.append((f"rank{stack.rank} is in", where))
    if len(seen.stacks) > _SHOWN_STACKS:
        lines.append(("stacks", f"of {len(seen.stacks) - _SHOWN_STACKS} more ranks: r.stacks()"))
    return lines


def _source_lines(sources: list[Latest]) -> list[tuple[str, str]]:
    hosts = {source.host for source in sources}
    lines = []
    for source in sorted(sources, key=_place):
        prefix = f"{source.host} " if len(hosts) > 1 else ""
        shown = _line(source)
        if shown:
            age = time.time() - source.time
            late = f"  ({render.in_seconds(age)} ago)" if age > _FRESH_SECS else ""
            lines.append((prefix + source.source, shown + late))
    gpus = [line for line in lines if "gpu" in line[0]]
    if len(gpus) > _SHOWN_GPUS:
        hidden = set(gpus[_SHOWN_GPUS:])
        lines = [line for line in lines if line not in hidden]
        lines.append(("gpus", f"and {len(hidden)} more"))
    return lines


def _place(source: Latest) -> tuple[str, int, list[object]]:
    """Return the sorting key: by host, the whole before its parts, gpu2 before gpu10."""
    order = ("host", "cgroup", "disk", "rank", "gpu")
    digits = [int(part) for part in re.findall(r"\d+", source.source)]
    return source.host, order.index(_kind(source)) if _kind(source) in order else 9, [*digits]


def _kind(source: Latest) -> str:
    return re.split(r"[\d:/]", source.source, maxsplit=1)[0]


def _line(source: Latest) -> str:
    numbers, kind = source.numbers, _kind(source)
    if kind == "gpu":
        return _gpu(source)
    if kind == "host":
        parts = [
            _of(numbers, "cpu_percent", "CPU {:.0f} %"),
            _of(numbers, "cpu_cores", "of {:.0f} cores", " "),
            _sizes(numbers, "memory", "RAM"),
            _sizes(numbers, "swap", "swap") if numbers.get("swap_used_bytes") else "",
        ]
    elif kind == "cgroup":
        parts = [
            _of(numbers, "cpu_percent", "CPU {:.0f} %"),
            _of(numbers, "cpu_limit_cores", "of {:g} cores", " "),
            f"RAM {render.in_bytes(int(numbers['memory_used_bytes']))} of "
            f"{render.in_bytes(int(numbers['memory_limit_bytes']))}"
            if {"memory_used_bytes", "memory_limit_bytes"} <= numbers.keys()
            else "",
        ]
    elif kind == "disk":
        parts = [f"{render.in_bytes(int(numbers.get('free_bytes', 0)))} free"]
    elif kind == "rank":
        parts = [
            _of(numbers, "cpu_percent", "CPU {:.0f} %"),
            _of_bytes(numbers, "tree_rss_bytes", "RAM"),
            _of(numbers, "threads", "threads {:.0f}"),
        ]
    else:
        return ""
    return _joined(parts)


def _gpu(source: Latest) -> str:
    if "/rank" in source.source:
        return ""
    numbers = source.numbers
    throttled = [
        name.removeprefix("throttle_").replace("_", " ")
        for name, value in sorted(numbers.items())
        if name.startswith("throttle_") and value
    ]
    parts = [
        str(source.facts.get("name", "")),
        _of(numbers, "utilization_percent", "{:.0f} %"),
        _sizes(numbers, "memory", ""),
        _of(numbers, "temperature_celsius", "{:.0f} C"),
        _of(numbers, "power_watts", "{:.0f} W"),
        _of(numbers, "power_limit_watts", "of {:.0f} W", " "),
        f"held back: {', '.join(throttled)}" if throttled else "",
    ]
    return _joined(parts)


def _joined(parts: list[str]) -> str:
    """Put parts side by side; one that begins with a blank belongs to the one before."""
    text, before = "", ""
    for part in parts:
        if part and (before or not part.startswith(" ")):
            text += part if part.startswith(" ") or not text else f", {part}"
        before = part
    return text


def _of(numbers: dict[str, float], name: str, text: str, before: str = "") -> str:
    return before + text.format(numbers[name]) if name in numbers else ""


def _of_bytes(numbers: dict[str, float], name: str, word: str) -> str:
    """Say nothing of a process that is gone and holds none."""
    count = int(numbers.get(name, 0))
    return f"{word} {render.in_bytes(count)}" if count else ""


def _sizes(numbers: dict[str, float], what: str, word: str) -> str:
    used, total = numbers.get(f"{what}_used_bytes"), numbers.get(f"{what}_total_bytes")
    if used is None or total is None:
        return ""
    text = f"{render.in_bytes(int(used))} of {render.in_bytes(int(total))}"
    return f"{word} {text}" if word else text
