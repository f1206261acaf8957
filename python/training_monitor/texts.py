"""Settings that hold text: words, names, paths, addresses, commands."""

from __future__ import annotations

import os

from training_monitor.kinds import Kind, Refused

__all__ = ["Choice", "Command", "Files", "Name", "Path", "Texts", "Url", "Word", "quoted"]

_NAME_BYTES = 128


class Word(Kind[str]):
    """A text that is not empty and stands on one line."""

    allowed = "expected a non-empty text on one line"

    def take(self, value: object) -> str:
        """Accept a str without control characters."""
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise Refused
        return value


class Name(Kind[str]):
    """A text that is safe as the name of a directory."""

    allowed = (
        "expected a directory name: 1 to 128 bytes, no '/', no control characters, "
        "not starting with '.'"
    )

    def take(self, value: object) -> str:
        """Accept what every file system and every terminal can carry."""
        if not isinstance(value, str):
            raise Refused(f"it is of type {type(value).__name__}")
        reasons = {
            "it is empty": not value.strip(),
            "it contains '/'": "/" in value,
            "it contains a NUL character": "\0" in value,
            "it contains a control character": not value.isprintable(),
            "it starts with '.'": value.startswith("."),
            "it starts or ends with a space": value != value.strip(),
            "it is too long": len(value.encode("utf-8", "surrogatepass")) > _NAME_BYTES,
        }
        for reason, holds in reasons.items():
            if holds:
                raise Refused(reason)
        return value


class Choice(Kind[str]):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.allowed = "expected " + " or ".join(repr(word) for word in words)

    def take(self, value: object) -> str:
        """Accept exactly one of the words."""
        if not isinstance(value, str) or value not in self.words:
            raise Refused
        return value

    def read(self, text: str) -> str:
        """Read the word in any case."""
        return self.take(text.strip().lower())


class Path(Kind[str]):
    """The path of a file or a directory."""

    allowed = "expected a path: str or os.PathLike"

    def take(self, value: object) -> str:
        """Accept str and PathLike, and expand a leading ~."""
        if not isinstance(value, (str, os.PathLike)):
            raise Refused
        path = os.fspath(value)
        if not isinstance(path, str) or not path.strip() or "\0" in path:
            raise Refused
        path = os.path.expanduser(str.__str__(path))
        # A text that no file can be called by would fail later and elsewhere.
        os.fsencode(path)
        return path


class Texts(Kind["list[str]"]):
    """A list of texts or paths; one alone may stand without the list."""

    allowed = "expected a list of non-empty texts or paths"

    def take(self, value: object) -> list[str]:
        """Accept one item, a list or a tuple."""
        items = value if isinstance(value, (list, tuple)) else [value]
        return [Path().take(item) for item in items]

    def read(self, text: str) -> list[str]:
        """Read items between commas, or a JSON list where an item has a comma itself."""
        if text.lstrip().startswith("["):
            import json

            try:
                return self.take(json.loads(text))
            except ValueError:
                raise Refused("it begins as a JSON list and is none") from None
        return self.take([item.strip() for item in text.split(",") if item.strip()])

    def spell(self, value: list[str]) -> str:
        """Return the items as a JSON list."""
        import json

        return json.dumps(value)


class Files(Texts):
    """Files, or patterns of them, as they are seen from here: the paths are made absolute."""

    def take(self, value: object) -> list[str]:
        """Accept what a list of paths is."""
        paths = super().take(value)
        try:
            return [os.path.abspath(path) for path in paths]
        except OSError:
            # The working directory is gone: only what is absolute means something.
            return paths


class Url(Kind[str]):
    """The address of a web service."""

    allowed = "expected an address that starts with http:// or https://"

    def take(self, value: object) -> str:
        """Accept an absolute http address without blanks."""
        if not isinstance(value, str) or not value.isprintable() or " " in value:
            raise Refused
        if not value.startswith(("http://", "https://")) or value.endswith("://"):
            raise Refused
        return value


class Command(Kind[str]):
    """A command line."""

    allowed = "expected a text, or a list of texts"

    def take(self, value: object) -> str:
        """Accept a str, or an argument list, which is quoted as a shell would need it."""
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, (list, tuple)) and value:
            return " ".join(quoted(str(item)) for item in value)
        raise Refused


def quoted(word: str) -> str:
    """Quote one word of a command line (as shlex.quote, whose import costs milliseconds)."""
    if word and all(char.isalnum() or char in "@%+=:,./-_" for char in word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"
