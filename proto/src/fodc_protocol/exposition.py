# SPDX-License-Identifier: Apache-2.0
"""The text format of `/metrics`: values, escapes, family blocks and the merged fleet page.

The one idea: an agent renders all sample lines of one family once (`FamilyBlock`), and whoever
serves a page only groups families and joins bytes. Rules: upstream-proxy §7.4, without its faults
(HELP unescaped, two TYPE lines for one name, random order of buckets).
"""

import re
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, TypeAlias

from fodc_protocol.samples import (
    Labels,
    MetricType,
    Sample,
    Series,
    component_base,
    family_name,
    is_absent,
)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


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


def is_sound(block: FamilyBlock) -> bool:
    """Say whether a block from a peer may be joined into a page without breaking others' lines.

    A cheap look, not a parse: whole lines of the announced number, none of them a comment.
    """
    text = block.text
    return (
        text[-1:] == b"\n"
        and text[:1] != b"#"
        and b"\n#" not in text
        and b"\n\n" not in text
        and text.count(b"\n") == block.samples
        and text.startswith(block.name.encode("utf-8", "replace"))
    )


# ---- values, escapes, labels ----------------------------------------------------------------


def format_value(value: float) -> str:
    """Return the shortest decimal that reads back as `value`, never with an exponent (H10).

    1e21 is written out in full, minus zero is `-0`; NaN, +Inf and -Inf as scrapers expect them.
    """
    text = repr(value)
    if text[-2:] == ".0":
        return text[:-2]
    if "e" in text:
        return _without_exponent(text)
    return _NOT_FINITE.get(text, text)


_NOT_FINITE: Final = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}


def _without_exponent(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    sign = "-" if mantissa[0] == "-" else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return sign + digits.ljust(point, "0")


def escape_value(value: str) -> str:
    """Escape backslash, quote and newline of a label value in one pass (H15)."""
    return value.translate(_VALUE_ESCAPES)


def escape_help(text: str) -> str:
    """Escape backslash and newline of a HELP text, so that no description can break a page."""
    return text.translate(_HELP_ESCAPES)


_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})
_VALUE_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_NEEDS_ESCAPE: Final = re.compile(r'[\\\n"]').search
_IS_LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*").fullmatch
_IS_METRIC_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*").fullmatch


def render_labels(labels: Labels) -> str:
    """Return `{k="v",...}` sorted by the rendered pair, "" without labels (§7.4 rule 7)."""
    if not labels:
        return ""
    if not all(map(_IS_LABEL_NAME, map(itemgetter(0), labels))):
        labels = _with_legal_names(labels)
    pairs = [
        f'{name}="{escape_value(value) if _NEEDS_ESCAPE(value) else value}"'
        for name, value in labels
    ]
    pairs.sort()
    return "{" + ",".join(pairs) + "}"


def _with_legal_names(labels: Labels) -> Labels:
    """Make every name legal; a name that then collides keeps its first value."""
    legal: dict[str, str] = {}
    for name, value in labels:
        legal.setdefault(_legal(name, r"[^a-zA-Z0-9_]"), value)
    return tuple(legal.items())


def _legal(name: str, illegal: str) -> str:
    clean = re.sub(illegal, "_", name)
    return f"_{clean}" if not clean or clean[0].isdigit() else clean


def sample_prefix(name: str, labels: Labels) -> str:
    """Return what stands before the blank and the value of a sample line.

    Characters that a scraper would refuse become `_`: one odd name must not cost the page.
    """
    return _metric_name(name) + render_labels(labels)


def _metric_name(name: str) -> str:
    return name if _IS_METRIC_NAME(name) else _legal(name, r"[^a-zA-Z0-9_:]")


# ---- blocks of one agent --------------------------------------------------------------------

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
        key = (family_name(series.name, series.type), series.type == 0)
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
    return FamilyBlock(_metric_name(name), family.type, family.help, text, len(lines))


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


# ---- the page of many agents ----------------------------------------------------------------

_COMPONENTS: Final = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.SUMMARY: ("_sum", "_count"),
}
_Grouped: TypeAlias = dict[str, list[FamilyBlock]]


class FleetPage:
    """Collects the blocks of many agents and renders one page, family by family.

    `add` takes one agent after the other, so that a server can let others run in between; the
    order of agents is the order of samples inside a family.
    """

    __slots__ = ("_typed", "_untyped")

    def __init__(self) -> None:
        self._typed: _Grouped = {}
        self._untyped: _Grouped = {}

    def add(self, page: Iterable[FamilyBlock]) -> None:
        """Take the blocks of one more agent."""
        typed = self._typed
        for block in page:
            groups = typed if block.type else self._untyped
            known = groups.get(block.name)
            if known is None:
                groups[block.name] = [block]
            else:
                known.append(block)

    def families(self) -> Iterator[bytes]:
        """Yield HELP, TYPE and samples of each family: typed, guessed histograms, gauges (§7.4)."""
        typed = _with_legal_keys(self._typed)
        _absorb_components(typed)
        rest = _join_typed(typed, _with_legal_keys(self._untyped))
        histograms, gauges = _guessed(rest)
        for name in sorted(typed):
            yield _rendered(name, _type_of(typed[name]), typed[name])
        for name in sorted(histograms):
            yield _rendered(name, MetricType.HISTOGRAM, histograms[name])
        for name in sorted(gauges):
            yield _rendered(name, MetricType.GAUGE, gauges[name])


def merge(pages: Iterable[Iterable[FamilyBlock]]) -> Iterator[bytes]:
    """Yield the page of all agents family by family; agents keep the given order (§7.4)."""
    fleet = FleetPage()
    for page in pages:
        fleet.add(page)
    yield from fleet.families()


def render_page(blocks: Iterable[FamilyBlock]) -> bytes:
    """Return the page of one agent."""
    return b"".join(merge((blocks,)))


def _with_legal_keys(groups: _Grouped) -> _Grouped:
    """Copy the groups; names that become equal once they are legal share one."""
    legal: _Grouped = {}
    for name, blocks in groups.items():
        legal.setdefault(_metric_name(name), []).extend(blocks)
    return legal


def _rendered(name: str, kind: MetricType, blocks: list[FamilyBlock]) -> bytes:
    text = next((block.help for block in blocks if block.help), "")
    head = f"# HELP {name} {escape_help(text)}\n" if text else ""
    parts = [f"{head}# TYPE {name} {kind.text}\n".encode("utf-8", "replace")]
    parts.extend([block.text for block in blocks])
    return b"".join(parts)


def _type_of(blocks: list[FamilyBlock]) -> MetricType:
    """Return the first type that was given: a conflicting later one is merged under it."""
    return next(block.type for block in blocks if block.type)


def _absorb_components(typed: _Grouped) -> None:
    """Put a typed `x_count` under a histogram `x`: a second TYPE for it would break parsers."""
    for name in list(typed):
        base = component_base(name)
        if base in typed and name.endswith(_COMPONENTS.get(_type_of(typed[base]), ("\0",))):
            typed[base].extend(typed.pop(name))


def _join_typed(typed: _Grouped, untyped: _Grouped) -> _Grouped:
    """Let untyped samples of mixed agent versions join their typed family; return the others."""
    rest: _Grouped = {}
    for name, blocks in untyped.items():
        home = typed.get(name) or typed.get(component_base(name))
        if home is None:
            rest[name] = blocks
        else:
            home.extend(blocks)
    return rest


def _guessed(untyped: _Grouped) -> tuple[_Grouped, _Grouped]:
    """Split into histograms (guessed from the suffix) and gauges.

    Where the bare name exists as well there is no guess: `x` and `x_bucket` are then gauges, each
    with one TYPE. Upstream printed `x` as a histogram and once more as a gauge.
    """
    histograms: _Grouped = {}
    gauges: _Grouped = {}
    for name in sorted(untyped):
        base = component_base(name)
        if base and base not in untyped:
            histograms.setdefault(base, []).extend(untyped[name])
        else:
            gauges[name] = untyped[name]
    return histograms, gauges
