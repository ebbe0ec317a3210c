# SPDX-License-Identifier: Apache-2.0
"""`/health` of the existing proxy (§6.5), and what probes ask: alive, ready, which version."""

from fodc_api.proxy import Alive, Health, Readiness, Version
from fodc_proxy.http.answers import Reply
from fodc_proxy.http.routes import Call, NothingAsked, Parts, PassedOver


async def health(parts: Parts, _call: Call[PassedOver]) -> Health:
    """Count the agents."""
    members = parts.registry.members()
    return Health(
        agents_online=sum(member.is_living for member in members),
        agents_total=len(members),
        uptime_seconds=max(0, parts.clock_ms() - parts.started_at_ms) // 1000,
    )


async def alive(_parts: Parts, _call: Call[PassedOver]) -> Alive:
    """Say that the process answers."""
    return Alive()


async def ready(parts: Parts, _call: Call[PassedOver]) -> Reply:
    """Say whether every part works."""
    checks = tuple(parts.checks())
    is_ready = all(check.ok for check in checks)
    return Reply(Readiness(is_ready, checks), 200 if is_ready else 503)


async def version(parts: Parts, _call: Call[NothingAsked]) -> Version:
    """Say which proxy this is."""
    return Version(parts.version, parts.incarnation)
