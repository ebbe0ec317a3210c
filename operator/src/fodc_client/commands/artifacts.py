# SPDX-License-Identifier: Apache-2.0
"""`fodc artifacts`: what the proxy has stored; fetching and deleting it."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fodc_api.artifacts import Artifact
from fodc_api.words import ArtifactState
from fodc_client import collecting, completing
from fodc_client.api import ProxyClient
from fodc_client.arguments import Settings, add_directory, add_verb, completed, word_of
from fodc_client.commands import SUMMARIES
from fodc_client.downloads import Saved, Wanted, prepare_directory
from fodc_client.errors import BadUsageError, ClientError, ExitCode, NotFoundError, UnreachableError
from fodc_client.formats import NOTHING, moment, or_nothing, size
from fodc_client.output import Format, Json, Output
from fodc_client.tables import Column, Table
from fodc_client.ways import way_of
from fodc_protocol.profiles import Profile

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers

_OF_REQUEST: Final = "all of this request"
_COLUMNS = (
    Column("ARTIFACT"),
    Column("NODE"),
    Column("PROFILE"),
    Column("SIZE", right=True, rank=2),
    Column("CAPTURED", rank=1),
    Column("REQUEST", rank=3),
)
_WIDE_COLUMNS = (
    *_COLUMNS,
    Column("STATE", toned=True, rank=1),
    Column("STACKS", right=True, rank=4),
    Column("FORMAT", rank=5),
    Column("SHA256", rank=6),
)


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verbs."""
    group = add_verb(
        verbs,
        "artifacts",
        summary=SUMMARIES["artifacts"],
        examples="""
            fodc artifacts list --node banyandb-data-0
            fodc artifacts get --request cli-0a1b2c3d4e5f""",
    )
    inner = group.add_subparsers(title="commands", metavar="COMMAND")
    _add_list(inner)
    _add_get(inner)
    _add_delete(inner)


def _add_list(verbs: "Subparsers") -> None:
    parser = add_verb(
        verbs,
        "list",
        summary="list stored artifacts",
        examples="""
            fodc artifacts list
            fodc artifacts list --profile heap -o json""",
        run=run_list,
    )
    node = parser.add_argument("--node", default="", metavar="NODE", help="only of this node")
    completed(node, completing.nodes)
    request = parser.add_argument("--request", default="", metavar="ID", help=_OF_REQUEST)
    completed(request, completing.requests)
    parser.add_argument(
        "--profile",
        default="",
        type=word_of(Profile),
        choices=tuple(Profile),
        metavar="PROFILE",
        help=f"only of this kind: {', '.join(Profile)}",
    )


def _add_get(verbs: "Subparsers") -> None:
    parser = add_verb(
        verbs,
        "get",
        summary="fetch artifacts to files, checked by size and SHA-256",
        examples="""
            fodc artifacts get art-0123456789ab
            fodc artifacts get --request cli-0a1b2c3d4e5f --output-dir profiles""",
        run=run_get,
    )
    ids = parser.add_argument("ids", nargs="*", metavar="ID", help="the artifacts")
    completed(ids, completing.artifacts)
    request = parser.add_argument("--request", default="", metavar="ID", help=_OF_REQUEST)
    completed(request, completing.requests)
    add_directory(parser)


def _add_delete(verbs: "Subparsers") -> None:
    parser = add_verb(
        verbs,
        "delete",
        summary="delete artifacts in the proxy; files here stay",
        examples="""
            fodc artifacts delete art-0123456789ab""",
        run=run_delete,
    )
    ids = parser.add_argument("ids", nargs="+", metavar="ID", help="the artifacts")
    completed(ids, completing.artifacts)


async def run_list(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """List artifacts."""
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        answer = await client.artifacts(
            node=args.node, request_id=args.request, profile=args.profile
        )
    if not output.format.is_table:
        output.document(answer.document)
    elif answer.value.artifacts:
        output.table(table_of(answer.value.artifacts, wide=output.format is Format.WIDE))
    else:
        filtered = args.node or args.request or args.profile
        output.message(
            "no artifact fits" if filtered else "no artifacts; `fodc capture` makes some"
        )
    for damaged in answer.value.artifacts:
        if damaged.state is ArtifactState.DAMAGED:
            output.warning(damaged.message)
    for unreadable in answer.value.unreadable:
        output.warning(f"{unreadable.name} in the store cannot be read: {unreadable.message}")
    return ExitCode.OK


async def run_get(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Fetch artifacts to files."""
    if bool(args.ids) == bool(args.request):
        raise BadUsageError("which artifacts? Say their ids, or --request ID for all of a request")
    directory = prepare_directory(args.output_dir)
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        found, errors = await _manifests(client, args)
        wanted = [_wanted(artifact) for artifact in found]
        got = await collecting.harvest(client, wanted, directory, on_retry=output.warning)
    _print(got.saved, output)
    for problem in (*map(str, errors), *got.errors):
        output.error(problem)
    if errors and not got.saved and not got.errors:
        return errors[0].exit_code
    return _code(good=len(got.saved), bad=len(errors) + len(got.errors))


async def _manifests(
    client: ProxyClient, args: argparse.Namespace
) -> tuple[list[Artifact], list[ClientError]]:
    """Return the manifests of all that is wanted and an error for each that is not there."""
    if args.request:
        stored = (await client.artifacts(request_id=args.request)).value.artifacts
        if not stored:
            raise NotFoundError(f"no artifacts of request {args.request}; see: fodc artifacts list")
        return list(stored), []
    found: list[Artifact] = []
    errors: list[ClientError] = []
    for artifact_id in dict.fromkeys(args.ids):
        try:
            found.append((await client.artifact(artifact_id)).value)
        except UnreachableError:
            raise
        except ClientError as error:
            errors.append(error)
    return found, errors


def _print(saved: Sequence[Saved], output: Output) -> None:
    if output.format.is_table:
        output.lines(str(file.path) for file in saved)
    else:
        files: list[Json] = [collecting.file_document(file) for file in saved]
        output.document({"files": files})


async def run_delete(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Delete artifacts; one that is not there does not save the others."""
    deleted: list[Json] = []
    errors: list[ClientError] = []
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        for artifact_id in dict.fromkeys(args.ids):
            try:
                await client.delete_artifact(artifact_id)
            except UnreachableError:
                raise
            except ClientError as error:
                errors.append(error)
            else:
                deleted.append(artifact_id)
    if output.format.is_table:
        output.lines(f"deleted {artifact_id}" for artifact_id in deleted)
    else:
        output.document({"deleted": deleted})
    for problem in errors:
        output.error(str(problem))
    if errors and not deleted:
        return errors[0].exit_code
    return _code(good=len(deleted), bad=len(errors))


# ---- pure -----------------------------------------------------------------------------------


def _code(*, good: int, bad: int) -> ExitCode:
    if not bad:
        return ExitCode.OK
    return ExitCode.PARTIAL if good else ExitCode.FAILED


def _wanted(artifact: Artifact) -> Wanted:
    return Wanted(
        artifact_id=artifact.artifact_id,
        node_id=artifact.node_id,
        profile=artifact.profile,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        captured_at=artifact.started_at,
    )


def table_of(artifacts: Sequence[Artifact], *, wide: bool) -> Table:
    """Return one row per artifact, newest first."""
    ordered = sorted(artifacts, key=lambda artifact: artifact.started_at, reverse=True)
    rows = tuple(_row(each) + (_more(each) if wide else ()) for each in ordered)
    return Table(_WIDE_COLUMNS if wide else _COLUMNS, rows)


def _row(artifact: Artifact) -> tuple[str, ...]:
    return (
        artifact.artifact_id,
        artifact.node_id,
        artifact.profile,
        size(artifact.size_bytes),
        moment(artifact.started_at),
        or_nothing(artifact.request_id),
    )


def _more(artifact: Artifact) -> tuple[str, ...]:
    samples = NOTHING if artifact.samples is None else str(artifact.samples)
    return artifact.state, samples, artifact.format, artifact.sha256
