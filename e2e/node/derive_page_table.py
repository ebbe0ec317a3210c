# SPDX-License-Identifier: Apache-2.0
"""Derive pages.table from recorded BanyanDB pages, one file per role.

The one idea: keep what identifies a family (name, type, labels) and only the magnitude of its
values, together with a guess of how such a value moves; both sample nodes compute the rest.

    python e2e/node/derive_page_table.py standalone=PAGE data=PAGE liaison=PAGE > pages.table
"""

from __future__ import annotations

import itertools
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROLE_LETTERS = {"standalone": "s", "data": "d", "liaison": "l"}
SAMPLE_LINE = re.compile(r"^([^{ ]+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([A-Za-z_]\w*)="([^"]*)"')
SMALL_GAUGE = 10.0
RISING_GAUGE = re.compile(
    r"(_finished|_started|_panic|_total|_misses|_calls|_updates|_deletes|_batches|_doc_count"
    r"|_index_time|_analysis_time|_encoded|_decoded|_merge_latency|merge_errors|total_errors)$"
)
FIXED_GAUGE = re.compile(
    r"(_max_|_limit|memlimit|_cooldown_seconds|cpu_num|gogc|gomaxprocs|max_fds|jobs_started|go_info)"
)
HEADER = """\
# SPDX-License-Identifier: Apache-2.0
# What the sample node's pages contain; both variants of the node read this file.
# Made by derive_page_table.py, then free to edit. One row: family, type, roles (standalone,
# data, liaison), labels (a|b stands for one series each), shape, magnitude, mean if there is one.
# Shapes: fixed, rising (whole numbers), seconds (rising fractions), wave, ratio (a wave of
# at most 1), uptime, unix_s and unix_ns, histogram, summary.
"""

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Family:
    """One family of all pages: its type and, per role, the value of each label set."""

    kind: str
    series: dict[str, dict[Labels, float]] = field(default_factory=dict)
    sums: dict[str, dict[Labels, float]] = field(default_factory=dict)


def round_to_magnitude(value: float) -> float:
    """Return the nearest 1, 2 or 5 times a power of ten at or below value; 0 stays 0."""
    if value <= 0:
        return 0.0
    exponent = len(f"{int(value)}") - 1 if value >= 1 else int(f"{value:e}".split("e")[1])
    lead = value / 10.0**exponent
    step = 5 if lead >= 5 else 2 if lead >= 2 else 1
    return float(f"{step}e{exponent}")


def neutral_label(name: str, value: str, others: dict[str, str]) -> str:
    """Replace addresses and paths of the recording by those of a plain installation."""
    if name == "remote_node":
        number = 1 if value.endswith(":37912") else 0
        return f"{others['remote_role']}-{number}.banyandb:17912"
    if name == "path":
        return "/data/" + value.rsplit("/", 1)[1]
    if name == "version":
        return "@runtime"
    return value


def read_labels(text: str) -> Labels:
    pairs = LABEL.findall(text or "")
    others = dict(pairs)
    return tuple((n, neutral_label(n, v, others)) for n, v in pairs if n not in {"le", "quantile"})


def read_page(families: dict[str, Family], role: str, text: str) -> None:
    """Add every sample of one role's page to the families."""
    current = ""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, current, kind = line.split()
            families.setdefault(current, Family(kind))
        elif line and not line.startswith("#"):
            add_sample(families[current], current, role, line)


def add_sample(family: Family, name: str, role: str, line: str) -> None:
    match = SAMPLE_LINE.match(line)
    assert match is not None, line
    sample_name, label_text, value = match.groups()
    part = sample_name[len(name) :]
    labels = read_labels(label_text or "")
    if part == "_sum":
        family.sums.setdefault(role, {})[labels] = float(value)
    elif part == "_count" or (part == "" and family.kind not in {"histogram", "summary"}):
        family.series.setdefault(role, {})[labels] = float(value)


def shape_of(name: str, kind: str, value: float, of_kind: str) -> str:
    """Guess how a value of this family moves from its name, type and size."""
    if kind in {"histogram", "summary"}:
        return kind
    if name.endswith("up_time"):
        return "uptime"
    if "last_tick_time" in name:
        return "unix_ns"
    if name.endswith(("start_time_seconds", "last_gc_time_seconds")):
        return "unix_s"
    if kind == "counter":
        return "seconds" if re.search(r"latency|_time$|cpu_seconds", name) else "rising"
    if value == 0 or FIXED_GAUGE.search(name) or of_kind == "total":
        return "fixed"
    if RISING_GAUGE.search(name) or name.endswith("net_state"):
        return "rising"
    return gauge_shape(value)


def gauge_shape(value: float) -> str:
    if value < 1:
        return "ratio"
    return "fixed" if value < SMALL_GAUGE and value == int(value) else "wave"


def rows_of(name: str, family: Family) -> list[str]:
    """Return the rows of one family, roles with equal labels and magnitudes merged."""
    rows: dict[str, str] = {}
    for role, series in family.series.items():
        for tail in role_rows(name, family, role, series):
            rows[tail] = rows.get(tail, "") + ROLE_LETTERS[role]
    return [
        f"{name} {family.kind} {roles} {tail}"
        for tail, roles in sorted(rows.items(), key=lambda row: row[0])
    ]


def role_rows(name: str, family: Family, role: str, series: dict[Labels, float]) -> list[str]:
    groups: dict[str, list[Labels]] = {}
    everywhere = max(max(values.values()) for values in family.series.values())
    for labels, value in series.items():
        own = value if "kind" in dict(labels) else everywhere
        groups.setdefault(value_columns(name, family, role, labels, own), []).append(labels)
    return [
        f"{text} {columns}" for columns, sets in groups.items() for text in compact_labels(sets)
    ]


def value_columns(name: str, family: Family, role: str, labels: Labels, value: float) -> str:
    shape = shape_of(name, family.kind, value, dict(labels).get("kind", ""))
    columns = f"{shape} {round_to_magnitude(value):g}"
    if shape in {"histogram", "summary"}:
        count = family.series[role][labels]
        mean = family.sums[role][labels] / count if count else 0.01
        columns += f" {round_to_magnitude(mean):g}"
    return columns


def compact_labels(sets: list[Labels]) -> list[str]:
    """Write label sets as one product of alternatives when they are one, else one by one."""
    names = [n for n, _ in sets[0]]
    values = [list(dict.fromkeys(dict(s)[n] for s in sets)) for n in names]
    product = {tuple(zip(names, choice, strict=True)) for choice in itertools.product(*values)}
    if product == set(sets):
        return [",".join(f"{n}={'|'.join(v)}" for n, v in zip(names, values, strict=True)) or "-"]
    return [",".join(f"{n}={v}" for n, v in s) for s in sets]


def main(arguments: list[str]) -> None:
    families: dict[str, Family] = {}
    for argument in arguments:
        role, _, path = argument.partition("=")
        read_page(families, role, Path(path).read_text(encoding="utf-8"))
    print(HEADER, end="")
    for name in sorted(families):
        print("\n".join(rows_of(name, families[name])))


if __name__ == "__main__":
    main(sys.argv[1:])
