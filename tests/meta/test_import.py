"""What `import training_monitor` brings with it, and what it promises to type checkers."""

import subprocess
import sys
from pathlib import Path

import training_monitor as tm
from meta import source

HEAVY = [
    "argparse", "asyncio", "dataclasses", "http", "json", "logging", "multiprocessing", "numpy",
    "openai", "psutil", "pynvml", "re", "requests", "sqlite3", "ssl", "subprocess", "threading",
    "typing", "urllib", "uuid", "zmq",
]  # fmt: skip


def modules_after(statement: str) -> set[str]:
    """Return what a fresh interpreter has loaded after `statement` that it had not before."""
    program = (
        f"import sys; before = set(sys.modules)\n{statement}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    loaded = modules_after("import training_monitor")
    assert not loaded & set(HEAVY)


def test_import_and_init_start_no_thread_and_import_nothing_heavy(tmp_path: Path) -> None:
    statement = (
        "import training_monitor as tm\n"
        f"tm.init('light', root_dir={str(tmp_path / 'runs')!r}, quiet=True)\n"
        "tm.log({'loss': 1.0})\n"
        "import os; assert len(os.listdir('/proc/self/task')) == 1\n"
        "sockets = [fd for fd in os.listdir('/proc/self/fd')"
        " if os.path.exists(f'/proc/self/fd/{fd}')"
        " and os.readlink(f'/proc/self/fd/{fd}').startswith('socket')]\n"
        "assert not sockets, sockets"
    )
    heavy = set(HEAVY) - {"threading"}
    assert not modules_after(statement) & heavy


def test_names_of_the_package_are_sorted_and_importable() -> None:
    assert list(tm.__all__) == sorted(tm.__all__, key=source.export_order)
    for name in tm.__all__:
        assert getattr(tm, name) is not None
    assert set(tm.__all__) <= set(dir(tm))


def test_log_is_bound_to_rust_directly() -> None:
    assert type(tm.log).__name__ == "builtin_function_or_method"


def test_extension_is_a_release_build() -> None:
    from training_monitor import _core

    assert _core.build_profile == "release"


def test_bundled_sqlite_is_free_of_the_wal_reset_bug() -> None:
    from training_monitor import _core

    assert tuple(map(int, _core.sqlite_version.split("."))) >= (3, 51, 3)
