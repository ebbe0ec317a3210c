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

_LEAST_WRAPPED: Final = 24
"""A column of prose is never narrower, unless it needs less."""


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
    wide = widths(table)
    drawn = [_line(row, wide, table.columns) for row in rows]
    return [printable(table.title), *drawn] if table.title else drawn


def widths(table: Table) -> list[int]:
    """Return the width of each column's longest text, heading included."""
    return [
        max(len(column.heading), *(len(printable(row[place])) for row in table.rows), 0)
        for place, column in enumerate(table.columns)
    ]


def _line(row: Sequence[str], wide: Sequence[int], columns: Sequence[Column]) -> str:
    cells = (
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, width, column in zip(row, wide, columns, strict=True)
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
    for column, width in zip(table.columns, widths(table), strict=True):
        drawn.add_column(
            column.heading,
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=not column.wraps,
            min_width=min(width, _LEAST_WRAPPED) if column.wraps else width,
        )
    for row in table.rows:
        drawn.add_row(*(_cell(*pair) for pair in zip(row, table.columns, strict=True)))
    return drawn


def least_width(table: Table) -> int:
    """Return the width below which a drawing would have to cut: names are never cut."""
    return sum(
        2 + (min(width, _LEAST_WRAPPED) if column.wraps else width)
        for column, width in zip(table.columns, widths(table), strict=True)
    )


def _cell(text: str, column: Column) -> Text:
    return Text(printable(text), style=TONES.get(text, "") if column.toned else "")
