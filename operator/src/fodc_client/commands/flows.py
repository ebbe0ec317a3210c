# SPDX-License-Identifier: Apache-2.0
"""`fodc flows`: who writes to and queries whom, and how the nodes do."""

import argparse
from typing import TYPE_CHECKING

from fodc_api.flows import Flow, FlowNode, Flows
from fodc_client.api import ProxyClient
from fodc_client.arguments import Settings, add_verb
from fodc_client.commands import SUMMARIES
from fodc_client.errors import ExitCode
from fodc_client.formats import counted, or_nothing, quantity, size, span
from fodc_client.output import Output
from fodc_client.reasons import because
from fodc_client.tables import Column, Table
from fodc_client.ways import way_of
from fodc_protocol.roles import plain

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    parser = add_verb(
        verbs,
        "flows",
        summary=SUMMARIES["flows"],
        examples="""
            fodc flows
            fodc flows --nodes
            fodc flows -o json""",
        run=run,
    )
    parser.add_argument(
        "--nodes", action="store_true", help="how the nodes do, and not what goes between them"
    )


async def run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Show flows, or the nodes between which they are."""
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        answer = await client.flows()
    flows = answer.value
    if not output.format.is_table:
        output.document(answer.document)
    elif args.nodes:
        output.table(nodes_table(flows))
    else:
        output.table(flows_table(flows))
    output.message(summary_of(flows))
    for each in flows.missing:
        output.warning(f"{each.node_id} is missing: {because(each.reason, each.message)}")
    return ExitCode.PARTIAL if flows.missing else ExitCode.OK


# ---- pure -----------------------------------------------------------------------------------


def flows_table(flows: Flows) -> Table:
    """Return one row per flow, by its ends."""
    columns = (
        Column("FROM", whole=True),
        Column("TO", whole=True),
        Column("KIND", rank=3),
        Column("OPERATION"),
        Column("RATE", right=True),
        Column("P99", right=True, rank=1),
        Column("ERRORS", right=True, rank=2),
        Column("IN FLIGHT", right=True, rank=4),
        Column("GROUPS", wraps=True, rank=5),
    )
    ordered = sorted(flows.flows, key=lambda one: (one.source, one.target, one.operation))
    return Table(columns, tuple(map(_flow_row, ordered)))


def _flow_row(flow: Flow) -> tuple[str, ...]:
    return (
        flow.source,
        flow.target_node_id or flow.target,
        flow.kind,
        flow.operation,
        _number(flow.per_second, "/s"),
        or_nothing(None if flow.p99_seconds is None else span(flow.p99_seconds)),
        _number(flow.errors_total),
        _number(flow.in_flight),
        ", ".join(flow.groups),
    )


def nodes_table(flows: Flows) -> Table:
    """Return one row per node."""
    columns = (
        Column("NODE", whole=True),
        Column("ROLE"),
        Column("TIER", rank=2),
        Column("MEMORY", right=True),
        Column("LIMIT", right=True, rank=1),
        Column("IN FLIGHT", right=True, rank=3),
        Column("ERRORS", right=True),
        Column("MACHINE", rank=4),
    )
    return Table(columns, tuple(map(_node_row, flows.nodes)))


def _node_row(node: FlowNode) -> tuple[str, ...]:
    return (
        node.node_id,
        or_nothing(plain(node.role).role),
        or_nothing(node.tier),
        size(node.memory_bytes),
        size(node.memory_limit_bytes),
        _number(node.in_flight),
        _number(node.errors_total),
        or_nothing(node.machine),
    )


def _number(value: float | None, unit: str = "") -> str:
    return or_nothing(None if value is None else quantity(value) + unit)


def summary_of(flows: Flows) -> str:
    """Return the line under a table: over which time rates are."""
    said = f"{counted(len(flows.flows), 'flow')} between {counted(len(flows.nodes), 'node')}"
    if flows.over_seconds is None:
        return f"{said}; rates are known from the next look on"
    return f"{said}; rates over {span(flows.over_seconds)}"
