# SPDX-License-Identifier: Apache-2.0
"""`fodc config`: the effective configuration of a node, and in what nodes of a role differ."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fodc_client.api import ProxyClient
from fodc_client.arguments import Settings, add_verb
from fodc_client.commands import SUMMARIES
from fodc_client.errors import ExitCode, NotFoundError
from fodc_client.formats import counted, moment, or_nothing
from fodc_client.output import Format, Output
from fodc_client.reasons import because, with_advice
from fodc_client.resources import Configurations, Difference, Missing, NodeConfiguration, RoleDrift
from fodc_client.tables import Column, Table

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
    inner = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    show = add_verb(
        inner,
        "show",
        summary="show the effective configuration of a node; secrets are redacted by the agent",
        examples="""
            fodc config show banyandb-data-0
            fodc config show banyandb-data-0 -o yaml""",
        run=run_show,
    )
    show.add_argument("node", metavar="NODE", help="the node")
    _add_diff(inner)


def _add_diff(verbs: "Subparsers") -> None:
    parser = add_verb(
        verbs,
        "diff",
        summary="show settings in which the nodes of one role differ",
        examples="""
            fodc config diff
            fodc config diff --role ROLE_DATA -o wide
            fodc config diff --check || echo 'the nodes have drifted'""",
        run=run_diff,
    )
    parser.add_argument("--role", metavar="ROLE", help="only this role")
    parser.add_argument("--check", action="store_true", help="exit with 1 when there is drift")


async def run_show(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Show the configuration of one node."""
    async with ProxyClient(settings.proxy_url, timeout_s=settings.answer_timeout_s) as client:
        answer = await client.configurations(node=args.node)
    _warn_missing(answer.value.missing, output)
    if not answer.value.nodes:
        if answer.value.missing:
            return ExitCode.FAILED
        raise NotFoundError(f"no such node: {args.node}. `fodc nodes` lists what there is.")
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
            f"{node.node_id}: {counted(len(node.entries), 'setting')}, collected "
            f"{moment(node.collected_at)} UTC, hash {or_nothing(node.hash[:12])}{stale}"
        )
        for condition in node.conditions:
            output.warning(f"{node.node_id}: {condition.reason}: {condition.message}")


async def run_diff(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Show in what nodes of one role differ."""
    async with ProxyClient(settings.proxy_url, timeout_s=settings.answer_timeout_s) as client:
        answer = await client.configurations(role=args.role, diff=True)
    drift = answer.value
    if not output.format.is_table:
        output.document(answer.document)
    else:
        _show_drift(drift, output)
    _warn_missing(drift.missing, output)
    if args.check and any(
        each.kind == "drift" for role in drift.roles for each in role.differences
    ):
        return ExitCode.FAILED
    return ExitCode.PARTIAL if drift.missing else ExitCode.OK


def _show_drift(drift: Configurations, output: Output) -> None:
    if not drift.roles:
        output.message("no node has told its configuration")
    for role in drift.roles:
        differences = shown(role, wide=output.format is Format.WIDE)
        if differences:
            output.table(differences_table(role, differences))
        else:
            output.message(f"{role.role}: no drift between {counted(len(role.nodes), 'node')}")


def _warn_missing(missing: Sequence[Missing], output: Output) -> None:
    for each in missing:
        why = because(each.reason, each.message)
        output.warning(with_advice(f"{each.node_id} did not answer: {why}", each.reason))


# ---- pure -----------------------------------------------------------------------------------


def entries_table(node: NodeConfiguration) -> Table:
    """Return one row per setting."""
    columns = (Column("SETTING"), Column("VALUE", wraps=True), Column("SOURCE"))
    rows = (
        (
            entry.name,
            f"{entry.value} (redacted)" if entry.redacted else entry.value,
            or_nothing(entry.source),
        )
        for entry in sorted(node.entries, key=lambda entry: entry.name)
    )
    return Table(columns, tuple(rows))


def shown(role: RoleDrift, *, wide: bool) -> tuple[Difference, ...]:
    """Return the differences to show: what must differ (identity) only in the wide format."""
    return tuple(each for each in role.differences if wide or each.kind == "drift")


def differences_table(role: RoleDrift, differences: Sequence[Difference]) -> Table:
    """Return a row per value of each setting; the majority's value is marked."""
    columns = (
        Column("SETTING"),
        Column("KIND", toned=True),
        Column("VALUE", wraps=True),
        Column("NODES", wraps=True),
    )
    rows = [row for difference in differences for row in _difference_rows(difference)]
    return Table(columns, tuple(rows), f"{role.role}: {counted(len(role.nodes), 'node')}")


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
