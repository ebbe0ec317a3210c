# SPDX-License-Identifier: Apache-2.0
"""Routes of incidents: list, record, and all that is held of one as a tar.

The one idea: a bundle is made while it is sent, from what the store holds at that moment, and its
length is told before; so it costs no memory, and a reader sees when it was cut.
"""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Self

import msgspec
from aiohttp import web

from fodc_api import incidents as api
from fodc_api.problems import Unreadable
from fodc_api.values import time_of, time_or_none
from fodc_api.words import IncidentPartState
from fodc_protocol.errors import FodcError
from fodc_proxy.evidence.incidents.model import ContainerEnd, Incident, Line
from fodc_proxy.http import tarring
from fodc_proxy.http.artifacts import artifact_of, break_off
from fodc_proxy.http.routes import Call, NothingAsked, Parts
from fodc_proxy.storage import names
from fodc_proxy.storage.artifacts import ArtifactStore, Stored
from fodc_proxy.storage.errors import MissingError

COLLECTION: Final = "/incidents"
_log = logging.getLogger(__name__)


# ---- handlers -------------------------------------------------------------------------------


async def listed(parts: Parts, call: Call[api.IncidentsQuery]) -> api.Incidents:
    """List incidents, the newest first."""
    asked = call.asked
    fitting = [one for one in parts.incidents.book.all() if _fits(one, asked)]
    fitting.sort(key=lambda one: (one.last_at_ms, one.id), reverse=True)
    unreadable = parts.incidents.records.unreadable
    return api.Incidents(
        tuple(short_of(one) for one in fitting[: asked.limit]),
        max(0, len(fitting) - asked.limit),
        tuple(Unreadable(one.key, one.message) for one in unreadable),
    )


async def read(parts: Parts, call: Call[NothingAsked]) -> api.IncidentRecord:
    """Return all that is known of one incident."""
    return record_of(find(parts, call.id), parts.store)


async def bundle(parts: Parts, call: Call[NothingAsked]) -> web.StreamResponse:
    """Send the record and the artifacts of an incident as one tar."""
    incident = find(parts, call.id)
    call.entry.note(node=incident.address)
    packed = _Bundle.of(incident, parts.store)
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/x-tar",
            "Content-Disposition": f'attachment; filename="{incident.id}.tar"',
            "Cache-Control": "private, no-cache",
            "X-Content-Type-Options": "nosniff",
        }
    )
    response.content_length = packed.size_bytes
    await response.prepare(call.request)
    if call.request.method == "HEAD":
        return response
    try:
        async for block in packed.blocks(parts.store):
            await response.write(block)
    except FodcError as error:
        _log.warning("a bundle broke off: %s", error.message)
        break_off(call.request)
    await response.write_eof()
    return response


def namespace_of(parts: Parts, request: web.Request) -> str:
    """Return the namespace of the node of an incident; empty when there is none such."""
    found = parts.incidents.book.find(request.match_info["id"])
    return "" if found is None else found.node.namespace


def find(parts: Parts, incident_id: str) -> Incident:
    """Return the incident; raises MissingError."""
    found = parts.incidents.book.find(incident_id)
    if found is None:
        raise MissingError(f"incident {incident_id[:128]} does not exist (any more)")
    return found


def _fits(incident: Incident, asked: api.IncidentsQuery) -> bool:
    node = incident.node
    named = not asked.node_id or asked.node_id in {node.pod_name, node.address}
    in_phase = asked.phase is None or incident.phase is asked.phase
    return named and in_phase and (asked.cause is None or asked.cause in incident.causes)


# ---- a bundle -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bundle:
    """What goes into the tar: the record first, then each artifact that is whole."""

    told: tarring.Entry
    record: bytes
    held: tuple[tuple[tarring.Entry, Stored], ...]

    @classmethod
    def of(cls, incident: Incident, store: ArtifactStore) -> Self:
        """Pack an incident as the store has it now."""
        record = msgspec.json.format(msgspec.json.encode(record_of(incident, store)))
        name = f"{incident.id}/incident.json"
        told = tarring.Entry(name, len(record), incident.last_at_ms // 1000)
        whole = (store.find(one) for one in sorted(incident.artifact_ids))
        held = [(_entry(incident, one), one) for one in whole if one and not one.damage]
        return cls(told, record, tuple(held))

    @property
    def size_bytes(self) -> int:
        """How many bytes the tar has."""
        return tarring.length_of((self.told, *(entry for entry, _ in self.held)))

    async def blocks(self, store: ArtifactStore) -> AsyncIterator[bytes]:
        """Yield the tar; raises StorageError for an artifact that cannot be read to its end."""
        yield tarring.head_of(self.told) + self.record + tarring.padding_of(self.told)
        for entry, stored in self.held:
            yield tarring.head_of(entry)
            async for block in store.stream(stored, 0, entry.size_bytes):
                yield block
            yield tarring.padding_of(entry)
        yield tarring.END


def _entry(incident: Incident, stored: Stored) -> tarring.Entry:
    told = stored.manifest
    # Two captures of one kind within a second have one name for people.
    name = f"{incident.id}/artifacts/{told.artifact_id}-{names.file_name(told)}"
    return tarring.Entry(name, told.size_bytes, told.started_at_ms // 1000)


# ---- what is answered -----------------------------------------------------------------------


def short_of(incident: Incident) -> api.Incident:
    """Return an incident in short as the API shows it."""
    node = incident.node
    return api.Incident(
        incident_id=incident.id,
        node_id=node.address,
        pod_name=node.pod_name,
        namespace=node.namespace or None,
        role=node.role,
        cause=incident.cause,
        causes=incident.causes,
        phase=incident.phase,
        message=incident.message,
        count=incident.count,
        first_at=time_of(incident.first_at_ms),
        last_at=time_of(incident.last_at_ms),
        opened_at=time_of(incident.opened_at_ms),
        closed_at=time_or_none(incident.closed_at_ms),
        artifact_count=len(incident.artifact_ids),
    )


def record_of(incident: Incident, store: ArtifactStore) -> api.IncidentRecord:
    """Return an incident with all of its parts as the API shows it."""
    return api.IncidentRecord(
        incident=short_of(incident),
        events=tuple(map(_event, incident.lines)),
        events_omitted=incident.lines_omitted,
        container_end=_end(incident.container_end),
        artifacts=_artifacts(incident, store),
        changes=tuple(api.NodeChange(time_of(c.at_ms), c.what) for c in incident.changes),
        machine=incident.node.machine,
        neighbours=incident.neighbours,
        bundle_path=f"{COLLECTION}/{incident.id}/bundle",
    )


def _event(line: Line) -> api.IncidentEvent:
    at, fields = time_of(line.at_ms), dict(line.fields)
    return api.IncidentEvent(at, line.kind, line.source, line.message, fields)


def _end(end: ContainerEnd | None) -> api.ContainerEnd | None:
    if end is None:
        return None
    return api.ContainerEnd(
        container=end.container,
        reason=end.reason,
        exit_code=end.exit_code,
        signal=end.signal,
        message=end.message,
        restarts=end.restarts,
        started_at=time_or_none(end.started_at_ms),
        finished_at=time_or_none(end.finished_at_ms),
    )


def _artifacts(incident: Incident, store: ArtifactStore) -> tuple[api.IncidentArtifact, ...]:
    own = [_unfetched(one.profile, one.failed) for one in incident.captures if not one.artifact_id]
    named = [(one.artifact_id, one.profile) for one in incident.captures if one.artifact_id]
    named += [(one.artifact_id, one.profile) for one in incident.artifacts]
    return (*own, *(_held(profile, store.find(id_)) for id_, profile in dict(named).items()))


def _unfetched(profile: str, failed: str) -> api.IncidentArtifact:
    state = IncidentPartState.MISSING if failed else IncidentPartState.PENDING
    message = failed or "the node's agent has taken it; it is being fetched"
    return api.IncidentArtifact(profile=profile, state=state, message=message, artifact=None)


def _held(profile: str, stored: Stored | None) -> api.IncidentArtifact:
    if stored is None:
        state, message = IncidentPartState.MISSING, "it is not in the store (any more)"
        return api.IncidentArtifact(profile=profile, state=state, message=message, artifact=None)
    state = IncidentPartState.MISSING if stored.damage else IncidentPartState.STORED
    shown = artifact_of(stored)
    return api.IncidentArtifact(profile=profile, state=state, message=shown.message, artifact=shown)
