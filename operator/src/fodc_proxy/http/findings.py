# SPDX-License-Identifier: Apache-2.0
"""`/diagnostics` and `/pressure-profiles`: what nodes left behind, in the existing shapes.

The one idea: a profile is sent from the store, so its length and checksum stand in the head, and a
reader sees when it was cut; whatever became of the pod.
"""

import re
from typing import Final

from aiohttp import web

from fodc_api.findings import FindingsQuery
from fodc_protocol.errors import BadRequestError
from fodc_proxy.evidence.asking import Whole
from fodc_proxy.evidence.findings import TYPES, KeptPressure
from fodc_proxy.evidence.own_pressures import OwnPressures
from fodc_proxy.http import artifacts
from fodc_proxy.http.answers import Reply
from fodc_proxy.http.routes import Call, Parts, PassedOver
from fodc_proxy.http.selecting import roles_of
from fodc_proxy.queries.pages.metrics import partial_headers
from fodc_proxy.queries.results import Selection

PROFILE: Final = "/pressure-profiles/{pod_name}/{profile_id}/{type}"
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]")


async def crashes(parts: Parts, call: Call[FindingsQuery]) -> Reply:
    """List the crashes of all nodes, or of those that are asked for."""
    found, whole = await parts.findings.crashes.listed(_selection(parts, call.asked))
    return Reply(found, headers=_headers(whole))


async def events(parts: Parts, call: Call[FindingsQuery]) -> Reply:
    """List the pressure events of all nodes, or of those that are asked for."""
    selection = _selection(parts, call.asked)
    found, whole = await parts.findings.pressures.listed(selection)
    return Reply((*found, *_own(parts).known(selection)), headers=_headers(whole))


async def profile(parts: Parts, call: Call[PassedOver]) -> web.StreamResponse:
    """Send one profile of an event, fetched from its agent first when it is not stored."""
    told = call.request.match_info
    type_ = told["type"]
    if type_ not in TYPES:
        raise BadRequestError("Unknown profile type")
    wanted = told["pod_name"], told["profile_id"], type_
    own = _own(parts).profile(*wanted)
    kept, stored = own or await parts.findings.pressures.profile(*wanted)
    call.entry.note(node=stored.manifest.node, profile=type_)
    name = f'attachment; filename="{_file_name(kept, type_)}"'
    headers = {"Content-Type": "application/octet-stream", "Content-Disposition": name}
    return await artifacts.sent(parts, call.request, stored, headers)


def _own(parts: Parts) -> OwnPressures:
    return OwnPressures(parts.incidents.book.all(), parts.store, parts.registry)


def _selection(parts: Parts, asked: FindingsQuery) -> Selection:
    """Return whose findings are meant: a pod that nobody knows has none."""
    return Selection(roles_of(parts.registry, asked.role), asked.pod_name)


def _headers(whole: Whole) -> dict[str, str]:
    return partial_headers(whole.asked, whole.asked - len(whole.missing), whole.missing)


def _file_name(kept: KeptPressure, type_: str) -> str:
    origin = kept.origin
    told = f"{origin.pod_name}-{kept.event.role}-{kept.name}-{type_}.pprof"
    return _ODD.sub("_", told)
