"""How long each scenario lasts: the driver decides, the trial obeys."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of one round.

    Attributes:
        work: How much work takes a millisecond here.
        speed_secs: How long a full-speed loop lasts, unless `most_calls` come first.
        latency_secs: The same for the loop that times single calls.
        most_calls: Most calls of either.
        paced_secs: How long 1,000 calls a second are made.
        stolen_steps: How many milliseconds of work are done.
        settle_secs: How long services get to start before anything is counted.
        dicts: How many distinct dicts are logged, over and over.
        killed_calls: After how many calls the trainer dies; at multiples of 100 some flush.
        killed_paced_calls: The same at 1,000 calls a second; another number, because what a
            buffer of lines loses depends on where in it the last call falls.
    """

    work: int
    speed_secs: float = 2.0
    latency_secs: float = 1.0
    most_calls: int = 1_000_000
    paced_secs: float = 4.0
    stolen_steps: int = 3_000
    settle_secs: float = 1.5
    dicts: int = 20_000
    killed_calls: int = 2_047
    killed_paced_calls: int = 2_031

    def line(self) -> str:
        """Return the plan as one word of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> Plan:
        """Return the plan that `line` spells."""
        return cls(**json.loads(line))

    @classmethod
    def tiny(cls) -> Plan:
        """Return a plan that only shows that everything runs."""
        return cls(
            work=1, speed_secs=0.05, latency_secs=0.05, most_calls=1_000, paced_secs=0.1,
            stolen_steps=20, settle_secs=0.05, dicts=500, killed_calls=205,
            killed_paced_calls=205,
        )  # fmt: skip
