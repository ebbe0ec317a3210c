# SPDX-License-Identifier: Apache-2.0
"""Which nodes a request means, and which of its captures each of them can do at all.

The one idea: a node that was asked for and cannot answer stays in the list, skipped with its
reason, so that nobody mistakes silence for success.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fodc_api.words import Phase
from fodc_protocol.capabilities import CapabilityState
from fodc_protocol.errors import Reason
from fodc_protocol.roles import is_called, plain
from fodc_proxy.captures.model import Capture, Result, Selector, Spec, Target
from fodc_proxy.captures.phases import settled_target
from fodc_proxy.fleet.naming import NodeIds, address_of

_EXISTING_CONTRACT = (
    "its agent speaks the existing contract, which cannot capture on request; "
    "put an agent of this project beside the node"
)


@dataclass(frozen=True, slots=True)
class Ability:
    """What a node's agent says about one kind of profile."""

    state: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node of the fleet as targeting sees it."""

    pod_name: str
    agent_id: str
    role: str
    tier: str = ""
    online: bool = True
    # Whether its agent speaks our link and can so capture on request.
    captures_on_request: bool = True
    abilities: Mapping[str, Ability] = field(default_factory=dict)
    # Why it is not meant whatever its name, role and tier, such as labels that do not fit.
    excluded: str = ""
    namespace: str = ""

    @property
    def address(self) -> str:
        """Where frames for it go."""
        return address_of(self.namespace, self.pod_name)


def chosen_targets(spec: Spec, candidates: Iterable[Candidate], now_ms: int) -> tuple[Target, ...]:
    """Return the targets of a spec in the order of their names, skipped ones included."""
    fleet = sorted(candidates, key=lambda candidate: (candidate.pod_name, candidate.namespace))
    ids = NodeIds(fleet)
    matching = [candidate for candidate in fleet if _matches(spec.selector, candidate, ids)]
    targets = [_target(spec, candidate, ids, now_ms) for candidate in matching]
    return (*targets, *_missing_names(spec.selector, fleet, matching, ids, now_ms))


def is_of(roles: Sequence[str], tiers: Sequence[str], node: Candidate) -> bool:
    """Say whether a node has one of these roles and one of these tiers; none means any."""
    in_role = not roles or any(is_called(word, node.role, node.tier) for word in roles)
    return in_role and (not tiers or plain(node.role, node.tier).tier in map(str.lower, tiers))


def _names_of(candidate: Candidate, ids: NodeIds) -> set[str]:
    """By which names it can be chosen: a pod name that several have is not enough."""
    return {candidate.address, candidate.agent_id, ids.of(candidate)}


def _matches(selector: Selector, candidate: Candidate, ids: NodeIds) -> bool:
    named = not selector.names or not _names_of(candidate, ids).isdisjoint(selector.names)
    in_role = is_of(selector.roles, selector.tiers, candidate)
    return named and in_role and not candidate.excluded


def _missing_names(
    selector: Selector,
    fleet: Sequence[Candidate],
    matching: Sequence[Candidate],
    ids: NodeIds,
    now_ms: int,
) -> list[Target]:
    """Names that chose no node, each with the reason why."""
    taken = {name for node in matching for name in _names_of(node, ids)}
    known = {name: node for node in fleet for name in _names_of(node, ids)}
    return [
        Target(
            node_id=name,
            results=(),
            phase=Phase.SKIPPED,
            reason=Reason.NOT_FOUND,
            message=_why_missing(name, known.get(name), fleet),
            finished_at_ms=now_ms,
        )
        for name in selector.names
        if name not in taken
    ]


def _why_missing(name: str, node: Candidate | None, fleet: Sequence[Candidate]) -> str:
    if node is not None:
        asked = f"role {node.role or '(none)'}, tier {node.tier or '(none)'} was not asked for"
        return node.excluded or asked
    same = [one.address for one in fleet if one.pod_name == name]
    if same:
        shown = " or ".join(same[:3])
        return f"{len(same)} nodes have this name; say which: {shown}"
    return "no node of this name is registered"


def _target(spec: Spec, node: Candidate, ids: NodeIds, now_ms: int) -> Target:
    results = tuple(_result(spec, node, capture, now_ms) for capture in spec.captures)
    target = Target(
        node_id=ids.of(node),
        results=results,
        namespace=node.namespace,
        pod_name=node.pod_name,
        agent_id=node.agent_id,
        role=node.role,
        tier=node.tier,
        awaits_agent=not node.online,
    )
    return settled_target(target, now_ms)


def _result(spec: Spec, node: Candidate, capture: Capture, now_ms: int) -> Result:
    result = Result(capture.name, str(capture.profile), capture.duration_s)
    obstacle = _obstacle(spec.selector, node, capture)
    if obstacle is None:
        return result
    reason, message = obstacle
    return replace(
        result, phase=Phase.SKIPPED, reason=reason, message=message, finished_at_ms=now_ms
    )


def _obstacle(selector: Selector, node: Candidate, capture: Capture) -> tuple[str, str] | None:
    """Why this node cannot do this capture, None when an attempt makes sense."""
    if not node.captures_on_request:
        return Reason.UNSUPPORTED, _EXISTING_CONTRACT
    ability = node.abilities.get(str(capture.profile))
    if ability is not None and ability.state == CapabilityState.UNSUPPORTED:
        return Reason.UNSUPPORTED, _told(ability, capture, "cannot be done on this node")
    if ability is not None and ability.state == CapabilityState.DISABLED:
        return Reason.DISABLED, _told(ability, capture, "is switched off on this node")
    if not node.online and not selector.include_offline:
        return Reason.OFFLINE, "no heartbeat from its agent; include_offline would wait for it"
    return None


def _told(ability: Ability, capture: Capture, otherwise: str) -> str:
    cause = f" ({ability.reason})" if ability.reason else ""
    return f"{ability.message or f'{capture.profile} {otherwise}'}{cause}"
