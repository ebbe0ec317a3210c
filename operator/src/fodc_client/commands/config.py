# SPDX-License-Identifier: Apache-2.0
"""`fodc config`: what a node was told now and then, and in what nodes differ."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fodc_api.configuration import (
    MAX_SPAN_S,
    Change,
    ConfigurationQuery,
    Configurations,
    Difference,
    Missing,
    NodeConfiguration,
    RoleDrift,
)
from fodc_api.words import DifferenceKind
from fodc_client import completing
from fodc_client.api import ProxyClient
from fodc_client.arguments import Settings, add_verb, completed, duration
from fodc_client.commands import SUMMARIES
from fodc_client.commands.capture import instant
from fodc_client.errors import BadUsageError, ExitCode
from fodc_client.formats import counted, moment, or_nothing, span
from fodc_client.output import Format, Output
from fodc_client.reasons import advice_for, because
from fodc_client.tables import Column, Table
from fodc_client.ways import way_of

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verbs."""
    group = add_verb(
        verbs,
        "config",
        summary=SUMMARIES["config"],
        examples="""
            fodc config show banyandb-data-0
            fodc config diff""",
    )
    inner = group.add_subparsers(title="commands", metavar="COMMAND")
    show = add_verb(
        inner,
        "show",
        summary="show what a node was told by flags, environment and files; secrets are masked",
        examples="""
            fodc config show banyandb-data-0
            fodc config show banyandb-data-0 --at 2026-11-29T03:00:00Z -o yaml""",
        run=run_show,
    )
    completed(show.add_argument("node", metavar="NODE", help="the node"), completing.nodes)
    _add_at(show)
    _add_diff(inner)


def _add_diff(verbs: "Subparsers") -> None:
    parser = add_verb(
        verbs,
        "diff",
        summary="show settings in which nodes differ, from each other or from what they were",
        examples="""
            fodc config diff
            fodc config diff --by tier --role data --all
            fodc config diff --by time --span 24h --node banyandb-data-0
            fodc config diff --check || echo 'the nodes have drifted'""",
        run=run_diff,
    )
    parser.add_argument(
        "--by",
        choices=("role", "tier", "node", "time"),
        default="role",
        help="compare nodes of one role (the default), of one role and tier, all nodes, or each "
        "node with itself over time",
    )
    node = parser.add_argument("--node", default="", metavar="NODE", help="only this node")
    completed(node, completing.nodes)
    _add_at(parser)
    parser.add_argument(
        "--span",
        type=duration,
        metavar="TIME",
        help="with --by time: how long before --at, or before now (default: 1h)",
    )
    role = parser.add_argument(
        "--role", default="", metavar="ROLE", help="only this role, tier or both (datanode-hot)"
    )
    completed(role, completing.roles)
    parser.add_argument(
        "--all",
        action="store_true",
        help="show expected differences too: names, addresses, ports and folders of a node",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when there is drift")


def _add_at(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--at",
        type=instant,
        metavar="TIME",
        help="as it was then, from what the proxy kept; nobody is asked",
    )


async def run_show(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Show the configuration of one node."""
    query = ConfigurationQuery(node_id=args.node, at=args.at or "")
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        answer = await client.configurations(query)
    _tell_missing(answer.value.missing, output)
    if not answer.value.nodes:
        if args.at and not answer.value.missing:
            output.message(f"{args.node}: nothing is kept of that time")
        return ExitCode.FAILED
    if not output.format.is_table:
        output.document(answer.document)
    else:
        _show_all(answer.value.nodes, output)
    return ExitCode.OK


def _show_all(nodes: Sequence[NodeConfiguration], output: Output) -> None:
    for node in nodes:
        output.table(entries_table(node))
        stale = "; STALE: the node has not answered since" if node.stale else ""
        output.message(
            f"{node.node_id}: {counted(len(node.entries), 'setting')} told, collected "
            f"{moment(node.collected_at)} UTC, hash {or_nothing(node.hash[:12])}{stale}; "
            "what nobody set has the node's default and is not listed"
        )
        for condition in node.conditions:
            output.warning(f"{node.node_id}: {condition.reason}: {condition.message}")


async def run_diff(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Show in what nodes differ."""
    query = query_of(args)
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        answer = await client.configurations(query)
    drift = answer.value
    if not output.format.is_table:
        output.document(answer.document)
    elif query.diff == "time":
        _show_changes(drift.changes, query.span_seconds, output)
    else:
        _show_drift(drift, output, whole=args.all or output.format is Format.WIDE)
    _tell_missing(drift.missing, output)
    if args.check and (
        drift.changes or any(differences_of(role, whole=False) for role in drift.roles)
    ):
        return ExitCode.FAILED
    return ExitCode.PARTIAL if drift.missing else ExitCode.OK


def query_of(args: argparse.Namespace) -> ConfigurationQuery:
    """Return the question; raises BadUsageError for a span that means nothing."""
    if args.span and args.by != "time":
        raise BadUsageError("--span needs --by time")
    span_s = round(args.span) if args.span else ConfigurationQuery().span_seconds
    if not 1 <= span_s <= MAX_SPAN_S:
        raise BadUsageError("--span: from 1s to 744h")
    return ConfigurationQuery(args.node, args.role, args.by, args.at or "", span_s)


def _show_changes(changes: Sequence[Change], span_s: int, output: Output) -> None:
    if changes:
        output.table(changes_table(changes))
    output.message(f"{counted(len(changes), 'change')} within {span(span_s)}")


def _show_drift(drift: Configurations, output: Output, *, whole: bool) -> None:
    if not drift.roles:
        told = "no node has told its configuration" if drift.asked else "no node has this role"
        output.message(f"{told}; see: fodc nodes")
    for role in drift.roles:
        differences = differences_of(role, whole=whole)
        if differences:
            output.table(differences_table(role, differences))
        output.message(summary_of(role, len(differences)))


def _tell_missing(missing: Sequence[Missing], output: Output) -> None:
    for reason in dict.fromkeys(each.reason for each in missing):
        for each in missing:
            if each.reason == reason:
                why = because(each.reason, each.message)
                output.warning(f"{each.node_id} did not answer: {why}")
        if advice := advice_for(reason):
            output.message(f"  {advice}")


# ---- pure -----------------------------------------------------------------------------------


def entries_table(node: NodeConfiguration) -> Table:
    """Return one row per setting."""
    columns = (Column("SETTING"), Column("VALUE", wraps=True), Column("SOURCE", rank=1))
    rows = (
        (
            entry.name,
            f"{entry.value} (redacted)" if entry.redacted else entry.value,
            or_nothing(entry.source),
        )
        for entry in sorted(node.entries, key=lambda entry: entry.name)
    )
    return Table(columns, tuple(rows))


def changes_table(changes: Sequence[Change]) -> Table:
    """Return one row per setting that changed."""
    columns = (
        Column("TIME"),
        Column("NODE", whole=True),
        Column("SETTING"),
        Column("BEFORE", wraps=True),
        Column("AFTER", wraps=True),
    )
    rows = (
        (
            moment(one.at),
            one.node_id,
            one.name,
            _value(one.before, is_majority=False),
            _value(one.after, is_majority=False),
        )
        for one in changes
    )
    return Table(columns, tuple(rows))


def title_of(role: RoleDrift) -> str:
    """Return how a group of nodes is called."""
    return f"{role.role or 'all'} {role.tier}".rstrip()


def differences_of(role: RoleDrift, *, whole: bool) -> tuple[Difference, ...]:
    """Return the drift of a role, with `whole` also what is expected to differ."""
    return tuple(each for each in role.differences if whole or each.kind is DifferenceKind.DRIFT)


def summary_of(role: RoleDrift, shown: int) -> str:
    """Return the line under a role's table: what there is beside what is shown."""
    hidden = len(role.differences) - shown
    said = f"{title_of(role)}: {_found(len(role.nodes), shown)}"
    if role.stale_nodes:
        said += f"; of {', '.join(role.stale_nodes)} only what was told earlier"
    if hidden:
        expected = counted(hidden, "expected difference")
        said += f"; {expected} (names, addresses, ports, folders) hidden, --all shows"
    return said


def _found(nodes: int, shown: int) -> str:
    if shown:
        return f"{counted(nodes, 'node')}, {counted(shown, 'difference')}"
    return f"no drift between {nodes} nodes" if nodes > 1 else "one node, nothing to compare it to"


def differences_table(role: RoleDrift, differences: Sequence[Difference]) -> Table:
    """Return a row per value of each setting; the majority's value is marked."""
    columns = (
        Column("SETTING"),
        Column("KIND", toned=True, rank=1),
        Column("VALUE", wraps=True),
        Column("NODES", wraps=True, whole=True),
    )
    rows = [row for difference in differences for row in _difference_rows(difference)]
    return Table(columns, tuple(rows), f"{title_of(role)}: {counted(len(role.nodes), 'node')}")


def _difference_rows(difference: Difference) -> list[tuple[str, ...]]:
    return [
        (
            difference.name if place == 0 else "",
            difference.kind if place == 0 else "",
            _value(each.value, is_majority=each.value == difference.majority),
            ", ".join(each.nodes),
        )
        for place, each in enumerate(difference.values)
    ]


def _value(value: str | None, *, is_majority: bool) -> str:
    text = "(not set)" if value is None else value
    return f"{text} (most)" if is_majority and value is not None else text
