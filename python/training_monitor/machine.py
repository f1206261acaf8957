"""The metrics of the machine as a reader sees them: by name, as arrays, and in a few lines."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from math import nan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from training_monitor import _core

__all__ = [
    "WELL",
    "Finding",
    "Latest",
    "SystemSeries",
    "count_samples",
    "is_of_the_machine",
    "latest",
    "read_all",
    "read_findings",
    "read_one",
    "unresolved",
]

# Findings that say that nothing is wrong, any more or at all.
WELL = frozenset({"gpu_back", "no_gpu", "over", "probe_back", "ranks_unknown"})


@dataclass(frozen=True, slots=True, eq=False)
class SystemSeries:
    """One number of the machine over time, as arrays of one length.

    Attributes:
        name: Source and metric, as gpu0/power_watts; the host stands before it if there are more.
        host: The machine.
        time: Wall clock, in seconds since 1970, ascending.
        value: The samples; of minutes that are older than a day the mean.
        low: The least value behind each; below `value` only for such minutes.
        high: The greatest value behind each.
    """

    name: str
    host: str
    time: NDArray[np.float64]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time)

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame with a row per point; pandas must be installed."""
        from training_monitor.frames import to_pandas

        return to_pandas({name: getattr(self, name) for name in ("time", "value", "low", "high")})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a run that a person should know.

    Attributes:
        time: Wall clock, in seconds since 1970.
        host: The machine; empty for what the metrics show.
        source: What it is about: a metric; or as gpu0; rank3/end, or steps that do not come any
            more.
        name: In one word, as spike or gpu_lost.
        text: For people.
        by: Who found it: "ingest", the name of a probe, or "detector".
        stands: Whether that is so still: the last word about its source, not older than a sample
            of it, and of a machine that the newest attempt samples.
        stacks: When the Python stacks were taken that belong to it, the time of those in
            `r.stacks()`; None: there are none.
        severity: info, warning or critical.
        advice: What to do.
        rank: The rank whose points show it; None: it belongs to none.
        step: The step at which it was found; None: it belongs to none.
        since: The step at which it began.
        value: What was seen.
        reference: What was expected.
        sigma: How far one is from the other, in standard deviations of the noise.
        threshold: The bound that was crossed.
        over: Whether this says that an earlier one of this name, source and rank is over.
    """

    time: float
    host: str
    source: str
    name: str
    text: str
    by: str = ""
    stands: bool = False
    stacks: float | None = None
    severity: str = "warning"
    advice: str = ""
    rank: int | None = None
    step: int | None = None
    since: int | None = None
    value: float = nan
    reference: float = nan
    sigma: float = nan
    threshold: float = nan
    over: bool = False


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest numbers of one source.

    Attributes:
        host: The machine.
        source: host, cgroup, disk:run, gpu0, rank0.
        time: Wall clock of the newest, in seconds since 1970.
        facts: What does not change, as the name of a GPU.
        numbers: The value of each metric that came with the newest look.
    """

    host: str
    source: str
    time: float
    facts: dict[str, Any]
    numbers: dict[str, float]


def latest(reader: _core.RunReader) -> list[Latest]:
    """Return the newest numbers of each source, by host and source."""
    by_source: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in reader.system_latest():
        by_source.setdefault((row["host"], row["source"]), []).append(row)
    found = []
    for (host, source), rows in by_source.items():
        newest = max(row["time"] for row in rows)
        facts = json.loads(rows[0]["facts"]) if rows[0]["facts"] else {}
        # A metric that is not reported any more does not belong to this moment.
        numbers = {row["metric"]: row["value"] for row in rows if row["time"] == newest}
        found.append(Latest(host, source, newest, facts, numbers))
    return found


def read_all(
    reader: _core.RunReader, *, since: float | None, max_points: int | None
) -> dict[str, SystemSeries]:
    """Return every series by its name."""
    return {
        name: _read(reader, name, row, since, max_points)
        for name, row in _named(reader.system_latest()).items()
    }


def read_one(
    reader: _core.RunReader, metric: str, *, since: float | None, max_points: int | None
) -> SystemSeries:
    """Return the series that a name means.

    Raises:
        KeyError: There is no such series, or several.
    """
    named = _named(reader.system_latest())
    meant = [metric] if metric in named else [n for n in named if n.endswith(f"/{metric}")]
    if len(meant) == 1:
        return _read(reader, meant[0], named[meant[0]], since, max_points)
    if meant:
        raise KeyError(f"{metric!r} may be any of {', '.join(sorted(meant))}")
    known = sorted({row["metric"] for row in named.values()})
    raise KeyError(
        f"no system metric {metric!r}; there are: {', '.join(known)}"
        if known
        else f"no system metric {metric!r}: this run has no samples of its machine"
    )


def count_samples(reader: _core.RunReader, *, since: float) -> int:
    """Return how many samples all sources gave from a time on, without reading them as arrays."""
    one_of = {(row["host"], row["source"]): row for row in reader.system_latest()}
    columns = (
        reader.system(row["host"], row["source"], row["metric"], since=since)[0]
        for row in one_of.values()
        if row["time"] >= since
    )
    return sum(len(times) // 8 for times in columns)


def read_findings(reader: _core.RunReader) -> list[Finding]:
    """Return the findings, the oldest first."""
    found = []
    for time, detail in reader.findings():
        facts = json.loads(detail)
        host, source, name, text = (
            str(facts.get(field, "")) for field in ("host", "source", "finding", "text")
        )
        taken_ns = facts.get("stacks_ns")
        stacks = None if taken_ns is None else taken_ns / 1e9
        by = str(facts.get("by") or _found_by(source))
        found.append(Finding(time, host, source, name, text, by, stacks=stacks))
    # By identity: two rows of one millisecond may be equal.
    last = {id(finding) for finding in unresolved(found)}
    if not last:
        return found
    sampled: dict[tuple[str, str], float] = {}
    for row in reader.system_latest():
        for source in (row["source"], ""):
            key = (row["host"], source)
            sampled[key] = max(sampled.get(key, 0.0), row["time"])
    began = max((attempt["started"] for attempt in reader.attempts()), default=0.0)
    return [
        replace(finding, stands=id(finding) in last and _stands(finding, sampled, began))
        for finding in found
    ]


def is_of_the_machine(finding: Finding) -> bool:
    """Return whether a probe found it; ends of trainers and their silence are found by ingest."""
    return finding.by != "ingest"


def _found_by(source: str) -> str:
    """Return who found what is about a source, where the row does not say it, as older ones."""
    if source == "steps" or source.endswith("/end"):
        return "ingest"
    return "gpu" if source.startswith("gpu") else source


def unresolved(findings: Iterable[Finding]) -> list[Finding]:
    """Return the last finding about each source, unless it says that nothing is wrong."""
    last = {(finding.host, finding.source): finding for finding in findings}
    return [finding for finding in last.values() if finding.name not in WELL]


def _stands(finding: Finding, sampled: dict[tuple[str, str], float], began: float) -> bool:
    """Return whether nothing newer contradicts a finding.

    Args:
        finding: The last one about its source.
        sampled: When each source of each host was sampled last; under "" any of that host.
        began: When the newest attempt did.
    """
    if sampled.get((finding.host, finding.source), 0.0) > finding.time:
        return False
    if not is_of_the_machine(finding):
        return finding.time >= began
    # An attempt on another machine, or without samples: nobody looks there any more.
    return finding.time >= began or sampled.get((finding.host, ""), 0.0) >= began


def _named(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the series by name; with several hosts the name begins with that of the host."""
    rows = list(rows)
    several = len({row["host"] for row in rows}) > 1
    return {
        (f"{row['host']}:" if several else "") + f"{row['source']}/{row['metric']}": row
        for row in rows
    }


def _read(
    reader: _core.RunReader,
    name: str,
    row: dict[str, Any],
    since: float | None,
    max_points: int | None,
) -> SystemSeries:
    import numpy as np

    time, value, low, high = (
        np.frombuffer(column, np.float64)
        for column in reader.system(
            row["host"], row["source"], row["metric"], since=since, max_points=max_points
        )
    )
    return SystemSeries(name, row["host"], time, value, low, high)
