# SPDX-License-Identifier: Apache-2.0
"""Route of the fleet's configuration: /cluster/config, whole or as drift inside roles."""

from collections.abc import Callable, Iterable
from typing import Protocol

from aiohttp import web

from fodc_protocol.errors import Reason
from fodc_protocol.link import frames
from fodc_proxy.diagnostics.fields import FieldError, shown
from fodc_proxy.diagnostics.targeting import same_role
from fodc_proxy.fleet.membership import Member
from fodc_proxy.fleet.naming import NodeIds
from fodc_proxy.queries.pages.configuration import LastKnown, configuration_page, difference_page
from fodc_proxy.queries.results import RoundResult, Selection
from fodc_proxy.web.answers import json_answer, problem
from fodc_proxy.web.diagnostics_input import answering, query_of

PATH = "/cluster/config"


class Fleet(Protocol):
    """Who is there (`fleet.registry.Registry`)."""

    def members(self) -> Iterable[Member]:
        """All members."""

    def find(self, node_id: str) -> Member | None:
        """The member with this pod name, `namespace/pod` or agent id."""


class ConfigurationRounds(Protocol):
    """Asks the agents (`queries.collect.Rounds`)."""

    async def configuration(self, selection: Selection) -> RoundResult[frames.Configuration]:
        """The configuration of the selected agents."""


def routes(
    fleet: Fleet,
    rounds: ConfigurationRounds,
    clock_ms: Callable[[], int],
    last_known: LastKnown | None = None,
) -> list[web.RouteDef]:
    """Return the route of /cluster/config."""
    asked = _Routes(fleet, rounds, clock_ms, last_known or LastKnown())
    return [web.get(PATH, answering(asked.read), allow_head=False)]


class _Routes:
    def __init__(
        self,
        fleet: Fleet,
        rounds: ConfigurationRounds,
        clock_ms: Callable[[], int],
        last_known: LastKnown,
    ) -> None:
        self._fleet = fleet
        self._rounds = rounds
        self._clock_ms = clock_ms
        self._last_known = last_known

    async def read(self, request: web.Request) -> web.StreamResponse:
        query = query_of(request, "node_id", "role", "diff")
        diff = query.get("diff", "")
        if diff not in {"", "role"}:
            raise FieldError("diff", f"must be role or left out, got {shown(diff)}")
        node_id = query.get("node_id", "")
        member = self._fleet.find(node_id) if node_id else None
        if node_id and member is None:
            message = f"node {shown(node_id)} is not registered; see /cluster for those that are"
            return problem(404, Reason.NOT_FOUND, message, "node_id")
        role = self._role_of(query.get("role", ""))
        pod_name = member.address if member is not None else ""
        result = await self._rounds.configuration(Selection(role=role, pod_name=pod_name))
        now_ms = self._clock_ms()
        self._last_known.note(result, now_ms)
        page = difference_page if diff else configuration_page
        ids = NodeIds(self._fleet.members())
        return json_answer(page(result, self._last_known, ids, now_ms), headers=_headers(result))

    def _role_of(self, text: str) -> str:
        """The role as the fleet spells it: "data" means ROLE_DATA."""
        spelled = (member.role for member in self._fleet.members() if same_role(text, member.role))
        return next(spelled, text) if text else ""


def _headers(result: RoundResult[frames.Configuration]) -> dict[str, str]:
    headers = {"X-FODC-Asked": str(result.asked), "X-FODC-Answered": str(len(result.answers))}
    if result.missing:
        headers["X-FODC-Missing"] = ",".join(lost.member.pod_name for lost in result.missing)
    return headers
