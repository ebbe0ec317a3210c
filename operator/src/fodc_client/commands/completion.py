# SPDX-License-Identifier: Apache-2.0
"""`fodc completion`: a script that teaches a shell the words of this program."""

import argparse
from typing import TYPE_CHECKING

from fodc_client import completion
from fodc_client.arguments import Parser, Settings, add_verb
from fodc_client.commands import SUMMARIES
from fodc_client.errors import ExitCode
from fodc_client.output import Output

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers


def add(verbs: "Subparsers", root: Parser) -> None:
    """Tell argparse about the verb; `root` is the whole program's parser."""
    parser = add_verb(
        verbs,
        "completion",
        summary=SUMMARIES["completion"],
        examples="""
            source <(fodc completion bash)
            fodc completion zsh > ~/.zfunc/_fodc
            fodc completion fish | source""",
        run=run,
    )
    parser.add_argument("shell", choices=tuple(completion.Shell), help="which shell")
    parser.set_defaults(root=root)


async def run(args: argparse.Namespace, _settings: Settings, output: Output) -> ExitCode:
    """Print the script; needs no proxy."""
    places = completion.places_of(args.root)
    output.lines([completion.script(completion.Shell(args.shell), places).rstrip("\n")])
    return ExitCode.OK
