# SPDX-License-Identifier: Apache-2.0
"""The proxy about itself: GET /health, /healthz, /readyz, /version."""

from typing import Annotated, Literal

from msgspec import Meta

from fodc_api.values import Answer, Count


class Health(Answer, frozen=True, kw_only=True):
    """GET /health of the existing contract."""

    agents_online: Count
    agents_total: Count
    status: Literal["healthy"] = "healthy"
    uptime_seconds: Count


class Alive(Answer, frozen=True):
    """GET /healthz."""

    alive: bool = True


class Check(Answer, frozen=True):
    """One thing that must work before callers are sent here."""

    name: str
    ok: bool
    message: str


class Readiness(Answer, frozen=True):
    """GET /readyz: 200 when every check is ok, else 503."""

    ready: bool
    checks: tuple[Check, ...]


class Version(Answer, frozen=True):
    """GET /version."""

    version: str
    incarnation: Annotated[str, Meta(description="Another one after each start of the proxy.")]
