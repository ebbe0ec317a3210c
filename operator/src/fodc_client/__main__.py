# SPDX-License-Identifier: Apache-2.0
"""The program `fodc`: parses the command line, runs one verb, turns errors into exit codes."""

import argparse
import os
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from fodc_client import completing
from fodc_client.arguments import (
    Ending,
    Parser,
    Settings,
    global_options,
    helping,
    settings_of,
)
from fodc_client.commands import SUMMARIES
from fodc_client.errors import BadUsageError, ClientError, ExitCode
from fodc_client.output import Output, open_output
from fodc_protocol.errors import FodcError

_EPILOG = """\
examples:
  fodc nodes
  fodc capture cpu --node banyandb-data-0 --seconds 10
  fodc capture heap --role datanode-hot --output-dir profiles
  fodc doctor

exit codes:
  0    all went well
  1    something failed: every target failed, or a check (`doctor`, `--check`) found problems
  2    wrong usage, or the proxy refused a field
  3    the proxy cannot be reached
  4    no such node, request, artifact, incident or metric
  5    partial: some targets or nodes succeeded, others did not
  130  interrupted

Data goes to stdout, everything else to stderr. The keys of -o json and -o yaml are those of the
proxy's own answers."""


def build_parser(words: Collection[str] | None = None) -> Parser:
    """Return the parser; only verbs among `words` (None: all) are loaded with what they import.

    The others are known by name and line of help, which is all that is asked of them.
    """
    parser = Parser(
        prog="fodc",
        description="Look into BanyanDB nodes: who is there, profiles, configuration, windows.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[global_options()],
        allow_abbrev=False,
    )
    parser.set_defaults(run=helping(parser), parser=parser)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, summary in SUMMARIES.items():
        if words is None or name in words:
            import_module(f"fodc_client.commands.{name}").add(verbs)
        else:
            verbs.add_parser(name, help=summary)
    return parser


def kubectl() -> int:
    """Run as `kubectl fodc`: the proxy is that of the current context unless another is told."""
    return main(["--context=", *sys.argv[1:]])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; `--help` ends by SystemExit as argparse does."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    if sys.stdout is None:
        sys.stderr.write("fodc: cannot write the output: standard output is closed\n")
        return ExitCode.FAILED
    try:
        return _parsed_and_run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:
        _drop_output()
        return ExitCode.OK
    except OSError as error:
        _drop_output()
        sys.stderr.write(f"fodc: cannot write the output: {error.strerror or error}\n")
        return ExitCode.FAILED


def _parsed_and_run(argv: Sequence[str]) -> int:
    if "_ARGCOMPLETE" in os.environ:
        completing.complete(build_parser(os.environ.get("COMP_LINE", "").split()))
    try:
        args, rest = build_parser(argv).parse_known_args(argv)
        if rest:
            args.parser.not_understood(rest)
        settings = settings_of(args, os.environ)
    except BadUsageError as error:
        sys.stderr.write(f"fodc: {error}\n")
        return ExitCode.USAGE
    except SystemExit:
        sys.stdout.flush()
        raise
    return _run(args, settings, open_output(settings.format, no_color=settings.no_color))


def _run(args: argparse.Namespace, settings: Settings, output: Output) -> ExitCode:
    try:
        code = _awaited(args.run(args, settings, output))
        sys.stdout.flush()
    except KeyboardInterrupt:
        output.error("interrupted")
        return ExitCode.INTERRUPTED
    except ClientError as error:
        output.error(str(error))
        return error.exit_code
    except FodcError as error:
        output.error(f"{error}. Do the versions differ? See `fodc version`.")
        return ExitCode.FAILED
    return code


def _awaited(ending: Ending) -> ExitCode:
    if isinstance(ending, ExitCode):
        return ending
    import asyncio  # noqa: PLC0415 - half of the start time of verbs that need no loop

    return asyncio.run(ending)


def _drop_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush says nothing."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
