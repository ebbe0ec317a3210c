# SPDX-License-Identifier: Apache-2.0
"""`fodc incidents`: what happened to nodes; listing, showing and fetching it."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fodc_api.incidents import ContainerEnd, Incident, IncidentArtifact, IncidentRecord
from fodc_api.words import IncidentCause, IncidentPartState, IncidentPhase
from fodc_client import bundles, completing
from fodc_client.api import ProxyClient
from fodc_client.arguments import (
    Settings,
    add_directory,
    add_verb,
    completed,
    positive,
    word_of,
)
from fodc_client.commands import SUMMARIES
from fodc_client.downloads import prepare_directory
from fodc_client.errors import ClientError, ExitCode, UnreachableError
from fodc_client.formats import NOTHING, counted, moment, or_nothing, size
from fodc_client.output import Format, Json, Output
from fodc_client.tables import Column, Table
from fodc_client.ways import way_of

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers

_COLUMNS: Final = (
    Column("INCIDENT"),
    Column("NODE"),
    Column("CAUSE", toned=True),
    Column("COUNT", right=True, rank=2),
    Column("PHASE", rank=3),
    Column("LAST", rank=1),
    Column("WHAT", wraps=True, rank=4),
)
_WIDE_COLUMNS: Final = (
    *_COLUMNS,
    Column("FIRST", rank=6),
    Column("ARTIFACTS", right=True, rank=5),
    Column("ROLE", rank=7),
)
_EVENT_COLUMNS: Final = (
    Column("TIME"),
    Column("EVENT"),
    Column("TOLD BY", rank=2),
    Column("WHAT", wraps=True),
)
_ARTIFACT_COLUMNS: Final = (
    Column("ARTIFACT"),
    Column("PROFILE"),
    Column("STATE", toned=True),
    Column("SIZE", right=True, rank=2),
    Column("CAPTURED", rank=1),
    Column("WHY", wraps=True, rank=3),
)


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verbs."""
    group = add_verb(
        verbs,
        "incidents",
        summary=SUMMARIES["incidents"],
        examples="""
            fodc incidents list --node banyandb-data-0
            fodc incidents show inc-20261129t201530z-0a1b2c3d""",
    )
    inner = group.add_subparsers(title="commands", metavar="COMMAND")
    _add_list(inner)
    _add_show(inner)
    _add_get(inner)


def _add_list(verbs: "Subparsers") -> None:
    parser = add_verb(
        verbs,
        "list",
        summary="list incidents, the newest first",
        examples="""
            fodc incidents list
            fodc incidents list --cause OOMKilled -o json""",
        run=run_list,
    )
    node = parser.add_argument("--node", default="", metavar="NODE", help="only of this node")
    completed(node, completing.nodes)
    parser.add_argument(
        "--cause",
        type=word_of(IncidentCause),
        choices=tuple(IncidentCause),
        metavar="CAUSE",
        help=f"only of this cause: {', '.join(IncidentCause)}",
    )
    parser.add_argument("--open", action="store_true", help="only those that may go on")
    parser.add_argument(
        "--limit", type=positive, default=200, metavar="N", help="at most so many (default: 200)"
    )


def _add_show(verbs: "Subparsers") -> None:
    parser = add_verb(
        verbs,
        "show",
        summary="show all that is known of one incident",
        examples="""
            fodc incidents show inc-20261129t201530z-0a1b2c3d""",
        run=run_show,
    )
    completed(parser.add_argument("id", metavar="ID", help="the incident"), completing.incidents)


def _add_get(verbs: "Subparsers") -> None:
    parser = add_verb(
        verbs,
        "get",
        summary="fetch incidents with all of their artifacts, one tar each, verified",
        examples="""
            fodc incidents get inc-20261129t201530z-0a1b2c3d
            fodc incidents get inc-20261129t201530z-0a1b2c3d --output-dir evidence""",
        run=run_get,
    )
    ids = parser.add_argument("ids", nargs="+", metavar="ID", help="the incidents")
    completed(ids, completing.incidents)
    add_directory(parser)


async def run_list(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """List incidents."""
    phase = IncidentPhase.OPEN if args.open else None
    cause = None if args.cause is None else IncidentCause(args.cause)
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        answer = await client.incidents(
            node=args.node, phase=phase, cause=cause, limit=min(args.limit, 1000)
        )
    found = answer.value
    if not output.format.is_table:
        output.document(answer.document)
    elif found.incidents:
        output.table(list_table(found.incidents, wide=output.format is Format.WIDE))
    else:
        output.message("no incident fits" if args.node or args.cause or args.open else "none")
    if found.omitted:
        output.warning(f"{counted(found.omitted, 'older incident')} not shown; see --limit")
    for unreadable in found.unreadable:
        output.warning(f"{unreadable.name} in the store cannot be read: {unreadable.message}")
    return ExitCode.OK


async def run_show(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Show one incident."""
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        answer = await client.incident(args.id)
    if not output.format.is_table:
        output.document(answer.document)
        return ExitCode.OK
    record = answer.value
    output.lines(head_lines(record))
    output.table(events_table(record))
    if record.artifacts:
        output.lines([""])
        output.table(artifacts_table(record.artifacts))
    if record.events_omitted:
        between = "between the first and the last are not kept"
        output.warning(f"{counted(record.events_omitted, 'event')} {between}")
    return ExitCode.OK


async def run_get(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Fetch incidents to files; one that fails does not stop the others."""
    directory = prepare_directory(args.output_dir)
    saved: list[bundles.Bundle] = []
    errors: list[ClientError] = []
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        for incident_id in dict.fromkeys(args.ids):
            try:
                saved.append(await bundles.save(client, incident_id, directory))
            except UnreachableError:
                raise
            except ClientError as error:
                errors.append(error)
    if output.format.is_table:
        output.lines(str(one.path) for one in saved)
    else:
        output.document({"files": [_document(one) for one in saved]})
    for problem in errors:
        output.error(str(problem))
    if not errors:
        return ExitCode.OK
    return ExitCode.PARTIAL if saved else errors[0].exit_code


# ---- pure -----------------------------------------------------------------------------------


def _document(saved: bundles.Bundle) -> Json:
    return {
        "path": str(saved.path),
        "size_bytes": saved.size_bytes,
        "artifacts": saved.artifacts,
    }


def list_table(incidents: Sequence[Incident], *, wide: bool) -> Table:
    """Return one row per incident, in the order of the answer."""
    rows = tuple(_row(each) + (_more(each) if wide else ()) for each in incidents)
    return Table(_WIDE_COLUMNS if wide else _COLUMNS, rows)


def _row(incident: Incident) -> tuple[str, ...]:
    return (
        incident.incident_id,
        incident.node_id,
        incident.cause,
        str(incident.count),
        incident.phase,
        moment(incident.last_at),
        incident.message,
    )


def _more(incident: Incident) -> tuple[str, ...]:
    return moment(incident.first_at), str(incident.artifact_count), or_nothing(incident.role)


def head_lines(record: IncidentRecord) -> list[str]:
    """Return the lines above the events of one incident."""
    incident, end = record.incident, record.container_end
    pairs = {
        "incident": incident.incident_id,
        "node": incident.node_id,
        "cause": ", ".join(incident.causes),
        "what": incident.message,
        "times": f"{incident.count} from {moment(incident.first_at)} to {moment(incident.last_at)}",
        "phase": incident.phase,
        "container": "" if end is None else _end(end),
        "machine": record.machine,
        "also there": ", ".join(record.neighbours),
    }
    shown = [f"{name + ':':<11} {text}" for name, text in pairs.items() if text]
    changes = [f"{'before:':<11} {moment(one.at)} {one.what}" for one in record.changes]
    return [*shown, *changes, ""]


def _end(end: ContainerEnd) -> str:
    by = f", signal {end.signal}" if end.signal else ""
    told = f"{end.container} ended: exit code {end.exit_code}{by} ({end.reason})"
    return f"{told}, {counted(end.restarts, 'restart')}"


def events_table(record: IncidentRecord) -> Table:
    """Return one row per event."""
    rows = (
        (moment(each.at), each.kind, each.source, _with_fields(each.message, each.fields))
        for each in record.events
    )
    return Table(_EVENT_COLUMNS, tuple(rows))


def _with_fields(message: str, fields: dict[str, str]) -> str:
    told = " ".join(f"{name}={value}" for name, value in fields.items())
    return f"{message} ({told})" if told else message


def artifacts_table(artifacts: Sequence[IncidentArtifact]) -> Table:
    """Return one row per artifact, what is missing too."""
    return Table(_ARTIFACT_COLUMNS, tuple(map(_artifact_row, artifacts)))


def _artifact_row(held: IncidentArtifact) -> tuple[str, ...]:
    told = held.artifact
    is_stored = held.state is IncidentPartState.STORED
    return (
        NOTHING if told is None else told.artifact_id,
        held.profile,
        held.state,
        NOTHING if told is None else size(told.size_bytes),
        NOTHING if told is None else moment(told.started_at),
        NOTHING if is_stored else or_nothing(held.message),
    )
