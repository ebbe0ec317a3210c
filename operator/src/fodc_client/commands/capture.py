# SPDX-License-Identifier: Apache-2.0
"""`fodc capture`: ask nodes for profiles, watch, bring the files home, say what is hot."""

import argparse
import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from fodc_api.bad_input import read_body
from fodc_api.cluster import Node
from fodc_api.requests import CaptureAsked, ExecutionAsked, Request, RequestSpec
from fodc_api.values import RuleError
from fodc_api.words import CancelMode
from fodc_client import collecting, completing, hottest, kinds, names, wording
from fodc_client.api import Answer, ProxyClient
from fodc_client.arguments import (
    Settings,
    add_directory,
    add_verb,
    comma_list,
    completed,
    count,
    duration,
    word_of,
)
from fodc_client.commands import SUMMARIES
from fodc_client.downloads import Saved, prepare_directory
from fodc_client.errors import BadUsageError, ExitCode, LostError, RefusedError, UnreachableError
from fodc_client.following import Patience, follow
from fodc_client.formats import NOTHING, counted, size, span
from fodc_client.interrupts import InterruptedByUserError, Interrupts
from fodc_client.output import Json, Output
from fodc_client.progress import view_for
from fodc_client.tables import Column, Table
from fodc_client.ways import way_of
from fodc_protocol.errors import FieldError, FodcError
from fodc_protocol.profiles import Profile, ProfileFormat
from fodc_protocol.times import TimeError, format_rfc3339_ms, parse_rfc3339_ms

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers

_DEFAULT_DEADLINE_S: Final = 900.0
_QUEUE_SLACK_S: Final = 330.0
"""What a request may wait before it starts, and a little for the proxy to say so."""


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    parser = add_verb(
        verbs,
        "capture",
        summary=SUMMARIES["capture"],
        examples="""
            fodc capture cpu --node banyandb-data-0 --seconds 10
            fodc capture heap --role datanode-hot --gc --output-dir profiles
            fodc capture cpu goroutine --all --parallelism 2 --purpose "slow queries since 10:00"
            fodc capture --node banyandb-data-0,banyandb-data-1 trace --seconds 5 --no-wait
            fodc capture window config --role data --end 2026-11-29T03:00:00Z --span 10m""",
        run=run,
    )
    profiles = parser.add_argument(
        "profiles",
        nargs="+",
        metavar="PROFILE",
        type=word_of(Profile),
        help=f"{', '.join(Profile)}, or another kind that the nodes offer",
    )
    completed(profiles, completing.profiles)
    add_targets(parser)
    _add_ways(parser)


def add_targets(parser: argparse.ArgumentParser) -> None:
    """Tell argparse how nodes are chosen."""
    group = parser.add_argument_group("which nodes (at least one of; a list a,b is one word)")
    for flag, what, completer in (
        ("--node", "these nodes", completing.nodes),
        ("--role", "role, tier or both: data, hot, datanode-hot", completing.roles),
        ("--tier", "nodes of these tiers, such as hot or warm", completing.tiers),
    ):
        option = group.add_argument(
            flag,
            type=comma_list,
            action="extend",
            default=[],
            metavar=flag.removeprefix("--").upper(),
            help=what,
        )
        completed(option, completer)
    group.add_argument("--all", action="store_true", help="every node")
    group.add_argument(
        "--include-offline",
        action="store_true",
        help="wait for nodes whose agent is away, instead of skipping them",
    )


def _add_ways(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how")
    group.add_argument("--seconds", type=duration, metavar="N", help=_seconds_help())
    group.add_argument("--gc", action="store_true", help="collect garbage before a heap profile")
    group.add_argument(
        "--end",
        type=instant,
        metavar="TIME",
        help="last instant of a window, such as 2026-11-29T03:00:00Z (default: now)",
    )
    group.add_argument(
        "--span", type=duration, metavar="TIME", help="how long a window is (default: all of it)"
    )
    group.add_argument(
        "--parallelism", type=count, default=4, metavar="N", help="nodes at once (default: 4)"
    )
    group.add_argument("--purpose", default="", metavar="TEXT", help="why, for the record")
    add_directory(group)
    group.add_argument(
        "--top",
        type=count,
        default=10,
        metavar="N",
        help="hottest functions to show, 0 for none (default: 10)",
    )
    group.add_argument(
        "--folded", action="store_true", help="also write folded stacks, for flame graphs"
    )
    group.add_argument(
        "--no-wait", action="store_true", help="only create the request and say its id"
    )


def instant(text: str) -> str:
    """Return a time of RFC 3339 in UTC; for argparse."""
    try:
        return format_rfc3339_ms(parse_rfc3339_ms(text))
    except TimeError:
        told = f"{text!r} is no time; expected something like 2026-11-29T03:00:00Z"
        raise argparse.ArgumentTypeError(told) from None


def _seconds_help() -> str:
    limits = ", ".join(
        f"{kind} {kind.facts.default_duration_s:g} of at most {kind.facts.max_duration_s:g}"
        for kind in Profile
        if kind.facts.timed
    )
    return f"how long (default: {limits}); the other kinds take an instant"


# ---- what is asked: pure --------------------------------------------------------------------


def chosen_of(args: argparse.Namespace) -> names.Chosen:
    """Return whom to ask; raises BadUsageError when nobody or everybody and some are meant."""
    chosen = names.Chosen(
        names=tuple(dict.fromkeys(args.node)),
        roles=tuple(dict.fromkeys(args.role)),
        tiers=tuple(dict.fromkeys(args.tier)),
        everyone=args.all,
        include_offline=args.include_offline,
    )
    chosen.check()
    return chosen


def spec_of(
    args: argparse.Namespace, settings: Settings, request_id: str, nodes: Sequence[Node]
) -> RequestSpec:
    """Return the body of POST /diagnostics/requests, as the proxy would check it.

    Raises BadUsageError that names the option, NotFoundError for nodes that are not there.
    """
    deadline_s = settings.timeout_s or _DEFAULT_DEADLINE_S
    try:
        spec = RequestSpec(
            id=request_id,
            target=names.selector_of(chosen_of(args), nodes),
            captures=captures_of(args, kinds.offered_by(nodes)),
            execution=ExecutionAsked(
                parallelism=args.parallelism, active_deadline_seconds=max(1, round(deadline_s))
            ),
            purpose=args.purpose,
        )
        return read_body(msgspec.json.encode(spec), RequestSpec)
    except FieldError as error:
        raise BadUsageError(wording.of_option(error.field, error.message)) from None
    except RuleError as error:
        raise BadUsageError(wording.of_option(error.field, str(error))) from None


def captures_of(
    args: argparse.Namespace, offered: Iterable[str] | None = None
) -> tuple[CaptureAsked, ...]:
    """Return a capture of each kind once; raises BadUsageError that names the option."""
    asked = [kinds.kind_of(name, offered) for name in dict.fromkeys(args.profiles)]
    if args.gc and Profile.HEAP not in asked:
        raise BadUsageError("--gc is for heap: only there it changes the profile")
    if args.seconds is not None and not any(kind.facts.timed for kind in asked):
        raise BadUsageError(f"--seconds: {', '.join(asked)} is taken in an instant; leave it out")
    for flag, given in (("--end", args.end), ("--span", args.span)):
        if given is not None and Profile.WINDOW not in asked:
            raise BadUsageError(f"{flag} is for window: nothing else reaches back")
    return tuple(_capture_of(kind, args) for kind in asked)


def _capture_of(kind: Profile, args: argparse.Namespace) -> CaptureAsked:
    seconds = args.seconds if kind.facts.timed else None
    window = (args.end or "", args.span) if kind is Profile.WINDOW else ("", None)
    try:
        return CaptureAsked(
            kind,
            seconds,
            gc=args.gc and kind is Profile.HEAP,
            end=window[0],
            span_seconds=window[1],
        )
    except RuleError as error:
        field = f"captures.{error.field}"
        raise BadUsageError(wording.of_option(field, f"{field} {error.problem}")) from None


# ---- running --------------------------------------------------------------------------------


async def run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Create the request, follow it to its end, save what it gave."""
    chosen_of(args), captures_of(args)  # wrong usage is told before anything is asked
    directory = args.output_dir if args.no_wait else prepare_directory(args.output_dir)
    limit_s = min(settings.answer_timeout_s, 30.0)
    async with ProxyClient(way_of(settings), timeout_s=limit_s) as client:
        nodes = (await client.cluster()).value.nodes
        spec = spec_of(args, settings, f"cli-{secrets.token_hex(6)}", nodes)
        patience = Patience(output)
        with Interrupts() as interrupts:
            created = await interrupts.unless(2, _create(client, patience, spec))
            if args.no_wait:
                return _left_alone(created, output)
            wait_s = (settings.timeout_s or _DEFAULT_DEADLINE_S) + _QUEUE_SLACK_S
            run_ = _Run(client, patience, output, interrupts, wait_s)
            ended = await run_.to_its_end(created)
            if run_.aborted:
                return _aborted(ended, output)
            return await interrupts.unless(1, _bring_home(client, ended, directory, args, output))


async def _create(client: ProxyClient, patience: Patience, spec: RequestSpec) -> Answer[Request]:
    """Create the request; after a cut send it again: the id makes sure that it is one request."""
    try:
        return await client.create_request(spec)
    except LostError:
        return await patience.insist(lambda: client.create_request(spec))


def _left_alone(created: Answer[Request], output: Output) -> ExitCode:
    if output.format.is_table:
        output.lines([created.value.id])
        output.message(f"created; see: fodc requests show {created.value.id}")
    else:
        output.document(created.document)
    return ExitCode.OK


class _Run:
    """One request while it runs, and the two meanings of Ctrl-C."""

    def __init__(
        self,
        client: ProxyClient,
        patience: Patience,
        output: Output,
        interrupts: Interrupts,
        wait_s: float,
    ) -> None:
        self.aborted = False
        self._client, self._patience, self._output = client, patience, output
        self._interrupts, self._wait_s = interrupts, wait_s

    async def to_its_end(self, created: Answer[Request]) -> Answer[Request]:
        """Return the ended request; raises when it is left behind."""
        request = created.value
        kinds = ", ".join(capture.profile for capture in request.captures)
        nodes = counted(request.counts.targets, "node")
        self._output.message(f"request {request.id}: {kinds} on {nodes}")
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._followed(created)
        except TimeoutError:
            raise RefusedError(
                f"request {request.id} did not end within {span(self._wait_s)}; it was left "
                f"running. See: fodc requests show {request.id}"
            ) from None
        except UnreachableError as error:
            raise UnreachableError(f"{error} {_may_go_on(request.id)}") from error

    async def _followed(self, created: Answer[Request]) -> Answer[Request]:
        with view_for(self._output) as show:
            following = follow(self._client, created, patience=self._patience, show=show)
            try:
                return await self._interrupts.unless(1, following)
            except InterruptedByUserError:
                self.aborted = True
                self._output.message("aborting; Ctrl-C again leaves without waiting")
            try:
                return await self._interrupts.unless(2, self._abort(created, show))
            except InterruptedByUserError:
                raise InterruptedByUserError(f"left. {_may_go_on(created.value.id)}") from None

    async def _abort(
        self, created: Answer[Request], show: Callable[[Request], None]
    ) -> Answer[Request]:
        request_id = created.value.id
        asked = await self._patience.insist(
            lambda: self._client.cancel_request(request_id, CancelMode.ABORT)
        )
        return await follow(self._client, asked, patience=self._patience, show=show)


def _may_go_on(request_id: str) -> str:
    return (
        f"Request {request_id} may go on; see: fodc requests show {request_id}, "
        f"or end it: fodc requests cancel {request_id}"
    )


def _aborted(ended: Answer[Request], output: Output) -> ExitCode:
    """Say how an aborted request ended; what was stored before stays in the proxy."""
    request = ended.value
    done = counted(request.counts.succeeded, "target")
    output.message(f"request {request.id} ended: {request.phase}, {done} had succeeded")
    if collecting.wanted_of(request):
        output.message(f"stored before: fodc artifacts get --request {request.id}")
    if not output.format.is_table:
        output.document({"request": ended.document, "files": []})
    return ExitCode.INTERRUPTED


async def _bring_home(
    client: ProxyClient,
    ended: Answer[Request],
    directory: Path,
    args: argparse.Namespace,
    output: Output,
) -> ExitCode:
    request = ended.value
    wanted = collecting.wanted_of(request)
    got = await collecting.harvest(client, wanted, directory, on_retry=output.warning)
    problems = collecting.problems_of(request)
    if args.folded:
        _write_folded(got.saved, output)
    if output.format.is_table:
        _show(got.saved, request, args.top, output)
    else:
        files: list[Json] = [collecting.file_document(file) for file in got.saved]
        output.document({"request": ended.document, "files": files})
    collecting.tell(problems, output)
    for text in got.errors:
        output.error(text)
    good = collecting.good_files(request, got.saved)
    return collecting.exit_code(request, good=good, problems=problems, lost=len(got.errors))


def _show(saved: Sequence[Saved], request: Request, top: int, output: Output) -> None:
    if saved:
        output.table(files_table(saved, request))
    few = {file: samples for file in saved if (samples := _show_hottest(file, top, output))}
    if few:
        output.warning(hottest.doubt_of({_called(file): count for file, count in few.items()}))
    _show_warnings(request, output)


def _called(file: Saved) -> str:
    return f"{file.wanted.profile} of {file.wanted.node_id}"


def _show_hottest(file: Saved, top: int, output: Output) -> int | None:
    """Show what is hot in a file; returns how many samples it has where they are too few."""
    profile = file.wanted.profile
    if not top or not _is_pprof(profile):
        return None
    try:
        data = file.path.read_bytes()
        table, few = hottest.shown(data, _called(file), profile=profile, count=top)
    except (FodcError, ValueError) as error:
        output.warning(f"{file.path}: {error}")
        return None
    if not table.rows:
        return None
    output.lines([""])
    output.table(table)
    return few


def _is_pprof(profile: str) -> bool:
    return Profile(profile).facts.format is ProfileFormat.PPROF


def _show_warnings(request: Request, output: Output) -> None:
    for target in request.targets:
        for result in target.results:
            notes = [*result.warnings, *(["cut off by a limit"] if result.truncated else [])]
            for note in notes:
                output.warning(f"{target.node_id} {result.profile}: {note}")


def _write_folded(saved: Sequence[Saved], output: Output) -> None:
    for file in saved:
        if not _is_pprof(file.wanted.profile):
            continue
        path = file.path.with_name(file.path.name.removesuffix(".pb.gz") + ".folded")
        try:
            lines = hottest.folded_lines(file.path.read_bytes(), profile=file.wanted.profile)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        except (FodcError, ValueError, OSError) as error:
            output.warning(f"{path}: {error}")
        else:
            output.message(f"folded stacks: {path}")


def files_table(saved: Sequence[Saved], request: Request) -> Table:
    """Return one row per saved file."""
    samples = {
        result.artifact_id: NOTHING if result.samples is None else str(result.samples)
        for target in request.targets
        for result in target.results
        if _is_pprof(result.profile)
    }
    columns = (
        Column("NODE"),
        Column("PROFILE"),
        Column("SIZE", right=True, rank=1),
        Column("STACKS", right=True, rank=2),
        Column("FILE"),
    )
    rows = (
        (
            file.wanted.node_id,
            file.wanted.profile,
            size(file.size_bytes),
            samples.get(file.wanted.artifact_id, NOTHING),
            str(file.path),
        )
        for file in saved
    )
    return Table(columns, tuple(rows))
