# SPDX-License-Identifier: Apache-2.0
"""`/cluster/config`: what the nodes were told, now or at a time, whole or compared."""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from fodc_api import configuration as api
from fodc_api.configuration import ConfigurationQuery
from fodc_api.values import time_of
from fodc_protocol.errors import BadRequestError, FieldError, Reason
from fodc_protocol.times import parse_rfc3339_ms
from fodc_proxy.evidence.configurations.history import Change, Snapshot
from fodc_proxy.fleet.naming import NodeIds
from fodc_proxy.http.answers import Reply
from fodc_proxy.http.metrics import coverage
from fodc_proxy.http.routes import Call, Parts
from fodc_proxy.http.selecting import node_of, roles_of
from fodc_proxy.queries.pages.configuration import (
    Grouping,
    Shown,
    drift_of,
    head,
    nodes_of,
    shown_of,
)
from fodc_proxy.queries.results import Selection


async def configuration(parts: Parts, call: Call[ConfigurationQuery]) -> Reply:
    """Ask the nodes, or what was kept of them, and show or compare it."""
    roles = roles_of(parts.registry, call.asked.role)
    node = node_of(parts.registry, call.asked.node_id)
    selection = Selection(roles, "" if node is None else node.address)
    at_ms = _time(call.asked.at)
    if call.asked.diff == "time":
        return Reply(_over_time(parts, selection, at_ms, call.asked.span_seconds * 1000))
    if at_ms is not None:
        return Reply(_as_it_was(parts, selection, at_ms, call.asked.diff))
    result = await parts.configurations.ask(selection)
    now_ms, ids = parts.clock_ms(), NodeIds(parts.registry.members())
    shown = shown_of(result, parts.configurations.last_known, ids)
    page = _filled(head(result, ids, now_ms), shown, call.asked.diff, now_ms)
    return Reply(page, headers=coverage(result))


def _time(text: str) -> int | None:
    if not text:
        return None
    try:
        return parse_rfc3339_ms(text)
    except BadRequestError as error:
        raise FieldError("at", f"is no time: {error.message}") from None


def _filled(
    page: api.Configurations, shown: Sequence[Shown], diff: str | None, now_ms: int
) -> api.Configurations:
    if diff is None:
        return replace(page, nodes=nodes_of(shown, now_ms))
    return replace(page, roles=drift_of(shown, Grouping(diff)))


# ---- from what was kept --------------------------------


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A node that the question is about, registered or not any more."""

    node_id: str
    address: str


def _chosen(parts: Parts, selection: Selection) -> list[_Chosen]:
    """Return registered nodes that are wanted, and those that left if all are."""
    members = parts.registry.members()
    ids = NodeIds(members)
    found = [_Chosen(ids.of(one), one.address) for one in members if selection.covers(one)]
    if selection.is_all:
        here = {one.address for one in members}
        gone = (one for one in parts.configurations.history.nodes() if one not in here)
        found += [_Chosen(address, address) for address in gone]
    return sorted(found, key=lambda one: one.node_id)


def _as_it_was(
    parts: Parts, selection: Selection, at_ms: int, diff: str | None
) -> api.Configurations:
    history = parts.configurations.history
    chosen = _chosen(parts, selection)
    kept = [(one, history.at(one.address, at_ms)) for one in chosen]
    shown = [_shown(one.node_id, snapshot) for one, snapshot in kept if snapshot is not None]
    unknown = [one.node_id for one, snapshot in kept if snapshot is None]
    return _filled(_kept_head(parts, len(chosen), unknown), shown, diff, at_ms)


def _shown(node_id: str, one: Snapshot) -> Shown:
    return Shown(node_id, one.role, one.tier, one.hash, one.since_ms, one.entries)


def _over_time(
    parts: Parts, selection: Selection, at_ms: int | None, span_ms: int
) -> api.Configurations:
    end_ms = parts.clock_ms() if at_ms is None else at_ms
    chosen = _chosen(parts, selection)
    history = parts.configurations.history
    unknown = [one.node_id for one in chosen if history.at(one.address, end_ms) is None]
    changes = [
        _change(one.node_id, change)
        for one in chosen
        for change in history.changes_before(one.address, end_ms, span_ms)
    ]
    changes.sort(key=lambda one: (one.at, one.node_id, one.name))
    return replace(_kept_head(parts, len(chosen), unknown), changes=tuple(changes))


def _change(node_id: str, one: Change) -> api.Change:
    return api.Change(node_id, time_of(one.at_ms), one.name, one.before, one.after)


def _kept_head(parts: Parts, chosen: int, unknown: Sequence[str]) -> api.Configurations:
    told = "nothing that it was told until then is kept"
    return api.Configurations(
        generated_at=time_of(parts.clock_ms()),
        asked=chosen,
        answered=chosen - len(unknown),
        missing=tuple(api.Missing(one, Reason.NOT_FOUND, told) for one in unknown),
    )
