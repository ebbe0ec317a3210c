# SPDX-License-Identifier: Apache-2.0
"""Tables of texts: what stands in them (by the rows of `commands/`) and how they are drawn.

The one idea: a table is data until the last moment; drawn plainly with blanks for files and pipes
(stable, greppable, as wide as it needs), or by rich in the width and colors of a terminal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.table import Table as RichTable
from rich.text import Text

from fodc_client.formats import printable


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; numbers stand `right`, words of state are colored (`toned`), texts may wrap."""

    heading: str
    right: bool = False
    toned: bool = False
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; `title` stands above when several tables follow each other."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = field(default="")


TONES: Final = {
    **dict.fromkeys(("Online", "Succeeded", "Supported", "ok"), "green"),
    **dict.fromkeys(("Running", "Queued", "Finalizing"), "cyan"),
    **dict.fromkeys(
        ("Degraded", "PartiallySucceeded", "Skipped", "Cancelled", "Disabled", "Unknown", "note"),
        "yellow",
    ),
    **dict.fromkeys(("Offline", "Failed", "Rejected", "Unsupported", "problem", "drift"), "red"),
}
"""Colors of the words of state; every other word keeps the terminal's own color."""


def lines(table: Table) -> list[str]:
    """Return the table as plain lines: columns two blanks apart, nothing cut, no color."""
    rows = [tuple(column.heading for column in table.columns)]
    rows += [tuple(printable(cell) for cell in row) for row in table.rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(table.columns))]
    drawn = [_line(row, widths, table.columns) for row in rows]
    return [printable(table.title), *drawn] if table.title else drawn


def _line(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    cells = (
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, width, column in zip(row, widths, columns, strict=True)
    )
    return "  ".join(cells).rstrip()


def drawing(table: Table) -> RichTable:
    """Return the table for a terminal."""
    drawn = RichTable(
        title=Text(printable(table.title)) if table.title else None,
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    for column in table.columns:
        drawn.add_column(
            column.heading,
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=not column.wraps and not _is_wide(table, column),
        )
    for row in table.rows:
        drawn.add_row(*(_cell(*pair) for pair in zip(row, table.columns, strict=True)))
    return drawn


def _is_wide(table: Table, column: Column) -> bool:
    """Say whether a column holds texts too long to stand on one line of any terminal."""
    place = table.columns.index(column)
    return any(len(row[place]) > 40 for row in table.rows)


def _cell(text: str, column: Column) -> Text:
    return Text(printable(text), style=TONES.get(text, "") if column.toned else "")
