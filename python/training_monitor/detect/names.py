"""What the metrics of one run are, as they become known: each new one costs the same."""

from __future__ import annotations

from dataclasses import replace

from training_monitor.detect.headline import choose_headline, pairs, understand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from training_monitor.detect.definition import Definition
    from training_monitor.detect.meaning import Meaning

__all__ = ["Names"]

_PAIRED = frozenset(("loss", "score", "error"))


class Names:
    """The meanings of all metrics of a run.

    Args:
        definitions: What the user has said of metrics.

    Attributes:
        meanings: By name.
        headline: The metric by which the run is judged; None: there is none.
        kinds: Every kind that there is.
        held_out: The metrics of data that are not trained on.
    """

    def __init__(self, definitions: Iterable[Definition] = ()) -> None:
        self._definitions = list(definitions)
        self._forget()

    def _forget(self) -> None:
        self.meanings: dict[str, Meaning] = {}
        self.headline: str | None = None
        self.kinds: set[str] = set()
        self.held_out: set[str] = set()
        self._first: tuple[bool, bool, bool] | None = None
        self._pairs: dict[str, str] | None = {}

    def define(self, definition: Definition) -> None:
        """Take note of what the user says of a metric; it may be said of many."""
        self._definitions.append(definition)
        known = list(self.meanings)
        self._forget()
        self.learn(known)

    def learn(self, names: Iterable[str]) -> None:
        """Learn that there are these metrics."""
        new = [name for name in names if name not in self.meanings]
        if new:
            for name, meaning in understand(dict.fromkeys(new), self._definitions).items():
                self._add(name, replace(meaning, headline=False))
            self._choose(new)

    def _add(self, name: str, meaning: Meaning) -> None:
        self.meanings[name] = meaning
        self.kinds.add(meaning.kind)
        if meaning.kind in _PAIRED:
            self._pairs = None
        if meaning.held_out:
            self.held_out.add(name)
            if meaning.kind in _PAIRED:
                place = _place(meaning)
                self._first = place if self._first is None else min(self._first, place)

    def _choose(self, new: Iterable[str]) -> None:
        old = self.headline
        names = (*([] if old is None else [old]), *new)
        self.headline = choose_headline({name: self.meanings[name] for name in names})
        if self.headline == old:
            return
        if old is not None:
            self.meanings[old] = replace(self.meanings[old], headline=False)
        if self.headline is not None:
            head = self.meanings[self.headline]
            self.meanings[self.headline] = replace(head, headline=True)

    def partner(self, held_out: str) -> str | None:
        """Return the metric of training data that belongs to one of held-out data."""
        if self._pairs is None:
            self._pairs = pairs(self.meanings)
        return self._pairs.get(held_out)

    def is_first_held_out(self, metric: str) -> bool:
        """Return whether overfitting is told by this held-out metric and not by a better one.

        The loss on validation data tells it first: a score follows it, test data repeat it.
        """
        return _place(self.meanings[metric]) == self._first


def _place(meaning: Meaning) -> tuple[bool, bool, bool]:
    return meaning.minor, meaning.split == "test", meaning.kind != "loss"
