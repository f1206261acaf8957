"""An analysis as text for people: a few words for a lock screen, the whole, and Markdown.

What a model wrote is shown without anything that can be followed or drawn: addresses are written so
that no program makes a link of them, links and pictures of Markdown become their words, HTML and
control characters go.
"""

from __future__ import annotations

import re
import unicodedata

from training_monitor.analysis.checking.claims import STRUCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from training_monitor.analyses import Evidence, Issue

    class Said(Protocol):
        """A report, or an analysis as it is kept."""

        @property
        def status(self) -> str: ...
        @property
        def summary(self) -> str: ...
        @property
        def issues(self) -> tuple[Issue, ...]: ...
        @property
        def recommendations(self) -> tuple[str, ...]: ...

    class Checked(Protocol):
        """How many statements were checked, and how many struck."""

        @property
        def checked(self) -> int: ...
        @property
        def struck(self) -> int: ...


__all__ = ["confirmed", "evidence_text", "harmless", "long_text", "markdown", "short_text"]

SHORT_CHARS = 240
LONG_CHARS = 4000
MARKDOWN_CHARS = 20_000
_INDENT = "   "
_PICTURE = re.compile(r"!\[([^\]\n]*)\]\s?(?:\([^)\n]*\)|\[[^\]\n]*\])")
_LINK = re.compile(r"\[([^\]\n]+)\]\s?\(\s*<?([^)>\s]*)>?[^)\n]*\)")
_REFERENCE = re.compile(r"^[ \t]*\[[^\]\n]+\]:[ \t]*\S.*$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_ACTIVE = re.compile(r"<(script|style|iframe|svg)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:a|abbr|audio|b|base|blockquote|body|br|button|center|code|"
    r"details|div|em|embed|font|form|"
    r"h[1-6]|head|hr|html|i|iframe|img|input|kbd|li|link|meta|object|"
    r"ol|p|pre|s|script|section|small|"
    r"span|strike|strong|style|sub|summary|sup|svg|table|tbody|td|th|thead|tr|u|ul|video)\b[^<>]*>",
    re.IGNORECASE,
)
_OPENING = re.compile(r"<(?=[A-Za-z/!?])")
_SCHEME = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{1,20}):(?=[/\\]{1,2}\S)")
_BARE_SCHEME = re.compile(
    r"(javascript|vbscript|\b(?:data|mailto|tel|sms|tg|magnet))\s?:(?=\S)", re.IGNORECASE
)
_ENDINGS = (
    "com|net|org|edu|gov|io|ai|dev|app|xyz|info|biz|ru|cn|uk|eu|gg|"
    "tv|link|click|site|online|shop|ly|"
    "page|cloud|live|pro|win|icu|tk|ga|cf|gq|zip|mov|example"
)
_HOST = re.compile(
    (
        rf"((?:www\.[\w-]+(?:\.[\w-]+)*)|\b(?:[\w-]+\.)+(?:{_ENDINGS})(?![\w(]|"
        rf"\.\w)|\d{{1,3}}(?:\.\d{{1,3}}){{3}})"
    ),
    re.IGNORECASE,
)
_AFTER_SCHEME = re.compile(r"(?<=://)[^\s/\\]+")
_MAIL = re.compile(r"(?<=[\w.+-])@(?=[\w-]+\.\w)")
# Characters that programs take for those of an address.
_LOOKALIKES = str.maketrans(
    {"\uff1a": ":", "\uff0f": "/", "\uff0e": ".", "\u3002": ".", "\uff61": ".", "\u2044": "/",
     "\u2215": "/", "\u29f8": "/", "\u2236": ":", "\ua789": ":", "\u2024": ".", "\uff20": "@"}
)  # fmt: skip
_MANY_LINES = re.compile(r"\n{3,}")
_MANY_BLANKS = re.compile(r"[ \t]{2,}(?=\S)")
_ROUNDS = 4


def harmless(text: str, most: int = LONG_CHARS, *, lines: bool = True) -> str:
    """Return what a model wrote without links, pictures, HTML and control characters.

    Args:
        text: Its words.
        most: Characters at most.
        lines: Whether it may have several lines.
    """
    text = text[: 4 * most + 1000].replace("\r\n", "\n").replace("\t", " ").translate(_LOOKALIKES)
    text = "".join(one for one in text if one == "\n" or _shown(one))
    # What is taken out may leave another of its kind behind.
    for _ in range(_ROUNDS):
        before = text
        text = _ACTIVE.sub("", _COMMENT.sub("", text))
        text = _TAG.sub("", _REFERENCE.sub("", text))
        text = _LINK.sub(_link_words, _PICTURE.sub(r"\1", text))
        if text == before:
            break
    text = _OPENING.sub("\u2039", text)
    text = _defanged(text)
    if not lines:
        text = " ".join(text.split())
    return _cut(_MANY_LINES.sub("\n\n", text).strip(), most)


def _shown(char: str) -> bool:
    """Whether a character is one that people see: none that controls, hides or turns others."""
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _link_words(found: re.Match[str]) -> str:
    words, target = found[1], found[2]
    return words if not target or target == words else f"{words} ({target})"


def _defanged(text: str) -> str:
    """Write addresses so that no program makes a link of them."""
    text = _MAIL.sub("[at]", text)
    text = _AFTER_SCHEME.sub(lambda found: found[0].replace(".", "[.]"), text)
    text = _HOST.sub(lambda found: found[0].replace(".", "[.]"), text)
    text = _SCHEME.sub(_other_scheme, text)
    # What is still of the form of a link is none after that.
    return _BARE_SCHEME.sub(lambda found: f"{found[1]}[:]", text).replace("](", "] (")


def _other_scheme(found: re.Match[str]) -> str:
    scheme = found[1]
    changed = scheme.replace("tt", "xx").replace("TT", "XX").replace("tT", "xX").replace("Tt", "Xx")
    return f"{changed}:" if changed != scheme else f"{scheme}[:]"


def _cut(text: str, most: int) -> str:
    """Cut a text between two words, and show that it was cut."""
    if len(text) <= most:
        return text
    head = text[: most - 1]
    space = head.rfind(" ")
    return (head[:space] if space > most // 2 else head).rstrip(" ,;:.") + "\u2026"


def confirmed(grounded: Checked) -> str:
    """Say how much of an answer was found to be so: "12 of 13 statements confirmed, 1 struck"."""
    if not grounded.checked:
        return "no statement that could be checked"
    held = grounded.checked - grounded.struck
    noun = "statement" if grounded.checked == 1 else "statements"
    struck = f", {grounded.struck} struck" if grounded.struck else ""
    return f"{held} of {grounded.checked} {noun} confirmed{struck}"


def evidence_text(one: Evidence) -> str:
    """Say one piece of evidence: "val_loss 1.3 at step 700", "train.py:12 (weight_decay=0.0)"."""
    parts = []
    if one.metric is not None or one.value is not None or one.step is not None:
        value = "" if one.value is None else f" {one.value:g}"
        step = "" if one.step is None else f" at step {one.step:,}"
        parts.append(f"{one.metric or ''}{value}{step}".strip())
    if one.file is not None:
        line = "" if one.line is None else f":{one.line}"
        last = "" if one.last_line in (None, one.line) else f"-{one.last_line}"
        parts.append(f"{one.file}{line}{last}" + (f" ({one.quote})" if one.quote else ""))
    elif one.quote is not None:
        parts.append(one.quote)
    return harmless("; ".join(parts), 400, lines=False)


def short_text(report: Said, grounded: Checked, *, run: str = "") -> str:
    """Return an analysis for a lock screen: 240 characters at most, on one line.

    Args:
        report: The analysis, grounded.
        grounded: What was checked of it.
        run: The name of the run.
    """
    name = f"{harmless(run, 60, lines=False)}: " if run else ""
    head = f"{name}{report.status.upper()}. "
    tail = f" ({grounded.struck} of {grounded.checked} struck)" if grounded.struck else ""
    words = harmless(report.summary, SHORT_CHARS, lines=False).replace("**", "").replace("`", "")
    if not words.strip(". ") or words == STRUCK:
        words = "; ".join(harmless(one.title, 120, lines=False) for one in report.issues)
    return head + _cut(words, SHORT_CHARS - len(head) - len(tail)) + tail


def long_text(report: Said, grounded: Checked) -> str:
    """Return an analysis whole, as plain text."""
    parts = [report.status.upper(), harmless(report.summary, 1500)]
    for number, issue in enumerate(report.issues, 1):
        title = harmless(issue.title, 200, lines=False)
        lines = [f"{number}. {title} ({issue.severity})"]
        if issue.explanation:
            lines.append(_indented(harmless(issue.explanation, 1000)))
        if issue.evidence:
            lines.append(f"{_INDENT}Evidence: {_evidence(issue)}")
        parts.append("\n".join(lines))
    if report.recommendations:
        advice = (harmless(one, 500, lines=False) for one in report.recommendations)
        parts.append("\n".join(["What to do:", *(f"- {one}" for one in advice)]))
    end = f"\n\n{confirmed(grounded)}"
    return _cut("\n\n".join(parts), LONG_CHARS - len(end)) + end


def markdown(report: Said, grounded: Checked, *, title: str = "Analysis") -> str:
    """Return an analysis as Markdown, for files and for `status`."""
    parts = [f"## {harmless(title, 200, lines=False)}: {report.status}", _body(report.summary)]
    for issue in report.issues:
        parts.append(f"### {harmless(issue.title, 200, lines=False)} ({issue.severity})")
        if issue.explanation:
            parts.append(_body(issue.explanation))
        if issue.evidence:
            parts.append("\n".join(f"- {evidence_text(one)}" for one in issue.evidence))
    if report.recommendations:
        advice = (harmless(one, 1000, lines=False) for one in report.recommendations)
        parts.append("\n".join(["### What to do", "", *(f"- {one}" for one in advice)]))
    end = f"\n\n*{confirmed(grounded)}*\n"
    return _cut("\n\n".join(parts), MARKDOWN_CHARS - len(end)) + end


def _body(text: str) -> str:
    """Return a text whose lines are none of the headings of the page."""
    return re.sub(r"^(?=#{1,6}\s)", r"\\", harmless(text), flags=re.MULTILINE)


def _evidence(issue: Issue) -> str:
    return "; ".join(evidence_text(one) for one in issue.evidence)


def _indented(text: str) -> str:
    return "\n".join(_INDENT + line if line else line for line in text.split("\n"))
