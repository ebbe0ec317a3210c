# SPDX-License-Identifier: Apache-2.0
"""`fodc version`: this program and the proxy it talks to.

The one idea: it is asked by scripts and prompts, so it costs no event loop and no client library;
one GET of the standard library is enough.
"""

import argparse
import json
from typing import TYPE_CHECKING, Final

from fodc_client import plain_http
from fodc_client.arguments import Settings, add_verb
from fodc_client.commands import SUMMARIES
from fodc_client.errors import BadAnswerError, ClientError, ExitCode
from fodc_client.output import Output
from fodc_client.ways import way_of
from fodc_protocol.version import VERSION

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers

_PROXY_TIMEOUT_S: Final = 3.0


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    parser = add_verb(
        verbs,
        "version",
        summary=SUMMARIES["version"],
        examples="""
            fodc version
            fodc version --client -o json""",
        run=run,
    )
    parser.add_argument("--client", action="store_true", help="do not ask the proxy")


def run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    """Show versions; a proxy that cannot be reached is told but is no failure of this command."""
    ours, theirs = VERSION, None if args.client else _proxy_version(settings, output)
    if output.format.is_table:
        output.lines(
            [f"fodc {ours}"] + ([f"proxy {theirs} at {settings.proxy_url}"] if theirs else [])
        )
    else:
        output.document({"client": ours, "proxy": theirs})
    return ExitCode.OK


def _proxy_version(settings: Settings, output: Output) -> str | None:
    wait_s = min(settings.answer_timeout_s, _PROXY_TIMEOUT_S)
    try:
        body = plain_http.get(way_of(settings), "/version", wait_s=wait_s)
        return _version_in(body, settings.proxy_url)
    except ClientError as error:
        output.warning(str(error))
        return None


def _version_in(data: bytes, url: str) -> str:
    """Return the version in an answer; raises BadAnswerError when there is none."""
    try:
        found = json.loads(data)["version"]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str):
        raise BadAnswerError(f"what answers at {url} tells no version: is it a FODC proxy?")
    return found
