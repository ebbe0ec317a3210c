# SPDX-License-Identifier: Apache-2.0
"""The fleet: GET /cluster, every node that the proxy knows, living or not."""

from typing import Annotated

from msgspec import Meta

from fodc_api.values import Answer, Count, Query, Seconds, Time
from fodc_api.words import Contract, NodePhase

RoleFilter = Annotated[
    str,
    Meta(
        max_length=253,
        description="Role, tier or both, in any case: ROLE_DATA, data, hot, datanode-hot. "
        "A word that names neither is an error.",
        examples=["data", "datanode-hot"],
    ),
]
NodeFilter = Annotated[
    str,
    Meta(max_length=317, description="Pod name, namespace/pod or agent id.", examples=["data-0"]),
]


class ClusterQuery(Query, frozen=True):
    """Which nodes GET /cluster shows."""

    role: RoleFilter = ""
    node_id: NodeFilter = ""


class Condition(Answer, frozen=True):
    """One thing that makes a node less than whole."""

    type: str
    reason: str
    message: str


class Capability(Answer, frozen=True):
    """Whether a node can give one kind of diagnostics, and why not."""

    kind: str
    state: Annotated[str, Meta(description="Supported, Disabled, Unsupported or Unknown.")]
    reason: str = ""
    message: str = ""


class Address(Answer, frozen=True):
    """Where a node listens."""

    name: str
    host: str
    port: int


class WindowExtent(Answer, frozen=True):
    """What the flight recorder of a node holds."""

    oldest: Time
    newest: Time
    series: Count
    bytes: Count


class ArtifactsHeld(Answer, frozen=True):
    """Results that lie with the node's agent and were not fetched yet."""

    count: Count
    bytes: Count


class ActiveCapture(Answer, frozen=True):
    """A capture that runs on a node now."""

    request_id: str
    profile: str
    started_at: Time


class Node(Answer, frozen=True):
    """One node as its agent and the proxy see it."""

    node_id: Annotated[str, Meta(description="Pod name, or namespace/pod where several have it.")]
    agent_id: str
    pod_name: str
    namespace: str | None
    role: str
    tier: str | None
    phase: NodePhase
    contract: Contract
    agent_version: str | None
    registered_at: Time
    last_heartbeat_at: Time
    heartbeat_age_seconds: Seconds
    labels: dict[str, str]
    container_names: tuple[str, ...]
    addresses: tuple[Address, ...]
    capabilities: tuple[Capability, ...]
    window: WindowExtent | None
    configuration_hash: str | None
    artifacts: ArtifactsHeld
    conditions: tuple[Condition, ...]
    active_captures: tuple[ActiveCapture, ...]
    reconnects: Count


class ProxyFacts(Answer, frozen=True):
    """The proxy that answers."""

    version: str
    incarnation: str
    uptime_seconds: Count


class ClusterSummary(Answer, frozen=True):
    """How many of the nodes shown stand where."""

    total: Count
    online: Count
    degraded: Count
    offline: Count
    by_role: dict[str, Count]


class Cluster(Answer, frozen=True):
    """GET /cluster."""

    generated_at: Time
    proxy: ProxyFacts
    summary: ClusterSummary
    nodes: tuple[Node, ...]
