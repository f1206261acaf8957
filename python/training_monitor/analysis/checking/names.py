"""The names in a text: those that the run has, and those that are written as if it had them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from training_monitor.analysis.checking.lexicon import SPLITS, Mention, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.analysis.checking.facts import Facts

__all__ = ["Names", "names_in"]

_QUOTED = re.compile(r"`([^`\n]{1,200})`")
_SLASHED = re.compile(r"(?<![\w/.`:@])[A-Za-z][\w.]*(?:/[A-Za-z_][\w.]*)+(?![\w/`])")
_NAME = re.compile(r"[A-Za-z_][\w./@-]*")
_SPLIT_NAMES = re.compile(
    r"\b(validation|val|eval(?:uation)?|test|dev|held-out|training|train)[\s_-]+[`*]*$",
    re.IGNORECASE,
)
_VALUE_NEAR = re.compile(
    r"^`?\W{0,4}(?:(?:is|was|at|of|to|from|rose|fell|reached|=|:|has|"
    r"metric|\w+ed|\w+s)\W+){0,4}-?[\d.]"
)
_METRIC_NEAR = re.compile(
    r"\b(?:metrics?|series|curve|logged)\W*$|^`?\W*(?:metric|series|curve)\b", re.IGNORECASE
)
# Words that are written in backticks and are no names of a run.
_WORDS = frozenset(
    [
        "nan",
        "inf",
        "none",
        "true",
        "false",
        "null",
        "float32",
        "float16",
        "bfloat16",
        "bf16",
        "fp16",
        "fp32",
        "int8",
        "cuda",
        "cpu",
        "gpu",
        "ok",
        "warning",
        "critical",
        "info",
        "unknown",
    ]
)
_COMMON_SLASHED = frozenset(
    [
        "and/or",
        "i/o",
        "n/a",
        "w/o",
        "w/",
        "his/her",
        "he/she",
        "train/val",
        "train/test",
        "train/eval",
        "on/off",
        "yes/no",
        "input/output",
        "cpu/gpu",
        "gpu/cpu",
        "tokens/s",
        "token/s",
        "it/s",
        "steps/s",
        "samples/s",
        "step/s",
        "items/s",
        "images/s",
        "tokens/sec",
        "samples/sec",
        "steps/sec",
        "s/step",
        "s/it",
        "ms/step",
        "sec/step",
    ]
)


@dataclass(frozen=True, slots=True)
class Names:
    """What was found.

    Attributes:
        mentions: Names in their order, unknown ones too.
        claims: Those that are written as names, whether the run has them, and why.
    """

    mentions: tuple[Mention, ...]
    claims: tuple[tuple[Mention, bool, str], ...]


def names_in(text: str, facts: Facts) -> Names:
    """Return the names in a plain text."""
    claims: list[tuple[Mention, bool, str]] = []
    marked: list[Mention] = []
    taken: list[tuple[int, int]] = []
    for match in _QUOTED.finditer(text):
        inner = match[1].strip()
        start = match.start(1) + match[1].index(inner) if inner else match.start(1)
        one = _written(text, start, inner, facts, slashed=False)
        if one is not None:
            marked.append(one)
            claims.append((one, not one.unknown, _why(one)))
            taken.append((one.start, one.end))
    for match in _SLASHED.finditer(text):
        inner = match[0].rstrip(".")
        if any(start <= match.start() < end for start, end in taken):
            continue
        one = _written(text, match.start(), inner, facts, slashed=True)
        if one is not None:
            marked.append(one)
            claims.append((one, not one.unknown, _why(one)))
            taken.append((one.start, one.end))
    mentions = [
        one for one in facts.lexicon.mentions(text)
        if not any(start < one.end and one.start < end for start, end in taken)
    ]  # fmt: skip
    mentions = [_with_split(text, one) for one in mentions]
    found = sorted((*marked, *mentions), key=lambda one: one.start)
    return Names(tuple(found), tuple(claims))


def _why(one: Mention) -> str:
    if one.unknown:
        return f"the run has no {one.text}"
    return f"{(*one.metrics, *one.config, *one.system)[0]} is known"


def _written(text: str, start: int, name: str, facts: Facts, *, slashed: bool) -> Mention | None:
    """Return what a name in backticks, or with slashes, means; None: it is no name of a run."""
    if not _NAME.fullmatch(name) or name.lower() in _WORDS:
        return None
    end = start + len(name)
    metrics, config, system = facts.lexicon.look_up(name)
    if metrics or config or system:
        return Mention(start, end, metrics, config, system, text=name)
    if name.lower() in _COMMON_SLASHED or name in facts.paths:
        return None
    if any(name in path.split("/") or path.startswith(name) for path in facts.paths):
        return None
    unknown = Mention(start, end, unknown=True, text=name)
    bound = bool(_VALUE_NEAR.match(text[end : end + 40])) or bool(
        _METRIC_NEAR.search(text[max(0, start - 24) : start].rstrip("`"))
        or _METRIC_NEAR.search(text[end : end + 16])
    )
    if slashed:
        first = words_of(name.split("/", maxsplit=1)[0])
        prefixes = {metric.split("/")[0] for metric in facts.metrics if "/" in metric}
        known = name.split("/", maxsplit=1)[0] in prefixes or set(first) & SPLITS or "_" in name
        parts = [facts.lexicon.look_up(part) for part in name.split("/")]
        if all(any(part) for part in parts) or not (known or bound):
            return None
        if all(set(words_of(part)) <= SPLITS | {"step", "epoch"} for part in name.split("/")):
            return None
        return unknown
    if facts.in_code(name.removesuffix("()")):
        return None
    given = any(name in line for line in facts.given)
    if given:
        return None
    looks = "/" in name or ("_" in name and "." not in name)
    return unknown if looks or bound else None


def _with_split(text: str, one: Mention) -> Mention:
    """Take "validation loss" for unknown where there is a `loss` alone, and no other."""
    found = _SPLIT_NAMES.search(text[max(0, one.start - 24) : one.start])
    if found is None or not one.metrics:
        return one
    split = words_of(found[1])[0] if found[1].lower() != "held-out" else "val"
    named = {word for name in one.metrics for word in words_of(name)}
    if (
        split == "train"
        or split in named
        or (
            named & SPLITS
            and split in SPLITS
            and split != "train"
            and named & {"val", "eval", "test", "dev"}
        )
    ):
        return one
    start = one.start - (len(found[0]))
    return Mention(start, one.end, unknown=True, text=text[start : one.end])
