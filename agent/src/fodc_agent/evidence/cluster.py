# SPDX-License-Identifier: Apache-2.0
"""The cluster as the node sees it, pure: answers of the node to a message of the contract.

The one idea: a node's description is passed on as the bytes that came, with labels put behind it,
so nothing is lost that is not known here, and nothing is built that is thrown away again.
"""

from collections.abc import Iterable
from dataclasses import field
from typing import Final

from fodc_protocol.lean import dataclass
from fodc_protocol.protobuf import Fields, message, messages, number, text
from fodc_protocol.times import NANOS_PER_SECOND

MOST_NODES: Final = 4096
POD_LABEL: Final = "pod_name"
LIVENESS_LABEL: Final = "liveness"
_LABELS: Final = 6


@dataclass(frozen=True, slots=True)
class Seen:
    """What one port answered: the node behind it, and the route tables it has."""

    node: bytes
    state: bytes = b""


@dataclass(slots=True)
class _Cluster:
    nodes: dict[str, bytes] = field(default_factory=dict)
    calls: dict[str, tuple[str, str]] = field(default_factory=dict)


def topology_message(seen: Iterable[Seen], pod_name: str, stamp: bytes) -> bytes:
    """Return a StreamClusterTopologyRequest; raises WireError for answers that are none.

    A node that is registered tells whether it is active, evictable or neither. What a node says of
    itself counts before what others have of it.
    """
    cluster = _Cluster()
    own: dict[str, bytes] = {}
    for one in seen:
        name = _name(one.node)
        if name:
            own[name] = one.node + (_label(POD_LABEL, pod_name) if pod_name else b"")
            _registered(cluster, name, one.state)
    liveness = {name: cluster.nodes[name] for name in own if name in cluster.nodes}
    nodes = {**cluster.nodes, **{name: _own(own[name], liveness.get(name)) for name in own}}
    topology = messages(1, list(nodes.values())[:MOST_NODES])
    topology += messages(2, [_call(*pair) for pair in cluster.calls.values()][:MOST_NODES])
    return message(1, stamp) + message(2, topology)


def _registered(cluster: _Cluster, source: str, state: bytes) -> None:
    for table in _tables(state):
        active, evictable = set(table.texts(2)), set(table.texts(3))
        for node in table.blobs(1):
            name = _name(node)
            told = _liveness(name, active, evictable)
            cluster.nodes[name] = node + _label(LIVENESS_LABEL, told)
            if name != source:
                cluster.calls[f"{source}-{name}"] = source, name


def _tables(state: bytes) -> list[Fields]:
    return [Fields(Fields(entry).blob(2)) for entry in Fields(state).blobs(1)]


def _liveness(name: str, active: set[str], evictable: set[str]) -> str:
    if name in evictable:
        return "evictable"
    return "active" if name in active else "registered"


def _own(node: bytes, registered: bytes | None) -> bytes:
    """Return a node with its own labels, and with how others see it."""
    if registered is None:
        return node
    told = Fields(registered).text_map(_LABELS).get(LIVENESS_LABEL, "")
    return node + _label(LIVENESS_LABEL, told)


def _label(name: str, value: str) -> bytes:
    return message(_LABELS, text(1, name) + text(2, value))


def _call(source: str, target: str) -> bytes:
    return text(1, f"{source}-{target}") + text(2, target) + text(3, source)


def _name(node: bytes) -> str:
    return Fields(Fields(node).blob(1)).text(2)


def timestamp(time_ns: int) -> bytes:
    """Return a protobuf Timestamp."""
    seconds, nanos = divmod(time_ns, NANOS_PER_SECOND)
    return number(1, seconds) + number(2, nanos)
