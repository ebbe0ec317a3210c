# SPDX-License-Identifier: Apache-2.0
"""Families: which one a sample belongs to, and all sample lines of one as a block of text.

The one idea: an agent renders all sample lines of one family once (`FamilyBlock`), and whoever
serves a page only groups families and joins bytes.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Final, TypeAlias

from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.grammar import format_value, metric_name, sample_prefix
from fodc_protocol.metrics.samples import Labels, MetricType, Sample, Series, is_absent

SUFFIXES: Final[Mapping[MetricType, tuple[str, ...]]] = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.SUMMARY: ("_sum", "_count"),
}
"""Which samples a family has besides those of its own name. The one rule of suffixes."""


def component_base(name: str) -> str:
    """Return the base of a `_bucket`, `_sum` or `_count` name, "" for every other name (H09)."""
    for suffix in SUFFIXES[MetricType.HISTOGRAM]:
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return ""


def family_name(
    name: str,
    type: MetricType,  # noqa: A002 - the field's own name
    labels: Labels = (),
) -> str:
    """Return the family of a sample: histograms and summaries drop their suffix, others do not.

    A bare `_bucket` has no base and stays whole (upstream-proxy §7.4 rule 2, H09, H13), and so does
    a sample with a quantile, whose name is that of its family.
    """
    if type is MetricType.SUMMARY and any(label == "quantile" for label, _ in labels):
        return name
    for suffix in SUFFIXES.get(type, ()):
        if name.endswith(suffix):
            return name[: -len(suffix)] or name
    return name


def sample_names(family: str, type: MetricType) -> frozenset[str]:  # noqa: A002 - as above
    """Return the sample names that a family may have."""
    return frozenset({family, *(family + suffix for suffix in SUFFIXES.get(type, ()))})


@dataclass(frozen=True, slots=True)
class FamilyBlock:
    r"""All sample lines of one family of one agent, each ending in "\n", without HELP and TYPE.

    `type` UNSPECIFIED means that the sender gave no type: then `name` is the exact sample name.
    """

    name: str
    type: MetricType
    help: str
    text: bytes
    samples: int


Prefixes: TypeAlias = MutableMapping[Series, str]
"""Rendered prefixes by series: a caller who renders the same series again keeps one."""


@dataclass(slots=True)
class _Family:
    type: MetricType
    help: str
    rows: list[tuple[str, Series, float]]


def blocks_of(samples: Iterable[Sample], prefixes: Prefixes | None = None) -> list[FamilyBlock]:
    """Render samples of one agent to blocks, families in order of arrival.

    The first sample fixes a family's type, the first non-empty help its help. Absent samples are
    left out. Components of one histogram or summary stand together, buckets ascending. Pass the
    same `prefixes` again to render labels only once.
    """
    cache: Prefixes = {} if prefixes is None else prefixes
    families: dict[tuple[str, bool], _Family] = {}
    for sample in samples:
        series, value = sample.series, sample.value
        if value != value and is_absent(value):  # noqa: PLR0124 - the cheap test for NaN
            continue
        prefix = cache.get(series)
        if prefix is None:
            prefix = cache[series] = sample_prefix(series.name, series.labels)
        key = (family_name(series.name, series.type, series.labels), series.type == 0)
        family = families.get(key)
        if family is None:
            family = families[key] = _Family(series.type, series.help, [])
        elif not family.help:
            family.help = series.help
        family.rows.append((prefix, series, value))
    return [_block(name, family) for (name, _), family in families.items()]


def _block(name: str, family: _Family) -> FamilyBlock:
    rows = family.rows
    if len(rows) > 1 and _has_components(name, family.type):
        rows.sort(key=_component_order)
    lines = [f"{prefix} {format_value(value)}\n" for prefix, _, value in rows]
    text = "".join(lines).encode("utf-8", "replace")
    return FamilyBlock(metric_name(name), family.type, family.help, text, len(lines))


def _has_components(name: str, kind: MetricType) -> bool:
    match kind:
        case MetricType.HISTOGRAM | MetricType.SUMMARY:
            return True
        case MetricType.UNSPECIFIED:
            return name.endswith("_bucket")
        case _:
            return False


def _component_order(row: tuple[str, Series, float]) -> tuple[Labels, int, float]:
    """Order by instance (labels without bound), then bounds ascending, then sum and count."""
    series = row[1]
    bound = 0.0
    rest: list[tuple[str, str]] = []
    for pair in series.labels:
        if pair[0] == "le" or pair[0] == "quantile":
            bound = _bound(pair[1])
        else:
            rest.append(pair)
    rest.sort()
    place = 1 if series.name.endswith("_sum") else 2 if series.name.endswith("_count") else 0
    return tuple(rest), place, bound


def _bound(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if value == value else 0.0  # noqa: PLR0124 - NaN has no place in an order
