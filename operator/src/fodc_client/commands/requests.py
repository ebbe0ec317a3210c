# SPDX-License-Identifier: Apache-2.0
"""`fodc requests`: what was asked of the nodes, how it went, and ending it."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fodc_api.requests import Request, RequestSummary, Result, Target
from fodc_api.words import CancelMode, RequestPhase
from fodc_client import collecting, completing, wording
from fodc_client.api import Answer, ProxyClient
from fodc_client.arguments import Settings, add_verb, completed, word_of
from fodc_client.commands import SUMMARIES
from fodc_client.errors import ExitCode
from fodc_client.following import Patience, follow
from fodc_client.formats import NOTHING, moment, or_nothing, passed_s, size, span
from fodc_client.output import Format, Output
from fodc_client.progress import view_for
from fodc_client.reasons import because
from fodc_client.tables import Column, Table
from fodc_client.ways import way_of

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers

_COLUMNS = (
    Column("REQUEST"),
    Column("PROFILES"),
    Column("PROGRESS", right=True, rank=2),
    Column("PHASE", toned=True),
    Column("CREATED", rank=1),
    Column("TOOK", right=True, rank=3),
)
_WIDE_COLUMNS = (
    *_COLUMNS,
    Column("WHY", wraps=True, rank=4),
    Column("ASKED FOR", wraps=True, rank=5),
)
_RESULT_COLUMNS = (
    Column("NODE"),
    Column("PROFILE"),
    Column("PHASE", toned=True),
    Column("ELAPSED", right=True, rank=4),
    Column("SIZE", right=True, rank=3),
    Column("STACKS", right=True, rank=5),
    Column("ARTIFACT", rank=1),
    Column("WHY", wraps=True, rank=2),
)


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verbs."""
    group = add_verb(
        verbs,
        "requests",
        summary=SUMMARIES["requests"],
        examples="""
            fodc requests list
            fodc requests show cli-0a1b2c3d4e5f""",
    )
    inner = group.add_subparsers(title="commands", metavar="COMMAND")
    _add_list(inner)
    _add_show(inner)
    _add_cancel(inner)


def _add_list(verbs: "Subparsers") -> None:
    parser = add_verb(
        verbs,
        "list",
        summary="list the requests that the proxy remembers",
        examples="""
            fodc requests list
            fodc requests list --phase Running -o wide""",
        run=run_list,
    )
    parser.add_argument(
        "--phase",
        type=word_of(RequestPhase),
        choices=tuple(RequestPhase),
        metavar="PHASE",
        help=f"only this phase: {', '.join(RequestPhase)}",
    )
    node = parser.add_argument("--node", default="", metavar="NODE", help="only with this node")
    completed(node, completing.nodes)


def _add_show(verbs: "Subparsers") -> None:
    parser = add_verb(
        verbs,
        "show",
        summary="show one request with the result of each node",
        examples="""
            fodc requests show cli-0a1b2c3d4e5f
            fodc requests show cli-0a1b2c3d4e5f --wait""",
        run=run_show,
    )
    completed(parser.add_argument("id", metavar="ID", help="the request"), completing.requests)
    parser.add_argument("--wait", action="store_true", help="watch it until it ends")


def _add_cancel(verbs: "Subparsers") -> None:
    parser = add_verb(
        verbs,
        "cancel",
        summary="end a request",
        examples="""
            fodc requests cancel cli-0a1b2c3d4e5f
            fodc requests cancel cli-0a1b2c3d4e5f --mode stop""",
        run=run_cancel,
    )
    completed(parser.add_argument("id", metavar="ID", help="the request"), completing.requests)
    parser.add_argument(
        "--mode",
        type=word_of(CancelMode),
        choices=tuple(CancelMode),
        default=CancelMode.ABORT,
        metavar="MODE",
        help="stop still fetches what nodes have finished, abort discards it (default: abort)",
    )


async def run_list(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """List the requests."""
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        answer = await client.requests(phase=_phase(args.phase), node=args.node)
    if not output.format.is_table:
        output.document(answer.document)
    elif answer.value.requests:
        output.table(list_table(answer.value.requests, wide=output.format is Format.WIDE))
    else:
        filtered = args.phase or args.node
        output.message("no request fits" if filtered else "no requests; `fodc capture` makes one")
    for unreadable in answer.value.unreadable:
        output.warning(f"{unreadable.name} in the store cannot be read: {unreadable.message}")
    return ExitCode.OK


async def run_show(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Show one request; with --wait the exit code says how it went."""
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        answer = await client.request(args.id)
        if args.wait:
            with view_for(output) as show:
                patience = Patience(output)
                answer = await follow(client, answer, patience=patience, show=show)
    _print(answer, output)
    if not args.wait:
        return ExitCode.OK
    problems = collecting.problems_of(answer.value)
    good = answer.value.counts.succeeded
    return collecting.exit_code(answer.value, good=good, problems=problems, lost=0)


def _phase(word: str | None) -> RequestPhase | None:
    return None if word is None else RequestPhase(word)


async def run_cancel(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """End a request and say what became of it."""
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        answer = await client.cancel_request(args.id, CancelMode(args.mode))
    if not output.format.is_table:
        output.document(answer.document)
        return ExitCode.OK
    request = answer.value
    if request.phase.ended:
        output.message(f"request {request.id} has ended: {request.phase}")
    else:
        output.message(f"request {request.id}: {args.mode} was asked for, now {request.phase}")
    return ExitCode.OK


def _print(answer: Answer[Request], output: Output) -> None:
    if not output.format.is_table:
        output.document(answer.document)
        return
    output.lines(head_lines(answer.value))
    output.table(results_table(answer.value))
    collecting.advise(collecting.problems_of(answer.value), output)


# ---- pure -----------------------------------------------------------------------------------


def list_table(requests: Sequence[RequestSummary], *, wide: bool) -> Table:
    """Return one row per request, newest first."""
    ordered = sorted(requests, key=lambda request: request.created_at, reverse=True)
    rows = tuple(_row(request) + (_more(request) if wide else ()) for request in ordered)
    return Table(_WIDE_COLUMNS if wide else _COLUMNS, rows)


def _row(request: RequestSummary) -> tuple[str, ...]:
    return (
        request.id,
        ",".join(capture.profile for capture in request.captures),
        request.progress,
        request.phase,
        moment(request.created_at),
        _took(request),
    )


def _more(request: RequestSummary) -> tuple[str, ...]:
    return _why(request.reason, request.message), or_nothing(request.purpose)


def _took(request: RequestSummary) -> str:
    if request.started_at is None or request.finished_at is None:
        return NOTHING
    return span(passed_s(request.started_at, request.finished_at))


def head_lines(request: Request) -> list[str]:
    """Return the lines above the results of one request."""
    pairs = {
        "request": request.id,
        "phase": request.phase,
        "why": _why(request.reason, request.message),
        "asked for": request.purpose,
        "created": moment(request.created_at),
        "took": _took(request),
        "progress": request.progress,
    }
    shown = {name: text for name, text in pairs.items() if text and text != NOTHING}
    return [f"{name + ':':<10} {text}" for name, text in shown.items()] + [""]


def results_table(request: Request) -> Table:
    """Return one row per node and profile."""
    rows = [row for target in request.targets for row in _target_rows(target)]
    return Table(_RESULT_COLUMNS, tuple(rows))


def _target_rows(target: Target) -> list[tuple[str, ...]]:
    if target.results:
        return [_result_row(target, result) for result in target.results]
    why = _why(target.reason, target.message)
    dashes = (NOTHING,) * 4
    return [(target.node_id, NOTHING, target.phase, *dashes, why)]


def _result_row(target: Target, result: Result) -> tuple[str, ...]:
    empty = "empty: nothing was sampled" if result.empty else NOTHING
    return (
        target.node_id,
        result.profile,
        result.phase,
        span(result.elapsed_seconds),
        size(result.size_bytes),
        NOTHING if result.samples is None else str(result.samples),
        or_nothing(result.artifact_id),
        _why(result.reason, result.message) if result.reason or result.message else empty,
    )


def _why(reason: str, message: str) -> str:
    return because(reason, wording.of_message(message)) or NOTHING
