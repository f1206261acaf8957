"""The incidents that stand: which one a finding belongs to, and how many there may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training_monitor.notify.alert import rank_of
from training_monitor.notify.causes import can_follow, is_event, is_related
from training_monitor.notify.incident import MOST_SYMPTOMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training_monitor.notify.incident import Incident, Symptom

__all__ = ["Ledger"]

_MOST_INCIDENTS = 64
_MOST_NOTES = 5


class Ledger:
    """All incidents of which something may still be told.

    Args:
        window_secs: What begins within such a time may have one cause.
        attach_secs: For so long after its last news an incident takes in what can follow from it.
    """

    __slots__ = ("_attach_secs", "_by_id", "_window_secs")

    def __init__(self, *, window_secs: float, attach_secs: float) -> None:
        self._window_secs = window_secs
        self._attach_secs = attach_secs
        self._by_id: dict[str, Incident] = {}

    def __iter__(self) -> Iterator[Incident]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def with_key(self, key: tuple[str, str]) -> Incident | None:
        """Return the incident in which this kind and metric is; None: in none."""
        return next((one for one in self._by_id.values() if key in one.symptoms), None)

    def place(self, new: Symptom, at: float) -> Incident | None:
        """Return the incident that this belongs to, joined with others that it shows to be one."""
        role = new.role
        fitting = [one for one in self._by_id.values() if self._belongs(role, one, at)]
        if not fitting:
            return None
        first = next((one for one in fitting if one.told), fitting[0])
        for other in fitting:
            has_room = len(first.symptoms) + len(other.symptoms) <= MOST_SYMPTOMS
            if other is not first and not other.told and has_room:
                first.absorb(other)
                self.remove(other)
        return first

    def add(self, incident: Incident) -> bool:
        """Open an incident, for which one that was told may go; return False without room."""
        if len(self._by_id) >= _MOST_INCIDENTS:
            told = [one for one in self._by_id.values() if one.told and one.due is None]
            if not told:
                return False
            self.remove(min(told, key=lambda one: one.latest))
        self._by_id[incident.id] = incident
        return True

    def remove(self, incident: Incident) -> None:
        """Forget an incident."""
        self._by_id.pop(incident.id, None)

    def make_room(self, incident: Incident, new: Symptom) -> bool:
        """Return whether there is room for one more symptom; a worse one makes it."""
        if len(incident.symptoms) < MOST_SYMPTOMS:
            return True
        incident.beyond += 1
        own = rank_of(new.severity)
        milder = [one for one in incident.symptoms.values() if rank_of(one.severity) < own]
        if milder:
            incident.remove(milder[-1].key)
        return bool(milder)

    def note(self, line: str, kinds: tuple[str, ...]) -> bool:
        """Add a line to the incident with one of these kinds; return False where there is none."""
        for incident in self._by_id.values():
            if any(symptom.kind in kinds for symptom in incident.symptoms.values()):
                if line not in incident.notes and len(incident.notes) < _MOST_NOTES:
                    incident.notes.append(line)
                return True
        return False

    def tidy(self, at: float) -> None:
        """Forget what was told and has no end that anybody could wait for."""
        for incident in list(self._by_id.values()):
            only_events = all(is_event(one.kind) for one in incident.symptoms.values())
            is_quiet = at - incident.latest > self._attach_secs
            if incident.told and incident.due is None and only_events and is_quiet:
                self.remove(incident)

    def _belongs(self, role: str, incident: Incident, at: float) -> bool:
        quiet_secs = at - incident.latest
        if quiet_secs <= self._window_secs and is_related(role, incident.roles):
            return True
        return quiet_secs <= self._attach_secs and can_follow(role, incident.roles)
