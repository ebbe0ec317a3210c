# SPDX-License-Identifier: Apache-2.0
"""Where everything that is printed goes: data to stdout, messages to stderr.

The one idea: stdout holds only what was asked for, in the format that was asked for; whoever pipes
it never meets a progress bar or a hint.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import yaml
from rich.console import Console
from rich.text import Text

from fodc_client import tables
from fodc_client.formats import printable
from fodc_client.reading import Json


class Format(StrEnum):
    """How data is written; wide is a table with more columns."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def is_table(self) -> bool:
        """Whether people read it."""
        return self in {Format.TABLE, Format.WIDE}


@dataclass(frozen=True, slots=True)
class Output:
    """Both streams of the program and the wanted format."""

    format: Format
    out: Console
    err: Console

    def table(self, table: tables.Table) -> None:
        """Write a table: drawn on a terminal, plain lines elsewhere."""
        if self.out.is_terminal:
            width = max(self.out.width, tables.least_width(table))
            self.out.print(tables.drawing(table), width=width, crop=False, soft_wrap=False)
        else:
            self.lines(tables.lines(table))

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines as they are, never wrapped or colored."""
        for line in lines:
            self.out.file.write(line + "\n")

    def document(self, document: Json) -> None:
        """Write a document as JSON or YAML with the keys in the order in which they came."""
        if self.format is Format.YAML:
            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        else:
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        self.out.file.write(text)

    def message(self, text: str) -> None:
        """Tell the person something that is no data."""
        self._say(text, "")

    def warning(self, text: str) -> None:
        """Tell the person that something is less than whole."""
        self._say(text, "yellow")

    def error(self, text: str) -> None:
        """Tell the person what failed."""
        self._say(f"fodc: {text}", "red")

    def _say(self, text: str, style: str) -> None:
        self.err.print(Text(printable(text), style=style), soft_wrap=True)


def open_output(
    wanted: Format, *, no_color: bool, environment: Mapping[str, str] = os.environ
) -> Output:
    """Return the output of this process; colors only on a terminal and when nobody forbids them."""
    plain = no_color or bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"
    out, err = (
        Console(
            file=stream,
            no_color=plain,
            color_system=None if plain else "auto",
            highlight=False,
            markup=False,
            emoji=False,
        )
        for stream in (sys.stdout, sys.stderr)
    )
    return Output(wanted, out, err)
