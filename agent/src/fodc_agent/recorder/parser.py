# SPDX-License-Identifier: Apache-2.0
r"""From a page of the text format to a row of doubles.

The one idea: what stands before the last blank of a sample line is the same in every scrape, so a
dictionary from those bytes to a column replaces parsing. Whatever is not in the dictionary goes
through the strict grammar in `lines`; a line that breaks it is skipped and counted, the page goes
on (W-08).

A prefix enters the dictionary only after the strict grammar has accepted it as a whole name with
labels, followed by one blank and the value. Then "prefix, blank, number" can be read in no other
way. Values are what `float` takes, underscores included, and hexadecimal floats, as upstream
accepts them.
"""

import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fodc_agent.recorder.columns import NO_COLUMN, Columns
from fodc_agent.recorder.lines import (
    Comment,
    SampleLine,
    SkipReason,
    Strings,
    read_comment,
    read_sample,
)
from fodc_agent.recorder.window import absent_row
from fodc_protocol.metrics.families import component_base
from fodc_protocol.metrics.samples import ABSENT, MetricType, Series

_CHUNK_BYTES: Final = 1 << 16
_SHARED_PAIRS: Final = 1 << 12
_HASH: Final = ord("#")
_SPARE_ENTRIES: Final = 1024  # cached lines beyond one per series: other spellings, refused series


@dataclass(frozen=True, slots=True)
class ParsedPage:
    """One page: the row, how many lines filled it, what was left out and why."""

    row: "array[float]"
    samples: int
    refused: int
    skipped: Mapping[SkipReason, int]


class PageParser:
    """Parser of one source; it learns the layout of that source's pages."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._prefixes: dict[bytes, int] = {}
        self._refused: set[bytes] = set()
        self._declarations = _Declarations(columns)

    def parse(self, body: bytes) -> ParsedPage:
        """Return the row of `body`; never raises, whatever the bytes are.

        The last of several lines for one series wins. `samples` counts lines with a value,
        `refused` those of series for which the table has no room.
        """
        page = _Page(absent_row(self._columns.width))
        prefixes, row = self._prefixes, page.row
        known = 0
        for chunk in _chunks(body):
            for line in chunk:
                prefix, _, text = line.rpartition(b" ")
                column = prefixes.get(prefix)
                if column is not None:
                    try:
                        row[column] = float(text)
                    except ValueError:
                        pass
                    else:
                        known += 1
                        continue
                if line:
                    self._unknown_line(line, prefix, page)
        return ParsedPage(row, page.samples + known, page.refused, page.skipped)

    def forget(self, freed: set[int]) -> None:
        """Drop what leads to columns that have been freed."""
        self._prefixes = {
            prefix: column for prefix, column in self._prefixes.items() if column not in freed
        }
        self._refused.clear()

    def _unknown_line(self, line: bytes, prefix: bytes, page: "_Page") -> None:
        if line[0] == _HASH:
            self._declarations.take(line)
        elif prefix in self._refused:
            page.refused += 1
        elif not self._stamped_line(line, prefix, page):
            self._cold_line(line, page)

    def _stamped_line(self, line: bytes, prefix: bytes, page: "_Page") -> bool:
        """Read "known prefix, blank, value, blank, timestamp" and drop the timestamp."""
        known, _, text = prefix.rpartition(b" ")
        column = self._prefixes.get(known)
        if column is None or not line[len(prefix) + 1 :].removeprefix(b"-").isdigit():
            return False
        try:
            page.row[column] = float(text)
        except ValueError:
            return False
        page.samples += 1
        return True

    def _cold_line(self, line: bytes, page: "_Page") -> None:
        if len(page.strings) >= _SHARED_PAIRS:
            # Pairs that are met once only, such as ids, must not cost more than the page itself.
            page.strings.clear()
        sample = read_sample(line, page.strings)
        if isinstance(sample, SkipReason):
            if sample is not SkipReason.BLANK:
                page.skipped[sample] += 1
            return
        kind, text = self._declarations.of(sample.name)
        column = self._columns.resolve(Series(sample.name, sample.labels, kind, text))
        self._remember(sample, column)
        if column == NO_COLUMN:
            page.refused += 1
            return
        if column >= len(page.row):
            page.row.extend(absent_row(column + 1 - len(page.row)))
        page.row[column] = sample.value
        page.samples += 1

    def _remember(self, sample: SampleLine, column: int) -> None:
        if not sample.prefix:
            return
        room = 2 * self._columns.limit + _SPARE_ENTRIES
        if len(self._prefixes) + len(self._refused) >= room:
            # Odd spellings filled the cache: start over, the next page pays the strict grammar.
            self._prefixes.clear()
            self._refused.clear()
        if column == NO_COLUMN:
            self._refused.add(sample.prefix)
        else:
            self._prefixes[sample.prefix] = column


class _Page:
    """What is gathered while one page is read."""

    __slots__ = ("refused", "row", "samples", "skipped", "strings")

    def __init__(self, row: "array[float]") -> None:
        self.row = row
        self.samples = 0
        self.refused = 0
        self.skipped: Counter[SkipReason] = Counter()
        self.strings: Strings = {}


class _Declarations:
    """HELP and TYPE lines seen so far; a repeated line costs one look-up."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._lines: set[bytes] = set()
        self._types: dict[str, MetricType] = {}
        self._helps: dict[str, str] = {}

    def take(self, line: bytes) -> None:
        if line in self._lines:
            return
        comment = read_comment(line)
        if comment is None:
            return
        if len(self._lines) > self._columns.limit + _SPARE_ENTRIES:
            self._lines.clear()
            self._types.clear()
            self._helps.clear()
        self._lines.add(line)
        self._apply(comment, line)

    def of(self, name: str) -> tuple[MetricType, str]:
        """Return type and help of a sample name; components take those of their family."""
        kind = self._types.get(name)
        if kind is not None:
            return kind, self._helps.get(name, "")
        base = component_base(name)
        kind = self._types.get(base)
        if kind is MetricType.HISTOGRAM or (
            kind is MetricType.SUMMARY and not name.endswith("_bucket")
        ):
            return kind, self._helps.get(base, "")
        return MetricType.UNSPECIFIED, self._helps.get(name, "")

    def _apply(self, comment: Comment, line: bytes) -> None:
        if comment.type is None:
            changed = self._helps.get(comment.name) not in (None, comment.help)
            self._helps[comment.name] = comment.help
        else:
            changed = self._types.get(comment.name) not in (None, comment.type)
            self._types[comment.name] = comment.type
        if changed:
            # The old line may come back and must then count as news again.
            self._lines = {line}
        for suffix in ("", "_bucket", "_sum", "_count"):
            name = comment.name + suffix
            self._columns.describe(name, *self.of(name))


def _chunks(body: bytes) -> Iterator[list[bytes]]:
    """Yield the lines of `body` in portions, so that a large page is not in memory twice.

    Lines end with a newline; a carriage return before it is a blank. A page without any newline
    may end its lines with carriage returns alone (T-PARSE-28).
    """
    end = b"\n" if b"\n" in body else b"\r"
    start = 0
    while start < len(body):
        stop = body.find(end, start + _CHUNK_BYTES)
        stop = len(body) if stop < 0 else stop
        yield body[start:stop].split(end)
        start = stop + 1


_ABSENT_BYTES: Final = array("d", [ABSENT]).tobytes()
_ABSENT_BITS: Final = int.from_bytes(_ABSENT_BYTES, sys.byteorder)


def missing_columns(row: "array[float]") -> list[int]:
    """Return the columns in which `row` holds no sample, ascending."""
    if _ABSENT_BYTES not in row.tobytes():
        return []
    cells = memoryview(row).cast("B").cast("Q")
    return [column for column, cell in enumerate(cells) if cell == _ABSENT_BITS]
