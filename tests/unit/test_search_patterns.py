"""Patterns that a model writes: found line by line, never slowly, never wrong."""

import random
import re
import time
from pathlib import Path

import pytest

from training_monitor import QueryError, _core

_NASTY = r"""
(a+)+$
(a|a)*b
(.*)*x
(x+x+)+y
(\w+\s?)*$
^(([a-z])+.)+[A-Z]([a-z])+$
(.*?,){20}P
(?i)(\d|\w|_)*!
(a?){30}a{30}
([a-zA-Z]+)*=
(.|\s)*z$
\w{1,50}\d{1,50}x
(?:a|ab|abc)*d
(loss|los|lo|l)*s+$
x*x*x*x*x*x*x*x*y
[^\n]*?[^\n]*?[^\n]*?q1
(\S+\s+){5,30}end
(a.{20}b|c)+z
"""
NASTY = _NASTY.split("\n")[1:-1]


def nasty(rng: random.Random) -> str:
    """Return a pattern that a backtracking engine, or a large automaton, would suffer from."""
    base = rng.choice(NASTY)
    forms = (
        base,
        f"({base})*{rng.choice('xyz')}",
        f"({base}|{rng.choice(NASTY)})+",
        f".*{base}.*{rng.choice(['q', 'zz', '7$'])}",
        f"(?:{base}){{1,{rng.randint(2, 40)}}}",
        f"[^{rng.choice('abc')}]{{{rng.randint(10, 80)},{rng.randint(80, 300)}}}x",
        rf"(\w{{1,{rng.randint(5, 60)}}}[^\w]){{2,{rng.randint(3, 12)}}}!",
    )
    return rng.choice(forms)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten megabytes of code, some of it in a single line."""
    rng = random.Random(1)
    words = [
        "loss",
        "aaaaaaaaaaaaaaaaaaaaaa",
        "optimizer.step()",
        "x = y",
        "def f(a, b):",
        "é",
        "#",
        "12",
    ]
    directory = tmp_path_factory.mktemp("code")
    paths = []
    for number in range(10):
        path = directory / f"{number}.py"
        line = "".join(rng.choice(words) + " " for _ in range(9))
        text = "".join(f"{line[rng.randrange(30) :]}\n" for _ in range(2**20 // 70))
        path.write_text((text if number else text.replace("\n", " "))[: 2**20].ljust(2**20, "a"))
        paths.append(path)
    return paths


def search(
    paths: list[Path], pattern: str, **more: object
) -> tuple[list[tuple[int, int, str]], bool]:
    options = {"regex": True, "ignore_case": False, "limit": 100, "most_file_bytes": 2**22}
    found = _core.search_files(paths, pattern, **(options | {"timeout_s": 60.0} | more))  # type: ignore[arg-type]
    return found[0], found[1]


def test_a_thousand_nasty_patterns_over_ten_megabytes_each_end_in_time(code: list[Path]) -> None:
    rng = random.Random(2)
    limit_secs = 0.08
    slowest, refused, whole = 0.0, 0, 0
    for _ in range(1_000):
        pattern = nasty(rng)
        began = time.thread_time()
        try:
            _, more = search(code, pattern, limit=1_000, timeout_s=limit_secs)
            whole += not more
        except QueryError:
            refused += 1
        slowest = max(slowest, time.thread_time() - began)
    print(f"slowest {1000 * slowest:.0f} ms, {refused} refused, {whole} searched everything")
    # What compiling and the last stretch may take on top, measured in time of the processor.
    assert slowest < 2 * limit_secs, f"{slowest:.3f} s"
    assert refused < 400, "most of them are answered"


def test_hits_are_those_of_another_engine(tmp_path: Path) -> None:
    lines = [
        "import os",
        "loss = 1.5",
        "",
        "  Loss_total += loss",
        "a.b(c)",
        "é loss",
        "x" * 300 + "loss",
    ]
    path = tmp_path / "a.py"
    path.write_text("\n".join(lines) + "\n")
    for pattern in [
        "loss",
        "^loss",
        "loss$",
        r"\bloss\b",
        r"l(o|x)s{2}",
        r"\d+\.\d",
        "^$",
        "[A-Z]",
        r"a\.b\(c\)",
    ]:
        expected = [n for n, line in enumerate(lines, 1) if re.search(pattern, line, re.ASCII)]
        assert [line for _, line, _ in search([path], pattern)[0]] == expected, pattern
    assert [line for _, line, _ in search([path], "a.b(c)", regex=False)[0]] == [5]
    assert len(search([path], "LOSS", regex=False, ignore_case=True)[0]) == 4


def test_a_long_line_is_cut_around_the_hit(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("x" * 500_000 + "needle" + "y" * 500_000)
    [(_, line, text)] = search([path], "needle")[0]
    assert line == 1
    assert "needle" in text
    assert len(text) < 250
    assert text.startswith("…")
    assert text.endswith("…")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "not a regular expression: unclosed group"),
        (r"(a)\1", "backreferences are not supported"),
        ("(?=a)", "look-around"),
        ("a{1,1000}{1,1000}", "too large"),
        (r"\p{L}{900}", "too large"),
        ("", "from 1 to 2000 characters"),
        ("a" * 5_000, "this one has 5000"),
        ("(" * 1_000, "not a regular expression"),
    ],
)
def test_what_is_wrong_with_a_pattern_is_said(pattern: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=message):
        search([tmp_path / "a"], pattern)


def test_differences_of_large_texts_take_no_longer_than_allowed() -> None:
    rng = random.Random(3)
    old = "".join(f"{rng.randrange(50)}\n" for _ in range(40_000))
    new = "".join(f"{rng.randrange(50)}\n" for _ in range(40_000))
    began = time.thread_time()
    text = _core.unified_diff(old, new, old_name="a", new_name="b", timeout_s=0.2)
    assert text.startswith("--- a\n+++ b\n@@ ")
    assert time.thread_time() - began < 10
    assert _core.unified_diff(old, old, old_name="a", new_name="b", timeout_s=1.0) == ""


def test_names_are_meant_as_in_a_gitignore() -> None:
    names = _core.PathPatterns(["*.log", "!keep.log", "/build/", "# no", "data/**/raw"])
    assert names.means("a/b.log") is True
    assert names.means("keep.log") is False
    assert names.means("build", is_dir=True) is True
    assert names.means("build/x.py", whole=True) is True
    assert names.means("src/build", is_dir=True) is None
    assert names.means("data/a/b/raw") is True
    assert names.means("/etc/passwd") is None
