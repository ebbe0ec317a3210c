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
    for part in told:
        for node in part.nodes:
            known = nodes.get(node.metadata.name)
            if known is None or _is_own(node) or not _is_own(known):
                nodes[node.metadata.name] = node
        calls.update((call.id, call) for call in part.calls)
    nodes.pop("", None)
    calls.pop("", None)
    return Topology(
        tuple(_with_agent(nodes[name], seen) for name in sorted(nodes)),
        tuple(calls[id_] for id_ in sorted(calls)),
    )


def _is_own(node: TopologyNode) -> bool:
    return POD_LABEL in node.labels


def _with_agent(node: TopologyNode, seen: Callable[[str], Seen | None]) -> TopologyNode:
    pod_name = node.labels.get(POD_LABEL, "")
    agent = seen(pod_name) if pod_name else None
    if agent is None:
        return node
    return replace(node, status=agent.status, last_heartbeat=agent.last_heartbeat)
