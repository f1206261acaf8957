"""`training-monitor code`: the code of a run as it was when an attempt began."""

from __future__ import annotations

import os
from dataclasses import asdict

from training_monitor.bounds import COUNT
from training_monitor.catalog import find_run
from training_monitor.cli import render
from training_monitor.cli.options import add_json, add_root_dir, add_run, number_of
from training_monitor.errors import RunNotFoundError
from training_monitor.snapshot.attempts import attempts_of
from training_monitor.snapshot.difference import difference
from training_monitor.snapshot.snapshot import open_snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from training_monitor.snapshot.snapshot import Snapshot

HELP = """\
Print what code a run had: its files, what was left out, and where secrets
were. With a path, print that file; with --diff, what has changed since
another attempt or run.
"""

_MOST_DIFF_BYTES = 4 * 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, the file, the attempt, the other run, the root directory and --json."""
    add_run(parser, optional=False)
    parser.add_argument("path", metavar="PATH", nargs="?", help="print this file")
    parser.add_argument(
        "--attempt", type=number_of(COUNT), metavar="N",
        help="of this attempt (default: the newest whose code was kept)",
    )  # fmt: skip
    parser.add_argument(
        "--diff", metavar="OTHER", help="print the changes since this attempt (a number) or run"
    )
    add_root_dir(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the list, the file or the changes."""
    run_dir = _directory(arguments.run, arguments.root_dir)
    code = _kept(run_dir, arguments.attempt)
    if arguments.diff is not None:
        return _print_changes(_other(arguments.diff, run_dir, arguments.root_dir), code, arguments)
    if arguments.path is not None:
        return _print_file(code, arguments)
    if arguments.json:
        render.print_json(_facts(code) | {"attempts": attempts_of(run_dir)})
    else:
        _print_list(code)
    return 0


def _directory(named: str, root: str) -> str:
    path = find_run(named, root)
    return os.path.dirname(path) if path.endswith(".db") else path


def _kept(run_dir: str, attempt: int | None) -> Snapshot:
    """Return the code; say what there is when there is none."""
    found = open_snapshot(run_dir, attempt)
    if found is not None:
        return found
    known = sorted({row["attempt"] for row in attempts_of(run_dir)})
    of = "it" if attempt is None else f"attempt {attempt}"
    there_is = (
        f"there is that of attempt {', '.join(map(str, known))}" if known else "there is none"
    )
    raise RunNotFoundError(f"the code of {of} was not kept in {run_dir!r}: {there_is}")


def _other(named: str, run_dir: str, root: str) -> Snapshot:
    """Return the code that is compared with: of an attempt of this run, or of another run."""
    if named.isascii() and named.isdigit():
        return _kept(run_dir, int(named))
    return _kept(_directory(named, root), None)


def _print_changes(old: Snapshot, new: Snapshot, arguments: argparse.Namespace) -> int:
    """Print a diff; the exit status is 1 where there are changes, as with diff."""
    text = difference(old, new, max_bytes=_MOST_DIFF_BYTES)
    if arguments.json:
        render.print_json({"old": old.hash, "new": new.hash, "diff": text})
    for line in [] if arguments.json else text.split("\n")[:-1]:
        print(_shown(line))
    return 1 if text else 0


def _print_file(code: Snapshot, arguments: argparse.Namespace) -> int:
    try:
        entry, lines = code.entry(arguments.path), code.lines(arguments.path)
    except KeyError as error:
        raise RunNotFoundError(str(error.args[0])) from None
    if arguments.json:
        render.print_json(asdict(entry) | {"text": lines})
        return 0
    for line in lines:
        print(_shown(line))
    return 0


def _shown(line: str) -> str:
    """Return a line of code for a terminal: tabs stay, nothing else is obeyed."""
    return "\t".join(render.safe(part) for part in line.split("\t"))


def _facts(code: Snapshot) -> dict[str, Any]:
    return {
        "hash": code.hash,
        "attempt": code.attempt,
        "time": code.time,
        "root": code.root,
        "git": None if code.git is None else asdict(code.git),
        "files": [asdict(entry) for entry in code.entries],
        "skipped": [asdict(one) for one in code.skipped],
        "skipped_counts": code.skipped_counts,
        "redactions": [asdict(one) for one in code.redactions],
    }


def _print_list(code: Snapshot) -> None:
    size = render.in_bytes(sum(entry.size for entry in code.entries))
    print(f"code {code.hash[:12]} of attempt {code.attempt}, taken {render.moment(code.time)}")
    print(f"from {render.safe(code.root)}: {len(code.entries)} files, {size}")
    if code.git is not None:
        words = {True: ", with changes", False: "", None: ", changes not known"}
        branch = f" on {render.safe(code.git.branch)}" if code.git.branch else ""
        commit = code.git.commit[:12] if code.git.commit else "without a commit"
        print(f"git {commit}{branch}{words[code.git.dirty]}")
    print()
    rows = [
        (entry.path, render.whole(entry.lines), render.in_bytes(entry.size))
        for entry in code.entries
    ]
    if rows:
        render.print_table(("FILE", "LINES", "SIZE"), rows)
    _print_left_out(code)


def _print_left_out(code: Snapshot) -> None:
    for why, count in sorted(code.skipped_counts.items()):
        named = [one.path for one in code.skipped if one.why == why]
        more = f" and {count - 3} more" if count > 3 else ""
        shown = render.safe(f"left out, {why}: {', '.join(named[:3])}{more}")
        print(f"\n{shown}" if why == min(code.skipped_counts) else shown)
    for place in code.redactions:
        head = "\n" if place is code.redactions[0] else ""
        print(f"{head}{render.safe(f'redacted, {place.path}:{place.line}: {place.kind}')}")
