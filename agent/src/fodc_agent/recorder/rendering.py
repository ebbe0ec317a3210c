# SPDX-License-Identifier: Apache-2.0
"""Newest values of one source as family blocks, identity labels included.

The one idea: names and labels of a family change rarely, so they are rendered once into a template
with a gap per value, and each answer only fills the gaps. Identity stays outside the series: a new
role or tier costs new templates, no new columns.
"""

from array import array
from collections.abc import Iterator

from fodc_agent.recorder.columns import Columns, Family
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.grammar import format_values, sample_prefix
from fodc_protocol.metrics.samples import Labels, Series


def with_identity(series: Series, identity: Labels) -> Series:
    """Return `series` with the identity labels that it has not got already and that have a value.

    The series' own label wins (T-PARSE-36..39, W-07); no name appears twice.
    """
    taken = {name for name, _ in series.labels}
    added: list[tuple[str, str]] = []
    for pair in identity:
        if pair[1] and pair[0] not in taken:
            taken.add(pair[0])
            added.append(pair)
    if not added:
        return series
    return Series(series.name, (*series.labels, *added), series.type, series.help)


@dataclass(frozen=True, slots=True)
class _Template:
    version: int
    text: bytes
    columns: "array[int]"


class Renderer:
    """Templates of one source. Call `forget` when its identity changes."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._templates: dict[str, _Template] = {}

    def forget(self) -> None:
        """Render names and labels anew at the next question."""
        self._templates.clear()

    def blocks(self, latest: "array[float]", identity: Labels) -> Iterator[FamilyBlock]:
        """Yield a block for each family with a living series; `latest` is indexed by column."""
        live: dict[str, _Template] = {}
        texts = format_values(latest)
        for family in self._columns.families():
            template = self._templates.get(family.name)
            if template is None or template.version != family.version:
                template = self._template(family, identity)
            live[family.name] = template
            if template.columns:
                values = tuple([texts[column] for column in template.columns])
                text = template.text % values
                yield FamilyBlock(family.name, family.type, family.help, text, len(values))
        self._templates = live

    def _template(self, family: Family, identity: Labels) -> _Template:
        columns = array("I", self._columns.visible(family))
        lines: list[str] = []
        for column in columns:
            series = with_identity(self._columns.series(column), identity)
            prefix = sample_prefix(series.name, series.labels)
            lines.append(prefix.replace("%", "%%") + " %s\n")
        text = "".join(lines).encode("utf-8", "replace")
        return _Template(family.version, text, columns)


def merge_sources(groups: Iterator[FamilyBlock]) -> list[FamilyBlock]:
    """Join blocks of several sources that carry the same family, so that each appears once.

    The first source that gives a type and a help decides them; of two identical series the first
    source's sample stays.
    """
    families: dict[str, list[FamilyBlock]] = {}
    for block in groups:
        families.setdefault(block.name, []).append(block)
    return [blocks[0] if len(blocks) == 1 else _join(blocks) for blocks in families.values()]


def _join(blocks: list[FamilyBlock]) -> FamilyBlock:
    lines: dict[bytes, bytes] = {}
    for block in blocks:
        # Only a newline ends a line: other separators may stand inside a label's value.
        for line in block.text[:-1].split(b"\n"):
            lines.setdefault(line.rpartition(b" ")[0], line + b"\n")
    kind = next((block.type for block in blocks if block.type), blocks[0].type)
    text = next((block.help for block in blocks if block.help), "")
    return FamilyBlock(blocks[0].name, kind, text, b"".join(lines.values()), len(lines))
