# SPDX-License-Identifier: Apache-2.0
"""Routes of diagnostic requests: POST, list, read, wait, cancel."""

import secrets
from collections.abc import Callable

from aiohttp import web

from fodc_protocol import times
from fodc_proxy.diagnostics.coordinator import Coordinator
from fodc_proxy.diagnostics.fields import FieldError, shown
from fodc_proxy.diagnostics.model import CancelMode, Request, RequestPhase
from fodc_proxy.diagnostics.parsing import parse_request
from fodc_proxy.diagnostics.presentation import request_resource
from fodc_proxy.web.answers import json_answer
from fodc_proxy.web.diagnostics_input import answering, json_body, number_in, query_of

COLLECTION = "/diagnostics/requests"
MAX_WAIT_S = 30
MAX_REVISION = 10**15


def new_request_id(now_ms: int) -> str:
    """Make an id that sorts by time and is a DNS label, such as 20261121t090823-1f3a9c."""
    stamp = times.format_rfc3339(now_ms // 1000).rstrip("Z")
    compact = stamp.replace("-", "").replace(":", "").lower()
    return f"{compact}-{secrets.token_hex(4)}"


def routes(
    coordinator: Coordinator, *, new_id: Callable[[int], str] = new_request_id
) -> list[web.RouteDef]:
    """Return the routes of /diagnostics/requests."""
    asked = _Routes(coordinator, new_id)
    one = COLLECTION + "/{id}"
    return [
        web.post(COLLECTION, answering(asked.create)),
        web.get(COLLECTION, answering(asked.list_all), allow_head=False),
        web.get(one, answering(asked.read), allow_head=False),
        web.delete(one, answering(asked.cancel)),
    ]


class _Routes:
    def __init__(self, coordinator: Coordinator, new_id: Callable[[int], str]) -> None:
        self._coordinator = coordinator
        self._new_id = new_id

    async def create(self, request: web.Request) -> web.StreamResponse:
        query_of(request)
        asked = parse_request(await json_body(request))
        request_id = asked.request_id or self._new_id(self._coordinator.now_ms())
        taken, is_new = await self._coordinator.submit(asked.spec, request_id)
        headers = {"Location": f"{COLLECTION}/{taken.id}"}
        return _answer(taken, status=201 if is_new else 200, headers=headers)

    async def list_all(self, request: web.Request) -> web.StreamResponse:
        query = query_of(request, "phase", "node_id")
        found = self._coordinator.select(
            phase=_phase(query.get("phase", "")), node_id=query.get("node_id", "")
        )
        listed = [request_resource(one, with_targets=False) for one in found]
        return json_answer({"requests": listed})

    async def read(self, request: web.Request) -> web.StreamResponse:
        query = query_of(request, "wait_seconds", "after_revision")
        wait_s = number_in(query, "wait_seconds", low=0, high=MAX_WAIT_S)
        revision = number_in(query, "after_revision", low=0, high=MAX_REVISION)
        request_id = request.match_info["id"]
        if wait_s:
            return _answer(await self._coordinator.wait(request_id, revision, wait_s))
        return _answer(self._coordinator.get(request_id))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        query = query_of(request, "mode")
        mode = _mode(query.get("mode", CancelMode.ABORT))
        request_id = request.match_info["id"]
        before = self._coordinator.get(request_id)
        if before.phase.ended:
            return _answer(before)
        return _answer(await self._coordinator.cancel(request_id, mode), status=202)


def _answer(
    request: Request, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return json_answer(request_resource(request), status=status, headers=headers)


def _phase(text: str) -> RequestPhase | None:
    if not text:
        return None
    if text in list(RequestPhase):
        return RequestPhase(text)
    accepted = ", ".join(RequestPhase)
    raise FieldError("phase", f"must be one of {accepted}, got {shown(text)}")


def _mode(text: str) -> CancelMode:
    if text in list(CancelMode):
        return CancelMode(text)
    raise FieldError("mode", f"must be stop or abort, got {shown(text)}")
