# SPDX-License-Identifier: Apache-2.0
"""`fodc completion`: a script that teaches a shell the words of this program."""

import argparse
from enum import StrEnum
from typing import TYPE_CHECKING

from fodc_client import completing
from fodc_client.arguments import Settings, add_verb, word_of
from fodc_client.commands import SUMMARIES
from fodc_client.errors import ExitCode
from fodc_client.output import Output

if TYPE_CHECKING:
    from fodc_client.arguments import Subparsers


class Shell(StrEnum):
    """Shells that can be taught."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def add(verbs: "Subparsers") -> None:
    """Tell argparse about the verb."""
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
    parser.add_argument(
        "shell",
        type=word_of(Shell),
        choices=tuple(Shell),
        metavar="SHELL",
        help=f"which shell: {', '.join(Shell)}",
    )


def run(args: argparse.Namespace, _settings: Settings, output: Output) -> ExitCode:
    """Print the script; needs no proxy."""
    output.lines([completing.script(args.shell).strip("\n")])
    return ExitCode.OK
