"""Counts of a system put together over sizes, sources and roles."""

from __future__ import annotations

from detection import events as events_module
from detection.bench import Cost, Results
from detection.final import Errors
from detection.healthy import Quiet
from detection.injected import Tally
from detection.remaining import EtaErrors
from detection.stopping import Stops

__all__ = ["MIN_FOR_A_SOURCE", "cost", "errors", "eta", "events", "quiet", "stops", "tally"]

# A source with fewer cases says nothing by itself.
MIN_FOR_A_SOURCE = 20


def tally(
    results: Results,
    name: str,
    kind: str,
    *,
    label: str | None = None,
    source: str | None = None,
    role: str | None = None,
) -> Tally:
    """Return the cases of a kind; `label` is how the size begins."""
    found = Tally()
    for (system, fault, size, origin, what), one in results.injected.items():
        same = system == name and fault == kind and role in (None, what)
        if same and source in (None, origin) and (label is None or size.startswith(label)):
            found.add(one)
    return found


def quiet(
    results: Results, name: str, kind: str, *, role: str | None = None, source: str | None = None
) -> Quiet:
    """Return the healthy points."""
    found = Quiet()
    for (system, alarm, origin, what), one in results.quiet.items():
        if system == name and alarm == kind and role in (None, what) and source in (None, origin):
            found.add(one)
    return found


def events(results: Results, name: str, kind: str) -> events_module.Events:
    """Return the real events of a kind."""
    found = events_module.Events()
    for (system, event, _), one in results.events.items():
        if system == name and event == kind:
            found.add(one)
    return found


def errors(
    results: Results,
    name: str,
    share: float,
    *,
    family: str | None = None,
    source: str | None = None,
) -> Errors:
    """Return the errors of the final value at a share of the run."""
    found = Errors()
    for (system, at, kind, origin), one in results.final.items():
        same = system == name and at == share
        # Sample sizes are no training: they count only where they are asked for.
        pooled = family is None and source is None and kind != "samplesize"
        if same and (pooled or family == kind or (source is not None and source == origin)):
            found.add(one)
    return found


def stops(results: Results, name: str, *, family: str | None = None) -> Stops:
    """Return the advice to stop."""
    found = Stops()
    for (system, kind, _), one in results.stops.items():
        if system == name and family in (None, kind):
            found.add(one)
    return found


def eta(
    results: Results,
    name: str,
    share: float | None,
    *,
    family: str | None = None,
    sort: str | None = None,
) -> EtaErrors:
    """Return the errors of the remaining time; share None: at all shares."""
    found = EtaErrors()
    for (system, at, kind, _), one in results.etas.items():
        same = system == name and share in (None, at) and sort in (None, kind)
        if same and (family is None or kind.split(",")[0] == family):
            found.add(one)
    return found


def cost(results: Results, name: str) -> float:
    """Return the microseconds per point of a detector over whole runs."""
    one = results.costs.get(name, Cost())
    return 1e6 * one.seconds / one.points if one.points else float("nan")
