# SPDX-License-Identifier: Apache-2.0
"""The cluster as all agents see it together, pure (upstream-proxy §8).

The one idea: each agent tells a part, and parts tell of the same node; the copy that names the
node's pod is the node's own and wins, because it ties the node to its agent.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from fodc_api.topology import Topology, TopologyCall, TopologyNode
from fodc_proxy.evidence import parts

POD_LABEL: Final = "pod_name"
# How a node that is registered does, as agents of ours tell it; the worst that anybody sees counts.
LIVENESS_LABEL: Final = "liveness"
_LIVENESS: Final = ("", "active", "registered", "evictable")


@dataclass(frozen=True, slots=True)
class Seen:
    """How an agent is: `status` in the existing proxy's words, `last_heartbeat` in RFC 3339."""

    status: str
    last_heartbeat: str


def merged(told: Iterable[parts.Topology], seen: Callable[[str], Seen | None]) -> Topology:
    """Return one cluster out of all parts, by name; `seen` finds the agent of a pod.

    Nodes without a name and calls without an id are passed over.
    """
    nodes: dict[str, TopologyNode] = {}
    calls: dict[str, TopologyCall] = {}
    liveness: dict[str, str] = {}
    for part in told:
        for node in part.nodes:
            name = node.metadata.name
            known = nodes.get(name)
            liveness[name] = _worse(liveness.get(name, ""), node.labels.get(LIVENESS_LABEL, ""))
            if known is None or _is_own(node) or not _is_own(known):
                nodes[name] = node
        calls.update((call.id, call) for call in part.calls)
    nodes.pop("", None)
    calls.pop("", None)
    return Topology(
        tuple(_with_agent(_living(nodes[name], liveness[name]), seen) for name in sorted(nodes)),
        tuple(calls[id_] for id_ in sorted(calls)),
    )


def _worse(one: str, other: str) -> str:
    known = [told for told in (one, other) if told in _LIVENESS]
    return max(known, key=_LIVENESS.index, default="")


def _living(node: TopologyNode, liveness: str) -> TopologyNode:
    if node.labels.get(LIVENESS_LABEL, "") == liveness or not liveness:
        return node
    return replace(node, labels={**node.labels, LIVENESS_LABEL: liveness})


def _is_own(node: TopologyNode) -> bool:
    return POD_LABEL in node.labels


def _with_agent(node: TopologyNode, seen: Callable[[str], Seen | None]) -> TopologyNode:
    pod_name = node.labels.get(POD_LABEL, "")
    agent = seen(pod_name) if pod_name else None
    if agent is None:
        return node
    return replace(node, status=agent.status, last_heartbeat=agent.last_heartbeat)
