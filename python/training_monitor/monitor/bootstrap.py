"""Start a process of ours by the path of this file, out of reach of the user's own modules.

Python puts the directory of a script, and some users the working directory, in front of
everything: a file `queue.py` or `select.py` there would be imported in place of the standard
library's. So nothing but `os` and `sys`, which are loaded already, is imported above the cure.
"""

import os
import sys


def _clean_path() -> None:
    """Drop this directory and the working directory from sys.path, put the library first."""
    here = os.path.dirname(os.path.realpath(__file__))
    try:
        banned = {here, os.path.realpath(os.getcwd())}
    except OSError:
        banned = {here}
    kept = [path for path in sys.path if path and os.path.realpath(path) not in banned]
    library = os.path.dirname(os.__file__)
    ours = (library, os.path.join(library, "lib-dynload"))
    sys.path[:] = sorted(kept, key=lambda path: path not in ours)


def _import_package() -> None:
    """Import the package this file belongs to, and no other one of that name."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    parent = os.path.dirname(package)
    known = parent in sys.path
    sys.path.insert(0, parent)
    import training_monitor._core  # noqa: F401

    sys.path.remove(parent)
    if not known:
        sys.path.append(parent)


def main() -> int:
    """Become the process of ours that the command line names, for the run that it names."""
    _clean_path()
    _import_package()
    words = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    run_dir = words["--run-dir"]
    respawned = int(words.get("--respawned", "0"))
    relay = words.get("--relay")
    # A run directory is absolute; the directory of the training may vanish or be unmounted.
    os.chdir("/")
    if "--brain" in words:
        from training_monitor.monitor.brain import think

        # Threads may be in a delivery that hangs: what is open is told by the next brain.
        os._exit(think(run_dir, int(words["--pipe"]), int(words["--brain"])))
    if "--code" in words:
        from training_monitor.monitor.snapshotting import snap

        os._exit(snap(run_dir, int(words["--pipe"]), int(words["--code"])))
    if "--pipe" in words:
        from training_monitor.monitor.poller import watch

        pipes = int(words["--pipe"]), int(words["--samples"])
        status = watch(run_dir, *pipes, respawned, relay=relay)
        # A thread may be in a call of a driver that never returns: nothing waits for it.
        os._exit(status)
    if relay is not None:
        from training_monitor.monitor.relay import serve_relay

        return serve_relay(run_dir, relay, respawned=respawned)
    from training_monitor.monitor.process import serve

    return serve(run_dir, respawned=respawned)


if __name__ == "__main__":
    sys.exit(main())
