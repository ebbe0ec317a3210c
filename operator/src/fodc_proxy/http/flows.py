# SPDX-License-Identifier: Apache-2.0
"""`/cluster/flows`: who writes to and queries whom, as JSON, DOT and SVG."""

from collections.abc import Mapping

from aiohttp import web

from fodc_api import flows as api
from fodc_api.configuration import Missing
from fodc_api.values import time_of
from fodc_proxy.evidence.flows.drawing import as_dot, as_svg
from fodc_proxy.evidence.flows.reading import reading_of
from fodc_proxy.evidence.flows.view import Place, Told, flows_of, nodes_of
from fodc_proxy.fleet.membership import Member
from fodc_proxy.fleet.naming import NodeIds
from fodc_proxy.http.answers import Reply
from fodc_proxy.http.metrics import coverage
from fodc_proxy.http.routes import Call, NothingAsked, Parts
from fodc_proxy.queries.results import Selection
from fodc_proxy.wire.pauses import let_others_run

SVG_TYPE = "image/svg+xml"
DOT_TYPE = "text/vnd.graphviz"
_NODES_AT_A_TIME = 8


async def flows(parts: Parts, _call: Call[NothingAsked]) -> Reply:
    """Show nodes and flows."""
    shown, headers = await _shown(parts)
    return Reply(shown, headers=headers)


async def dot(parts: Parts, _call: Call[NothingAsked]) -> web.Response:
    """Show them as a digraph for Graphviz."""
    shown, headers = await _shown(parts)
    return web.Response(text=as_dot(shown), content_type=DOT_TYPE, headers=headers)


async def svg(parts: Parts, _call: Call[NothingAsked]) -> web.Response:
    """Draw them."""
    shown, headers = await _shown(parts)
    return web.Response(text=as_svg(shown), content_type=SVG_TYPE, headers=headers)


async def _shown(parts: Parts) -> tuple[api.Flows, Mapping[str, str]]:
    result = await parts.rounds.metrics(Selection())
    now_ms, members = parts.clock_ms(), parts.registry.members()
    ids = NodeIds(members)
    told: list[Told] = []
    for number, answer in enumerate(result.answers, start=1):
        member, now = answer.member, reading_of(answer.value)
        before, over_s = parts.readings.exchanged(member.address, now, now_ms)
        told.append(Told(place_of(member, ids), now, before, over_s))
        if number % _NODES_AT_A_TIME == 0:
            await let_others_run()
    parts.readings.keep_only(one.address for one in members)
    shown = api.Flows(
        generated_at=time_of(now_ms),
        asked=result.asked,
        answered=len(result.answers),
        missing=tuple(Missing(ids.of(m.member), m.reason, m.message) for m in result.missing),
        over_seconds=max((one.over_s for one in told), default=0.0) or None,
        nodes=nodes_of(told),
        flows=flows_of(told),
    )
    return shown, coverage(result)


def place_of(member: Member, ids: NodeIds) -> Place:
    """Return who a member is, and what others may call it: pod, addresses with and without port."""
    hosts = {one.host for one in member.identity.addresses if one.host not in _ANYBODY}
    ports = {f"{one.host}:{one.port}" for one in member.identity.addresses if one.host and one.port}
    return Place(
        ids.of(member),
        member.role,
        member.tier,
        member.namespace,
        member.identity.cluster,
        member.labels.get("zone", ""),
        member.identity.kubernetes_node,
        frozenset({member.pod_name, *hosts, *ports}),
    )


_ANYBODY = frozenset({"", "127.0.0.1", "localhost", "::1", "0.0.0.0"})  # noqa: S104 - told, not listened on
