"""What is true of a run, as far as an answer can be checked: loaded when it is asked for."""

from __future__ import annotations

import time as clock
from contextlib import suppress
from functools import cached_property
from math import isfinite

from training_monitor.analysis.checking.lexicon import Lexicon, words_of
from training_monitor.analysis.checking.numerals import Numeral, close, numerals_in, plain_text
from training_monitor.analysis.checking.points import Curve, sorted_curve
from training_monitor.answers import numbers
from training_monitor.errors import TrainingMonitorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Protocol

    from training_monitor.answers import Attempt, Metric, Series
    from training_monitor.machine import Finding, SystemSeries

    class Readable(Protocol):
        """What is asked of a run."""

        @property
        def config(self) -> dict[str, Any]: ...
        @property
        def attempts(self) -> list[Attempt]: ...
        def metrics(self) -> list[Metric]: ...
        @property
        def series(self) -> Callable[..., Series]: ...
        def findings(self) -> list[Finding]: ...
        @property
        def system(self) -> Callable[..., Any]: ...

    class Code(Protocol):
        """What is asked of a snapshot."""

        @property
        def entries(self) -> tuple[Any, ...]: ...
        @property
        def lines(self) -> Callable[..., list[str]]: ...
        @property
        def search(self) -> Callable[..., tuple[list[Any], bool]]: ...


__all__ = ["Facts", "spoken"]

_MOST_POINTS = 1_000_000
_PICTURE_POINTS = 20_000
_SYSTEM_POINTS = 2000
_MOST_SEARCHES = 60
_MOST_CONFIG = 2000
_WORDS_ASIDE = frozenset(
    [
        "a",
        "an",
        "and",
        "at",
        "by",
        "for",
        "from",
        "in",
        "is",
        "it",
        "of",
        "on",
        "or",
        "per",
        "than",
        "that",
        "the",
        "this",
        "to",
        "was",
        "with",
    ]
)


class Facts:
    """The run and the code of an answer.

    Args:
        run: The run.
        snapshot: Its code; None: nothing of it was shown to the model.
        given: Texts of the prompt whose numbers count as true: phase, time left, forecast,
            findings. Not the table of steps: its numbers belong to a metric and a step.
        since: When the prompt was made, in seconds since 1970: what was the last value then may
            still be called so. None: now.
    """

    def __init__(
        self,
        run: Readable,
        snapshot: Code | None = None,
        *,
        given: Iterable[str] = (),
        since: float | None = None,
        most_points: int = _MOST_POINTS,
    ) -> None:
        self.run = run
        self.snapshot = snapshot
        self.since = since
        self._most_points = most_points
        self.given = tuple(given)
        self._curves: dict[str, Curve | None] = {}
        self._found: dict[str, bool] = {}

    # --- names

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """The metrics, by name."""
        return {metric.name: metric for metric in self.run.metrics()}

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration, flattened with slashes."""
        found: dict[str, Any] = {}
        _flatten(self.run.config, "", found)
        return found

    @cached_property
    def machine(self) -> dict[str, SystemSeries]:
        """The system series, by name."""
        with suppress(TrainingMonitorError, KeyError):
            found: dict[str, SystemSeries] = self.run.system(max_points=_SYSTEM_POINTS)
            return found
        return {}

    @cached_property
    def lexicon(self) -> Lexicon:
        """The names that the run has."""
        return Lexicon(self.metrics, self.config, self.machine)

    @cached_property
    def findings(self) -> list[Finding]:
        """What was found out."""
        return self.run.findings()

    # --- values

    def curve(self, name: str) -> Curve | None:
        """Return the points of a metric; None where it has no numbers.

        Of a long one it is a picture in which extremes stay; `exact` has the points of a window.
        """
        if name not in self._curves:
            self._curves[name] = self._read(name)
        return self._curves[name]

    def exact(self, name: str, step: float, reach: float) -> Curve | None:
        """Return a curve in which the points within a reach of a step are all there are."""
        curve = self.curve(name)
        if curve is None or not self._is_long(name):
            return curve
        margin = max(4.0 * reach, 100.0)
        return self._window(name, max(0, int(step - margin)), int(step + margin)) or curve

    def _is_long(self, name: str) -> bool:
        return self.metrics[name].count > self._most_points

    def _read(self, name: str) -> Curve | None:
        how = {"max_points": _PICTURE_POINTS} if self._is_long(name) else {}
        series = self.run.series(name, **how)
        curve = sorted_curve(series.step, numbers(series.value), series.time, self.since)
        return curve if len(curve) and len(curve.finite()) else None

    def _window(self, name: str, first: int, last: int) -> Curve | None:
        import numpy as np

        key = name.replace("'", "''")
        table = self.run.sql(  # type: ignore[attr-defined]
            "SELECT step, value, time FROM points "  # noqa: S608
            f"WHERE key = '{key}' AND step BETWEEN {first} AND {last}",
            limit=_PICTURE_POINTS,
        )
        rows = [[cell if cell is not None else np.nan for cell in row] for row in table.rows]
        if not rows:
            return None
        step, value, time = (np.array(column) for column in zip(*rows, strict=True))
        return sorted_curve(step.astype(np.int64), value.astype(np.float64), time, self.since)

    @cached_property
    def steps(self) -> tuple[int, int]:
        """The lowest and the highest step of the run; (0, -1) where there is none."""
        known = [metric for metric in self.metrics.values() if metric.last_step is not None]
        firsts = [metric.first_step for metric in known if metric.first_step is not None]
        lasts = [metric.last_step for metric in known if metric.last_step is not None]
        return (min(firsts), max(lasts)) if firsts and lasts else (0, -1)

    def has_step(self, step: float) -> bool:
        """Whether anything was logged at a step, as far as the metrics in use tell."""
        first, last = self.steps
        return first <= step <= last

    # --- what is known beside the metrics

    @cached_property
    def seconds(self) -> list[float]:
        """How long the run has been going, by its attempts and in all."""
        now = clock.time()
        times = [(one.started, one.ended or now) for one in self.run.attempts]
        if not times:
            return []
        spans = [end - start for start, end in times]
        whole = max(end for _, end in times) - min(start for start, _ in times)
        return [whole, *spans]

    @cached_property
    def ahead(self) -> dict[str, list[float]]:
        """What the run is foreseen to do: seconds left, the step at which it ends."""
        found: dict[str, list[float]] = {"seconds": [], "total": [], "rate": []}
        # A run of a test, or one that tells too little, is not asked.
        with suppress(TrainingMonitorError, KeyError, AttributeError, ValueError):
            total = self.run.total()  # type: ignore[attr-defined]
            if total is not None:
                found["total"].append(float(total.steps))
        with suppress(TrainingMonitorError, KeyError, AttributeError, ValueError):
            eta = self.run.eta()  # type: ignore[attr-defined]
            if eta is not None:
                found["seconds"] += [eta.seconds, *eta.low.values(), *eta.high.values()]
                found["rate"].append(eta.rate)
        return found

    def forecast(self, name: str) -> list[float]:
        """Return what a metric is foreseen to end at, and the bounds."""
        with suppress(TrainingMonitorError, KeyError, AttributeError, ValueError):
            ahead = self.run.forecast(name)  # type: ignore[attr-defined]
            if ahead is not None:
                bounds = [getattr(ahead, f"{end}_{level}") for level in (50, 80, 90)
                          for end in ("low", "high")]  # fmt: skip
                return [float(ahead.value), *map(float, bounds)]
        return []

    @cached_property
    def _told(self) -> list[tuple[Numeral, frozenset[str], frozenset[str]]]:
        """The numbers of the texts that count as true, each with words and metrics beside it."""
        texts = [*self.given, *(one.text for one in self.findings[-50:])]
        found = []
        for text in texts:
            for line in plain_text(text).replace("; ", "\n").splitlines():
                names = frozenset(
                    name for one in self.lexicon.mentions(line) for name in one.metrics
                )
                words = spoken(line)
                found += [(one, words, names) for one in numerals_in(line)]
        return found

    def was_given(
        self, numeral: Numeral, names: Iterable[str], words: frozenset[str], *, about: bool
    ) -> bool:
        """Whether the prompt gave this number, of these metrics or in these words."""
        wanted = frozenset(names)
        for one, beside, metrics in self._told:
            if one.kind != numeral.kind and {one.kind, numeral.kind} != {"number", "points"}:
                continue
            if not close(numeral.value, numeral.half, one.value, about=about):
                continue
            # Beside a metric the sentence must be about the same: its final value, its median.
            rest = beside.difference(*(words_of(name) for name in metrics))
            if wanted & metrics and (rest & words or not rest):
                return True
            if not wanted and beside & words:
                return True
        return False

    # --- code

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The paths of the snapshot."""
        return () if self.snapshot is None else tuple(one.path for one in self.snapshot.entries)

    def in_code(self, text: str) -> bool:
        """Whether a text stands in the code or among the values of the configuration."""
        if text not in self._found:
            self._found[text] = self._search(text)
        return self._found[text]

    def has_number(self, digits: str) -> bool:
        """Whether a number stands in the code or the configuration, as it is written."""
        if any(str(value) == digits for value in self.config.values()):
            return True
        if self.snapshot is None:
            return False
        with suppress(TrainingMonitorError, ValueError, TimeoutError):
            pattern = rf"\b{digits.replace('.', '[.]')}\b"
            return bool(self.snapshot.search(pattern, regex=True, limit=1)[0])
        return False

    def _search(self, text: str) -> bool:
        if any(text in str(value) or text in key for key, value in self.config.items()):
            return True
        if self.snapshot is None or len(self._found) > _MOST_SEARCHES:
            return False
        with suppress(TrainingMonitorError, ValueError, TimeoutError):
            return bool(self.snapshot.search(text, limit=1)[0])
        return False


def spoken(text: str) -> frozenset[str]:
    """Return the words of a text that say what it is about."""
    return frozenset(word for word in words_of(text) if not word.isdigit()) - _WORDS_ASIDE


def _flatten(given: Mapping[str, Any], prefix: str, found: dict[str, Any]) -> None:
    for key, value in given.items():
        if len(found) >= _MOST_CONFIG:
            return
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{key}/", found)
        elif isinstance(value, (list, tuple)) or not isinstance(value, float) or isfinite(value):
            found[f"{prefix}{key}"] = value
