"""JSON as language models write it: fenced, single-quoted, with commas too many, or cut off."""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["objects_in", "read_json"]

_MOST_CHARS = 200_000
_MOST_DEPTH = 24
_MOST_STARTS = 8
_BLANK = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(r"[^\s,:\]}\[{\"]+")
_FENCE = re.compile(r"```[\w+-]*[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_LITERALS: dict[str, object] = {
    "true": True, "false": False, "null": None, "none": None,
    "nan": float("nan"), "inf": float("inf"), "infinity": float("inf"),
    "-inf": float("-inf"), "-infinity": float("-inf"),
}  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def read_json(text: str) -> object:
    """Return the value that a text is, as strictly as it can be read and as kindly as it must.

    Raises:
        ValueError: There is no value in it.
    """
    text = text[:_MOST_CHARS]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _Reader(text).value(0)


def objects_in(text: str) -> Iterator[dict[str, object]]:
    """Yield the JSON objects in a text: those in code fences first, then from each brace on."""
    text = text[:_MOST_CHARS]
    for source in [*(found[1] for found in _FENCE.finditer(text)), text]:
        start = -1
        for _ in range(_MOST_STARTS):
            start = source.find("{", start + 1)
            if start < 0:
                break
            try:
                value = read_json(source[start:])
            except ValueError:
                continue
            if isinstance(value, dict) and value:
                yield value


class _Reader:
    """A reader that takes the end of the text for the end of whatever is open."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def value(self, depth: int) -> object:
        if depth > _MOST_DEPTH:
            raise ValueError("too deeply nested")
        char = self._peek()
        if char == "{":
            return self._object(depth)
        if char == "[":
            return self._array(depth)
        if char in ('"', "'"):
            return self._string(char)
        return self._word()

    def _peek(self) -> str:
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at
        return self._text[self._at : self._at + 1]

    def _object(self, depth: int) -> dict[str, object]:
        self._at += 1
        found: dict[str, object] = {}
        while (char := self._peek()) not in ("}", ""):
            if char in ",:":
                self._at += 1
                continue
            key = self._string(char) if char in ('"', "'") else str(self._word())
            if self._peek() != ":":
                # A key that was cut off says nothing.
                continue
            self._at += 1
            if self._peek() in ("", ",", "}"):
                continue
            found[key] = self.value(depth + 1)
        self._at += 1
        return found

    def _array(self, depth: int) -> list[object]:
        self._at += 1
        found: list[object] = []
        while (char := self._peek()) not in ("]", ""):
            if char in ",:":
                self._at += 1
            elif char == "}":
                # The bracket is missing; the brace belongs to who holds this list.
                return found
            else:
                found.append(self.value(depth + 1))
        self._at += 1
        return found

    def _string(self, quote: str) -> str:
        text, parts, self._at = self._text, [], self._at + 1
        while self._at < len(text):
            char = text[self._at]
            self._at += 1
            if char == quote:
                break
            if char == "\\" and self._at < len(text):
                char = text[self._at]
                self._at += 1
                if char == "u":
                    digits = text[self._at : self._at + 4]
                    self._at += 4
                    char = chr(int(digits, 16)) if re.fullmatch(r"[0-9a-fA-F]{4}", digits) else "?"
                else:
                    char = _ESCAPES.get(char, char)
            parts.append(char)
        return "".join(parts)

    def _word(self) -> object:
        found = _WORD.match(self._text, self._at)
        if found is None:
            raise ValueError("no JSON value")
        self._at = found.end()
        word = found[0]
        if word.lower() in _LITERALS:
            return _LITERALS[word.lower()]
        try:
            return json.loads(word)
        except ValueError:
            return word
