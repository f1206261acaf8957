"""Sizes of files, exported names, first sentences."""

import ast
import re
import warnings
from pathlib import Path

import pytest

from meta import source

NEVER_PAST_LINES = 600
LOOK_FOR_A_WALL_AT_LINES = 400
ROOTS = ["python", "rust", "tests", "benches", "examples"]


def sources() -> list[Path]:
    return sorted(
        path
        for root in ROOTS
        for pattern in ("*.py", "*.pyi", "*.rs")
        for path in (source.REPOSITORY / root).rglob(pattern)
        if "target" not in path.parts
    )


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.filterwarnings("default")
def test_no_file_is_past_six_hundred_lines() -> None:
    sizes = {str(path.relative_to(source.REPOSITORY)): lines(path) for path in sources()}
    for path, count in sorted(sizes.items()):
        if count > LOOK_FOR_A_WALL_AT_LINES:
            warnings.warn(f"{path} has {count} lines: look for a wall", stacklevel=1)
    assert not {path: count for path, count in sizes.items() if count > NEVER_PAST_LINES}


@pytest.mark.parametrize("path", source.python_files(), ids=source.module_of)
def test_exported_names_are_sorted_and_exist(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            assert names == sorted(names, key=source.export_order)
            assert len(set(names)) == len(names)


def test_every_rust_file_opens_with_a_sentence() -> None:
    without = [
        str(path.relative_to(source.REPOSITORY))
        for path in source.rust_files()
        if not path.read_text().startswith("//! ")
    ]
    assert not without


def test_every_module_has_a_docstring() -> None:
    without = [
        str(path.relative_to(source.REPOSITORY))
        for path in sources()
        if path.suffix == ".py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not without


def test_unsafe_stands_where_it_is_allowed_only() -> None:
    allowed = (
        source.REPOSITORY / "rust" / "spool",
        source.REPOSITORY / "rust" / "py" / "src" / "log",
    )
    # A virtual table is a promise to SQLite about the layout of two structs, and no more than that.
    promise = source.REPOSITORY / "rust/core/src/store/read/query/table.rs"
    outside = [
        str(path.relative_to(source.REPOSITORY))
        for path in source.rust_files()
        if not any(room in path.parents for room in allowed)
        and re.search(
            r"\bunsafe\b\s*(\{|fn|extern)" + ("" if path == promise else r"|\bunsafe\b\s*impl"),
            path.read_text(),
        )
    ]
    assert not outside
    assert len(re.findall(r"^unsafe impl VTab", promise.read_text(), re.MULTILINE)) == 2


def test_version_stands_in_one_place() -> None:
    pyproject = (source.REPOSITORY / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in pyproject
    assert not re.search(r"^version\s*=", pyproject, re.MULTILINE)
    for manifest in (source.REPOSITORY / "rust").glob("*/Cargo.toml"):
        assert "version.workspace = true" in manifest.read_text(), manifest
