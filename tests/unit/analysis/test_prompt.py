"""A prompt keeps to its room, and the sections to their shares."""

from __future__ import annotations

import random

import pytest

from training_monitor.analyses import Analysis, Message
from training_monitor.analysis.history import earlier, turns
from training_monitor.analysis.prompt import Section, clipped, packed


def text_of(char: str, length: int) -> Section:
    return Section(char, 1.0, lambda most: (char * length)[: max(most, 0)])


def heedless(title: str, share: float, length: int) -> Section:
    """Return a section that does not care how much room it has."""
    return Section(title, share, lambda _: "x" * length)


@pytest.mark.parametrize("seed", range(50))
def test_a_prompt_is_never_longer_than_its_room(seed: int) -> None:
    dice = random.Random(seed)
    sections = [
        heedless(f"s{at}", dice.random(), dice.randrange(5000))
        for at in range(dice.randrange(1, 9))
    ]
    room = dice.randrange(0, 8000)
    assert len(packed(sections, room)) <= room


def test_what_one_section_leaves_goes_to_those_that_were_cut() -> None:
    text = packed([text_of("a", 10), text_of("b", 10_000)], 1000)
    assert "a" * 10 + "\n\n" in text
    assert text.count("b") > 900


def test_sections_that_all_want_more_get_their_shares() -> None:
    wide = Section("a", 3.0, lambda most: "a" * most)
    narrow = Section("b", 1.0, lambda most: "b" * most)
    text = packed([wide, narrow], 4000)
    assert 2.8 < text.count("a") / text.count("b") < 3.2


def test_a_section_without_a_word_has_no_heading() -> None:
    sections = [heedless("empty", 1.0, 0), text_of("b", 10)]
    assert packed(sections, 500) == "## b\nbbbbbbbbbb\n\n"


def test_a_cut_says_how_much_is_missing() -> None:
    said = clipped("x" * 1000, 200)
    assert len(said) <= 200
    kept = said.count("x")
    assert f"[cut here: {1000 - kept:,} more characters]" in said


def analysis(at: float, summary: str, *, rung: str = "tools") -> Analysis:
    return Analysis("id", at, 7, 1, "interval", "ok", summary, rung=rung)


def test_what_was_said_last_stays_when_not_all_has_room() -> None:
    said = earlier(
        [analysis(1.0, "the oldest " * 20), analysis(3.0, "the newest")],
        [Message("m", 2.0, "user", "a question")],
        120,
    )
    assert said.index("a question") < said.index("the newest")
    assert "the oldest" not in said
    assert len(said) <= 120


def test_what_the_rules_say_is_no_conversation() -> None:
    assert earlier([analysis(1.0, "by rules", rung="rules")], [], 500) == ""


def test_turns_begin_with_the_user_and_keep_to_their_room() -> None:
    messages = [
        Message(str(at), float(at), ("user", "assistant")[at % 2], f"{at}" * 30) for at in range(6)
    ]
    said = turns(messages, 100)
    assert [one["role"] for one in said] == ["user", "assistant"]
    assert said[-1]["content"] == "5" * 30
    assert turns(messages[1:2], 100) == []
