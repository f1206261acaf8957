"""What the tools of one run may see, and what they have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches

from training_monitor.analysis.digest.importance import by_importance
from training_monitor.analysis.fencing import inert, quoted
from training_monitor.analysis.tools.answering import Answer
from training_monitor.analysis.tools.form import Limits, ToolError
from training_monitor.found import read_phases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from training_monitor.analysis.digest.importance import Known
    from training_monitor.machine import Finding
    from training_monitor.query import RunView

__all__ = ["Sight", "nearest"]

# difflib takes some microseconds for each; of more names those come first that look alike.
_COMPARED = 3000
_NAMED = 5
_READ_CHARS = 200
# Judging the points of a run anew takes some 50 us a point.
_JUDGED_POINTS = 50_000


@dataclass(frozen=True, slots=True)
class Sight:
    """What the tools see.

    Attributes:
        run: The run.
        privacy: "full", "no-code" or "numbers-only".
        sig_figs: Significant figures of values.
        limits: Of each answer.
        log_paths: Log files, or patterns of them, absolute.
        others: Opens another run by its exact name; None: there are none to be seen.
    """

    run: RunView
    privacy: str
    sig_figs: int
    limits: Limits
    log_paths: Sequence[str] = ()
    others: Callable[[str], RunView] | None = None
    # What was found by judging anew, by how many points there were.
    _judged: dict[int, list[Finding]] = field(default_factory=dict)

    @property
    def only_numbers(self) -> bool:
        """Whether texts stay here: values, logs, paths, host names."""
        return self.privacy == "numbers-only"

    def answer(self) -> Answer:
        """Begin an answer."""
        return Answer(self.limits)

    def metrics(self) -> list[Known]:
        """Return the metrics, the most important first."""
        return by_importance(self.run, self.run.findings())

    def findings(self) -> list[Finding]:
        """Return what was found, the oldest first; what was never judged is judged now if short."""
        found = self.run.findings()
        points = sum(attempt.points for attempt in self.run.attempts)
        judged = any(one.by == "detector" for one in found) or read_phases(self.run._reader)
        if judged or points > _JUDGED_POINTS:
            return found
        if points not in self._judged:
            self._judged.clear()
            self._judged[points] = self.run.replay().findings
        return sorted([*found, *self._judged[points]], key=lambda one: one.time)

    def chosen(self, names: Iterable[str]) -> list[Known]:
        """Return the metrics of these names, in their order.

        Raises:
            ToolError: There is none of a name; the message names the nearest ones.
        """
        metrics = self.metrics()
        exact = {one.name: one for one in metrics}
        # Of a name with a line break or so a model sees what is printable.
        seen = {inert(one.name): one for one in metrics}
        seen |= {quoted(one.name)[1:-1]: one for one in metrics}
        found = []
        for name in names:
            one = exact.get(name) or seen.get(name)
            if one is None:
                raise ToolError(f"no metric {quoted(name)}{nearest(name, list(exact))}")
            found.append(one)
        return found


def nearest(word: str, words: Sequence[str]) -> str:
    """Say which of some names are nearest to one that is not among them."""
    if not words:
        return "; there are none"
    word = word[:_READ_CHARS].lower()
    last = word.replace("\\", "/").rpartition("/")[2]
    alike = [one for one in words if last and last in one.lower()]
    among = [*alike[:_COMPARED], *words[: max(_COMPARED - len(alike), 0)]]
    lower = {one.lower()[:_READ_CHARS]: one for one in reversed(among)}
    matches = [lower[one] for one in get_close_matches(word, list(lower), _NAMED, 0.6)]
    found = list(dict.fromkeys([*matches, *alike[:_NAMED]]))[:_NAMED]
    names = ", ".join(map(quoted, found or words[:_NAMED]))
    more = len(words) - _NAMED
    return (
        f"; nearest: {names}"
        if found
        else (f"; there are: {names}" + (f" and {more} more" if more > 0 else ""))
    )
