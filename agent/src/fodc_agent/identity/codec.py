# SPDX-License-Identifier: Apache-2.0
"""The node's own description as bytes (banyandb.database.v1)."""

from typing import Final

from google.protobuf.message import DecodeError

from fodc_agent.identity.roles import NodeFacts, role_of
from fodc_wire.banyandb.database.v1 import rpc_pb2

GET_CURRENT_NODE: Final = "/banyandb.database.v1.NodeQueryService/GetCurrentNode"


class MalformedNodeError(Exception):
    """The bytes are no GetCurrentNodeResponse."""


def request() -> bytes:
    """Return the question."""
    return rpc_pb2.GetCurrentNodeRequest().SerializeToString()


def decode(data: bytes) -> NodeFacts:
    """Return role, labels and name; raise MalformedNodeError."""
    try:
        node = rpc_pb2.GetCurrentNodeResponse.FromString(data).node
    except DecodeError as error:
        raise MalformedNodeError(f"{len(data)} bytes are no description of a node") from error
    return NodeFacts(role_of(node.roles), dict(sorted(node.labels.items())), node.metadata.name)
