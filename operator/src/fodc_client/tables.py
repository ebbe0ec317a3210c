# SPDX-License-Identifier: Apache-2.0
"""Tables of texts: what stands in them (by the rows of `commands/`) and how they are drawn; pure.

The one idea: a table is data until the last moment; drawn plainly for files and pipes (stable,
greppable, as wide as it needs), or into the width of a terminal, where whole columns are left out,
the least important first, and named: no cell is ever cut and no column vanishes in silence.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final, NamedTuple

from fodc_client.formats import printable

_GAP: Final = 2
_LEAST_WRAPPED: Final = 24
"""A column of prose is never narrower, unless it needs less."""
_RESET: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; numbers stand `right`, words of state are colored (`toned`), texts may wrap.

    Of a `whole` one that wraps no word is broken, however narrow the terminal is.
    A column of a higher `rank` is left out earlier where there is no room, one of 0 never.
    """

    heading: str
    right: bool = False
    toned: bool = False
    wraps: bool = False
    whole: bool = False
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; `title` stands above when several tables follow each other."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = field(default="")


_TONES: Final = {
    "green": ("Online", "Succeeded", "Supported", "Stored", "ok"),
    "cyan": ("Running", "Queued", "Finalizing"),
    "yellow": (
        *("Degraded", "PartiallySucceeded", "Skipped", "Cancelled", "Disabled", "Unknown", "note"),
        *("Pending", "Unreachable", "MemoryPressure"),
    ),
    "red": (
        *("Offline", "Failed", "Rejected", "Unsupported", "Damaged", "problem", "drift"),
        *("Missing", "OOMKilled", "Crashed", "Killed"),
    ),
}
_CODES: Final = {"red": "\x1b[31m", "green": "\x1b[32m", "yellow": "\x1b[33m", "cyan": "\x1b[36m"}
TONES: Final = {word: tone for tone, words in _TONES.items() for word in words}
"""Colors of the words of state; every other word keeps the terminal's own color."""


# ---- as wide as it needs --------------------------------------------------------------------


def lines(table: Table) -> list[str]:
    """Return the table as plain lines: columns two blanks apart, nothing cut, no color."""
    return list(_drawn(table, widths(table), colored=False))


def widths(table: Table) -> list[int]:
    """Return the width of each column's longest text, heading included."""
    return [
        max(len(column.heading), *(len(printable(row[place])) for row in table.rows), 0)
        for place, column in enumerate(table.columns)
    ]


# ---- as wide as a terminal ------------------------------------------------------------------


class Fitted(NamedTuple):
    """A table that fits, and the headings of what had no room."""

    table: Table
    left_out: tuple[str, ...]


def fitted(table: Table, width: int) -> Fitted:
    """Return the table without the columns for which `width` has no room."""
    needed = [least + _GAP for least in _least(table)]
    kept = list(range(len(table.columns)))
    droppable = sorted(kept, key=lambda place: (table.columns[place].rank, place))
    while sum(needed[place] for place in kept) - _GAP > width:
        last = droppable.pop() if droppable else kept[0]
        if not table.columns[last].rank:
            break
        kept.remove(last)
    columns = tuple(table.columns[place] for place in kept)
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    left_out = tuple(c.heading for place, c in enumerate(table.columns) if place not in kept)
    return Fitted(Table(columns, rows, table.title), left_out)


def least_width(table: Table) -> int:
    """Return the width that the whole table needs at least."""
    return sum(_least(table)) + _GAP * (len(table.columns) - 1)


def drawing(table: Table, width: int, *, colored: bool) -> list[str]:
    """Return the lines of a table that fits into `width`; prose is folded."""
    return list(_drawn(table, _shared(table, width), colored=colored))


def _least(table: Table) -> list[int]:
    least = [
        min(width, _LEAST_WRAPPED) if column.wraps else width
        for column, width in zip(table.columns, widths(table), strict=True)
    ]
    for place, column in enumerate(table.columns):
        if column.whole:
            words = (word for row in table.rows for word in row[place].split())
            least[place] = max((len(word) for word in words), default=len(column.heading))
    return least


def _shared(table: Table, width: int) -> list[int]:
    """Give each column of prose its part of what the others leave, the shortest first."""
    natural, given = widths(table), _least(table)
    prose = [place for place, column in enumerate(table.columns) if column.wraps]
    room = width - _GAP * (len(given) - 1) - sum(
        each for place, each in enumerate(given) if place not in prose
    )  # fmt: skip
    for done, place in enumerate(sorted(prose, key=lambda place: natural[place])):
        share = room // (len(prose) - done)
        given[place] = max(given[place], min(natural[place], share))
        room -= given[place]
    return given


# ---- drawing --------------------------------------------------------------------------------


def _drawn(table: Table, wide: Sequence[int], *, colored: bool) -> Iterator[str]:
    if table.title:
        yield printable(table.title)
    heading = _line([column.heading for column in table.columns], wide, table.columns)
    yield f"{_BOLD}{heading}{_RESET}" if colored else heading
    for row in table.rows:
        yield from _row([printable(cell) for cell in row], wide, table.columns, colored=colored)


def _row(
    row: Sequence[str], wide: Sequence[int], columns: Sequence[Column], *, colored: bool
) -> Iterator[str]:
    folded = [
        _folded(cell, width) if column.wraps else [cell]
        for cell, width, column in zip(row, wide, columns, strict=True)
    ]
    for cells in zip_longest(*folded, fillvalue=""):
        yield _line(cells, wide, columns, colored=colored)


def _folded(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _line(
    row: Sequence[str], wide: Sequence[int], columns: Sequence[Column], *, colored: bool = False
) -> str:
    cells = (
        _toned(cell, column, colored=colored) + blanks if not column.right else blanks + cell
        for cell, column, blanks in (
            (cell, column, " " * (width - len(cell)))
            for cell, width, column in zip(row, wide, columns, strict=True)
        )
    )
    return (" " * _GAP).join(cells).rstrip()


def _toned(cell: str, column: Column, *, colored: bool) -> str:
    tone = _CODES.get(TONES.get(cell, "")) if colored and column.toned else None
    return f"{tone}{cell}{_RESET}" if tone else cell
