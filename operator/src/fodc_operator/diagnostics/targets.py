# SPDX-License-Identifier: Apache-2.0
"""Which nodes a DiagnosticRequest may choose from.

The one idea: a request sees the nodes of its own namespace and no others, those of the mirror whose
agent is not registered included, so that nothing of it is silently left out and nothing of
somebody else's is captured.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from fodc_operator.mirror.translate import PodFacts, labels_of
from fodc_operator.resources.diagnostic_request import Target
from fodc_protocol.fields import FieldError, Fields
from fodc_proxy.captures.assembly import RegistryFleet
from fodc_proxy.captures.targeting import Candidate, is_of
from fodc_proxy.fleet.membership import Member

_NOT_LABELED: Final = "its labels do not fit the selector"
_IN_MAINTENANCE: Final = "spec.maintenance of its FodcNode is true; name the node to ask for it"
_LOST: Final = "its pod is gone (FodcNode phase Lost)"


class NodePhase(StrEnum):
    """Where a FodcNode stands, as far as it matters here."""

    EXPECTED = "Expected"
    """Its agent was there when somebody last wrote."""
    OFFLINE = "Offline"
    LOST = "Lost"


@dataclass(frozen=True, slots=True)
class KnownNode:
    """A FodcNode of the request's namespace."""

    name: str
    labels: Mapping[str, str]
    role: str = ""
    tier: str = ""
    phase: NodePhase = NodePhase.EXPECTED
    maintenance: bool = False


@dataclass(frozen=True, slots=True)
class Fleet:
    """Who is registered, in all namespaces; agents that tell none belong to `home_namespace`."""

    members: Sequence[Member]
    home_namespace: str

    def namespace_of(self, member: Member) -> str:
        """Return where a member belongs."""
        return member.namespace or self.home_namespace


@dataclass(frozen=True, slots=True)
class _Some:
    """A part of the registry, with the registry's own shape."""

    some: Sequence[Member]

    def members(self) -> Iterable[Member]:
        return self.some

    def find(self, node_id: str) -> Member | None:
        return next((m for m in self.some if node_id in {m.pod_name, m.agent_id}), None)


def known_nodes(bodies: Iterable[Mapping[str, object]]) -> tuple[KnownNode, ...]:
    """Read FodcNodes; one that cannot be read is as if it were not there."""
    nodes: list[KnownNode] = []
    for body in bodies:
        try:
            nodes.append(_known_node(body))
        except FieldError:
            continue
    return tuple(nodes)


def _known_node(body: Mapping[str, object]) -> KnownNode:
    metadata, status = Fields(body).child("metadata"), Fields(body).child("status")
    spec = Fields(body).child("spec")
    phase = status.text("phase", max_length=63, default="")
    known = {"Offline": NodePhase.OFFLINE, "Lost": NodePhase.LOST}
    return KnownNode(
        name=metadata.text("name", max_length=253),
        labels=_labels(body),
        role=status.text("role", max_length=63, default=""),
        tier=status.text("tier", max_length=63, default=""),
        phase=known.get(phase, NodePhase.EXPECTED),
        maintenance=spec.flag("maintenance"),
    )


def _labels(body: Mapping[str, object]) -> Mapping[str, str]:
    metadata = body.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    if not isinstance(labels, Mapping):
        return {}
    return {str(name): str(value) for name, value in labels.items()}


# ---- choosing -------------------------------------------------------------------------------


def candidates(
    target: Target, namespace: str, fleet: Fleet, known: Sequence[KnownNode]
) -> tuple[Candidate, ...]:
    """Return the nodes of a namespace, each with the reason why it is not meant, if it is not."""
    own = [member for member in fleet.members if fleet.namespace_of(member) == namespace]
    registered = RegistryFleet(_Some(own)).candidates()
    mirrored = {node.name: node for node in known}
    # A node that is not mirrored yet has the labels that it is about to get.
    own_labels = {one.pod_name: labels_of(one, PodFacts()) for one in own}
    labels = {**own_labels, **{node.name: node.labels for node in known}}
    taken = {candidate.pod_name for candidate in registered}
    absent = [_absent(node, namespace) for node in known if node.name not in taken]
    return tuple(
        replace(
            one,
            excluded=_exclusion(target, one, mirrored.get(one.pod_name))
            or _unfit(target, labels[one.pod_name]),
        )
        for one in (*registered, *absent)
    )


def _absent(node: KnownNode, namespace: str) -> Candidate:
    """A node of the mirror; an agent of it that comes is taken to tell its namespace."""
    return Candidate(node.name, "", node.role, node.tier, online=False, namespace=namespace)


def _exclusion(target: Target, candidate: Candidate, node: KnownNode | None) -> str:
    if node is not None and node.phase is NodePhase.LOST and not candidate.online:
        return _LOST
    is_named = not {candidate.pod_name, candidate.address}.isdisjoint(target.names)
    return _IN_MAINTENANCE if node is not None and node.maintenance and not is_named else ""


def _unfit(target: Target, labels: Mapping[str, str]) -> str:
    fits = target.selector is None or target.selector.matches(labels)
    return "" if fits else _NOT_LABELED


def awaited(target: Target, chosen: Sequence[Candidate], known: Sequence[KnownNode]) -> list[str]:
    """Name the nodes that are meant, were there, and have not registered (again) yet.

    After a restart every agent needs a moment to come back; a request should wait for it.
    """
    expected = {node.name for node in known if node.phase is NodePhase.EXPECTED}
    return [
        one.pod_name
        for one in chosen
        if one.pod_name in expected
        and not one.online
        and not one.excluded
        and _is_meant(target, one)
    ]


def _is_meant(target: Target, one: Candidate) -> bool:
    named = not target.names or not {one.pod_name, one.address}.isdisjoint(target.names)
    return named and is_of(target.roles, target.tiers, one)
