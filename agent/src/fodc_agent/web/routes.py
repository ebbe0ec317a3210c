# SPDX-License-Identifier: Apache-2.0
"""The paths of the agent's port; what they show comes from callables of the runtime."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from fodc_agent.web.replies import JSON, TEXT, Reply, Route
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.grammar import CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class Check:
    """One named part of readiness; the message says what is missing, empty when `ok`."""

    name: str
    ok: bool
    message: str = ""


def routes_of(
    *,
    page: Callable[[], Iterable[bytes]],
    checks: Callable[[], Sequence[Check]],
    version: Mapping[str, str],
) -> dict[str, Route]:
    """Return the routes: `page` gives the metrics page in pieces, `checks` readiness."""
    return {
        "/metrics": partial(_metrics, page),
        "/healthz": _alive,
        "/readyz": partial(_ready, checks),
        "/version": partial(_json, 200, dict(version)),
    }


def _metrics(page: Callable[[], Iterable[bytes]]) -> Reply:
    return Reply(200, CONTENT_TYPE, page())


def _alive() -> Reply:
    return Reply(200, TEXT, b"ok\n")


def _ready(checks: Callable[[], Sequence[Check]]) -> Reply:
    found = checks()
    is_ready = all(check.ok for check in found)
    shown = [{"name": check.name, "ok": check.ok, "message": check.message} for check in found]
    return _json(200 if is_ready else 503, {"ready": is_ready, "checks": shown})


def _json(status: int, value: object) -> Reply:
    return Reply(status, JSON, json.dumps(value).encode() + b"\n")
