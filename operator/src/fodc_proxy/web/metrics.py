# SPDX-License-Identifier: Apache-2.0
"""`/metrics` and `/metrics-windows`: collected from the fleet while the caller waits (§6.3, §6.4).

The one idea: what is there is answered, and headers say whose part is missing. The proxy's own
families stand on the unfiltered page only.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from aiohttp import web

from fodc_protocol.metrics.families import blocks_of
from fodc_protocol.metrics.grammar import CONTENT_TYPE
from fodc_protocol.metrics.page import FleetPage
from fodc_protocol.metrics.samples import Sample
from fodc_protocol.times import TimeError, parse_rfc3339_ms
from fodc_proxy.queries.collect import Rounds
from fodc_proxy.queries.pages.metrics import (
    filtered,
    missing_samples,
    partial_headers,
    refused_header,
)
from fodc_proxy.queries.pages.windows import window_json
from fodc_proxy.queries.plan import LATEST_MS, Window
from fodc_proxy.queries.results import RoundResult, Selection, TooManyWindowsError
from fodc_proxy.web.answers import text_error
from fodc_proxy.web.streaming import answer_in_pieces
from fodc_proxy.wire.pauses import QUIET_TURNS, let_others_run

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MetricsDeps:
    """What these routes need; `clock_ms` is Unix time."""

    rounds: Rounds
    host_samples: Callable[[], Iterable[Sample]]
    own_page: Callable[[], bytes]
    clock_ms: Callable[[], int]
    write_timeout_s: float = 10.0


def routes(deps: MetricsDeps) -> list[web.RouteDef]:
    """Return the routes of this file."""

    async def metrics(request: web.Request) -> web.StreamResponse:
        return await _metrics(deps, request)

    async def windows(request: web.Request) -> web.StreamResponse:
        return await _windows(deps, request)

    return [
        web.get("/metrics", metrics, allow_head=False),
        web.get("/metrics-windows", windows, allow_head=False),
    ]


def _selection(request: web.Request) -> Selection:
    return Selection(request.query.get("role", ""), request.query.get("pod_name", ""))


def _whole(result: RoundResult[T]) -> dict[str, str]:
    names = [missing.member.pod_name for missing in result.missing]
    return partial_headers(result.asked, len(result.answers), names)


# ---- the page -----------------------------------------------------------------------------------


async def _metrics(deps: MetricsDeps, request: web.Request) -> web.StreamResponse:
    selection = _selection(request)
    result = await deps.rounds.metrics(selection)
    page = FleetPage()
    for answer in result.answers:
        page.add(filtered(answer.value, selection.role, selection.pod_label(answer.member)))
        await let_others_run(1 if selection.is_all else QUIET_TURNS)
    if selection.is_all:
        page.add(blocks_of([*deps.host_samples(), *missing_samples(result.missing)]))
    own = [deps.own_page()] if selection.is_all else []
    headers = {"Content-Type": CONTENT_TYPE, **_whole(result), **refused_header(result.refused)}
    del result  # the page holds what is still needed
    pieces = chain(page.families(), own)
    return await answer_in_pieces(
        request, pieces, headers=headers, write_timeout_s=deps.write_timeout_s
    )


# ---- windows ------------------------------------------------------------------------------------


async def _windows(deps: MetricsDeps, request: web.Request) -> web.StreamResponse:
    try:
        start_ms = _time(request, "start_time")
        end_ms = _time(request, "end_time")
    except TimeError as error:
        return text_error(400, error.message)
    window = Window(start_ms or 0, LATEST_MS if end_ms is None else end_ms)
    if window.end_ms < window.start_ms:
        return web.Response(body=b"[]\n", content_type="application/json")
    try:
        result = await deps.rounds.windows(_selection(request), window)
    except TooManyWindowsError as error:
        answer = text_error(503, error.message)
        answer.headers["Retry-After"] = str(error.retry_after_s)
        return answer
    headers = {"Content-Type": "application/json", **_whole(result)}
    chunks = window_json((answer.member.agent_id, answer.value) for answer in result.answers)
    return await answer_in_pieces(
        request, chunks, headers=headers, write_timeout_s=deps.write_timeout_s
    )


def _time(request: web.Request, name: str) -> int | None:
    text = request.query.get(name, "")
    if not text:
        return None
    try:
        return parse_rfc3339_ms(text)
    except TimeError as error:
        raise TimeError(f"Invalid {name} format: {error.message}") from error
