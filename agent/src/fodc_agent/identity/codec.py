# SPDX-License-Identifier: Apache-2.0
"""The node's own description as bytes: what the agent needs of banyandb.database.v1."""

from typing import Final

from fodc_agent.identity.roles import NodeFacts, role_of
from fodc_protocol.protobuf import Fields, WireError

GET_CURRENT_NODE: Final = "/banyandb.database.v1.NodeQueryService/GetCurrentNode"
# GetCurrentNodeRequest has no fields.
REQUEST: Final = b""


class MalformedNodeError(Exception):
    """The bytes are no GetCurrentNodeResponse."""


def decode(data: bytes) -> NodeFacts:
    """Return role, labels and name; raise MalformedNodeError."""
    try:
        node = Fields(Fields(data).blob(1))
        labels = dict(sorted(node.text_map(6).items()))
        name = Fields(node.blob(1)).text(2)
        return NodeFacts(role_of(node.numbers(2)), labels, name)
    except WireError as error:
        raise MalformedNodeError(
            f"{len(data)} bytes are no description of a node: {error}"
        ) from error
