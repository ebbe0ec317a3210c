# SPDX-License-Identifier: Apache-2.0
"""What is hot in a profile, as a table for people and as documents for machines; pure.

The one idea: figures of functions are those of `go tool pprof -top`; goroutines wait, so theirs are
counted by the code that waits and by what it waits in, not by the scheduler that parked them all.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fodc_client.formats import counted, percent, quantity, span
from fodc_client.output import Json
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
    "oncpu": "cpu",
    "offcpu": "delay",
}
_WAITING: Final = frozenset({"goroutine", "threadcreate"})
_ALL: Final = 1 << 30
FEW_SAMPLES: Final = 50
"""With fewer, one sample more or less changes who stands first."""
_MACHINERY: Final = re.compile(
    r"(runtime|internal|sync|syscall|time|os|net|io|bufio|context)(/[\w/]+)?\.|"
    r"crypto/tls\.|net/http\.|golang\.org/x/(net|sys|sync)/|google\.golang\.org/grpc"
)
"""Whose frames are how something waits, not what: Go's own and the transports'."""


@dataclass(frozen=True, slots=True)
class Hotness:
    """The hottest functions of one profile; `unit` is that of all values.

    `total` is the sum of the whole profile, `events` how often was sampled (None where a profile
    does not count that) and `duration_s` how long.
    """

    kind: str
    unit: str
    samples: int
    events: int | None
    total: int
    duration_s: float
    functions: tuple[pprof.HotFunction, ...]

    @property
    def is_thin(self) -> bool:
        """Whether the order is chance."""
        return self.events is not None and self.events < FEW_SAMPLES


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many goroutines wait in one place of the code: `function` called `inside`."""

    function: str
    inside: str
    count: int
    share_percent: float


# ---- functions ------------------------------------------------------------------------------


def hotness(data: bytes, *, profile: str = "", value: str = "", count: int = 10) -> Hotness:
    """Return the hottest functions by the column `value`, by default that of the kind of profile.

    Raises CorruptProfileError, and ValueError for a column that the profile does not have.
    """
    summary = pprof.inspect(data)
    columns = {column.kind: column.unit for column in summary.value_types}
    kind = value or _column(profile, tuple(columns))
    if kind not in columns:
        raise ValueError(f"no column {kind!r}; this profile has: {', '.join(columns)}")
    functions = pprof.hottest(data, value_index=kind, count=_ALL)
    named = [function for function in functions if function.name]
    return Hotness(
        kind,
        columns[kind],
        summary.samples,
        _events(data, kind, set(columns), summary.period),
        sum(abs(function.flat) for function in functions),
        summary.duration_ns / 1e9,
        tuple(named[:count]),
    )


def _events(data: bytes, kind: str, columns: set[str], period: int) -> int | None:
    """Return how often was sampled: counted by the profile, or one per `period` bytes of a heap."""
    for counts in ("samples", "contentions"):
        if counts in columns:
            return _sum(data, counts)
    space = f"{kind.partition('_')[0]}_space"
    return round(_sum(data, space) / period) if space in columns and period > 1 else None


def _sum(data: bytes, kind: str) -> int:
    return sum(map(abs, pprof.folded(data, value_index=kind).values()))


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
        Column("CUM%", right=True, rank=1),
        Column("FUNCTION", wraps=True),
    )
    rows = tuple(_row(each, hot.unit) for each in hot.functions)
    return Table(columns, rows, f"{title}: hottest by {hot.kind}; {whole_of(hot)}")


def whole_of(hot: Hotness) -> str:
    """Say what the whole is that the shares are of, and how much of it is shown."""
    said = quantity(hot.total, hot.unit)
    if hot.events is not None:
        said += f" in {counted(hot.events, 'sample')}"
    if hot.kind == "cpu" and hot.unit == "nanoseconds" and hot.duration_s > 0:
        cores = hot.total / 1e9 / hot.duration_s
        said += f" over {span(hot.duration_s)}, {percent(100 * cores)} of a core"
    flat = sum(abs(each.flat) for each in hot.functions)
    return f"{said}; {percent(100 * flat / hot.total if hot.total else 0.0)} of it shown"


def doubt_of(few: Mapping[str, int]) -> str:
    """Return what to doubt of profiles with few samples, by what they are called."""
    said = ", ".join(
        f"{called} ({count})" if called else str(count) for called, count in few.items()
    )
    return f"few samples: {said}; a row of one or two is chance, capture longer or under more load"


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
    return {
        "value": hot.kind,
        "unit": hot.unit,
        "samples": hot.samples,
        "total": hot.total,
        "functions": functions,
    }


# ---- goroutines -----------------------------------------------------------------------------


def is_of_waiting(profile: str, data: bytes) -> bool:
    """Say whether a profile counts what waits; its kind decides where no name tells."""
    if profile:
        return profile in _WAITING
    kinds = {column.kind for column in pprof.inspect(data).value_types}
    return bool(kinds) and kinds <= _WAITING


def waiting(data: bytes, *, count: int) -> tuple[int, tuple[Waiting, ...]]:
    """Return how many goroutines there are, and the places where most of them wait.

    Raises CorruptProfileError.
    """
    places: Counter[tuple[str, str]] = Counter()
    for stack, number in pprof.folded(data).items():
        places[_place(stack.split(";"))] += number
    total = sum(places.values())
    ranked = sorted(places.items(), key=lambda item: (-item[1], item[0]))
    return total, tuple(
        Waiting(function, inside, number, 100 * number / total)
        for (function, inside), number in ranked[:count]
    )


def _place(frames: Sequence[str]) -> tuple[str, str]:
    """Return the innermost function of the program itself and what it called; frames root first."""
    for place in range(len(frames) - 1, -1, -1):
        if frames[place] and not _MACHINERY.match(frames[place]):
            return frames[place], frames[place + 1] if place + 1 < len(frames) else ""
    return frames[0] or "(unknown)", frames[-1] if len(frames) > 1 else ""


def waiting_table(total: int, places: Sequence[Waiting], title: str) -> Table:
    """Return the table "COUNT SHARE FUNCTION WAITS IN"."""
    columns = (
        Column("COUNT", right=True),
        Column("SHARE", right=True),
        Column("FUNCTION", wraps=True),
        Column("WAITS IN", wraps=True, rank=1),
    )
    rows = tuple(
        (str(each.count), percent(each.share_percent), each.function, each.inside or "-")
        for each in places
    )
    shown_ = sum(each.share_percent for each in places)
    return Table(
        columns, rows, f"{title}: where they wait; {total} in all; {percent(shown_)} of them shown"
    )


def waiting_document(total: int, places: Iterable[Waiting]) -> dict[str, Json]:
    """Return the same for `-o json`."""
    found: list[Json] = [
        {
            "function": each.function,
            "waits_in": each.inside,
            "count": each.count,
            "percent": round(each.share_percent, 3),
        }
        for each in places
    ]
    return {"total": total, "places": found}


def shown(
    data: bytes, title: str, *, profile: str = "", value: str = "", count: int = 10
) -> tuple[Table, int | None]:
    """Return the table of a profile below a title, and its samples where they are too few.

    Raises like `hotness`.
    """
    if not value and is_of_waiting(profile, data):
        total, places = waiting(data, count=count)
        return waiting_table(total, places, title), None
    hot = hotness(data, profile=profile, value=value, count=count)
    return table_of(hot, title), hot.events if hot.is_thin else None


def found(data: bytes, *, profile: str = "", value: str = "", count: int = 10) -> dict[str, Json]:
    """Return the same for `-o json`; raises like `hotness`."""
    if not value and is_of_waiting(profile, data):
        return waiting_document(*waiting(data, count=count))
    return document_of(hotness(data, profile=profile, value=value, count=count))


# ---- flame graphs ---------------------------------------------------------------------------


def folded_lines(data: bytes, *, profile: str = "", value: str = "") -> list[str]:
    """Return one line per stack, `root;…;leaf value`, the input of flame graph programs."""
    summary = pprof.inspect(data)
    kind = value or _column(profile, tuple(column.kind for column in summary.value_types))
    stacks = pprof.folded(data, value_index=kind)
    return [f"{stack} {number}" for stack, number in sorted(stacks.items()) if number]
