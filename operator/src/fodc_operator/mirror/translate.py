# SPDX-License-Identifier: Apache-2.0
"""A member of the fleet as labels and status of its FodcNode.

The one idea: the status is a function of the member, of what runs on it, and of the status before
(which holds the times of the last changes); what is absent is absent, never an empty text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from fodc_kube.conditions import Condition, stamped
from fodc_kube.texts import condition_type, count, cut, label_value, time_of
from fodc_operator.mirror.sync import IN_SYNC, in_sync
from fodc_operator.resources.fodcnode import Attachment, NodePhase, NodeRole, Observed
from fodc_protocol.capabilities import CapabilityState
from fodc_protocol.errors import BadRequestError
from fodc_protocol.link import frames
from fodc_protocol.profiles import Profile
from fodc_proxy.fleet.membership import Change, Contract, Member, Phase, Transition
from fodc_webhook.kinds import GROUP as LABEL_PREFIX

Status: TypeAlias = dict[str, Any]
FIELDS: Final = (
    "observedGeneration",
    "phase",
    "role",
    "tier",
    "cluster",
    "podRef",
    "agentID",
    "agentVersion",
    "contract",
    "attachment",
    "registrationTime",
    "lastHeartbeatTime",
    "lastTransitionTime",
    "reconnects",
    "kubernetesNodeName",
    "containerNames",
    "addresses",
    "capabilities",
    "flightRecorder",
    "configHash",
    "artifacts",
    "activeCaptures",
    "activeRequests",
    "lastIncident",
    "conditions",
)
"""Every field of the status; one that a node has no longer is removed by a null in the patch."""

LABELS: Final = tuple(
    f"{LABEL_PREFIX}/{name}"
    for name in ("role", "tier", "cluster", "kubernetes-node", "agent-version")
)
"""Labels that are ours; others on the object are left alone."""

REGISTERED: Final = "Registered"
READY: Final = "Ready"
_MOST_CAPABILITIES: Final = 32
_MOST_CONDITIONS: Final = 16
_MOST_LISTED: Final = 8
_PHASES: Final[Mapping[Phase, NodePhase]] = {
    Phase.ONLINE: NodePhase.ONLINE,
    Phase.DEGRADED: NodePhase.DEGRADED,
    Phase.OFFLINE: NodePhase.OFFLINE,
}
_CONTRACTS: Final[Mapping[Contract, str]] = {
    Contract.LINK: "AgentLink",
    Contract.FODC: "FODCService",
}
_ROLES: Final = (
    ("liaison", NodeRole.LIAISON),
    ("standalone", NodeRole.STANDALONE),
    ("meta", NodeRole.META),
    ("data", NodeRole.DATA),
)


@dataclass(frozen=True, slots=True)
class Running:
    """A capture that runs on a node now."""

    request: str
    profile: str
    started_at_ms: int


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the API server knows of the pod; the owner is a reference to its StatefulSet."""

    uid: str = ""
    kubernetes_node: str = ""
    owner: Mapping[str, Any] | None = None
    has_agent: bool = False
    """Whether the pod has a container of the agent's name."""


# ---- metadata ---------------------------------------------------------------------------------


def role_of(node_role: str) -> NodeRole:
    """Return the role for ROLE_DATA, data, datanode-hot and their kind."""
    text = node_role.lower()
    return next((role for part, role in _ROLES if part in text), NodeRole.UNKNOWN)


def labels_of(member: Member, pod: PodFacts) -> dict[str, str]:
    """Return the labels by which people select nodes; those without a value are left out."""
    wanted = (
        role_of(member.role).value,
        member.tier,
        member.identity.cluster,
        member.identity.kubernetes_node or pod.kubernetes_node,
        member.agent_version,
    )
    values = zip(LABELS, map(label_value, wanted), strict=True)
    return {name: value for name, value in values if value}


def head_patch(seen: Observed, member: Member, pod: PodFacts) -> dict[str, Any]:
    """Return what of labels and owner must change, empty when all is right."""
    patch: dict[str, Any] = {}
    wanted = labels_of(member, pod)
    ours = {name: seen.labels[name] for name in LABELS if name in seen.labels}
    if ours != wanted:
        gone = dict.fromkeys(ours.keys() - wanted.keys())
        patch["metadata"] = {"labels": {**gone, **wanted}}
    uids = {str(one.get("uid")) for one in seen.owners}
    if pod.owner is not None and str(pod.owner["uid"]) not in uids:
        # A merge patch replaces lists: what others own the object by stays in it.
        owners = [*map(dict, seen.owners), dict(pod.owner)]
        patch.setdefault("metadata", {})["ownerReferences"] = owners
    return patch


# ---- status -----------------------------------------------------------------------------------


def attachment_of(member: Member, pod: PodFacts) -> str:
    """Return where the agent is: beside the node in its pod, across the network, on a machine.

    Empty when it cannot be told: the agent says nothing and the pod holds none that we know.
    """
    if any((one.type, one.reason) == _REMOTE for one in member.conditions):
        return Attachment.REMOTE
    if pod.has_agent or member.identity.pod_uid:
        return Attachment.SIDECAR
    # Agents of the existing contract do not say whether they are in a pod.
    is_told = not pod.uid and member.contract is Contract.LINK
    return Attachment.STANDALONE if is_told else ""


_REMOTE: Final = ("AgentInPod", "Remote")
"""Condition by which an agent says that it is not in the pod of its node."""


def status_of(
    member: Member,
    pod: PodFacts,
    running: Sequence[Running],
    before: Mapping[str, Any],
    *,
    generation: int,
    now_ms: int,
    differing: Sequence[str] | None = None,
    incident: Mapping[str, Any] | None = None,
) -> Status:
    """Return the whole status of a node whose agent is registered.

    `differing` are the settings in which it differs from its peers, None where that is not known.
    """
    phase = _PHASES[member.phase]
    identity = member.identity
    found = {
        "observedGeneration": generation,
        **_phase_fields(phase, before, now_ms),
        "role": role_of(member.role).value,
        "tier": cut(member.tier, 63),
        "cluster": cut(identity.cluster, 253),
        "podRef": _pod_ref(member, pod, before),
        "agentID": cut(member.agent_id, 128),
        "agentVersion": cut(member.agent_version, 64),
        "contract": _CONTRACTS[member.contract],
        "attachment": attachment_of(member, pod),
        "registrationTime": time_of(member.registered_at_ms),
        "lastHeartbeatTime": time_of(member.last_heartbeat_ms),
        "reconnects": member.reconnects,
        "kubernetesNodeName": cut(identity.kubernetes_node or pod.kubernetes_node, 253),
        "containerNames": _unique(cut(name, 63) for name in identity.container_names),
        "addresses": _addresses(identity.addresses),
        "capabilities": _capabilities(member.state.capabilities),
        "flightRecorder": _window(member.state.window),
        "configHash": cut(member.state.configuration_hash, 128),
        "artifacts": _artifacts(member),
        **_captures(running),
        "lastIncident": incident or before.get("lastIncident"),
        "conditions": _conditions(
            _said(member, phase, before, differing), before, generation, now_ms
        ),
    }
    return {name: value for name, value in found.items() if value not in (None, "", [])}


def left_status(
    phase: NodePhase,
    before: Mapping[str, Any],
    *,
    generation: int,
    now_ms: int,
    incident: Mapping[str, Any] | None = None,
) -> Status:
    """Return the status of a node of which only the status before is known: the rest stays."""
    told = _conditions(_silent(phase, before), before, generation, now_ms)
    kept = {k: v for k, v in before.items() if k in FIELDS and k != "activeRequests"}
    return {
        **kept,
        "observedGeneration": generation,
        **_phase_fields(phase, before, now_ms),
        "activeCaptures": 0,
        **({"lastIncident": dict(incident)} if incident else {}),
        "conditions": told,
    }


_LEFT: Final[Mapping[NodePhase, tuple[str, str, str]]] = {
    NodePhase.PENDING: (
        "Unknown",
        "NotHeardYet",
        "the agent has not registered yet since this operator leads",
    ),
    NodePhase.OFFLINE: (
        "False",
        "NoHeartbeat",
        "the agent's connection has ended or it is silent; look at the pod and the agent's log",
    ),
    NodePhase.LOST: (
        "False",
        "AgentGone",
        "the agent is gone for longer than the cleanup timeout; after the retention this goes too",
    ),
}


def is_news(transition: Transition) -> bool:
    """Whether people want to see this change at once, rather than with the next refresh."""
    before = transition.before
    match transition.change:
        case Change.SUPERSEDED:
            return False  # the registration that follows tells it
        case Change.REGISTERED | Change.PHASE | Change.REMOVED:
            return True
        case Change.STATE:
            return before is None or _told(before.state) != _told(transition.member.state)


def _told(state: frames.NodeState) -> frames.NodeState:
    return replace(state, window=None, artifact_count=0, artifact_bytes=0)


def patch_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that leaves exactly this status: absent fields become null."""
    return {"status": {name: status.get(name) for name in FIELDS}}


# ---- parts ------------------------------------------------------------------------------------


def _phase_fields(phase: NodePhase, before: Mapping[str, Any], now_ms: int) -> Status:
    since = before.get("lastTransitionTime") if before.get("phase") == phase.value else None
    return {"phase": phase.value, "lastTransitionTime": since or time_of(now_ms)}


def _pod_ref(member: Member, pod: PodFacts, before: Mapping[str, Any]) -> dict[str, str]:
    """Return the pod of the node; a UID that nobody tells now is the one that was told."""
    known = (before.get("podRef") or {}).get("uid", "")
    uid = cut(member.identity.pod_uid or pod.uid, 64) or known
    return {"name": member.pod_name, **({"uid": uid} if uid else {})}


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))[:_MOST_LISTED]


def _addresses(addresses: Iterable[frames.Address]) -> list[dict[str, Any]]:
    found = {
        cut(one.name, 63): {"host": cut(one.host, 253), "port": one.port}
        for one in addresses
        if 1 <= one.port <= 65535
    }
    return [{"name": name, **rest} for name, rest in found.items()][:_MOST_LISTED]


def capture_type(kind: str) -> str:
    """Return the type that custom resources use for a profile, other kinds as they are."""
    try:
        return Profile(kind).facts.crd_type
    except (ValueError, BadRequestError):
        return cut(kind, 63)


def _capabilities(capabilities: Iterable[frames.CapabilityState]) -> list[dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for one in capabilities:
        known = one.state in CapabilityState.__members__.values()
        said = {
            "state": str(one.state) if known else CapabilityState.UNKNOWN.value,
            "reason": cut(one.reason, 128),
            "message": cut(one.message, 256),
        }
        found[capture_type(one.kind)] = {key: text for key, text in said.items() if text}
    return [{"type": kind, **said} for kind, said in found.items()][:_MOST_CAPABILITIES]


def _window(window: frames.WindowExtent | None) -> dict[str, Any] | None:
    if window is None:
        return None
    return {
        # Both keys always: a merge patch goes into objects.
        "oldestSampleTime": time_of(window.oldest_ms),
        "newestSampleTime": time_of(window.newest_ms),
        "series": count(window.series),
        "bytes": count(window.bytes),
    }


def _artifacts(member: Member) -> dict[str, int] | None:
    if member.contract is not Contract.LINK:
        return None
    state = member.state
    return {"count": count(state.artifact_count), "bytes": count(state.artifact_bytes)}


def _captures(running: Sequence[Running]) -> Status:
    return {
        "activeCaptures": len(running),
        "activeRequests": [_capture(one) for one in running[:_MOST_LISTED]],
    }


def _capture(running: Running) -> dict[str, str]:
    started = time_of(running.started_at_ms)
    return {
        "requestName": cut(running.request, 128),
        "captureType": capture_type(running.profile),
        # In a list a null is no removal but a value that the server refuses.
        **({"startTime": started} if started else {}),
    }


# ---- conditions -------------------------------------------------------------------------------


def _said(
    member: Member,
    phase: NodePhase,
    before: Mapping[str, Any],
    differing: Sequence[str] | None,
) -> Iterator[Condition]:
    """Conditions never vanish: what the agent told of once and tells no more is True again."""
    if not phase.is_living:
        yield from _silent(phase, before)
        return
    yield from _living(member)
    yield from in_sync(differing, before)
    # `stamped` keeps the first of a type, so these are the ones that nobody has spoken of.
    yield from (Condition(name, "True", "Resolved", _RESOLVED) for name in _types(before))


_RESOLVED: Final = "the agent does not tell of it any more"


def _silent(phase: NodePhase, before: Mapping[str, Any]) -> Iterator[Condition]:
    """What is known of a node whose agent is not heard: that, and nothing else."""
    because = Condition(REGISTERED, *_LEFT[phase])
    yield because
    for name in (READY, "MetricsFresh", *_types(before)):
        yield Condition(name, "Unknown", because.reason, because.message)


def _types(before: Mapping[str, Any]) -> list[str]:
    return [str(one.get("type", "")) for one in before.get("conditions") or ()]


def _living(member: Member) -> Iterator[Condition]:
    """Positive polarity: what the agent lacks becomes a condition that is False."""
    lacks = [Condition(*one) for one in _lacks(member)]
    yield Condition(
        REGISTERED, "True", "Heartbeating", "the agent is registered and its heartbeats arrive"
    )
    # An agent that has shown nothing works all the same.
    yield _agent_ready([one for one in lacks if one.type != _AUTHENTICATED])
    fresh = _FRESH[member.contract]
    yield next((one for one in lacks if one.type == fresh.type), fresh)
    yield from (one for one in lacks if one.type != fresh.type)


_FRESH: Final[Mapping[Contract, Condition]] = {
    Contract.LINK: Condition(
        "MetricsFresh", "True", "Scraped", "the agent reads the node's metrics"
    ),
    Contract.FODC: Condition(
        "MetricsFresh", "Unknown", "NotTold", "agents of the existing contract do not tell"
    ),
}


def _lacks(member: Member) -> Iterator[tuple[str, str, str, str]]:
    for one in member.conditions:
        name = _RENAMED.get(one.type) or condition_type(one.type)
        if name and name not in _OURS:
            yield name, "False", cut(one.reason, 128) or "Unknown", cut(one.message, 1024)


_AUTHENTICATED: Final = "Authenticated"
_RENAMED: Final = {
    "NodeScraped": "MetricsFresh",
    "PodConflict": "PodUnique",
    "Unauthenticated": _AUTHENTICATED,
}
_OURS: Final = frozenset({REGISTERED, READY, IN_SYNC})


def _agent_ready(lacks: Sequence[Condition]) -> Condition:
    if not lacks:
        return Condition(READY, "True", "Whole", "nothing is missing, as the agent sees it")
    names = ", ".join(one.type for one in lacks)
    return Condition(READY, "False", lacks[0].reason, cut(f"less than whole: {names}", 1024))


def _conditions(
    said: Iterable[Condition], before: Mapping[str, Any], generation: int, now_ms: int
) -> list[dict[str, Any]]:
    return stamped(said, before, generation=generation, now_ms=now_ms)[:_MOST_CONDITIONS]
