"""Imports go down the floors only; each technology lives in one room."""

import re

import pytest

from meta import source


def known_modules() -> set[str]:
    return {source.module_of(path) for path in source.python_files()} | {"_core"}


def edges() -> list[tuple[str, str]]:
    """Return (importing module, imported module), names that are no modules cut to their module."""
    modules, found = known_modules(), set()
    for path in source.python_files():
        for name in source.imports_of(path):
            target = name
            while target and target not in modules:
                target = target.rpartition(".")[0]
            if target or name == "":
                found.add((source.module_of(path), target))
    return sorted(found)


def test_every_room_has_a_floor() -> None:
    rooms = {source.room_of(module) for module in known_modules()} - {source.DOOR}
    assert rooms <= source.FLOORS.keys(), "give the new room a floor in tests/meta/source.py"


def test_imports_go_down_only() -> None:
    wrong = []
    for importer, imported in edges():
        room, target = source.room_of(importer), source.room_of(imported)
        if room in {source.DOOR, target} or imported == "":
            continue
        below = source.FLOORS[target] - source.FLOORS[room]
        if below > 0:
            wrong.append(f"{importer} imports {imported}, which is above it")
        elif below == 0 and {target, room} <= source.SIBLINGS:
            wrong.append(f"{importer} imports its sibling {imported}")
    assert not wrong, "\n".join(wrong)


def test_nobody_inside_imports_the_package_door() -> None:
    found = [
        importer
        for path in source.python_files()
        if (importer := source.module_of(path)) and "" in set(source.imports_of(path, whole=True))
    ]
    assert not found


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for importer, imported in edges():
        if importer and imported and importer != imported:
            graph.setdefault(importer, set()).add(imported)
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            cycle = [*path[path.index(module) :], module]
            pytest.fail("cycle: " + " -> ".join(cycle))
        if module in done:
            return
        for target in sorted(graph.get(module, ())):
            visit(target, [*path, module])
        done.add(module)

    for module in sorted(graph):
        visit(module, [])


SQL = re.compile(r"\b(SELECT\s.+\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|CREATE\s+TABLE|PRAGMA\s+\w+)\b")


def test_sql_stands_in_the_store_only() -> None:
    store = source.REPOSITORY / "rust" / "core" / "src" / "store"
    outside = [
        str(path.relative_to(source.REPOSITORY))
        for path in source.rust_files()
        if store not in path.parents
        and "tests" not in path.parts
        and SQL.search(re.sub(r"//.*", "", path.read_text()))
    ]
    assert not outside


def test_rusqlite_is_used_in_the_store_only() -> None:
    store = source.REPOSITORY / "rust" / "core" / "src" / "store"
    outside = [
        str(path.relative_to(source.REPOSITORY))
        for path in source.rust_files()
        if store not in path.parents and "rusqlite::" in path.read_text()
    ]
    assert not outside


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"^\s*(import|from)\s+sqlite3", "two copies of SQLite in one process corrupt databases"),
        (r"^\s*(import|from)\s+pickle|recv_pyobj|send_pyobj", "pickle runs what it reads"),
        (r"yaml\.(load|unsafe_load)\(", "yaml.load runs what it reads"),
        (r"^\s*(import|from)\s+multiprocessing", "our processes are executed, never forked"),
        (r"shell=True", "commands are lists"),
    ],
)
def test_package_does_without(pattern: str, why: str) -> None:
    found = [
        f"{path.relative_to(source.REPOSITORY)}:{number}: {line.strip()}"
        for path in source.python_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line) and not line.lstrip().startswith("#") and '"""' not in line
    ]
    assert not found, f"{why}: {found}"


def test_only_the_extension_crate_knows_pyo3() -> None:
    manifests = (source.REPOSITORY / "rust").glob("*/Cargo.toml")
    assert [path.parent.name for path in manifests if "pyo3" in path.read_text()] == ["py"]
    users = {
        path.relative_to(source.REPOSITORY / "rust").parts[0]
        for path in source.rust_files()
        if re.search(r"\bpyo3\b", path.read_text())
    }
    assert users <= {"py"}


def test_spool_knows_neither_sqlite_nor_sockets() -> None:
    manifest = (source.REPOSITORY / "rust" / "spool" / "Cargo.toml").read_text()
    for crate in ["rusqlite", "zmq", "tokio", "pyo3"]:
        assert crate not in manifest


def test_denied_crates_are_only_below_those_that_may_have_them() -> None:
    """What `cargo deny check bans` says, without the tool; the wrappers only serve tests."""
    deny_toml = (source.REPOSITORY / "deny.toml").read_text()
    rules = re.findall(r'\{ name = "(.+?)"(?:, wrappers = \["(.+?)"\])? \}', deny_toml)
    lock_file = (source.REPOSITORY / "Cargo.lock").read_text()
    packages = re.findall(r'^name = "(.+)"\n((?:.+\n)*)', lock_file, re.MULTILINE)
    assert len(rules) == 3
    for denied, wrapper in rules:
        parents = {name for name, rest in packages if re.search(rf'"{denied}[" ]', rest)}
        assert parents <= {wrapper}
        assert wrapper or denied not in dict(packages)


def test_nothing_that_a_fork_could_find_locked_is_global_in_the_trainer() -> None:
    """A child forked while another thread holds a lock of the process waits for it for ever."""
    for path in (source.REPOSITORY / "rust" / "spool" / "src").glob("*.rs"):
        text = path.read_text()
        found = re.findall(r"static \w+: (?:OnceLock|LazyLock|Mutex|RwLock|Once)\b", text)
        assert not found, f"{path.name}: {found}"
