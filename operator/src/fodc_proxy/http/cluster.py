# SPDX-License-Identifier: Apache-2.0
"""`/cluster`: every node that the proxy knows, living or not."""

from collections import Counter
from collections.abc import Sequence

from fodc_api import cluster as api
from fodc_api.values import time_of
from fodc_api.words import Contract, NodePhase
from fodc_proxy.fleet.membership import Member, Phase
from fodc_proxy.fleet.naming import NodeIds
from fodc_proxy.http.routes import Call, Parts
from fodc_proxy.http.selecting import node_of, roles_of


async def cluster(parts: Parts, call: Call[api.ClusterQuery]) -> api.Cluster:
    """Show the fleet, or one role or node of it."""
    roles = roles_of(parts.registry, call.asked.role)
    node = node_of(parts.registry, call.asked.node_id)
    members = [
        member
        for member in parts.registry.members()
        if roles.fits(member.role, member.tier)
        and (node is None or node.agent_id == member.agent_id)
    ]
    now_ms = parts.clock_ms()
    ids = NodeIds(parts.registry.members())
    uptime_s = max(0, now_ms - parts.started_at_ms) // 1000
    return api.Cluster(
        generated_at=time_of(now_ms),
        proxy=api.ProxyFacts(parts.version, parts.incarnation, uptime_s),
        summary=_summary(members),
        nodes=tuple(_node(parts, member, ids.of(member)) for member in members),
    )


def _summary(members: Sequence[Member]) -> api.ClusterSummary:
    phases = Counter(member.phase for member in members)
    return api.ClusterSummary(
        total=len(members),
        online=phases[Phase.ONLINE],
        degraded=phases[Phase.DEGRADED],
        offline=phases[Phase.OFFLINE],
        by_role=dict(sorted(Counter(member.role for member in members).items())),
    )


def _node(parts: Parts, member: Member, node_id: str) -> api.Node:
    state, identity = member.state, member.identity
    return api.Node(
        node_id=node_id,
        agent_id=member.agent_id,
        pod_name=member.pod_name,
        namespace=member.namespace or None,
        role=member.role,
        tier=member.tier or None,
        phase=NodePhase(member.phase),
        contract=Contract(member.contract),
        agent_version=member.agent_version or None,
        registered_at=time_of(member.registered_at_ms),
        last_heartbeat_at=time_of(member.last_heartbeat_ms),
        heartbeat_age_seconds=parts.registry.silent_ms(member) / 1000,
        labels=dict(state.labels),
        container_names=tuple(identity.container_names),
        addresses=tuple(api.Address(a.name, a.host, a.port) for a in identity.addresses),
        capabilities=tuple(
            api.Capability(c.kind, c.state, c.reason, c.message) for c in state.capabilities
        ),
        window=_window(member),
        configuration_hash=state.configuration_hash or None,
        artifacts=api.ArtifactsHeld(state.artifact_count, state.artifact_bytes),
        conditions=tuple(api.Condition(c.type, c.reason, c.message) for c in member.conditions),
        active_captures=_active(parts, member),
        reconnects=member.reconnects,
    )


def _window(member: Member) -> api.WindowExtent | None:
    window = member.state.window
    if window is None:
        return None
    oldest, newest = time_of(window.oldest_ms), time_of(window.newest_ms)
    return api.WindowExtent(oldest, newest, window.series, window.bytes)


def _active(parts: Parts, member: Member) -> tuple[api.ActiveCapture, ...]:
    return tuple(
        api.ActiveCapture(capture.request_id, capture.profile, time_of(capture.started_at_ms))
        for capture in parts.engine.active_captures(member.address)
    )
