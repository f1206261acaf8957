"""Tokens are estimated by the length of a text, and learned from the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from training_monitor.analysis.tokens import TokenRatio


def test_a_first_guess_is_three_characters_a_token(tmp_path: Path) -> None:
    ratio = TokenRatio(str(tmp_path / "tokens.json"), "m")
    assert (ratio.tokens(""), ratio.tokens("abcd"), ratio.chars(100)) == (0, 2, 300)


def test_what_the_server_counts_is_learned_and_kept_by_model(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "tokens.json")
    ratio = TokenRatio(path, "m")
    ratio.learn(4000, 1000)
    assert ratio.chars_per_token == 4.0
    for _ in range(30):
        ratio.learn(5000, 1000)
    assert ratio.chars_per_token == pytest.approx(5.0, rel=0.01)
    assert TokenRatio(path, "m").chars_per_token == pytest.approx(5.0, rel=0.01)
    assert TokenRatio(path, "other").chars_per_token == 3.0


@pytest.mark.parametrize(("chars", "tokens"), [(4000, None), (4000, 0), (4000, -5), (10, 500)])
def test_odd_counts_teach_nothing(tmp_path: Path, chars: int, tokens: int | None) -> None:
    ratio = TokenRatio(str(tmp_path / "t"), "m")
    ratio.learn(chars, tokens)
    assert ratio.chars_per_token == 3.0


def test_a_server_that_counts_nonsense_moves_it_within_bounds(tmp_path: Path) -> None:
    ratio = TokenRatio(str(tmp_path / "t"), "m")
    ratio.learn(100_000, 1)
    assert ratio.chars_per_token == 8.0


@pytest.mark.parametrize("text", ["", "[", "[]", '{"m": "x"}', '{"m": NaN}', '{"m": 1e9}'])
def test_a_damaged_file_is_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t"
    path.write_text(text)
    assert TokenRatio(str(path), "m").chars_per_token == 3.0
