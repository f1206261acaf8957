"""What do other trackers cost, on this machine, with the same calls? `make bench-peers`"""

from __future__ import annotations

import argparse
import sys

import page
from peers import adapters
from peers.environments import Missing, Ready, environments
from peers.plan import Plan
from peers.report import Outcome, tables
from peers.rounds import Rounds, say
from process_tree import adopt_orphans
from workload import one_millisecond

# What every ratio needs.
ALWAYS = [adapters.EMPTY, adapters.FLOOR, adapters.OURS, adapters.PLAIN]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m peers")
    parser.add_argument("--only", default="", help='trackers, as "wandb mlflow"; default: all')
    parser.add_argument("--tiny", action="store_true", help="show that all runs, measure nothing")
    parser.add_argument("--no-install", action="store_true", help="do not ask pip for anything")
    args = parser.parse_args()
    chosen = args.only.replace(",", " ").split()
    if unknown := sorted(set(chosen) - set(adapters.NAMES)):
        sys.exit(f"no adapter for {', '.join(unknown)}; there are: {', '.join(adapters.NAMES)}")
    names = [name for name in adapters.NAMES if not chosen or name in {*chosen, *ALWAYS}]
    page.heading("Beside other trackers")
    outcomes: dict[str, Outcome] = {}
    with page.scratch() as directory:
        plan = Plan.tiny() if args.tiny else Plan(work=one_millisecond())
        adopt_orphans()
        ready = environments(names, install=not args.no_install)
        rounds = Rounds(directory, plan, directory / "floor.so")
        try:
            page.compile_floor(directory)
        except FileNotFoundError as error:
            ready[adapters.FLOOR] = Missing(str(error))
        for name, found in ready.items():
            outcomes[name] = measured(rounds, name, found)
        tables(outcomes, rounds.empty_steps_ms)


def measured(rounds: Rounds, name: str, found: Ready | Missing) -> Outcome:
    """Measure one tracker, or say why not."""
    if isinstance(found, Missing):
        say(f"{name}: {found.reason}")
        return found
    outcome = rounds.measure(name, found)
    say(f"{name}: {outcome.failures or 'measured'}")
    return outcome


if __name__ == "__main__":
    main()
