# SPDX-License-Identifier: Apache-2.0
"""`fodc top`: the hottest functions of a profile that lies here."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fodc_client import completing, hottest
from fodc_client.arguments import Settings, add_verb, completed, positive
from fodc_client.commands import SUMMARIES
from fodc_client.errors import BadUsageError, ClientError, ExitCode, NotFoundError
from fodc_client.output import Output
from fodc_protocol.errors import FodcError

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
    parser = add_verb(
        verbs,
        "top",
        summary=SUMMARIES["top"],
        examples="""
            fodc top banyandb-data-0-cpu-20261121T070639Z.pb.gz
            fodc top heap.pb.gz --value alloc_space --top 30
            fodc top cpu.pb.gz --folded > cpu.folded""",
        run=run,
    )
    file = parser.add_argument(
        "file", type=Path, metavar="FILE", help="a pprof file, gzipped or plain"
    )
    completed(file, completing.files)
    parser.add_argument(
        "--value", default="", metavar="NAME", help="column, such as inuse_space or alloc_objects"
    )
    parser.add_argument(
        "--top", type=positive, default=20, metavar="N", help="how many functions (default: 20)"
    )
    parser.add_argument(
        "--folded", action="store_true", help="print folded stacks instead, for flame graphs"
    )


def run(args: argparse.Namespace, _settings: Settings, output: Output) -> ExitCode:
    """Show what is hot; needs no proxy."""
    data = _read(args.file)
    profile = kind_of(args.file.name)
    try:
        return _show(args, data, profile, output)
    except FodcError as error:
        raise ClientError(f"{args.file}: {error}. {error.advice}") from error
    except ValueError as error:
        raise BadUsageError(f"--value: {error}") from error


def _show(args: argparse.Namespace, data: bytes, profile: str, output: Output) -> ExitCode:
    if args.folded:
        output.lines(hottest.folded_lines(data, profile=profile, value=args.value))
        return ExitCode.OK
    if output.format.is_table:
        name, count = args.file.name, args.top
        table, few = hottest.shown(data, name, profile=profile, value=args.value, count=count)
        _refuse_empty(args.file, has_rows=bool(table.rows))
        output.table(table)
        if few is not None:
            output.warning(hottest.doubt_of({"": few}))
        return ExitCode.OK
    found = hottest.found(data, profile=profile, value=args.value, count=args.top)
    output.document({"file": str(args.file), **found})
    _refuse_empty(args.file, has_rows=bool(found.get("functions") or found.get("places")))
    return ExitCode.OK


def _refuse_empty(file: Path, *, has_rows: bool) -> None:
    if not has_rows:
        raise ClientError(f"{file}: the profile is empty: nothing was sampled")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror}") from error


def kind_of(name: str) -> str:
    """Return the kind of profile in a name that `fodc capture` gave, "" for other names."""
    parts = name.rsplit("-", 2)
    return parts[1] if len(parts) == 3 else ""
