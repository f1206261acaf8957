"""From findings to alerts: what is told, when, and what is told together."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from training_monitor.notify.alert import SEVERITIES, as_json, clean, identity, rank_of
from training_monitor.notify.allowance import Allowance
from training_monitor.notify.causes import can_follow
from training_monitor.notify.cooldown import Cooldowns
from training_monitor.notify.incident import Incident, Symptom
from training_monitor.notify.ledger import Ledger
from training_monitor.notify.texts import Rest, notice_alert, phrase, told_alert

if TYPE_CHECKING:
    from training_monitor.notify.alert import Alert, Found, Notice

__all__ = ["Policy", "Rules", "Waiting"]

_MOST_NOTICES = 64
_MOST_REPLAYS = 1024
_REST_TEXTS = 5


@dataclass(frozen=True, slots=True)
class Rules:
    """The bounds of the policy.

    Attributes:
        cooldown_secs: For so long the same kind about the same metric is not told again, unless it
            gets worse; twice as long each time it comes back at once, eight times at most.
        warning_wait_secs: So long a warning waits for what belongs to it.
        critical_wait_secs: So long something critical does.
        settle_secs: What ended has to stay so for so long before its end is told.
        window_secs: What begins within such a time may have one cause.
        attach_secs: For so long after its last news an incident takes in what can follow from it.
        warnings_per_hour: So many at once, and then in an hour, are told; the others go along.
        criticals_per_hour: The same for what is critical.
        notices_per_hour: The same for notices, as phases and alerts of the user.
    """

    cooldown_secs: float = 900.0
    warning_wait_secs: float = 10.0
    critical_wait_secs: float = 2.0
    settle_secs: float = 10.0
    window_secs: float = 120.0
    attach_secs: float = 1800.0
    warnings_per_hour: float = 6.0
    criticals_per_hour: float = 20.0
    notices_per_hour: float = 20.0

    def per_hour(self) -> dict[str, float]:
        """Return how many alerts there may be in an hour, by what they are."""
        return {
            "warning": self.warnings_per_hour,
            "critical": self.criticals_per_hour,
            "notice": self.notices_per_hour,
        }


@dataclass(slots=True)
class Waiting:
    """A notice that is to be told at `release`, and how often it came."""

    notice: Notice
    release: float
    count: int = 1

    @property
    def rank(self) -> int:
        """How bad it is."""
        return rank_of(self.notice.severity)


class Policy:
    """Turns findings into few alerts. Time comes in with each call; nothing here is random.

    Take findings in, then ask what is due; again at `next_due()` at the latest. What was decided is
    to be kept (see `outbox`) before `memory.to_state(policy)` is, so that a crash in between
    decides the same alert with the same id once more.

    Args:
        run: The name of the run.
        rules: The bounds.
    """

    __slots__ = (
        "allowances",
        "cooldowns",
        "counts",
        "dropped",
        "dropped_since",
        "incidents",
        "last",
        "notices",
        "replays",
        "rules",
        "run",
        "shift",
    )

    def __init__(self, run: str, *, rules: Rules | None = None) -> None:
        self.run = run
        self.rules = rules or Rules()
        self.incidents = Ledger(
            window_secs=self.rules.window_secs, attach_secs=self.rules.attach_secs
        )
        self.notices: dict[str, Waiting] = {}
        self.cooldowns = Cooldowns()
        self.allowances: dict[str, Allowance] = {}
        self.counts: Counter[str] = Counter()
        self.dropped = 0
        self.dropped_since: float | None = None
        self.replays: deque[str] = deque(maxlen=_MOST_REPLAYS)
        # The wall clock of the last call, and by how much it was set back, all together.
        self.last: float | None = None
        self.shift = 0.0

    def take(self, finding: Found, now: float) -> None:
        """Take in one finding; `now` is the wall clock."""
        at = self._advance(now)
        self.counts["taken"] += 1
        if self._is_replay(finding):
            self.counts["replayed"] += 1
        elif finding.over:
            self._end(finding, at)
        elif finding.severity == "info":
            self.counts["info"] += 1
        else:
            wall = float(finding.time) if math.isfinite(finding.time) else now
            self._begin(finding, at, wall)

    def announce(self, notice: Notice, now: float) -> None:
        """Take in something else that is to be told."""
        at = self._advance(now)
        self.counts["notices"] += 1
        notice = _settled(notice, now)
        waiting = self.notices.get(notice.key)
        if self._is_part_of_incident(notice) or self.cooldowns.holds(("notice", notice.key), at):
            self.counts["repeated"] += 1
        elif waiting is not None:
            waiting.notice, waiting.count = notice, waiting.count + 1
        elif len(self.notices) >= _MOST_NOTICES:
            self._drop(notice.time)
        else:
            # What findings say as well waits for them.
            wait = self.rules.warning_wait_secs if notice.kinds else 0.0
            self.notices[notice.key] = Waiting(notice, at + wait)

    def due(self, now: float) -> list[Alert]:
        """Return the alerts that are to be told now; they count as told."""
        at = self._advance(now)
        self.cooldowns.tidy(at)
        self.incidents.tidy(at)
        told: list[Incident | Waiting] = []
        held: list[Incident | Waiting] = []
        for item in self._ready(at):
            is_free = any(allowance.take(at) for allowance in self._allowances(item, at))
            (told if is_free else held).append(item)
        if not told:
            return []
        # What is worse than all that is told now waits for a word of its own.
        held = [item for item in held if item.rank <= told[0].rank]
        rests = [self._fold(held, at, now)] + [Rest()] * (len(told) - 1)
        return [self._tell(item, at, now, rest) for item, rest in zip(told, rests, strict=True)]

    def next_due(self) -> float | None:
        """Return the wall clock at which `due()` is to be asked again; None: not before news."""
        if self.last is None:
            return None
        at = self._clock(self.last)
        times = []
        items: list[Incident | Waiting] = [*self.incidents, *self.notices.values()]
        for item in items:
            due = item.due if isinstance(item, Incident) else item.release
            if due is not None:
                free = min(allowance.ready(at) for allowance in self._allowances(item, at))
                times.append(due if due > at else max(due, free))
        return min(times) - self.shift if times else None

    # The clock of the policy never goes back: where the wall clock is set back, it stands.

    def _clock(self, now: float) -> float:
        return now + self.shift

    def _advance(self, now: float) -> float:
        if self.last is not None and now < self.last:
            self.shift += self.last - now
        self.last = now
        return self._clock(now)

    def _is_replay(self, finding: Found) -> bool:
        """Return whether exactly this was taken in: who starts again repeats himself."""
        if finding.step is None and not math.isfinite(finding.time):
            return False
        mark = identity(
            *(finding.kind, finding.metric, finding.rank, finding.step, finding.time),
            *(finding.severity, finding.over),
        )[:12]
        if mark in self.replays:
            return True
        self.replays.append(mark)
        return False

    def _is_part_of_incident(self, notice: Notice) -> bool:
        return self.incidents.note(clean(notice.title, 200), notice.kinds)

    def _begin(self, finding: Found, at: float, wall: float) -> None:
        new = Symptom.of(finding, wall)
        standing = self.incidents.with_key(new.key)
        if standing is not None:
            self._repeat(standing, standing.symptoms[new.key], finding, at)
            return
        incident = self.incidents.place(new, at)
        if incident is None:
            incident = Incident(identity(self.run, *new.key, finding.step, wall), at, at, wall)
            if not self.incidents.add(incident):
                self._drop(wall)
                return
        if not self.incidents.make_room(incident, new):
            return
        new.add(finding)
        incident.add(new)
        incident.latest = at
        self._schedule(incident, new, at)

    def _schedule(self, incident: Incident, new: Symptom, at: float) -> None:
        """Say when a new symptom is told; what follows from a known incident is not."""
        if not incident.told:
            new.release = self._release(new, at)
            return
        if not incident.over:
            incident.resolve = None
        if incident.weight > incident.told_weight:
            new.release = self._release(new, at)
        elif can_follow(incident.told_cause, {new.role}) and incident.ordered()[0] is new:
            if not self.cooldowns.holds(new.key, at):
                incident.cause_due = at + self._wait(new)
        else:
            self.counts["attached"] += 1

    def _repeat(self, incident: Incident, known: Symptom, finding: Found, at: float) -> None:
        """Take in what is known, or was."""
        was_over, was_severity = known.over, known.severity
        self.counts["repeated"] += 1
        known.add(finding)
        if was_over:
            incident.resolve = None
            if known.told:
                known.speak_of(finding)
        if known.told:
            is_worse = rank_of(known.severity) > rank_of(known.told)
            is_again = was_over or not self.cooldowns.holds(known.key, at)
            if is_worse or (is_again and known.release is None):
                known.release = self._release(known, at)
        elif rank_of(known.severity) > rank_of(was_severity) and (
            known.release is not None or incident.weight > incident.told_weight
        ):
            sooner = self._release(known, at)
            known.release = sooner if known.release is None else min(known.release, sooner)

    def _end(self, finding: Found, at: float) -> None:
        key = (clean(finding.kind, 64), clean(finding.metric, 200))
        incident = self.incidents.with_key(key)
        if incident is None:
            self.counts["stray"] += 1
            return
        incident.symptoms[key].end(finding.rank)
        if not (incident.told and incident.over) or incident.resolve is not None:
            return
        if incident.alone:
            incident.resolve = at + self.rules.settle_secs
        elif incident.due is None:
            self.incidents.remove(incident)

    def _wait(self, symptom: Symptom) -> float:
        is_critical = symptom.severity == "critical"
        return self.rules.critical_wait_secs if is_critical else self.rules.warning_wait_secs

    def _release(self, symptom: Symptom, at: float) -> float:
        free = self.cooldowns.free(symptom.key, symptom.severity, at)
        return max(at + self._wait(symptom), free)

    # What is told now.

    def _ready(self, at: float) -> list[Incident | Waiting]:
        for key, waiting in list(self.notices.items()):
            if waiting.release <= at and self._is_part_of_incident(waiting.notice):
                del self.notices[key]
        found: list[tuple[int, bool, float, Incident | Waiting]] = []
        for incident in self.incidents:
            if incident.due is not None and incident.due <= at:
                ends = incident.resolve is not None
                found.append((-incident.rank, ends, incident.due, incident))
        found += [
            (-waiting.rank, False, waiting.release, waiting)
            for waiting in self.notices.values()
            if waiting.release <= at
        ]
        return [item for *_, item in sorted(found, key=lambda one: one[:3])]

    def _allowances(self, item: Incident | Waiting, at: float) -> list[Allowance]:
        """Return what may pay for it: for something critical that of warnings, too."""
        names = ["notice"] if isinstance(item, Waiting) else ["critical", "warning"]
        if isinstance(item, Incident) and item.severity == "warning":
            names = ["warning"]
        for name in names:
            if name not in self.allowances:
                self.allowances[name] = Allowance.full(self.rules.per_hour()[name], at)
        return [self.allowances[name] for name in names]

    def _fold(self, held: list[Incident | Waiting], at: float, now: float) -> Rest:
        """Count what there is no token for; it goes along with the first alert."""
        walls = [self.dropped_since] if self.dropped_since is not None else []
        texts = []
        for item in held:
            if isinstance(item, Incident):
                walls.append(item.wall)
                cause = item.ordered()[0]
                ends = item.resolve is not None
                words = phrase(cause.kind, cause.metric)
                texts.append(f"{words} is over" if ends else words)
                self._mark(item, at, alone=item.alone)
            else:
                walls.append(item.notice.time)
                texts.append(clean(item.notice.title, 80))
                self._mark_notice(item, at)
        count = len(held) + self.dropped
        self.dropped, self.dropped_since = 0, None
        self.counts["folded"] += count
        if not count:
            return Rest()
        return Rest(count, min(walls, default=now), tuple(texts[:_REST_TEXTS]))

    def _tell(self, item: Incident | Waiting, at: float, now: float, rest: Rest) -> Alert:
        self.counts["told"] += 1
        if isinstance(item, Waiting):
            self._mark_notice(item, at)
            id_ = identity(self.run, "notice", item.notice.key, item.notice.time)
            notice = item.notice
            if item.count > 1:
                notice = replace(notice, text=f"{notice.text}\n({item.count:,} times)".strip())
            return notice_alert(self.run, notice, id_=id_, now=now, rest=rest)
        state = self._state_of(item)
        item.revision += 1
        # After a crash the same is decided once more, but what goes along may be more by then:
        # that is another alert, and must not be taken for the one that is known.
        id_ = identity(item.id, item.revision, item.severity, rest.count, *rest.texts)
        alert = told_alert(self.run, item, state=state, id_=id_, now=now, rest=rest)
        self._mark(item, at, alone=True)
        return alert

    def _state_of(self, incident: Incident) -> str:
        if incident.resolve is not None:
            return "over"
        due = [one for one in incident.symptoms.values() if one.release is not None]
        if not incident.told:
            return "again" if all(self.cooldowns.knows(one.key) for one in due) else "new"
        if incident.weight > incident.told_weight:
            return "worse"
        return "cause" if incident.cause_due is not None else "again"

    def _mark(self, incident: Incident, at: float, *, alone: bool) -> None:
        """Take note that an incident was told as it stands; what is over needs no more words."""
        for symptom in incident.symptoms.values():
            if symptom.release is not None or not symptom.told:
                symptom.release, symptom.told = None, symptom.severity
                secs = self.rules.cooldown_secs
                self.cooldowns.told(symptom.key, symptom.severity, at, secs)
        incident.told, incident.told_gravity = incident.severity, incident.weight[1]
        incident.told_cause = incident.ordered()[0].role
        incident.cause_due, incident.alone = None, incident.alone or alone
        if incident.over:
            self.incidents.remove(incident)

    def _mark_notice(self, waiting: Waiting, at: float) -> None:
        notice = waiting.notice
        del self.notices[notice.key]
        if notice.cooldown_secs > 0:
            key = ("notice", notice.key)
            self.cooldowns.told(key, notice.severity, at, notice.cooldown_secs)

    def _drop(self, wall: float) -> None:
        self.dropped += 1
        self.dropped_since = wall if self.dropped_since is None else min(self.dropped_since, wall)


def _settled(notice: Notice, now: float) -> Notice:
    """Return the notice as JSON can hold it, with a time and a severity that there are."""
    return replace(
        notice,
        severity=notice.severity if notice.severity in SEVERITIES else "warning",
        time=float(notice.time) if math.isfinite(notice.time) else now,
        step=None if notice.step is None else int(notice.step),
        facts=as_json(notice.facts),
    )
