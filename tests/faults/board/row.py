"""What a row of the board is: a question about one fault, played, measured and judged."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class Unfit(Exception):  # noqa: N818 -- it is no error: the row is left out, with the reason
    """This machine cannot play the row."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a row is played.

    Attributes:
        seed: Of everything that is random.
        directory: An empty one for its runs.
        full: The long form; the short one is for `make test`.
    """

    seed: int
    directory: Path
    full: bool

    def size(self, full: T, short: T) -> T:
        """Return how much of something this form of the row has."""
        return full if self.full else short

    def rng(self, salt: int = 0) -> random.Random:
        """Return a source of its own for each part of the row."""
        return random.Random(self.seed * 1_000_003 + salt)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a row found.

    Attributes:
        figure: In words and numbers, for the board.
        hit: Whether it is within the target.
    """

    figure: str
    hit: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the board.

    Attributes:
        name: As `ROWS=` takes it.
        what: The fault, in words.
        target: What has to be measured.
        play: Measures it. An AssertionError is a miss with its text as the figure.
        limit_secs: The long form is ended after so long, and that is a miss.
    """

    name: str
    what: str
    target: str
    play: Callable[[Stage], Measured]
    limit_secs: float = 300.0
