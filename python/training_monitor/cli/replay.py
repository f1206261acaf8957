"""`training-monitor replay`: what would have been found in a run, with other thresholds."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from training_monitor.catalog import find_run
from training_monitor.cli import render
from training_monitor.cli.options import add_json, add_root_dir, add_run
from training_monitor.errors import SettingError, closest, shown
from training_monitor.found import PhaseChange
from training_monitor.query import RunView

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from training_monitor.answers import Alert
    from training_monitor.foresight.replay import Replay
    from training_monitor.machine import Finding

HELP = """\
Judge the stored points of a run anew: what would have been found, and when.

  training-monitor replay RUN --set spike.sigma=7 --set overfitting.alarm=0.05

The value none takes a rule out of use, where that is possible. What only the
machine, or the ranks beside each other, show is not judged anew.
"""

_SHOWN_NAMES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, thresholds, metrics, the root directory and --json."""
    add_run(parser, optional=False)
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], dest="thresholds",
        type=_threshold, help="a threshold, as spike.sigma=7; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--metric", metavar="NAME", action="append", dest="metrics",
        help="only findings about this metric; may be given several times",
    )  # fmt: skip
    add_root_dir(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a line per finding and per change of the phase, and what was told at the time."""
    view = RunView(find_run(arguments.run, arguments.root_dir))
    render.tell_of_copy(view.copy)
    _check(view, arguments.metrics or ())
    changed: dict[str, float | None] = dict(arguments.thresholds)
    found = view.replay(changed or None, metrics=arguments.metrics)
    told = [alert for alert in view.alerts() if alert.by == "monitor"]
    if arguments.json:
        facts = {"run": view.name, "thresholds": changed, "told": [asdict(one) for one in told]}
        facts |= {"findings": [asdict(one) for one in found.findings]}
        render.print_json(facts | {"phases": [asdict(one) for one in found.phases]})
    else:
        print_replay(found, told)
    return 0


def print_replay(found: Replay, told: Sequence[Alert]) -> None:
    """Print what was found, and what was told at the time."""
    for one in found:
        word = "phase" if isinstance(one, PhaseChange) else one.severity
        _print_line(one.time, one.step, word, _said(one))
    if len(found):
        print()
    print(f"{_counted(found.findings)}; {_many(len(found.phases), 'change')} of the phase")
    if told:
        print("\ntold at the time:")
    for alert in told:
        _print_line(alert.time, alert.step, alert.level, alert.title)


def _print_line(time: float, step: int | None, word: str, text: str) -> None:
    print(f"{render.moment(time)}  {render.whole(step):>11}  {word:<8}  {render.safe(text)}")


def _said(one: Finding | PhaseChange) -> str:
    if isinstance(one, PhaseChange):
        return f"{one.before} -> {one.after}: {one.reason}"
    return f"over: {one.text}" if one.over else one.text


def _counted(findings: Sequence[Finding]) -> str:
    """Say "3 findings (1 critical, 2 warning)"; what says that one is over is none."""
    begun = [one.severity for one in findings if not one.over]
    counts = [(begun.count(word), word) for word in ("critical", "warning", "info")]
    parts = [f"{count} {word}" for count, word in counts if count]
    return _many(len(begun), "finding") + (f" ({', '.join(parts)})" if parts else "")


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def _check(view: RunView, metrics: Sequence[str]) -> None:
    """Refuse a metric that is not there: nothing found about it would look well."""
    known = [metric.name for metric in view.metrics()] if metrics else []
    for name in metrics:
        if name not in known:
            near = closest(name, known)
            names = ", ".join(known[:_SHOWN_NAMES])
            hint = f"did you mean {near!r}?" if near else f"there are: {names}"
            raise SettingError(f"no metric {shown(name)} in run {view.name!r}; {hint}")


def _threshold(text: str) -> tuple[str, float | None]:
    """Read one threshold, with the errors of argparse."""
    from training_monitor.detect.named import named_thresholds, read_threshold

    try:
        name, value = read_threshold(text)
        named_thresholds({name: value})
    except SettingError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name, value
