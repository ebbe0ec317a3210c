# SPDX-License-Identifier: Apache-2.0
"""Profiles of short memory that agents of the link took, in the shape of the existing proxy.

The one idea: such an agent tells an occurrence and the profiles come as captures that it took by
itself, so all of it is in incidents and in the store already; this is another view of that.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fodc_api.findings import PressureEvent, PressureProfile
from fodc_protocol.occurrences import Field, OccurrenceKind, captures_told
from fodc_protocol.times import format_rfc3339_ms, pressure_profile_id
from fodc_proxy.evidence.asking import covers
from fodc_proxy.evidence.findings import TYPES, KeptPressure, Origin
from fodc_proxy.evidence.incidents.facts import AGENT
from fodc_proxy.evidence.incidents.model import Incident, Line
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.queries.results import Selection
from fodc_proxy.storage.artifacts import ArtifactStore, Stored


@dataclass(frozen=True, slots=True)
class _Event:
    """One time at which memory was short; `stored` are its profiles by kind."""

    kept: KeptPressure
    stored: Mapping[str, Stored]


class OwnPressures:
    """What is known of them; reads incidents, the store and who is there."""

    def __init__(
        self, incidents: Iterable[Incident], store: ArtifactStore, registry: Registry
    ) -> None:
        self._incidents = incidents
        self._store = store
        self._registry = registry

    def known(self, selection: Selection) -> tuple[PressureEvent, ...]:
        """Return all events of these nodes, the newest first."""
        found = [one.kept.event for one in self._events() if covers(selection, one.kept.origin)]
        return tuple(sorted(found, key=lambda event: event.profile_id, reverse=True))

    def profile(
        self, pod_name: str, profile_id: str, type_: str
    ) -> tuple[KeptPressure, Stored] | None:
        """Return a profile of a pod's event, None where there is none."""
        wanted = Selection(pod_name=pod_name)
        for one in self._events():
            if one.kept.name == profile_id and covers(wanted, one.kept.origin):
                stored = one.stored.get(type_)
                return None if stored is None else (one.kept, stored)
        return None

    def _events(self) -> Iterator[_Event]:
        for incident in self._incidents:
            for line in incident.lines:
                if line.source == AGENT and line.kind == OccurrenceKind.MEMORY_PRESSURE:
                    yield self._event(incident, line)

    def _event(self, incident: Incident, line: Line) -> _Event:
        stored = dict(self._stored(incident, line))
        node = incident.node
        member = self._registry.find(incident.address)
        agent_id = "" if member is None else member.agent_id
        origin = Origin(node.namespace, node.pod_name, node.role, agent_id)
        return _Event(KeptPressure(origin, _told(origin, line, stored), is_live=False), stored)

    def _stored(self, incident: Incident, line: Line) -> Iterator[tuple[str, Stored]]:
        """Yield what of the captures of an event is there, by kind of profile."""
        here = {one.command_id: one.artifact_id for one in incident.captures if one.artifact_id}
        for type_, command_id in captures_told(line.fields):
            stored = self._store.find(here.get(command_id, ""))
            if type_ in TYPES and stored is not None and not stored.damage:
                yield type_, stored


def _told(origin: Origin, line: Line, stored: Mapping[str, Stored]) -> PressureEvent:
    profile_id = pressure_profile_id(line.at_ms)
    limit_bytes = _count(line, Field.LIMIT_BYTES)
    percent = _count(line, Field.TRIGGER_PERCENT)
    return PressureEvent(
        captured_at=format_rfc3339_ms(line.at_ms),
        agent_id=origin.agent_id,
        pod_name=origin.pod_name,
        role=origin.role,
        profile_id=profile_id,
        source_endpoint="",
        profiles=tuple(
            PressureProfile(
                type=type_,
                filename=f"{type_}.pprof",
                filepath=f"{profile_id}/{type_}.pprof",
                format="pprof",
                size_bytes=one.manifest.size_bytes,
            )
            for type_, one in stored.items()
        ),
        rss_bytes=_count(line, Field.RSS_BYTES),
        cgroup_limit_bytes=limit_bytes,
        threshold_bytes=limit_bytes * percent // 100,
        trigger_percent=percent,
    )


def _count(line: Line, field: Field) -> int:
    told = line.fields.get(field, "")
    return int(told) if told.isascii() and told.isdigit() else 0
