# SPDX-License-Identifier: Apache-2.0
"""Who is in the cluster and who calls whom: GET /cluster/topology of the existing contract.

Fields without a value are left out, as the existing proxy leaves them out.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, field

from fodc_api.values import Answer

Revision: TypeAlias = Annotated[int, Meta(description="Of the schema store.")]


class Instant(Answer, frozen=True, omit_defaults=True):
    """A point in time as seconds since 1970 and nanoseconds beyond."""

    seconds: int = 0
    nanos: int = 0


class ObjectName(Answer, frozen=True, omit_defaults=True):
    """What identifies an object of the schema; a node has a name only."""

    group: str = ""
    name: str = ""
    id: int = 0
    create_revision: Revision = 0
    mod_revision: Revision = 0


class TopologyNode(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """One process of the cluster as it describes itself."""

    metadata: ObjectName
    grpc_address: str = ""
    http_address: str = ""
    created_at: Instant | None = None
    labels: dict[str, str] = field(default_factory=dict)
    property_repair_gossip_grpc_address: str = ""
    property_schema_grpc_address: str = ""
    property_schema_gossip_grpc_address: str = ""
    status: Annotated[
        str, Meta(description="online or unconnected: how the agent of label pod_name is.")
    ] = ""
    last_heartbeat: Annotated[str, Meta(description="RFC 3339, of that agent.")] = ""
    roles: tuple[str, ...]


class TopologyCall(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """One process knows how to call another."""

    id: str
    target: str = ""
    source: str = ""


class Topology(Answer, frozen=True):
    """GET /cluster/topology."""

    nodes: tuple[TopologyNode, ...]
    calls: tuple[TopologyCall, ...]
