# SPDX-License-Identifier: Apache-2.0
"""All incidents, and the rules by which facts become and join them; no I/O, no clock.

The one idea: what happened to one node at one time is one incident, whoever tells of it, in
whatever order and however often.  A fact joins an incident of its node that is near in time, or
one that is open and of the same cause; otherwise it opens a new one.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from fodc_api.words import IncidentCause, IncidentPhase
from fodc_protocol.times import format_rfc3339
from fodc_proxy.evidence.incidents import joining
from fodc_proxy.evidence.incidents.facts import AGENT, Fact
from fodc_proxy.evidence.incidents.model import Change, Held, Incident

JOIN_MS: Final = 120_000
"""What is told of times so near to each other is one thing."""
QUIET_MS: Final = 600_000
"""An incident of which nothing was heard for so long is closed."""
CAPTURED_MS: Final = 600_000
"""An artifact that was begun so near to an incident belongs to it."""
BELATED_MS: Final = 24 * 3600 * 1000
"""A sign of recovery is of the last incident, if that is no older."""
_EARLIEST_MS: Final = 7 * 24 * 3600 * 1000
_AHEAD_MS: Final = 60_000
_MOST_SOURCES: Final = 50_000


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a fact: its incident as it is now, and whether that is new or changed.

    `is_news` when people want to hear of it: a new one, or one with a stronger cause.
    """

    incident: Incident
    is_new: bool = False
    is_changed: bool = True
    is_news: bool = False


@dataclass(slots=True)
class Tally:
    """What agents have told: `produced` is `delivered` and `gapped` together."""

    produced: int = 0
    delivered: int = 0
    gapped: int = 0


@dataclass(slots=True)
class Book:
    """Incidents by id, in the order of their opening."""

    tally: Tally = field(default_factory=Tally)
    causes: Counter[IncidentCause] = field(default_factory=Counter)
    """How many incidents came to each cause in this life: one that gets a stronger one, to both."""
    _incidents: dict[str, Incident] = field(default_factory=dict)
    _of_node: dict[str, list[str]] = field(default_factory=dict)
    # By address and source: how far it has told, and in which incident that stands.
    _known: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    # ---- reading ----------------------------------------------------------------------------

    def find(self, incident_id: str) -> Incident | None:
        """Return the incident of this id."""
        return self._incidents.get(incident_id)

    def all(self) -> tuple[Incident, ...]:
        """Return all incidents, the first opened first."""
        return tuple(self._incidents.values())

    def of_node(self, address: str) -> tuple[Incident, ...]:
        """Return the incidents of a node, the first opened first."""
        return tuple(self._incidents[one] for one in self._of_node.get(address, ()))

    def known(self, address: str, source: str) -> tuple[int, str] | None:
        """Return how far a source has told, and the id of the incident in which that stands."""
        return self._known.get((address, source))

    # ---- facts ------------------------------------------------------------------------------

    def restore(self, incidents: Iterable[Incident]) -> None:
        """Take over what an earlier life has stored."""
        for one in sorted(incidents, key=lambda one: (one.opened_at_ms, one.id)):
            self._put(one)
            for mark in one.marks:
                key = (one.address, mark.source)
                if mark.number >= self._known.get(key, (0, ""))[0]:
                    self._know(key, mark.number, one.id)

    def take(self, fact: Fact, now_ms: int) -> Taken | None:
        """Take a fact in; one that is known changes nothing but when it was heard.

        None for one whose incident has ended its time since.
        """
        fact = replace(fact, at_ms=_plausible(fact.at_ms, now_ms))
        number, incident_id = self._known.get(_key(fact), (-1, ""))
        if fact.mark.number <= number and not self._has_come_again(fact, incident_id):
            return self._heard_again(incident_id, now_ms)
        self._count(fact)
        home = self._home_of(fact)
        if home is None:
            opened = joining.opened(fact, self._new_id(fact), now_ms)
            taken = Taken(opened, is_new=True, is_news=True)
        else:
            joined = joining.joined(home, fact, now_ms)
            taken = Taken(joined, is_news=joined.cause is not home.cause)
        self.causes[taken.incident.cause] += taken.is_news
        self._put(taken.incident)
        self._know(_key(fact), fact.mark.number, taken.incident.id)
        return taken

    def _has_come_again(self, fact: Fact, incident_id: str) -> bool:
        """Say whether a state that lasts begins anew: its incident is closed, or gone."""
        found = self._incidents.get(incident_id)
        return fact.mark.number == 0 and (found is None or found.phase is IncidentPhase.CLOSED)

    def _heard_again(self, incident_id: str, now_ms: int) -> Taken | None:
        found = self._incidents.get(incident_id)
        if found is None:
            return None
        heard = self._incidents[incident_id] = replace(found, heard_at_ms=now_ms)
        return Taken(heard, is_changed=False)

    def _know(self, key: tuple[str, str], number: int, incident_id: str) -> None:
        """Remember how far a source has told, longer than its incident lives."""
        self._known.pop(key, None)
        self._known[key] = (number, incident_id)
        while len(self._known) > _MOST_SOURCES:
            del self._known[next(iter(self._known))]

    def _count(self, fact: Fact) -> None:
        if fact.told_by != AGENT:
            return
        self.tally.produced += fact.gap + 1
        self.tally.delivered += 1
        self.tally.gapped += fact.gap

    def _home_of(self, fact: Fact) -> Incident | None:
        """Return the incident that a fact joins."""
        own = [one for one in self.of_node(fact.node.address) if _same_family(one, fact)]
        near = [one for one in own if _is_near(one, fact.at_ms, JOIN_MS)]
        if near:
            return max(near, key=lambda one: one.last_at_ms)
        if fact.cause is None:
            late = [one for one in own if 0 <= fact.at_ms - one.last_at_ms <= BELATED_MS]
            return max(late, key=lambda one: one.last_at_ms, default=None)
        alike = [one for one in own if one.closed_at_ms is None and fact.cause in one.causes]
        return max(alike, key=lambda one: one.last_at_ms, default=None)

    def _new_id(self, fact: Fact) -> str:
        """Return an id that sorts by time and is the same when the same is told after a loss."""
        told = f"{fact.node.address}\0{fact.mark.source}\0{fact.mark.number}\0{fact.at_ms}"
        stamp = format_rfc3339(fact.at_ms // 1000).replace("-", "").replace(":", "").lower()
        return f"inc-{stamp}-{hashlib.sha256(told.encode('utf-8', 'replace')).hexdigest()[:8]}"

    # ---- what comes later -------------------------------------------------------------------

    def captured(self, address: str, held: Held, at_ms: int) -> tuple[Incident, ...]:
        """An artifact of a node is stored: it belongs to the incidents that were near."""
        own = (one for one in self.of_node(address) if _is_near(one, at_ms, CAPTURED_MS))
        return self._all_put(joining.holding(one, held) for one in own)

    def holds(self, incident_id: str, held: Held) -> None:
        """Let an artifact belong to an incident, whenever it was begun."""
        known = self._incidents.get(incident_id)
        if known is not None:
            self._all_put((joining.holding(known, held),))

    def fetched(self, command_id: str, artifact_id: str, failed: str) -> tuple[Incident, ...]:
        """A capture that an agent took by itself is stored, or never will be."""
        waiting = (one for one in self.all() if _waits_for(one, command_id))
        return self._all_put(
            joining.with_outcome(one, command_id, artifact_id, failed) for one in waiting
        )

    def surrounded(
        self, incident_id: str, changes: tuple[Change, ...], neighbours: tuple[str, ...]
    ) -> Incident | None:
        """Note what was before an incident, and who else is on the machine."""
        known = self._incidents.get(incident_id)
        if known is None:
            return None
        return self._put_changed(joining.surrounded(known, changes, neighbours))

    def quiet(self, now_ms: int) -> tuple[Incident, ...]:
        """Close what nothing more was heard of."""
        due = (
            one
            for one in self.all()
            if one.closed_at_ms is None and now_ms - one.heard_at_ms >= QUIET_MS
        )
        return self._all_put(replace(one, closed_at_ms=now_ms) for one in due)

    def _all_put(self, changed: Iterable[Incident]) -> tuple[Incident, ...]:
        found = [(one, self._incidents.get(one.id)) for one in tuple(changed)]
        return tuple(self._put_changed(one) for one, before in found if one != before)

    def _put_changed(self, incident: Incident) -> Incident:
        incident = replace(incident, revision=incident.revision + 1)
        self._put(incident)
        return incident

    def _put(self, incident: Incident) -> None:
        if incident.id not in self._incidents:
            self._of_node.setdefault(incident.address, []).append(incident.id)
        self._incidents[incident.id] = incident

    def remove(self, incident_id: str) -> None:
        """Forget an incident, and not what it was told of: who repeats it tells nothing new."""
        gone = self._incidents.pop(incident_id, None)
        if gone is None:
            return
        left = self._of_node[gone.address]
        left.remove(incident_id)
        if not left:
            del self._of_node[gone.address]


def _key(fact: Fact) -> tuple[str, str]:
    return fact.node.address, fact.mark.source


def _plausible(at_ms: int, now_ms: int) -> int:
    """Return a time that a foreign clock told, or now for one that cannot be."""
    return at_ms if now_ms - _EARLIEST_MS <= at_ms <= now_ms + _AHEAD_MS else now_ms


def _same_family(incident: Incident, fact: Fact) -> bool:
    """What the registry says of a node's schema is nothing that happened to its process."""
    schema = IncidentCause.SCHEMA_MISMATCH
    return (schema in incident.causes) == (fact.cause is schema)


def _is_near(incident: Incident, at_ms: int, span_ms: int) -> bool:
    return incident.first_at_ms - span_ms <= at_ms <= incident.last_at_ms + span_ms


def _waits_for(incident: Incident, command_id: str) -> bool:
    return any(one.command_id == command_id and one.is_open for one in incident.captures)
