# SPDX-License-Identifier: Apache-2.0
"""`/cluster`: every node that the proxy knows, living or not."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from aiohttp import web

from fodc_protocol.times import format_rfc3339
from fodc_proxy.fleet.membership import Member, Phase
from fodc_proxy.fleet.naming import NodeIds
from fodc_proxy.fleet.registry import Registry
from fodc_proxy.web.answers import json_answer

ActiveCaptures = Callable[[str], Sequence[Mapping[str, object]]]


def _no_captures(_address: str) -> Sequence[Mapping[str, object]]:
    return ()


@dataclass(frozen=True, slots=True)
class FleetDeps:
    """What these routes need; `active_captures` answers for a node's address."""

    registry: Registry
    clock_ms: Callable[[], int]
    version: str
    incarnation: str
    started_at_ms: int
    active_captures: ActiveCaptures = field(default=_no_captures)


def routes(deps: FleetDeps) -> list[web.RouteDef]:
    """Return the routes of this file."""

    async def cluster(request: web.Request) -> web.Response:
        return _cluster(deps, request)

    return [web.get("/cluster", cluster)]


def _cluster(deps: FleetDeps, request: web.Request) -> web.Response:
    role = request.query.get("role", "")
    node_id = request.query.get("node_id", "")
    members = [m for m in deps.registry.members() if not role or m.role == role]
    if node_id:
        found = deps.registry.find(node_id)
        members = [m for m in members if found is not None and m.agent_id == found.agent_id]
    now_ms = deps.clock_ms()
    ids = NodeIds(deps.registry.members())
    return json_answer(
        {
            "generated_at": rfc3339_ms(now_ms),
            "proxy": {
                "version": deps.version,
                "incarnation": deps.incarnation,
                "uptime_seconds": max(0, now_ms - deps.started_at_ms) // 1000,
            },
            "summary": _summary(members),
            "nodes": [
                node_of(m, ids.of(m), deps.registry.silent_ms(m), deps.active_captures(m.address))
                for m in members
            ],
        }
    )


def _summary(members: Sequence[Member]) -> dict[str, object]:
    phases = Counter(member.phase for member in members)
    return {
        "total": len(members),
        "online": phases[Phase.ONLINE],
        "degraded": phases[Phase.DEGRADED],
        "offline": phases[Phase.OFFLINE],
        "by_role": dict(sorted(Counter(member.role for member in members).items())),
    }


def node_of(
    member: Member,
    node_id: str,
    silent_ms: int,
    active_captures: Sequence[Mapping[str, object]] = (),
) -> dict[str, object]:
    """Return one node as `/cluster` shows it."""
    state, identity = member.state, member.identity
    return {
        "node_id": node_id,
        "agent_id": member.agent_id,
        "pod_name": member.pod_name,
        "namespace": member.namespace or None,
        "role": member.role,
        "tier": member.tier or None,
        "phase": member.phase,
        "contract": member.contract,
        "agent_version": member.agent_version or None,
        "registered_at": rfc3339_ms(member.registered_at_ms),
        "last_heartbeat_at": rfc3339_ms(member.last_heartbeat_ms),
        "heartbeat_age_seconds": silent_ms / 1000,
        "labels": dict(state.labels),
        "container_names": list(identity.container_names),
        "addresses": [asdict(address) for address in identity.addresses],
        "capabilities": [asdict(capability) for capability in state.capabilities],
        "window": _window(member),
        "configuration_hash": state.configuration_hash or None,
        "artifacts": {"count": state.artifact_count, "bytes": state.artifact_bytes},
        "conditions": [asdict(condition) for condition in member.conditions],
        "active_captures": list(active_captures),
        "reconnects": member.reconnects,
    }


def _window(member: Member) -> dict[str, object] | None:
    window = member.state.window
    if window is None:
        return None
    return {
        "oldest": rfc3339_ms(window.oldest_ms),
        "newest": rfc3339_ms(window.newest_ms),
        "series": window.series,
        "bytes": window.bytes,
    }


def rfc3339_ms(time_ms: int) -> str:
    """Return a Unix time as RFC 3339 in UTC, always with milliseconds."""
    seconds, millis = divmod(time_ms, 1000)
    return f"{format_rfc3339(seconds)[:-1]}.{millis:03d}Z"
