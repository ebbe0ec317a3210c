# SPDX-License-Identifier: Apache-2.0
"""`fodc nodes`: which nodes there are and how they are."""

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from fodc_api.cluster import Cluster, ClusterSummary, Node
from fodc_api.words import NodePhase
from fodc_client import completing, names
from fodc_client.api import Answer, ProxyClient
from fodc_client.arguments import Settings, add_verb, comma_list, completed
from fodc_client.commands import SUMMARIES
from fodc_client.errors import ExitCode, NotFoundError
from fodc_client.formats import NOTHING, counted, or_nothing, passed_s, printable, size, span
from fodc_client.output import Format, Json, Output
from fodc_client.tables import Column, Table
from fodc_client.ways import way_of
from fodc_protocol.roles import plain

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers

_COLUMNS = (
    Column("NODE"),
    Column("ROLE"),
    Column("TIER", rank=1),
    Column("PHASE", toned=True),
    Column("HEARTBEAT", right=True, rank=2),
    Column("WINDOW", right=True, rank=3),
    Column("RUNNING", rank=4),
    Column("AGENT", rank=5),
)
_WIDE_COLUMNS = (
    *_COLUMNS,
    Column("NAMESPACE", rank=8),
    Column("ADDRESS", rank=11),
    Column("CONTRACT", rank=9),
    Column("UNFETCHED", right=True, rank=7),
    Column("RECONNECTS", right=True, rank=10),
    Column("CONFIG", rank=12),
    Column("CANNOT", wraps=True, rank=6),
    Column("CONDITIONS", wraps=True, rank=1),
    Column("AGENT ID", rank=13),
)


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    parser = add_verb(
        verbs,
        "nodes",
        summary=SUMMARIES["nodes"],
        examples="""
            fodc nodes
            fodc nodes --role data -o wide
            fodc nodes banyandb-data-0 -o json""",
        run=run,
    )
    chosen = parser.add_argument("nodes", nargs="*", metavar="NODE", help="only these nodes")
    completed(chosen, completing.nodes)
    role = parser.add_argument(
        "--role",
        type=comma_list,
        action="extend",
        default=[],
        metavar="ROLE",
        help="only of this role, tier or both, such as data, hot, datanode-hot; a list a,b too",
    )
    completed(role, completing.roles)


async def run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """List the nodes; what is shown is what is counted."""
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        answer = await client.cluster()
    cluster = chosen_of(answer.value, args.nodes, args.role)
    if not output.format.is_table:
        output.document(_document(answer, cluster))
    elif cluster.nodes:
        output.table(table_of(cluster.nodes, wide=output.format is Format.WIDE))
        output.message(summary_of(cluster))
    else:
        output.message(_nobody(answer.value.nodes))
    return ExitCode.OK


def _document(answer: Answer[Cluster], chosen: Cluster) -> Json:
    if chosen is answer.value:
        return answer.document
    document: Json = msgspec.to_builtins(chosen)
    return document


def _nobody(nodes: Sequence[Node]) -> str:
    if nodes:
        kinds = ", ".join(sorted({names.role_and_tier(node) for node in nodes}))
        return f"no node has this role; there are: {kinds}"
    return (
        "no agent has registered with this proxy yet; check that agents run and that their "
        "proxy address points here"
    )


# ---- pure -----------------------------------------------------------------------------------


def chosen_of(cluster: Cluster, wanted: Sequence[str], roles: Sequence[str]) -> Cluster:
    """Return the cluster with the chosen nodes only, counted anew; itself when all are meant.

    Raises NotFoundError for a name that no node has, or whose node has another role.
    """
    if not wanted and not roles:
        return cluster
    filters = names.filters_of(roles, cluster.nodes)
    of_name = names.named(cluster.nodes, wanted)
    nodes = names.of_roles(of_name, filters)
    if wanted and len(nodes) < len(of_name):
        others = [node for node in of_name if node not in nodes]
        told = ", ".join(f"{node.node_id} ({names.role_and_tier(node)})" for node in others)
        raise NotFoundError(f"--role {','.join(roles)} leaves out {told}")
    return msgspec.structs.replace(cluster, nodes=tuple(nodes), summary=_counted(nodes))


def _counted(nodes: Sequence[Node]) -> ClusterSummary:
    phases = Counter(node.phase for node in nodes)
    return ClusterSummary(
        total=len(nodes),
        online=phases[NodePhase.ONLINE],
        degraded=phases[NodePhase.DEGRADED],
        offline=phases[NodePhase.OFFLINE],
        by_role=dict(sorted(Counter(node.role for node in nodes).items())),
    )


def table_of(nodes: Sequence[Node], *, wide: bool) -> Table:
    """Return one row per node, ordered by role and name."""
    ordered = sorted(nodes, key=lambda node: (node.role, node.node_id))
    rows = tuple(_row(node) + (_more(node) if wide else ()) for node in ordered)
    return Table(_WIDE_COLUMNS if wide else _COLUMNS, rows)


def _row(node: Node) -> tuple[str, ...]:
    running = ",".join(capture.profile for capture in node.active_captures)
    return (
        node.node_id,
        or_nothing(plain(node.role).role),
        or_nothing(node.tier),
        node.phase,
        f"{span(node.heartbeat_age_seconds)} ago",
        span(passed_s(node.window.oldest, node.window.newest)) if node.window else NOTHING,
        or_nothing(running),
        or_nothing(node.agent_version),
    )


def _more(node: Node) -> tuple[str, ...]:
    addresses = (f"{address.host}:{address.port}" for address in node.addresses)
    cannot = (each.kind for each in node.capabilities if each.state != "Supported")
    conditions = (each.type or each.reason for each in node.conditions)
    held = node.artifacts
    return (
        or_nothing(node.namespace),
        or_nothing(",".join(addresses)),
        node.contract,
        f"{held.count} ({size(held.bytes)})" if held.count else "0",
        str(node.reconnects),
        or_nothing((node.configuration_hash or "")[:12]),
        or_nothing(", ".join(cannot)),
        or_nothing(", ".join(conditions)),
        node.agent_id,
    )


def summary_of(cluster: Cluster) -> str:
    """Return the line under the table."""
    summary, proxy = cluster.summary, cluster.proxy
    parts = [f"{summary.online} online"]
    parts += [f"{summary.degraded} degraded"] if summary.degraded else []
    parts += [f"{summary.offline} offline"] if summary.offline else []
    told = f"proxy {printable(proxy.version)}, up {span(proxy.uptime_seconds)}"
    return f"{counted(summary.total, 'node')}: {', '.join(parts)}; {told}"
