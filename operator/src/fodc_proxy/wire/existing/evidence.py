# SPDX-License-Identifier: Apache-2.0
"""Messages of the evidence streams of the existing contract to values, bounded and clean.

The one idea: what names something is taken as it is or costs its agent the whole answer, with the
field's name; what people read is cut.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from fodc_api import topology as api
from fodc_proxy.evidence import parts
from fodc_proxy.wire.bounds import Bound, WireError, few, number, word
from fodc_proxy.wire.codec import checked_labels
from fodc_proxy.wire.shared import shared
from fodc_wire.banyandb.common.v1 import common_pb2 as common
from fodc_wire.banyandb.database.v1 import database_pb2 as database
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

M = TypeVar("M", bound=Message)
MOST_NODES: Final = 4096
MOST_CALLS: Final = 16_384
_ADDRESS_CHARACTERS: Final = 317
_CALL_CHARACTERS: Final = 2 * _ADDRESS_CHARACTERS + 1
_MOST_ROLES: Final = 16
_FIRST_S: Final = -62_135_596_800  # the beginning of year 1, which Go's zero time is
_LAST_S: Final = 253_402_300_799
_GREATEST_INT64: Final = 2**63 - 1


def parsed(kind: type[M], data: bytes) -> M:
    """Return the message; raises WireError for garbage."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise WireError(f"not a {kind.__name__}: {error}") from error


# ---- topology -----------------------------------------------------------------------------------


def decode_topology(data: bytes) -> parts.Topology:
    """Return the cluster as an agent sees it; raises WireError."""
    message = parsed(pb.StreamClusterTopologyRequest, data)
    nodes = few("topology.nodes", message.topology.nodes, MOST_NODES)
    calls = few("topology.calls", message.topology.calls, MOST_CALLS)
    return parts.Topology(tuple(map(_node, nodes)), tuple(map(_call, calls)), len(data))


def _node(m: database.Node) -> api.TopologyNode:
    return api.TopologyNode(
        metadata=_name("node", m.metadata),
        grpc_address=address("node.grpc_address", m.grpc_address),
        http_address=address("node.http_address", m.http_address),
        created_at=instant("node.created_at", m.created_at) if m.HasField("created_at") else None,
        labels=labels_of("node.labels", m.labels),
        property_repair_gossip_grpc_address=address(
            "node.property_repair_gossip_grpc_address", m.property_repair_gossip_grpc_address
        ),
        property_schema_grpc_address=address(
            "node.property_schema_grpc_address", m.property_schema_grpc_address
        ),
        property_schema_gossip_grpc_address=address(
            "node.property_schema_gossip_grpc_address", m.property_schema_gossip_grpc_address
        ),
        roles=roles_of(m.roles),
    )


def _name(field: str, m: common.Metadata) -> api.ObjectName:
    return api.ObjectName(
        word(f"{field}.metadata.group", m.group),
        address(f"{field}.metadata.name", m.name),
        m.id,
        number(f"{field}.metadata.create_revision", m.create_revision, _GREATEST_INT64),
        number(f"{field}.metadata.mod_revision", m.mod_revision, _GREATEST_INT64),
    )


def _call(m: pb.Call) -> api.TopologyCall:
    return api.TopologyCall(
        id=word("call.id", m.id, _CALL_CHARACTERS),
        target=address("call.target", m.target),
        source=address("call.source", m.source),
    )


# ---- single values ------------------------------------------------------------------------------


def labels_of(field: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels in their order by name; raises WireError."""
    return {shared(key): shared(value) for key, value in sorted(checked_labels(field, labels))}


def roles_of(numbers: Iterable[int]) -> tuple[str, ...]:
    """Return the names of roles; a number without a name is UNKNOWN_ROLE_n."""
    told = few("node.roles", tuple(numbers), _MOST_ROLES)
    known = database.Role.DESCRIPTOR.values_by_number
    names = [known[n].name if n in known else f"UNKNOWN_ROLE_{n}" for n in told]
    return shared(tuple(names))


def address(field: str, value: str) -> str:
    """Return an address, a host name with a port; raises WireError."""
    return shared(word(field, value, _ADDRESS_CHARACTERS))


def instant(field: str, m: Timestamp) -> api.Instant:
    """Return a time of the years 1 to 9999; raises WireError."""
    if not (_FIRST_S <= m.seconds <= _LAST_S and 0 <= m.nanos < 1_000_000_000):
        told = f"{field} must be a time of the years 1 to 9999, got {m.seconds} s {m.nanos} ns"
        raise WireError(told, Bound.RANGE)
    return api.Instant(m.seconds, m.nanos)
