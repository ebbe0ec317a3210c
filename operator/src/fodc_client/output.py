# SPDX-License-Identifier: Apache-2.0
"""Where everything that is printed goes: data to stdout, messages to stderr.

The one idea: stdout holds only what was asked for, in the format that was asked for; whoever pipes
it never meets a progress bar or a hint.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final, TextIO

from fodc_client.formats import printable

if TYPE_CHECKING:
    from rich.console import Console

    from fodc_client.reading import Json
    from fodc_client.tables import Table

_COLORS: Final = {"yellow": "\x1b[33m", "red": "\x1b[31m"}


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


class Output:
    """Both streams of the program and the wanted format; rich is loaded when something is drawn."""

    def __init__(self, wanted: Format, *, plain: bool) -> None:
        """Write to this process's streams; `plain` forbids colors."""
        self.format = wanted
        self._plain = plain

    @cached_property
    def out(self) -> "Console":
        """Standard output as rich draws on it."""
        return _console(sys.stdout, plain=self._plain)

    @cached_property
    def err(self) -> "Console":
        """Standard error as rich draws on it."""
        return _console(sys.stderr, plain=self._plain)

    def table(self, table: "Table") -> None:
        """Write a table: drawn on a terminal, plain lines elsewhere."""
        from fodc_client import tables  # noqa: PLC0415 - costs rich, which others need not pay

        if self.out.is_terminal:
            width = max(self.out.width, tables.least_width(table))
            self.out.print(tables.drawing(table), width=width, crop=False, soft_wrap=False)
        else:
            self.lines(tables.lines(table))

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines as they are, never wrapped or colored."""
        for line in lines:
            sys.stdout.write(line + "\n")

    def document(self, document: "Json") -> None:
        """Write a document as JSON or YAML with the keys in the order in which they came."""
        if self.format is Format.YAML:
            import yaml  # noqa: PLC0415 - only this format pays for it

            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        else:
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        sys.stdout.write(text)

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
        color = "" if self._plain or not sys.stderr.isatty() else _COLORS.get(style, "")
        sys.stderr.write(color + printable(text) + ("\x1b[0m" if color else "") + "\n")
        sys.stderr.flush()


def open_output(
    wanted: Format, *, no_color: bool, environment: Mapping[str, str] = os.environ
) -> Output:
    """Return the output of this process; colors only on a terminal and when nobody forbids them."""
    plain = no_color or bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"
    return Output(wanted, plain=plain)


def _console(stream: TextIO, *, plain: bool) -> "Console":
    from rich.console import Console  # noqa: PLC0415 - only drawing pays for it

    return Console(
        file=stream,
        no_color=plain,
        color_system=None if plain else "auto",
        highlight=False,
        markup=False,
        emoji=False,
    )
