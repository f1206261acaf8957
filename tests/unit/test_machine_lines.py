"""The lines of `status` about the machine say nothing by half."""

from __future__ import annotations

import time

from training_monitor.cli.machine import Seen, machine_lines
from training_monitor.machine import Latest


def line_of(source: str, **numbers: float) -> str:
    ((_, text),) = machine_lines(Seen([Latest("h", source, time.time(), {}, numbers)]))
    return text


def test_cores_are_named_beside_what_is_used_of_them_only() -> None:
    memory = {"memory_used_bytes": 2.0**30, "memory_total_bytes": 2.0**31}
    assert line_of("host", cpu_cores=2, **memory) == "RAM 1.0 GiB of 2.0 GiB"
    both = line_of("host", cpu_percent=50, cpu_cores=2, **memory)
    assert both == "CPU 50 % of 2 cores, RAM 1.0 GiB of 2.0 GiB"


def test_a_rank_that_is_gone_holds_no_memory_worth_telling() -> None:
    assert line_of("rank0", cpu_percent=2, tree_rss_bytes=0, threads=1) == "CPU 2 %, threads 1"
    assert line_of("rank0", tree_rss_bytes=2**30) == "RAM 1.0 GiB"
