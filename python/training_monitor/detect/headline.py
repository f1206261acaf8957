"""The metrics of one run together: the headline, the pairs, and which one is the step time."""

from __future__ import annotations

import re
from dataclasses import replace

from training_monitor.detect.meaning import Meaning, infer
from training_monitor.detect.vocabulary import GOALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from training_monitor.detect.definition import Definition
    from training_monitor.detect.meaning import History

__all__ = ["choose", "choose_headline", "generates", "pairs", "understand"]

# With fewer values than this nobody judges a run by a metric, where there is another one.
_ENOUGH = 3
_HELD_OUT = ("val", "test")
# What is logged of a language model that learns from what it writes,
_WRITES = frozenset(("kl", "entropy", "length", "reward_part", "reward_std"))
# and what of an agent in an environment: there a step takes as long as ever.
_EPISODES = re.compile(r"(^|[/_.])(ep|episode|episodic|rollout|env|fps)([/_.]|$)")


def understand(
    histories: Mapping[str, History | None], definitions: Iterable[Definition] = ()
) -> dict[str, Meaning]:
    """Say of all metrics of a run what they are, and which is the headline.

    Args:
        histories: What is known of the values of each metric, by name; None: nothing.
        definitions: What the user has said; of two about one metric the later one counts, and one
            with its whole name before one with a `*`.
    """
    exact: dict[str, Definition] = {}
    begun: dict[str, Definition] = {}
    for definition in definitions:
        (begun if definition.name.endswith("*") else exact)[definition.name] = definition
    by_length = sorted(begun.values(), key=lambda definition: len(definition.name))
    meanings = {}
    for name, history in histories.items():
        told = [definition for definition in by_length if definition.covers(name)]
        told += [exact[name]] if name in exact else []
        meanings[name] = _defined(infer(name, history), told)
    headline = choose_headline(meanings, histories)
    if headline is not None:
        meanings[headline] = replace(meanings[headline], headline=True)
    return meanings


def generates(meanings: Mapping[str, Meaning]) -> bool:
    """Return whether such a run writes the answers that it learns from, as GRPO does."""
    kinds = {meaning.kind for meaning in meanings.values()}
    plays = any(_EPISODES.search(name.lower()) for name in meanings)
    return "reward" in kinds and bool(kinds & _WRITES) and not plays


def _defined(meaning: Meaning, told: Iterable[Definition]) -> Meaning:
    """Return the meaning as the user has it; the last word counts, field by field."""
    for definition in told:
        kind = definition.kind or meaning.kind
        goal = meaning.goal if kind == meaning.kind else GOALS.get(kind)
        meaning = replace(
            meaning,
            kind=kind,
            goal=definition.goal or goal,
            step_metric=definition.step_metric or meaning.step_metric,
            source="user" if definition.kind or definition.goal else meaning.source,
            chosen=meaning.chosen or definition.goal is not None,
        )
    return meaning


def choose_headline(
    meanings: Mapping[str, Meaning], histories: Mapping[str, History | None] | None = None
) -> str | None:
    """Return the metric by which a run is judged; None where there is none.

    A metric that the user has given a goal comes before all others. Then what is measured on data
    that is not trained on comes before what is not, and the reward before a score, before an error,
    before the loss.

    Args:
        meanings: Of all its metrics.
        histories: What is known of their values: one that is constant, or has only one or two
            values, comes behind the others.
    """
    known = histories or {}
    candidates = [
        (_order(meaning, known.get(name)), len(name), name)
        for name, meaning in meanings.items()
        if meaning.goal is not None and (meaning.chosen or _place(meaning) is not None)
    ]
    return min(candidates)[2] if candidates else None


def _order(meaning: Meaning, history: History | None) -> tuple[int, ...]:
    thin = history is not None and (history.count < _ENOUGH or history.constant)
    place = _place(meaning)
    return (
        not meaning.chosen,
        thin,
        99 if place is None else place,
        meaning.split == "test",
        meaning.split == "train",
        meaning.rank,
    )


def _place(meaning: Meaning) -> int | None:
    """Return where a metric stands among those a run may be judged by; None: it is none."""
    kind, held_out, minor = meaning.kind, meaning.held_out, meaning.minor
    if kind == "reward":
        return 0 if held_out else 2
    if kind == "score" and not minor:
        return 1 if held_out else 7
    if kind == "error" and not minor:
        return 3 if held_out else 8
    if kind == "loss":
        return 4 if held_out else 6
    if kind in ("score", "error"):
        return 5 if held_out else 9
    return 10 if kind == "reward_part" else None


def pairs(
    meanings: Mapping[str, Meaning], histories: Mapping[str, History | None] | None = None
) -> dict[str, str]:
    """Return for each metric of held-out data the same one of training data, where there is one.

    Args:
        meanings: Of all metrics of a run.
        histories: What is known of their values: one that is logged once, at the end, is no
            partner.
    """
    known = histories or {}
    trained: dict[tuple[str, str], list[str]] = {}
    for name, meaning in meanings.items():
        if meaning.kind in ("loss", "score", "error") and meaning.split not in _HELD_OUT:
            trained.setdefault((meaning.kind, meaning.stem), []).append(name)
    total = choose({name: seen for name, seen in meanings.items() if not seen.held_out}, "loss")
    found = {}
    for name, meaning in meanings.items():
        if meaning.split not in _HELD_OUT:
            continue
        same = trained.get((meaning.kind, meaning.stem))
        if same:
            found[name] = min(same, key=lambda one: _distance(one, meanings[one], known.get(one)))
        elif meaning.kind == "loss" and meaning.stem == "loss" and total is not None:
            found[name] = total
    return found


def _distance(name: str, meaning: Meaning, history: History | None) -> tuple[object, ...]:
    """Return how far a metric of training data is from being measured as one of validation is."""
    thin = history is not None and history.count < _ENOUGH
    return (thin, "epoch" not in name, meaning.split != "train", meaning.rank, len(name), name)


def choose(meanings: Mapping[str, Meaning], kind: str) -> str | None:
    """Return the metric that is the step time, the learning rate or what else, of the whole run."""
    names = [
        (not meaning.chosen, meaning.rank, len(name), name)
        for name, meaning in meanings.items()
        if meaning.kind == kind
    ]
    return min(names)[3] if names else None
