# SPDX-License-Identifier: Apache-2.0
"""`/health` of the existing proxy (§6.5), and what probes ask: alive, ready, which version."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from fodc_proxy.fleet.registry import Registry
from fodc_proxy.web.answers import json_answer


@dataclass(frozen=True, slots=True)
class ReadyCheck:
    """One thing that must work before callers are sent here."""

    name: str
    ok: bool
    message: str


@dataclass(frozen=True, slots=True)
class HealthDeps:
    """What these routes need."""

    registry: Registry
    clock_ms: Callable[[], int]
    version: str
    incarnation: str
    started_at_ms: int
    checks: Callable[[], Sequence[ReadyCheck]]


def routes(deps: HealthDeps) -> list[web.RouteDef]:
    """Return the routes of this file."""

    async def health(_request: web.Request) -> web.Response:
        return _health(deps)

    async def healthz(_request: web.Request) -> web.Response:
        return json_answer({"alive": True})

    async def readyz(_request: web.Request) -> web.Response:
        return _readyz(deps)

    async def version(_request: web.Request) -> web.Response:
        return json_answer({"version": deps.version, "incarnation": deps.incarnation})

    return [
        web.get("/health", health, allow_head=False),
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/version", version),
    ]


def _health(deps: HealthDeps) -> web.Response:
    members = deps.registry.members()
    return json_answer(
        {
            "agents_online": sum(member.is_living for member in members),
            "agents_total": len(members),
            "status": "healthy",
            "uptime_seconds": max(0, deps.clock_ms() - deps.started_at_ms) // 1000,
        }
    )


def _readyz(deps: HealthDeps) -> web.Response:
    checks = deps.checks()
    ready = all(check.ok for check in checks)
    shown = [{"name": c.name, "ok": c.ok, "message": c.message} for c in checks]
    return json_answer({"ready": ready, "checks": shown}, status=200 if ready else 503)
