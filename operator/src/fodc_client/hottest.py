# SPDX-License-Identifier: Apache-2.0
"""What is hot in a profile, as a table for people and as documents for machines; pure."""

from dataclasses import dataclass
from typing import Final

from fodc_client.formats import percent, quantity
from fodc_client.reading import Json
from fodc_client.tables import Column, Table
from fodc_protocol import pprof
from fodc_protocol.errors import CorruptProfileError

_COLUMN_OF_PROFILE: Final = {
    "cpu": "cpu",
    "heap": "inuse_space",
    "allocs": "alloc_space",
    "block": "delay",
    "mutex": "delay",
    "goroutine": "goroutine",
    "threadcreate": "threadcreate",
}
_WAITING: Final = frozenset({"goroutine", "threadcreate"})
"""Kinds whose innermost function is always the scheduler: callers tell more than leaves."""


@dataclass(frozen=True, slots=True)
class Hotness:
    """The hottest functions of one profile, `unit` is that of all values."""

    kind: str
    unit: str
    samples: int
    functions: tuple[pprof.HotFunction, ...]


def hotness(data: bytes, *, profile: str = "", value: str = "", count: int = 10) -> Hotness:
    """Return the hottest functions by the column `value`, by default that of the kind of profile.

    Raises CorruptProfileError, and ValueError for a column that the profile does not have.
    """
    summary = pprof.inspect(data)
    columns = {column.kind: column.unit for column in summary.value_types}
    kind = value or _column(profile, tuple(columns))
    if kind not in columns:
        raise ValueError(f"no column {kind!r}; this profile has: {', '.join(columns)}")
    waiting = profile in _WAITING or kind in _WAITING
    functions = pprof.hottest(data, value_index=kind, count=100_000 if waiting else count)
    if waiting:
        functions.sort(key=lambda function: (-abs(function.cum), function.name))
    named = [function for function in functions if function.name]
    return Hotness(kind, columns[kind], summary.samples, tuple(named[:count]))


def _column(profile: str, columns: tuple[str, ...]) -> str:
    if not columns:
        raise CorruptProfileError("the profile names no values")
    usual = _COLUMN_OF_PROFILE.get(profile, "")
    return usual if usual in columns else columns[-1]


def table_of(hot: Hotness, title: str) -> Table:
    """Return the table "FLAT SHARE CUM SHARE FUNCTION"."""
    columns = (
        Column("FLAT", right=True),
        Column("FLAT%", right=True),
        Column("CUM", right=True),
        Column("CUM%", right=True),
        Column("FUNCTION", wraps=True),
    )
    return Table(columns, tuple(_row(each, hot.unit) for each in hot.functions), title)


def _row(function: pprof.HotFunction, unit: str) -> tuple[str, ...]:
    return (
        quantity(function.flat, unit),
        percent(function.flat_percent),
        quantity(function.cum, unit),
        percent(function.cum_percent),
        function.name,
    )


def document_of(hot: Hotness) -> dict[str, Json]:
    """Return the same for `-o json`; values in `unit`, shares of 100."""
    functions: list[Json] = [
        {
            "name": each.name,
            "file": each.file,
            "flat": each.flat,
            "flat_percent": round(each.flat_percent, 3),
            "cum": each.cum,
            "cum_percent": round(each.cum_percent, 3),
        }
        for each in hot.functions
    ]
    return {"value": hot.kind, "unit": hot.unit, "samples": hot.samples, "functions": functions}


def folded_lines(data: bytes, *, profile: str = "", value: str = "") -> list[str]:
    """Return one line per stack, `root;…;leaf value`, the input of flame graph programs."""
    summary = pprof.inspect(data)
    kind = value or _column(profile, tuple(column.kind for column in summary.value_types))
    stacks = pprof.folded(data, value_index=kind)
    return [f"{stack} {number}" for stack, number in sorted(stacks.items()) if number]
