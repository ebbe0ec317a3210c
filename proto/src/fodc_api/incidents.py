# SPDX-License-Identifier: Apache-2.0
"""What happened to nodes: GET /incidents, /incidents/{id}, /incidents/{id}/bundle."""

from typing import Annotated, TypeAlias

from msgspec import Meta

from fodc_api.artifacts import Artifact
from fodc_api.cluster import NodeFilter
from fodc_api.problems import Unreadable
from fodc_api.values import Answer, Count, Query, Time
from fodc_api.words import IncidentCause, IncidentPartState, IncidentPhase

IncidentId: TypeAlias = Annotated[str, Meta(description="Id of an incident, a DNS label.")]


class IncidentsQuery(Query, frozen=True):
    """Which incidents are listed; all that is given must fit."""

    node_id: NodeFilter = ""
    phase: IncidentPhase | None = None
    cause: IncidentCause | None = None
    limit: Annotated[
        int, Meta(ge=1, le=1000, description="How many are listed at most, the newest of them.")
    ] = 200


class Incident(Answer, frozen=True, kw_only=True):
    """One incident in short."""

    incident_id: IncidentId
    node_id: str
    pod_name: str
    namespace: str | None
    role: str
    cause: IncidentCause
    causes: Annotated[
        tuple[IncidentCause, ...],
        Meta(description="Everything that it was taken for, the strongest first."),
    ]
    phase: IncidentPhase
    message: Annotated[str, Meta(description="What happened, in a sentence.")]
    count: Annotated[Count, Meta(description="How often it happened.")]
    first_at: Time
    last_at: Time
    opened_at: Annotated[Time, Meta(description="When the proxy heard of it first.")]
    closed_at: Time | None
    artifact_count: Annotated[Count, Meta(description="How many artifacts it holds.")]


class Incidents(Answer, frozen=True):
    """GET /incidents, the newest first."""

    incidents: tuple[Incident, ...]
    omitted: Annotated[Count, Meta(description="How many more fit than are listed.")] = 0
    unreadable: Annotated[
        tuple[Unreadable, ...], Meta(description="Records that cannot be read.")
    ] = ()


class IncidentEvent(Answer, frozen=True):
    """One thing that was told of an incident."""

    at: Time
    kind: Annotated[str, Meta(description="What was told.", examples=["node-gone"])]
    source: Annotated[str, Meta(description="Who told it: agent, kubelet or proxy.")]
    message: str
    fields: dict[str, str]


class ContainerEnd(Answer, frozen=True, kw_only=True):
    """How the last process of the node's container ended, as the kubelet tells it."""

    container: str
    reason: Annotated[str, Meta(examples=["OOMKilled"])]
    exit_code: int
    signal: int
    message: str
    restarts: Annotated[Count, Meta(description="How often it has ended so far.")]
    started_at: Time | None
    finished_at: Time | None


class NodeChange(Answer, frozen=True):
    """Something that was changed at the node before the incident."""

    at: Time
    what: str


class IncidentArtifact(Answer, frozen=True, kw_only=True):
    """Something that was captured and belongs to an incident."""

    profile: str
    state: IncidentPartState
    message: str
    artifact: Annotated[Artifact | None, Meta(description="Its manifest, for one that is stored.")]


class IncidentRecord(Answer, frozen=True, kw_only=True):
    """GET /incidents/{id}: all that is known of an incident."""

    incident: Incident
    events: Annotated[tuple[IncidentEvent, ...], Meta(description="In the order of their times.")]
    events_omitted: Annotated[
        Count, Meta(description="How many events between the first and the last are not kept.")
    ]
    container_end: ContainerEnd | None
    artifacts: tuple[IncidentArtifact, ...]
    changes: Annotated[tuple[NodeChange, ...], Meta(description="What changed in the hour before.")]
    machine: Annotated[str, Meta(description="Kubernetes node, empty when it is not known.")]
    neighbours: Annotated[
        tuple[str, ...], Meta(description="Other nodes of the fleet on the same machine.")
    ]
    bundle_path: Annotated[str, Meta(description="Where all of it is one tar.")]
