"""The source tree as the rules see it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "python" / "training_monitor"

# Imports go down only. Of the SIBLINGS, those on one floor never import each other.
FLOORS: dict[str, int] = {
    "_core": 0,
    "errors": 1,
    "kinds": 1,
    "texts": 1,
    "settings": 2,
    "bounds": 2,
    "system": 3,
    "snapshot": 3,
    "notify": 3,
    "detect": 3,
    "predict": 3,
    "answers": 3,
    "analyses": 3,
    "catalog": 3,
    "frames": 3,
    "notebook": 3,
    "plotting": 3,
    "machine": 3,
    "found": 4,
    "alerted": 4,
    "ranks": 3,
    "uncaught": 3,
    "stackfile": 3,
    "capture": 3,
    "stacks": 3,
    "statistics": 3,
    "backup": 4,
    "tables": 4,
    "foreign": 3,
    "job": 3,
    "spawn": 3,
    "claim": 4,
    "run": 4,
    "query": 4,
    "foresight": 4,
    "meanings": 4,
    "definitions": 4,
    "vitals": 4,
    "judge": 4,
    "launch": 5,
    "recall": 5,
    "export": 5,
    "analysis": 5,
    "chat": 5,
    "report": 5,
    "monitor": 6,
    "cli": 7,
    "__main__": 8,
}
SIBLINGS = {"system", "snapshot", "notify", "detect", "predict", "run", "query"}
# The package itself stands beside the stairs: it re-exports, and nobody inside imports it.
DOOR = "__init__"


def python_files() -> list[Path]:
    """Return the modules of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def rust_files() -> list[Path]:
    """Return the Rust sources."""
    return sorted((REPOSITORY / "rust").rglob("*.rs"))


def module_of(path: Path) -> str:
    """Return the dotted name of a file below the package; the package itself is ''."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != DOOR)


def room_of(module: str) -> str:
    """Return the top-level room of a module."""
    return module.split(".", maxsplit=1)[0] or DOOR


def imports_of(path: Path, *, whole: bool = False) -> Iterator[str]:
    """Yield the modules of this package that a file imports, dotted names below the package.

    Args:
        path: The file.
        whole: Yield only '' and only where the package itself is meant, not a room of it.
    """
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".") if package else []
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join(["training_monitor", *parts, *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if not f"{name}.".startswith("training_monitor."):
                continue
            inside = name.removeprefix("training_monitor").removeprefix(".")
            if not whole:
                yield inside
            elif inside.split(".")[0] not in FLOORS:
                yield ""


def export_order(name: str) -> tuple[int, str]:
    """Return the sorting key of `__all__`: CONSTANTS, Classes, functions (as ruff sorts)."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name
