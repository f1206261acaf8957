"""Which kind of finding brings about which: the ladder from a cause to its consequences."""

from __future__ import annotations

__all__ = ["can_follow", "depth", "gravity", "is_event", "is_related", "role"]

# What a kind can bring about. The chains follow from it: lr_jump, spike, divergence, non_finite.
_BRINGS: dict[str, tuple[str, ...]] = {
    "data_stall": ("gpu_idle", "gpu_power_drop", "slowdown", "metric_silent"),
    "disk_exhaustion": ("data_stall", "metric_silent"),
    "divergence": ("non_finite", "reward_drop"),
    "entropy_collapse": ("flatline", "reward_drop", "length_change"),
    "exploding_gradient": ("spike",),
    "gpu_hot": ("gpu_throttled",),
    "gpu_idle": ("gpu_power_drop", "slowdown"),
    "gpu_lost": ("stuck", "straggler"),
    "gpu_power_drop": ("mfu_drop",),
    "gpu_throttled": ("gpu_power_drop", "straggler"),
    "kl_blow_up": ("reward_drop", "length_change"),
    "length_change": ("out_of_memory_risk", "slowdown"),
    "loss_scale_drop": ("exploding_gradient",),
    "lr_jump": ("exploding_gradient", "kl_blow_up"),
    "lr_zero": ("vanishing_gradient",),
    "memory_leak": ("out_of_memory_risk",),
    "out_of_memory_risk": ("out_of_memory",),
    "ram_exhaustion": ("data_stall", "out_of_memory"),
    "reward_hacking": ("length_change", "kl_blow_up"),
    "shm_exhaustion": ("data_stall", "stuck"),
    "slowdown": ("throughput_drop",),
    "spike": ("divergence",),
    "straggler": ("slowdown",),
    "stuck": ("metric_silent", "gpu_idle"),
    "throughput_drop": ("mfu_drop",),
    "vanishing_gradient": ("plateau", "flatline"),
}
# Of two critical findings the graver one is told although the other was.
_GRAVITY = {
    "crashed": 3,
    "divergence": 1,
    "exception": 3,
    "exited": 3,
    "gpu_lost": 2,
    "killed": 3,
    "non_finite": 2,
    "out_of_memory": 3,
    "stuck": 2,
}
# These happen, and are never over.
_EVENTS = frozenset(
    {"crashed", "exception", "exited", "killed", "lr_jump", "out_of_memory", "outlier"}
)


def _follow(kind: str) -> frozenset[str]:
    found: set[str] = set()
    todo = [kind]
    while todo:
        for further in _BRINGS.get(todo.pop(), ()):
            if further not in found:
                found.add(further)
                todo.append(further)
    return frozenset(found - {kind})


_KINDS = set(_BRINGS) | {kind for brought in _BRINGS.values() for kind in brought}
_AFTER = {kind: _follow(kind) for kind in _KINDS}
_BEFORE = {kind: frozenset(other for other in _KINDS if kind in _AFTER[other]) for kind in _KINDS}
_NONE: frozenset[str] = frozenset()


def role(kind: str, metric: str) -> str:
    """Return the kind that a finding stands for on the ladder: a gradient's spike is a cause."""
    if kind in ("spike", "divergence") and "grad" in metric.lower():
        return "exploding_gradient"
    return kind


def can_follow(kind: str, causes: set[str]) -> bool:
    """Return whether one of `causes` can bring this kind about."""
    return not _BEFORE.get(kind, _NONE).isdisjoint(causes)


def is_related(kind: str, others: set[str]) -> bool:
    """Return whether this kind is among the others, or on one ladder with one of them."""
    if kind in others or can_follow(kind, others):
        return True
    return not _AFTER.get(kind, _NONE).isdisjoint(others)


def depth(kind: str) -> int:
    """Return how many kinds can stand before this one; a cause has fewer than what it causes."""
    return len(_BEFORE.get(kind, _NONE))


def gravity(kind: str) -> int:
    """Return how much it matters among findings of one severity."""
    return _GRAVITY.get(kind, 0)


def is_event(kind: str) -> bool:
    """Return whether this kind has no end that anybody could wait for."""
    return kind in _EVENTS
