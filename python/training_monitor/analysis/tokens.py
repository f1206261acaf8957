"""How many tokens a text is: estimated by its length, and learned from what the server counts."""

from __future__ import annotations

import json
import os
import tempfile

__all__ = ["TokenRatio"]

# Tables of digits come near to two characters a token, prose to four and a half. A low guess keeps
# a prompt within its budget until the server has counted one.
_FIRST_RATIO = 3.0
_LEAST_RATIO, _GREATEST_RATIO = 1.0, 8.0
# Of a new count, once the first one was taken as it is.
_WEIGHT = 0.3
# Short prompts are mostly what the server itself puts around them.
_LEAST_CHARS = 400


class TokenRatio:
    """Characters per token of one model.

    Args:
        path: The file that keeps what was learned; None keeps nothing.
        model: The name of the model.
    """

    __slots__ = ("_chars_per_token", "_model", "_path")

    def __init__(self, path: str | None, model: str) -> None:
        self._path = path
        self._model = model
        self._chars_per_token = self._known().get(model, 0.0)

    @property
    def chars_per_token(self) -> float:
        """The ratio that holds now."""
        return self._chars_per_token or _FIRST_RATIO

    def tokens(self, text: str) -> int:
        """Return about how many tokens a text is, never less than one for any text."""
        return -int(-len(text) // self.chars_per_token) if text else 0

    def chars(self, tokens: float) -> int:
        """Return how many characters so many tokens are about."""
        return max(int(tokens * self.chars_per_token), 0)

    def learn(self, chars: int, tokens: int | None) -> None:
        """Take over what the server has counted for a prompt of so many characters."""
        if not tokens or tokens < 0 or chars < _LEAST_CHARS:
            return
        seen = min(max(chars / tokens, _LEAST_RATIO), _GREATEST_RATIO)
        old = self._chars_per_token
        self._chars_per_token = seen if not old else old + _WEIGHT * (seen - old)
        self._keep()

    def _known(self) -> dict[str, float]:
        """Return what was learned of all models; a file that is none says nothing."""
        if self._path is None:
            return {}
        try:
            with open(self._path, encoding="utf-8") as file:
                rows = json.load(file)
        except (OSError, ValueError):
            return {}
        if not isinstance(rows, dict):
            return {}
        return {
            str(name): float(ratio)
            for name, ratio in rows.items()
            if isinstance(ratio, (int, float)) and _LEAST_RATIO <= ratio <= _GREATEST_RATIO
        }

    def _keep(self) -> None:
        if self._path is None:
            return
        ratios = self._known() | {self._model: round(self._chars_per_token, 4)}
        directory = os.path.dirname(self._path)
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            handle, draft = tempfile.mkstemp(dir=directory, prefix=".tokens-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(ratios, file)
            os.replace(draft, self._path)
        except OSError:
            return  # it is learned again from the next answer
