"""What a probe has seen, with units in the names; None is what the machine does not tell."""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Sample: TypeAlias = "HostSample | CgroupSample | DiskSample | TrainerSample | GpuSample"

__all__ = [
    "CgroupSample",
    "DiskSample",
    "Finding",
    "GpuFacts",
    "GpuSample",
    "HostSample",
    "Look",
    "TrainerSample",
    "numbers_of",
]


@dataclass(frozen=True, slots=True)
class HostSample:
    """The whole machine; rates are since the sample before."""

    cpu_percent: float | None
    cpu_cores: int
    load_1min: float
    memory_used_bytes: int
    memory_total_bytes: int
    memory_percent: float
    swap_used_bytes: int
    swap_total_bytes: int
    network_received_bytes_per_sec: float | None
    network_sent_bytes_per_sec: float | None


@dataclass(frozen=True, slots=True)
class CgroupSample:
    """What the container or the job may use, and does; a limit of None is none."""

    cpu_limit_cores: float | None = None
    cpu_used_cores: float | None = None
    cpu_percent: float | None = None
    cpu_throttled_percent: float | None = None
    memory_limit_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_percent: float | None = None


@dataclass(frozen=True, slots=True)
class DiskSample:
    """One file system."""

    used_bytes: int
    free_bytes: int
    total_bytes: int
    percent: float


@dataclass(frozen=True, slots=True)
class TrainerSample:
    """The processes of one rank: the trainer, and the children that it started.

    Attributes:
        cpu_percent: Of one core, all of the processes together; None at the first look.
        rss_bytes: Of the trainer alone.
        tree_rss_bytes: Of all; pages that they share are counted in each.
        threads: Of all.
        open_files: Of the trainer alone; None when it may not be looked at.
        processes: How many.
    """

    cpu_percent: float | None
    rss_bytes: int
    tree_rss_bytes: int
    threads: int
    open_files: int | None
    processes: int


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """What does not change about a GPU."""

    name: str
    uuid: str
    driver: str | None = None


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU, or one slice of a partitioned one (MIG).

    Attributes:
        throttle_reasons: Why its clocks are lower than they could be, in words.
        trainer_memory_used_bytes: What each rank holds of its memory.
    """

    utilization_percent: float | None = None
    memory_utilization_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    ecc_corrected_count: int | None = None
    ecc_uncorrected_count: int | None = None
    pcie_sent_bytes_per_sec: float | None = None
    pcie_received_bytes_per_sec: float | None = None
    nvlink_sent_bytes_per_sec: float | None = None
    nvlink_received_bytes_per_sec: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    trainer_memory_used_bytes: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the machine that a person should know, and no failure of ours.

    Attributes:
        name: In one word, as gpu_lost.
        source: What it is about, as gpu0.
        text: For people.
        by: The probe that found it; which one makes no difference between two findings.
    """

    name: str
    source: str
    text: str
    by: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Look:
    """What a probe saw in one look: samples and facts by source, and what was found."""

    samples: dict[str, Sample] = field(default_factory=dict)
    facts: dict[str, GpuFacts] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def numbers_of(sample: Sample) -> dict[str, float]:
    """Return the numbers of a sample by name; what is None, or no number, is left out."""
    values = ((name, getattr(sample, name)) for name in sample.__dataclass_fields__)
    return {name: value for name, value in values if isinstance(value, (int, float))}
