# SPDX-License-Identifier: Apache-2.0
"""The program `fodc`: parses the command line, runs one verb, turns errors into exit codes."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from fodc_client.arguments import Parser, Settings, global_options, settings_of
from fodc_client.commands import (
    artifacts,
    capture,
    completion,
    config,
    doctor,
    nodes,
    requests,
    top,
    version,
    windows,
)
from fodc_client.errors import BadUsageError, ClientError, ExitCode
from fodc_client.output import Output, open_output

_EPILOG = """\
examples:
  fodc nodes
  fodc capture cpu --node banyandb-data-0 --seconds 10
  fodc capture heap --role ROLE_DATA --output-dir profiles
  fodc doctor

exit codes:
  0    all went well
  1    something failed: every target failed, or `doctor` found problems
  2    wrong usage, or the proxy refused a field
  3    the proxy cannot be reached
  4    no such node, request, artifact or metric
  5    partial: some targets or nodes succeeded, others did not
  130  interrupted

Data goes to stdout, everything else to stderr. The keys of -o json and -o yaml are those of the
proxy's own answers."""

_VERBS = (nodes, capture, requests, artifacts, config, windows, top, doctor, version)


def build_parser() -> Parser:
    """Return the parser with all verbs."""
    parser = Parser(
        prog="fodc",
        description="Look into BanyanDB nodes: who is there, profiles, configuration, windows.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[global_options()],
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in _VERBS:
        module.add(verbs)
    completion.add(verbs, parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; `--help` ends by SystemExit as argparse does."""
    try:
        args = build_parser().parse_args(argv)
        settings = settings_of(args, os.environ)
    except BadUsageError as error:
        sys.stderr.write(f"fodc: {error}\n")
        return ExitCode.USAGE
    output = open_output(settings.format, no_color=settings.no_color)
    try:
        return _run(args, settings, output)
    except BrokenPipeError:
        return _leave_quietly()


def _run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    try:
        code: ExitCode = asyncio.run(args.run(args, settings, output))
        sys.stdout.flush()
    except KeyboardInterrupt:
        output.error("interrupted")
        return ExitCode.INTERRUPTED
    except ClientError as error:
        output.error(str(error))
        return error.exit_code
    return code


def _leave_quietly() -> ExitCode:
    """End as programs do whose reader went away, such as `fodc nodes | head -1`."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
