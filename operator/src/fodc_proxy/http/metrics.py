# SPDX-License-Identifier: Apache-2.0
"""`/metrics` and `/metrics-windows`: collected from the fleet while the caller waits (§6.3, §6.4).

The one idea: what is there is answered in the caller's time, and headers say whose part is missing.
The proxy's own families stand on the unfiltered page only.
"""

import math
from collections.abc import Mapping
from itertools import chain
from typing import Final, TypeVar

from aiohttp import web

from fodc_api.windows import MetricsQuery, WindowsQuery
from fodc_protocol.errors import FieldError
from fodc_protocol.metrics.families import blocks_of
from fodc_protocol.metrics.grammar import CONTENT_TYPE
from fodc_protocol.metrics.page import FleetPage
from fodc_protocol.metrics.samples import Sample
from fodc_protocol.times import TimeError, parse_rfc3339_ms
from fodc_proxy.http.answers import JSON_TYPE, send_pieces
from fodc_proxy.http.routes import Call, Parts
from fodc_proxy.http.selecting import selection_of
from fodc_proxy.queries.pages.metrics import (
    filtered,
    missing_samples,
    partial_headers,
    refused_header,
)
from fodc_proxy.queries.pages.windows import window_json
from fodc_proxy.queries.plan import LATEST_MS, Window
from fodc_proxy.queries.results import RoundResult
from fodc_proxy.wire.pauses import let_others_run

T = TypeVar("T")
SCRAPE_TIMEOUT: Final = "X-Prometheus-Scrape-Timeout-Seconds"
_LEAST_PATIENCE_S: Final = 0.1
_FOR_THE_PAGE_S: Final = 1.0
_ADDED_AT_ONCE: Final = 16


def coverage(result: RoundResult[T]) -> dict[str, str]:
    """Return the headers that say how whole an answer is."""
    names = [missing.member.pod_name for missing in result.missing]
    return partial_headers(result.asked, len(result.answers), names)


def patience_s(headers: Mapping[str, str]) -> float | None:
    """Return how long agents may be waited for so that a scraper still gets its page.

    None when the caller tells no timeout. A quarter of it, a second at most, is kept for making and
    sending the page.
    """
    try:
        timeout_s = float(headers.get(SCRAPE_TIMEOUT, ""))
    except ValueError:
        return None
    if not math.isfinite(timeout_s) or timeout_s <= 0:
        return None
    kept_s = min(_FOR_THE_PAGE_S, timeout_s / 4)
    return round(max(_LEAST_PATIENCE_S, timeout_s - kept_s), 1)


# ---- the page -----------------------------------------------------------------------------------


async def metrics(parts: Parts, call: Call[MetricsQuery]) -> web.StreamResponse:
    """Answer the page of the fleet, or of the nodes that are asked for."""
    asked = call.asked
    selection = selection_of(parts.registry, asked.role, asked.pod_name)
    result = await parts.rounds.metrics(selection, patience_s(call.request.headers))
    page = FleetPage()
    own: list[bytes] = []
    if selection.is_all:
        for number, answer in enumerate(result.answers, start=1):
            page.add(answer.value)
            if number % _ADDED_AT_ONCE == 0:
                await let_others_run(1)
        page.add(blocks_of(_own_samples(parts, result)))
        await let_others_run(1)
        own = [parts.own_page()]
    else:
        for answer in result.answers:
            role = "" if selection.role.is_all else answer.member.role
            page.add(filtered(answer.value, role, selection.pod_label(answer.member)))
            await let_others_run()
    await let_others_run(1)
    headers = {"Content-Type": CONTENT_TYPE, **coverage(result), **refused_header(result.refused)}
    del result  # the page holds what is still needed
    return await send_pieces(call.request, chain(page.drained(), own), headers=headers)


def _own_samples(parts: Parts, result: RoundResult[T]) -> list[Sample]:
    lost = missing_samples(result.missing)
    return [*parts.host_samples(), *parts.views.samples(), *lost]


# ---- windows ------------------------------------------------------------------------------------


async def windows(parts: Parts, call: Call[WindowsQuery]) -> web.StreamResponse:
    """Answer the values between two times; a side without a time is open."""
    asked = call.asked
    start_ms = _time("start_time", asked.start_time)
    end_ms = _time("end_time", asked.end_time)
    window = Window(start_ms or 0, LATEST_MS if end_ms is None else end_ms)
    selection = selection_of(parts.registry, asked.role, asked.pod_name)
    if window.end_ms < window.start_ms:
        return web.Response(body=b"[]\n", headers={"Content-Type": JSON_TYPE})
    result = await parts.rounds.windows(selection, window)
    headers = {"Content-Type": JSON_TYPE, **coverage(result)}
    chunks = window_json((answer.member.agent_id, answer.value) for answer in result.answers)
    return await send_pieces(call.request, chunks, headers=headers)


def _time(name: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return parse_rfc3339_ms(text)
    except TimeError as error:
        raise InvalidTimeError(name, error.message) from error


class InvalidTimeError(FieldError):
    """A time is none; the message has the words of the existing proxy (H06)."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.message = f"Invalid {name} format: {why}"
