# SPDX-License-Identifier: Apache-2.0
"""By which names a node is called, and where frames for it go.

The one idea: a node's address is its pod name, with the namespace before it where the agent tells
one, and never changes while others come and go. People see the pod name as long as it is unique,
else the address, and may say either of them or the agent's id.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol


class Named(Protocol):
    """What has such names (`membership.Member`)."""

    @property
    def namespace(self) -> str:
        """Kubernetes namespace, empty when it is not told."""

    @property
    def pod_name(self) -> str:
        """Name of the pod, or what stands for it."""

    @property
    def address(self) -> str:
        """Where frames for it go."""


def address_of(namespace: str, pod_name: str) -> str:
    """Return `namespace/pod`, or the pod name alone without a namespace."""
    return f"{namespace}/{pod_name}" if namespace else pod_name


class NodeIds:
    """What people call the members of a fleet."""

    def __init__(self, members: Iterable[Named]) -> None:
        self._shared = _shared_names((m.namespace, m.pod_name) for m in members)

    def of(self, member: Named) -> str:
        """Return the pod name when it is unique in the fleet, else `namespace/pod`."""
        return member.address if member.pod_name in self._shared else member.pod_name


def _shared_names(nodes: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return the pod names that occur in several namespaces; `nodes` are (namespace, pod name).

    An agent that tells no namespace stands for the same pod as one that does: the existing
    contract has no field for it.
    """
    namespaces: dict[str, set[str]] = defaultdict(set)
    for namespace, pod_name in nodes:
        if namespace:
            namespaces[pod_name].add(namespace)
    return frozenset(pod_name for pod_name, found in namespaces.items() if len(found) > 1)
