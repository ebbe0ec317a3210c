# SPDX-License-Identifier: Apache-2.0
"""The metrics page of the sample node as a pure function of time.

The one idea: every value follows from its row in pages.table, a hash of the series and the
seconds since start, so pages are reproducible and both variants of the node agree byte for byte.
Only arithmetic that is exact or correctly rounded is used; a sine would differ between libraries.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TABLE_PATH = Path(__file__).resolve().parents[1] / "pages.table"
ROLE_LETTERS = {"standalone": "s", "data": "d", "liaison": "l"}
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10")
QUANTILES = (("0", 0.25), ("0.25", 0.5), ("0.5", 0.9), ("0.75", 1.5), ("1", 4.0))
EXTRA_FAMILY_SERIES = 50
RISE_SECONDS = 120.0
EXPONENT_FROM = 1e6
EXPONENT_BELOW = 1e-4

Evaluate = Callable[[float, float], float]


@dataclass(frozen=True, slots=True)
class Line:
    """One sample line: its text up to the value and the value's function of (t, start)."""

    prefix: str
    evaluate: Evaluate


@dataclass(frozen=True, slots=True)
class FamilyLines:
    """One family: the HELP and TYPE lines and its samples."""

    header: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the page table, see the table's head."""

    name: str
    kind: str
    roles: str
    labels: str
    shape: str
    base: float
    mean: float


def go_float(value: float) -> str:
    """Write a number the way Go's Prometheus client does (shortest, exponent from 1e6)."""
    magnitude = abs(value)
    if magnitude == 0.0 or EXPONENT_BELOW <= magnitude < EXPONENT_FROM:
        return repr(value).removesuffix(".0")
    mantissa, _, exponent_text = f"{value!r}".partition("e")
    if exponent_text:
        return f"{mantissa.removesuffix('.0')}e{int(exponent_text):+03d}"
    whole, _, fraction = mantissa.partition(".")
    exponent = len(whole.lstrip("-")) - 1
    digits = (whole.lstrip("-") + fraction).rstrip("0") or "0"
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{exponent:+03d}"


def fnv32(text: str) -> int:
    """Return the 32-bit FNV-1a hash of a text."""
    value = 2166136261
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


def triangle(x: float) -> float:
    """Return a wave of period 1 between 0 and 1."""
    return 1.0 - abs(2.0 * (x % 1.0) - 1.0)


def stem(name: str) -> str:
    """Return the name that started and finished counters of one thing share."""
    return name.removesuffix("_finished").removesuffix("_started")


def series_factors(name: str, labels: str) -> tuple[float, float]:
    """Return two numbers in [0, 1) that belong to a series: its size and its phase."""
    digest = fnv32(f"{stem(name)}{{{labels}}}")
    return (digest & 0xFFFF) / 65536.0, (digest >> 16) / 65536.0


def rising(base: float, size_factor: float, phase: float) -> Evaluate:
    """Return a function that never falls: a steady rate with a slow swing."""
    size = base * (0.5 + size_factor)
    rate = size / RISE_SECONDS

    def evaluate(t: float, _start: float) -> float:
        return size + rate * (t + 2.0 * triangle(t / 8.0 + phase))

    return evaluate


def wave(base: float, size_factor: float, phase: float) -> Evaluate:
    """Return a function that swings by a quarter around its base."""

    def evaluate(t: float, _start: float) -> float:
        return base * (0.75 + 0.5 * triangle(t / (60.0 + 60.0 * size_factor) + phase))

    return evaluate


def whole(inner: Evaluate) -> Evaluate:
    return lambda t, start: float(int(inner(t, start)))


def shape_function(row: Row, labels: str) -> Evaluate:
    """Return the value function of a row that is neither histogram nor summary."""
    factors = series_factors(row.name, labels)
    match row.shape:
        case "fixed":
            return lambda _t, _start: row.base
        case "rising":
            return whole(rising(row.base, *factors))
        case "seconds":
            return rising(row.base, *factors)
        case "wave":
            return whole(wave(row.base, *factors))
        case "ratio":
            return wave(row.base, *factors)
        case "uptime":
            return lambda t, _start: t
        case "unix_s":
            return lambda _t, start: start
        case "unix_ns":
            return lambda t, start: float(int(start + t)) * 1e9
        case _:
            raise ValueError(f"pages.table: {row.name} has the unknown shape {row.shape!r}")


def with_label(labels: str, extra: str) -> str:
    joined = f"{labels},{extra}" if labels and extra else labels or extra
    return f"{{{joined}}}" if joined else ""


def bucket_prefix(name: str, labels: str, bound: str) -> str:
    extra = f'le="{bound}"'
    return f"{name}_bucket{with_label(labels, extra)}"


def bucket(count: Evaluate, bound: float, mean: float) -> Evaluate:
    fraction = bound / (bound + mean)
    return lambda t, start: float(int(count(t, start) * fraction))


def times(count: Evaluate, factor: float) -> Evaluate:
    return lambda t, start: count(t, start) * factor


def histogram_lines(row: Row, labels: str) -> Iterator[Line]:
    count = whole(rising(row.base, *series_factors(row.name, labels)))
    for bound in BOUNDS:
        yield Line(bucket_prefix(row.name, labels, bound), bucket(count, float(bound), row.mean))
    yield Line(bucket_prefix(row.name, labels, "+Inf"), count)
    yield Line(f"{row.name}_sum{with_label(labels, '')}", times(count, row.mean * 1.5))
    yield Line(f"{row.name}_count{with_label(labels, '')}", count)


def summary_lines(row: Row, labels: str) -> Iterator[Line]:
    count = whole(rising(row.base, *series_factors(row.name, labels)))
    for quantile, factor in QUANTILES:
        extra = f'quantile="{quantile}"'
        yield Line(f"{row.name}{with_label(labels, extra)}", constant(row.mean * factor))
    yield Line(f"{row.name}_sum{with_label(labels, '')}", times(count, row.mean))
    yield Line(f"{row.name}_count{with_label(labels, '')}", count)


def constant(value: float) -> Evaluate:
    return lambda _t, _start: value


def row_lines(row: Row, runtime_version: str) -> Iterator[Line]:
    """Return every sample line of one row."""
    for labels in label_texts(row.labels, runtime_version):
        if row.shape == "histogram":
            yield from histogram_lines(row, labels)
        elif row.shape == "summary":
            yield from summary_lines(row, labels)
        else:
            text = f"{row.name}{with_label(labels, '')}"
            yield Line(text, shape_function(row, labels))


def label_texts(columns: str, runtime_version: str) -> Iterator[str]:
    """Expand the labels of a row to one text per series."""
    if columns == "-":
        yield ""
        return
    pairs = [column.partition("=")[::2] for column in columns.split(",")]
    for choice in itertools.product(*(values.split("|") for _, values in pairs)):
        named = zip((name for name, _ in pairs), choice, strict=True)
        text = ",".join(f'{name}="{value}"' for name, value in named)
        yield text.replace("@runtime", runtime_version)


def parse_row(line: str) -> Row:
    name, kind, roles, labels, shape, base, *mean = line.split()
    return Row(name, kind, roles, labels, shape, float(base), float(mean[0]) if mean else 0.0)


def read_table(text: str) -> list[Row]:
    """Return the rows of a page table; comments and empty lines are skipped."""
    return [parse_row(line) for line in text.splitlines() if line and line[0] != "#"]


def header(name: str, kind: str) -> str:
    words = name.removeprefix("banyandb_").replace("_", " ")
    return f"# HELP {name} Sample node: {words}.\n# TYPE {name} {kind}\n"


def table_families(table: str, role: str, runtime_version: str) -> list[FamilyLines]:
    """Return the families that pages of this role have, in the order of the table."""
    letter = ROLE_LETTERS[role]
    rows = [row for row in read_table(table) if letter in row.roles]
    return [
        FamilyLines(
            header(name, kind),
            tuple(line for row in group for line in row_lines(row, runtime_version)),
        )
        for (name, kind), group in itertools.groupby(rows, lambda row: (row.name, row.kind))
    ]


def extra_row(index: int, shards: int) -> Row:
    kind, shape = ("counter", "rising") if index % 2 else ("gauge", "wave")
    name = f"banyandb_sample_extra_{index:05d}{'_total' if index % 2 else ''}"
    labels = f"group=g{index % 7},seg=20261121,shard={'|'.join(map(str, range(shards)))}"
    return Row(name, kind, "", labels, shape, 10000.0 * (1 + index % 10), 0.0)


def extra_families(count: int) -> Iterator[FamilyLines]:
    """Yield families with count series in all, fifty to a family."""
    for index in range(-(-count // EXTRA_FAMILY_SERIES)):
        shards = min(EXTRA_FAMILY_SERIES, count - index * EXTRA_FAMILY_SERIES)
        row = extra_row(index, shards)
        yield FamilyLines(header(row.name, row.kind), tuple(row_lines(row, "")))


class Page:
    """The page of one node: families by role, padded to a wanted number of series."""

    def __init__(self, *, table: str, role: str, series: int, runtime_version: str) -> None:
        own = table_families(table, role, runtime_version)
        missing = max(0, series - sum(len(family.lines) for family in own))
        self.families = [*own, *extra_families(missing)]

    def blocks(self, t: float, start: float, measured: Mapping[str, float]) -> Iterator[str]:
        """Yield the text of one family after another, t seconds after start (Unix time).

        A series that the process can measure itself takes its value from measured.
        """
        for family in self.families:
            parts = [family.header]
            for line in family.lines:
                value = measured.get(line.prefix)
                value = line.evaluate(t, start) if value is None else value
                parts.append(f"{line.prefix} {go_float(value)}\n")
            yield "".join(parts)

    def text(self, t: float, start: float, measured: Mapping[str, float]) -> str:
        """Return the whole page."""
        return "".join(self.blocks(t, start, measured))
