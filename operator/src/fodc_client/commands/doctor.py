# SPDX-License-Identifier: Apache-2.0
"""`fodc doctor`: what is missing on each node, why, and what to do."""

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fodc_api.configuration import ConfigurationQuery
from fodc_api.values import time_of
from fodc_client import checkup
from fodc_client.api import ProxyClient
from fodc_client.arguments import Settings, add_verb
from fodc_client.checkup import Finding, Level
from fodc_client.commands import SUMMARIES
from fodc_client.errors import ClientError, ExitCode, UnreachableError
from fodc_client.formats import passed_s
from fodc_client.output import Output
from fodc_client.ways import way_of
from fodc_protocol.version import VERSION

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    parser = add_verb(
        verbs,
        "doctor",
        summary=SUMMARIES["doctor"],
        examples="""
            fodc doctor
            fodc doctor --strict
            fodc doctor -o json""",
        run=run,
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 for notes too, not only for problems"
    )


async def run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Examine proxy and nodes; exit code 1 when something is wrong."""
    async with ProxyClient(way_of(settings), timeout_s=settings.answer_timeout_s) as client:
        findings = [
            *await _of_proxy(client),
            *await _of_store(client),
            *await _of_cluster(client),
            *await _of_configuration(client),
        ]
    _print(findings, output)
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    wrong = len(findings) if args.strict else problems
    return ExitCode.FAILED if wrong else ExitCode.OK


async def _of_proxy(client: ProxyClient) -> list[Finding]:
    try:
        theirs = (await client.version()).value.version
        readiness = (await client.readiness()).value
    except UnreachableError:
        raise
    except ClientError as error:
        return [_unexpected("readiness", error)]
    found = checkup.of_proxy(readiness, proxy_version=theirs, own_version=VERSION)
    return list(found)


async def _of_store(client: ProxyClient) -> list[Finding]:
    try:
        artifacts = (await client.artifacts()).value
        return list(checkup.of_store(artifacts, (await client.requests()).value))
    except UnreachableError:
        raise
    except ClientError as error:
        return [_unexpected("store", error)]


async def _of_cluster(client: ProxyClient) -> list[Finding]:
    started_s, here_ms = time.monotonic(), time.time_ns() // 1_000_000
    try:
        cluster = (await client.cluster()).value
    except UnreachableError:
        raise
    except ClientError as error:
        return [_unexpected("nodes", error)]
    round_trip_s = time.monotonic() - started_s
    apart_s = passed_s(time_of(here_ms), cluster.generated_at)
    clock = checkup.of_clock(apart_s, round_trip_s)
    return [*clock, *checkup.of_cluster(cluster)]


async def _of_configuration(client: ProxyClient) -> list[Finding]:
    try:
        return list(
            checkup.of_configuration((await client.configurations(ConfigurationQuery())).value)
        )
    except ClientError as error:
        return [_unexpected("configuration", error)]


def _unexpected(matter: str, error: ClientError) -> Finding:
    return checkup.problem(
        "proxy", matter, str(error), "Read the proxy's log; compare versions with `fodc version`."
    )


def _print(findings: Sequence[Finding], output: Output) -> None:
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    if not output.format.is_table:
        output.document({"problems": problems, "findings": checkup.document_of(findings)})
        return
    if findings:
        output.table(checkup.table_of(findings))
    output.message(checkup.summary_of(findings))
