# SPDX-License-Identifier: Apache-2.0
"""By which names a node is called, and where frames for it go.

The one idea: a node's address is its pod name, with the namespace before it where the agent tells
one, and never changes while others come and go. People see the pod name as long as it is unique,
else the address, and may say either of them or the agent's id.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar


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


class Placed(Named, Protocol):
    """One that lives or not, since a time in Unix milliseconds."""

    @property
    def registered_at_ms(self) -> int:
        """When it came."""

    @property
    def is_living(self) -> bool:
        """Whether it has been heard in time."""


P = TypeVar("P", bound=Placed)


def newest_of(node_id: str, members: Iterable[P]) -> P | None:
    """Return the newest living one of those who may be meant."""
    return max(
        meant_by(node_id, members),
        key=lambda one: (one.is_living, one.registered_at_ms),
        default=None,
    )


def meant_by(node_id: str, members: Iterable[P]) -> list[P]:
    """Return who may be meant by an address or a pod name, of several those that live.

    A pod name means nobody where pods of several namespaces have it.
    """
    named = [one for one in members if node_id in {one.pod_name, one.address}]
    living = [one for one in named if one.is_living] or named
    if len({one.namespace for one in living if one.namespace}) > 1:
        return [one for one in named if one.address == node_id]
    return living


def namesakes(node_id: str, members: Sequence[P]) -> tuple[P, ...]:
    """Return the members of a pod name that means nobody, since several namespaces have it."""
    if meant_by(node_id, members):
        return ()
    return tuple(one for one in members if one.pod_name == node_id)


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
