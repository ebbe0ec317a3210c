# SPDX-License-Identifier: Apache-2.0
"""`fodc version`: this program and the proxy it talks to."""

import argparse
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from fodc_client.api import ProxyClient
from fodc_client.arguments import Settings, add_verb
from fodc_client.errors import ClientError, ExitCode
from fodc_client.output import Output

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers

_PROXY_TIMEOUT_S = 3.0


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    parser = add_verb(
        verbs,
        "version",
        summary="show the version of this program and of the proxy",
        examples="""
            fodc version
            fodc version --client -o json""",
        run=run,
    )
    parser.add_argument("--client", action="store_true", help="do not ask the proxy")


async def run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Show versions; a proxy that cannot be reached is told but is no failure of this command."""
    ours, theirs = own_version(), None if args.client else await _proxy_version(settings, output)
    if output.format.is_table:
        output.lines(
            [f"fodc {ours}"] + ([f"proxy {theirs} at {settings.proxy_url}"] if theirs else [])
        )
    else:
        output.document({"client": ours, "proxy": theirs})
    return ExitCode.OK


async def _proxy_version(settings: Settings, output: Output) -> str | None:
    wait_s = min(settings.answer_timeout_s, _PROXY_TIMEOUT_S)
    try:
        async with ProxyClient(settings.proxy_url, timeout_s=wait_s) as client:
            return (await client.version()).value
    except ClientError as error:
        output.warning(str(error))
        return None


def own_version() -> str:
    """Return the version of the installed distribution, "unknown" when it is not installed."""
    try:
        return version("banyandb-fodc")
    except PackageNotFoundError:
        return "unknown"
