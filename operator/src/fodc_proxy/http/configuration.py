# SPDX-License-Identifier: Apache-2.0
"""`/cluster/config`: what the nodes were told, whole or as drift inside roles."""

from fodc_api.configuration import ConfigurationQuery
from fodc_proxy.fleet.naming import NodeIds
from fodc_proxy.http.answers import Reply
from fodc_proxy.http.metrics import coverage
from fodc_proxy.http.routes import Call, Parts
from fodc_proxy.http.selecting import node_of, roles_of
from fodc_proxy.queries.pages.configuration import configuration_page, difference_page
from fodc_proxy.queries.results import Selection


async def configuration(parts: Parts, call: Call[ConfigurationQuery]) -> Reply:
    """Ask the nodes, and show or compare what they say."""
    roles = roles_of(parts.registry, call.asked.role)
    node = node_of(parts.registry, call.asked.node_id)
    selection = Selection(roles, "" if node is None else node.address)
    result = await parts.rounds.configuration(selection)
    now_ms = parts.clock_ms()
    parts.last_known.note(result, now_ms)
    page = difference_page if call.asked.diff else configuration_page
    ids = NodeIds(parts.registry.members())
    return Reply(page(result, parts.last_known, ids, now_ms), headers=coverage(result))
