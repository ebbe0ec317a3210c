# SPDX-License-Identifier: Apache-2.0
"""`fodc nodes`: which nodes there are and how they are."""

import argparse
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from fodc_client.api import ProxyClient
from fodc_client.arguments import Settings, add_verb
from fodc_client.commands import SUMMARIES
from fodc_client.errors import ExitCode, NotFoundError
from fodc_client.formats import NOTHING, counted, or_nothing, printable, size, span
from fodc_client.output import Format, Output
from fodc_client.reading import Json
from fodc_client.resources import Cluster, Node
from fodc_client.tables import Column, Table

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers

_COLUMNS = (
    Column("NODE"),
    Column("ROLE"),
    Column("TIER"),
    Column("PHASE", toned=True),
    Column("HEARTBEAT", right=True),
    Column("WINDOW", right=True),
    Column("RUNNING"),
    Column("AGENT"),
)
_WIDE_COLUMNS = (
    *_COLUMNS,
    Column("NAMESPACE"),
    Column("ADDRESS"),
    Column("CONTRACT"),
    Column("ARTIFACTS", right=True),
    Column("RECONNECTS", right=True),
    Column("CONFIG"),
    Column("CANNOT", wraps=True),
    Column("CONDITIONS", wraps=True),
    Column("AGENT ID"),
)


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    parser = add_verb(
        verbs,
        "nodes",
        summary=SUMMARIES["nodes"],
        examples="""
            fodc nodes
            fodc nodes --role ROLE_DATA -o wide
            fodc nodes banyandb-data-0 -o json""",
        run=run,
    )
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="only these nodes")
    parser.add_argument(
        "--role",
        action="append",
        default=[],
        metavar="ROLE",
        help="only nodes of this role; may be repeated",
    )


async def run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """List the nodes; one role or node is chosen by the proxy, several are chosen here."""
    roles = [role_of(text) for text in args.role]
    async with ProxyClient(settings.proxy_url, timeout_s=settings.answer_timeout_s) as client:
        answer = await client.cluster(role=_only(roles), node=_only(args.nodes))
    cluster = answer.value
    nodes = selected(cluster.nodes, roles, args.nodes)
    _require_all(args.nodes, nodes)
    if not output.format.is_table:
        output.document(only_nodes(answer.document, {node.node_id for node in nodes}))
    elif nodes:
        output.table(table_of(nodes, wide=output.format is Format.WIDE))
        output.message(summary_of(cluster))
    else:
        output.message(_nobody(filtered=bool(args.role)))
    return ExitCode.OK


def _only(values: Sequence[str]) -> str | None:
    return values[0] if len(values) == 1 else None


def _require_all(wanted: Sequence[str], nodes: Sequence[Node]) -> None:
    known = {name for node in nodes for name in names_of(node)}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise NotFoundError(
            f"no such node: {', '.join(unknown)}. `fodc nodes` lists what there is."
        )


def _nobody(*, filtered: bool) -> str:
    if filtered:
        return "no node has this role; `fodc nodes` lists what there is"
    return (
        "no agent has registered with this proxy yet; check that agents run and that their "
        "proxy address points here"
    )


# ---- pure -----------------------------------------------------------------------------------


def role_of(text: str) -> str:
    """Return a role as agents name it: `data` means ROLE_DATA."""
    return text if text.startswith("ROLE_") else f"ROLE_{text.upper()}"


def names_of(node: Node) -> tuple[str, ...]:
    """Return every name that a person may use for a node."""
    return node.node_id, node.agent_id, node.pod_name, f"{node.namespace}/{node.pod_name}"


def selected(nodes: Sequence[Node], roles: Sequence[str], names: Sequence[str]) -> list[Node]:
    """Return the nodes of the given roles and names; none given means all."""
    return [
        node
        for node in nodes
        if (not roles or node.role in roles)
        and (not names or any(name in names for name in names_of(node)))
    ]


def only_nodes(document: Json, node_ids: Container[str]) -> Json:
    """Return the proxy's document with only these nodes in its list; all else as it came."""
    nodes = document.get("nodes") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(nodes, list):
        return document
    kept: list[Json] = [
        node for node in nodes if isinstance(node, dict) and node["node_id"] in node_ids
    ]
    return {**document, "nodes": kept}


def table_of(nodes: Sequence[Node], *, wide: bool) -> Table:
    """Return one row per node, ordered by role and name."""
    ordered = sorted(nodes, key=lambda node: (node.role, node.node_id))
    rows = tuple(_row(node) + (_more(node) if wide else ()) for node in ordered)
    return Table(_WIDE_COLUMNS if wide else _COLUMNS, rows)


def _row(node: Node) -> tuple[str, ...]:
    running = ",".join(capture.profile for capture in node.active_captures)
    heartbeat = NOTHING if node.heartbeat_age_s is None else f"{span(node.heartbeat_age_s)} ago"
    return (
        node.node_id,
        or_nothing(node.role.removeprefix("ROLE_").lower()),
        or_nothing(node.tier),
        node.phase,
        heartbeat,
        _window(node),
        or_nothing(running),
        or_nothing(node.agent_version),
    )


def _window(node: Node) -> str:
    window = node.window
    if window is None or window.oldest is None or window.newest is None:
        return NOTHING
    return span((window.newest - window.oldest).total_seconds())


def _more(node: Node) -> tuple[str, ...]:
    addresses = (f"{address.host}:{address.port}" for address in node.addresses)
    cannot = (each.kind for each in node.capabilities if each.state != "Supported")
    conditions = (each.type or each.reason for each in node.conditions)
    stored = f"{node.artifact_count} ({size(node.artifact_bytes)})" if node.artifact_count else "0"
    return (
        or_nothing(node.namespace),
        or_nothing(",".join(addresses)),
        or_nothing(node.contract),
        stored,
        str(node.reconnects),
        or_nothing(node.configuration_hash[:12]),
        or_nothing(",".join(cannot)),
        or_nothing(",".join(conditions)),
        or_nothing(node.agent_id),
    )


def summary_of(cluster: Cluster) -> str:
    """Return the line under the table."""
    parts = [f"{cluster.online} online"]
    parts += [f"{cluster.degraded} degraded"] if cluster.degraded else []
    parts += [f"{cluster.offline} offline"] if cluster.offline else []
    version = f"; proxy {printable(cluster.proxy_version)}" if cluster.proxy_version else ""
    total = counted(cluster.total, "node")
    return f"{total}: {', '.join(parts)}{version}, up {span(cluster.uptime_s)}"
