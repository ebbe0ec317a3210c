# SPDX-License-Identifier: Apache-2.0
"""Where everything that is printed goes: data to stdout, messages to stderr.

The one idea: stdout holds only what was asked for, in the format that was asked for; whoever pipes
it never meets a progress bar or a hint.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from fodc_client.formats import printable

if TYPE_CHECKING:
    from fodc_client.tables import Table

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
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
    """Both streams of the program and the wanted format."""

    def __init__(self, wanted: Format, *, plain: bool) -> None:
        """Write to this process's streams; `plain` forbids colors."""
        self.format = wanted
        self.plain = plain

    @property
    def redraws(self) -> bool:
        """Whether standard error is a terminal that can redraw what it shows."""
        return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}

    @property
    def columns(self) -> int | None:
        """Width of the terminal that standard output is, None for files and pipes."""
        if not sys.stdout.isatty():
            return None
        import shutil  # noqa: PLC0415 - brings compression along, which --help must not pay for

        return shutil.get_terminal_size().columns

    def table(self, table: "Table") -> None:
        """Write a table: into the width of a terminal, as plain lines elsewhere."""
        from fodc_client import tables  # noqa: PLC0415 - only verbs with tables pay for it

        width = self.columns
        if width is None:
            self.lines(tables.lines(table))
            return
        fitted = tables.fitted(table, width)
        self.lines(tables.drawing(fitted.table, width, colored=not self.plain))
        if fitted.left_out:
            needed = tables.least_width(table)
            self.message(
                f"no room in {width} columns for {', '.join(fitted.left_out)}; "
                f"a width of {needed}, a pipe or -o json shows all"
            )

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines as they are, never wrapped or colored."""
        for line in lines:
            sys.stdout.write(line + "\n")

    def document(self, document: Json) -> None:
        """Write a document as JSON or YAML with the keys in the order in which they came."""
        if self.format is Format.YAML:
            import yaml  # noqa: PLC0415 - only this format pays for it

            # What JSON knows, and no more: words of ours are enums.
            plain = json.loads(json.dumps(document))
            text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
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
        # What was written before comes first, where both streams are one file.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        color = "" if self.plain or not sys.stderr.isatty() else _COLORS.get(style, "")
        sys.stderr.write(color + printable(text) + ("\x1b[0m" if color else "") + "\n")
        sys.stderr.flush()


def open_output(
    wanted: Format, *, no_color: bool, environment: Mapping[str, str] = os.environ
) -> Output:
    """Return the output of this process; colors only on a terminal and when nobody forbids them."""
    plain = no_color or bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"
    return Output(wanted, plain=plain)
