"""Numbers as people write them: value, unit, and how far the written digits reach."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import floor, isfinite, log10

__all__ = ["NUMBER", "Numeral", "close", "numerals_in", "plain_text", "reading"]

# The reach of "about": a twentieth.
_ABOUT_SHARE = 0.05
# A model sees values with so many digits, and may round once more.
SIG_FIGS = 5
_EPSILON = 1e-9
_MOST_POWER = 250

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?![\d,]*\d)|\d+)(?:\.\d+)?|\.\d+"
_EXPONENT = (
    r"(?:[eE][-+]?\d{1,3}|\s?[x\u00d7*\u00b7]\s?10(?:\^|\*\*)?[({]?-?[\d\u207b\u2070"
    r"\u00b9\u00b2\u00b3\u2074-\u2079]+[)}]?)?"
)
_UNIT = (
    r"%|percent(?:age points?)?|per cent|pp\b|points?\b|[x\u00d7](?![\w])|times\b|-?fold\b"
    r"|days?\b|hours?\b|hrs?\b|minutes?\b|mins?\b|seconds?\b|secs?\b|milliseconds?\b"
    r"|ms\b|[dhms]\b(?!/)|[dhm](?=\d)|[KMGT]i?B\b|bytes\b"
)
_NUMERAL = re.compile(
    rf"(?P<sign>[-+](?=[\d.]))?(?P<digits>{NUMBER})(?P<exponent>{_EXPONENT})"
    rf"(?P<scale>[kKMB](?![\w]))?(?P<gap>[ -]?)(?P<unit>{_UNIT})?"
)
# Parts of names, versions, dates, addresses: digits that are no number.
_NAMES = re.compile(
    r"\b(?!(?:step|steps|epoch|iter|iteration|rank|gpu|line|sub|pre|post|mid|non|loss|of|to)-)"
    r"[A-Za-z][\w]*(?:[-.][\w.]*\d[\w.]*)+(?:-\w+)*"
    r"|\b[A-Za-z_]\w*\d\w*\b"
    r"|\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?Z?)?\b"
    r"|\bv?\d+\.\d+\.\d+(?:\.\d+)*\b"
    r"|\b\d{1,2}(?:\.5)?/(?:5|10)\b(?! ?steps?)"
    r"|\b(?:ln|log|log2|log10|exp|sqrt)\s?\([\d.]+\)"
    r"|(?<!\w)#\d+\b|\b\d+(?:st|nd|rd|th)\b(?! percentile)"
    r"|\b(?:python|cuda|pytorch|torch|version|v|numpy|jax|tensorflow|driver|top|level|option"
    r"|phase|stage|section|figure|fig\.?|table|part|cudnn|nccl|gpt|llama|qwen|gemma|mistral)"
    r"[ -]v?\d+(?:\.\d+)*\b"
    r"|\b(?!\d+[dhm]\d)\d+(?=[A-Za-z_]\w*)(?!(?:k|K|M|B|x|h|m|s|d|"
    r"ms|pp|min|mins|hr|hrs|sec|secs|e|E)\b)"
    r"(?!(?:[KMGT]i?B)\b)(?![eE][-+]?\d)\w+",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\b(\d{1,2}):(\d\d)(?::(\d\d))?\b(?!\.\w)")
_ORDINAL = re.compile(r"(?:^|\n)[ \t>]*(?:[-*] )?(?:\*\*)?\(?\d{1,2}[.)](?=\s)")
_SUPERSCRIPTS = str.maketrans(
    "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "-0123456789"
)
_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9}
_DURATIONS = {
    "d": 86_400.0, "day": 86_400.0, "h": 3600.0, "hour": 3600.0, "hr": 3600.0, "m": 60.0,
    "minute": 60.0, "min": 60.0, "s": 1.0, "second": 1.0, "sec": 1.0, "ms": 1e-3,
    "millisecond": 1e-3,
}  # fmt: skip
_BYTES = {"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
          "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40, "byte": 1.0}  # fmt: skip
_JOIN = re.compile(r"^(?: |, ?| and )?$")


@dataclass(frozen=True, slots=True)
class Numeral:
    """A written number.

    Attributes:
        start: Where it starts in the text, its sign included.
        end: Where it ends, its unit included.
        value: What it says; of a percentage the number before the sign; of a duration seconds.
        half: Half a unit of its last written digit.
        kind: number, percent, points, times, duration, bytes or clock.
        scale: By what the written digits were multiplied to come to `value`: seconds per unit.
        signed: Whether a sign is written.
        digits: How many digits count.
    """

    start: int
    end: int
    value: float
    half: float
    kind: str
    scale: float = 1.0
    signed: bool = False
    digits: int = 1


def plain_text(text: str) -> str:
    """Return the text with one character for one: plain minus, dashes, blanks and quotes."""
    return text.translate(_PLAIN)


_PLAIN = {
    0x2212: "-", 0x2010: "-", 0x2011: "-", 0xFE63: "-", 0xFF0D: "-", 0x00A0: " ", 0x2009: " ",
    0x202F: " ", 0x2007: " ", 0x200A: " ", 0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"',
    0x2015: "\u2014", 0x2012: "\u2013", 0x02DC: "~", 0x223C: "~", 0xFF5E: "~", 0x2248: "~",
    0x2245: "~", 0xFF0E: ".", 0xFF05: "%", 0x066B: ".",
}  # fmt: skip


def numerals_in(text: str) -> list[Numeral]:
    """Return the numbers in a plain text; digits in names, dates and versions are none."""
    taken = [found.span() for found in _NAMES.finditer(text)]
    taken += [found.span() for found in _ORDINAL.finditer(text)]
    clocks = [_clock(found) for found in _CLOCK.finditer(text)]
    taken += [(one.start, one.end) for one in clocks]
    taken.sort()
    found = clocks
    for match in _NUMERAL.finditer(text):
        at = match.start("digits")
        before = text[at - 1 : at] if at else ""
        if (
            before.isalnum()
            or before in ("_", "\u00b0")
            or (before == "." and text[at - 2 : at - 1].isalnum())
        ):
            continue
        if any(start <= at < end for start, end in taken):
            continue
        numeral = _numeral(text, match)
        if isfinite(numeral.value) and isfinite(numeral.half):
            found.append(numeral)
    return _compound(text, sorted(found, key=lambda one: one.start))


def _numeral(text: str, match: re.Match[str]) -> Numeral:
    digits, unit = match["digits"].replace(",", ""), (match["unit"] or "").lower().lstrip("-")
    power = _power(match["exponent"])
    factor = 10.0**power * _SCALES.get(match["scale"] or "", 1.0)
    decimals = len(digits.partition(".")[2])
    value, half = float(digits) * factor, 0.5 * 10.0**-decimals * factor
    if power:
        value = float(f"{digits}e{power}")
    kind, scale = _kind(unit)
    if unit in ("s", "m", "d", "h") and match["gap"] == "-":
        kind, scale = "number", 1.0
    start = match.start("digits")
    signed = (
        bool(match["sign"])
        and not text[start - 2 : start - 1].isalnum()
        and text[start - 2 : start - 1] not in (")", "%")
    )
    if signed:
        start -= 1
        value = -value if match["sign"] == "-" else value
    end = (
        match.end("unit")
        if unit
        else match.end("scale")
        if match["scale"]
        else match.end("exponent")
    )
    count = len(digits.replace(".", "").lstrip("0")) or 1
    return Numeral(start, end, value * scale, half * scale, kind, scale, signed, count)


def _power(exponent: str) -> int:
    if not exponent:
        return 0
    if exponent[0] in "eE":
        return max(-_MOST_POWER, min(int(exponent[1:]), _MOST_POWER))
    power = re.sub(r"^\s?[x\u00d7*\u00b7]\s?10(?:\^|\*\*)?[({]?|[)}]$", "", exponent)
    return max(-_MOST_POWER, min(int(power.translate(_SUPERSCRIPTS) or 0), _MOST_POWER))


def _kind(unit: str) -> tuple[str, float]:
    if unit in ("%", "percent", "per cent"):
        return "percent", 1.0
    if unit in ("pp", "point", "points") or unit.startswith("percentage"):
        return "points", 1.0
    if unit in ("x", "\u00d7", "times", "fold"):
        return "times", 1.0
    single = unit.rstrip("s") if unit not in ("s", "ms") else unit
    if single in _DURATIONS:
        return "duration", _DURATIONS[single]
    if single in _BYTES:
        return "bytes", _BYTES[single]
    return "number", 1.0


def _clock(found: re.Match[str]) -> Numeral:
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3] or 0)
    return Numeral(found.start(), found.end(), float(seconds), 0.5 if found[3] else 30.0, "clock")


def _compound(text: str, numerals: list[Numeral]) -> list[Numeral]:
    """Make one of "2 h 15 min"."""
    joined: list[Numeral] = []
    for one in numerals:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.kind == one.kind == "duration"
            and one.scale < last.scale
            and not one.signed
            and _JOIN.match(text[last.end : one.start])
        ):
            joined[-1] = Numeral(
                last.start, one.end, last.value + one.value, one.half, "duration", one.scale,
                last.signed, last.digits + one.digits,
            )  # fmt: skip
        else:
            joined.append(one)
    return joined


def close(written: float, half: float, true: float, *, about: bool = False) -> bool:
    """Whether a true value may be written so.

    Args:
        written: The written value.
        half: Half a unit of its last digit.
        true: The value.
        about: Whether a word as "about" stands before it: then within a twentieth, too.
    """
    if not isfinite(true):
        return written == true
    reach = half + (0.0 if true == 0.0 else 0.5 * 10.0 ** (floor(log10(abs(true))) - SIG_FIGS + 1))
    if about:
        reach = max(2.0 * half, _ABOUT_SHARE * abs(true), reach)
    return abs(written - true) <= reach * (1.0 + _EPSILON)


def reading(numeral: Numeral) -> tuple[tuple[float, float], ...]:
    """Return what the number may stand for beside a metric: values, each with its half unit."""
    value, half = numeral.value, numeral.half
    if numeral.kind == "percent":
        return ((value, half), (value / 100.0, half / 100.0))
    if numeral.kind == "duration":
        unit = numeral.scale
        return ((value, half), (value / unit, half / unit), (value * 1e3, half * 1e3))
    if numeral.kind == "bytes":
        unit = numeral.scale
        binary = 2.0 ** (10 * round(log10(unit) / 3)) if unit > 1 and log10(unit) % 3 == 0 else unit
        return (
            (value, half),
            (value / unit, half / unit),
            (value / unit * binary, half / unit * binary),
        )
    return ((value, half),)
