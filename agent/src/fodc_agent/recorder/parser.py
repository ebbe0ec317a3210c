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
from collections.abc import Generator, Iterator, Mapping
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
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.families import component_base
from fodc_protocol.metrics.samples import ABSENT, MetricType, Series
from fodc_protocol.steps import run_through

_CHUNK_BYTES: Final = 1 << 14
_SHARED_PAIRS: Final = 1 << 12
_HASH: Final = ord("#")
_EXEMPLAR: Final = b" # {"
_SPARE_ENTRIES: Final = 1024  # cached lines beyond one per series: other spellings
_MOST_REFUSED: Final = 1 << 12
_COLD_PER_PAGE: Final = 4_000  # what a page may bring anew, time and again
_COLD_AT_ONCE: Final = 24_000  # what it may bring at its first time, or after a pause
_COLD_COST: Final = 16  # how many known lines an unknown one costs
_STEP_COST: Final = 4_096  # known lines between two breaths, some 4 ms


@dataclass(frozen=True, slots=True)
class ParsedPage:
    """One page: the row, how many lines filled it, what was left out and why.

    `refused` lines have no room, `unread` ones were new and beyond what a page may bring anew.
    """

    row: "array[float]"
    samples: int
    refused: int
    unread: int
    skipped: Mapping[SkipReason, int]


class PageParser:
    """Parser of one source; it learns the layout of that source's pages.

    Work is bounded: a page whose lines are new each time is cut, and what was left out is counted.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._prefixes: dict[bytes, int] = {}
        self._refused: set[bytes] = set()
        self._declarations = _Declarations(columns)
        self._cold_left = _COLD_AT_ONCE - _COLD_PER_PAGE

    def parse(self, body: bytes) -> ParsedPage:
        """Return the row of `body`, read in one go; never raises, whatever the bytes are."""
        return run_through(self.steps(body))

    def steps(self, body: bytes) -> Generator[None, None, ParsedPage]:
        """Read `body` and return its row; yield after each few milliseconds of work.

        Of several lines for one series the one with the newest timestamp wins, else the last.
        `samples` counts lines with a value, `refused` those of series for which there is no room.
        """
        page = _Page(absent_row(self._columns.width))
        self._cold_left = min(self._cold_left + _COLD_PER_PAGE, _COLD_AT_ONCE)
        end = b"\n" if b"\n" in body else b"\r"
        stamp = self._first_stamp(body)
        cost = 0
        for chunk in _chunks(body, end):
            cold_before = self._cold_left
            rest = self._read_stamped(chunk, stamp, page) if stamp else chunk
            if rest and stamp:
                page.stamp_present(float(stamp))
                stamp = b""
            self._read(rest.split(end), page)
            cost += chunk.count(end) + _COLD_COST * (cold_before - self._cold_left)
            if cost >= _STEP_COST:
                cost = 0
                yield
        return ParsedPage(page.row, page.samples, page.refused, page.unread, page.skipped)

    def _read(self, lines: list[bytes], page: "_Page") -> None:
        """Read lines that are mostly "known prefix, blank, value"."""
        comments = self._declarations.lines
        for line in self._unknown(iter(lines), page):
            if line and line not in comments:
                self._unknown_line(line, line.rpartition(b" ")[0], page)

    def _read_stamped(self, chunk: bytes, stamp: bytes, page: "_Page") -> bytes:
        """Read lines whose samples all end with this time; return the rest from the first other on.

        The time is taken for a part of the line's end, so what is left reads as any other line.
        """
        end = b" " + stamp + b"\n"
        *lines, tail = chunk.split(end)
        left = iter(lines)
        for line in self._unknown(left, page):
            *comments, sample = line.split(b"\n")
            if not all(map(_is_comment, comments)):
                return end.join([line, *left, tail])
            self._read([*comments, sample + end[:-1]], page)
        comments = tail.split(b"\n")
        if not all(map(_is_comment, comments)):
            return tail
        self._read(comments, page)
        return b""

    def _unknown(self, lines: Iterator[bytes], page: "_Page") -> Iterator[bytes]:
        """Take the known lines and yield the others."""
        column_of, row = self._prefixes.get, page.row
        known = 0
        for line in lines:
            prefix, _, text = line.rpartition(b" ")
            column = column_of(prefix)
            if column is not None:
                try:
                    row[column] = float(text)
                except ValueError:
                    pass
                else:
                    known += 1
                    continue
            page.samples += known
            known = 0
            yield line
        page.samples += known

    def _first_stamp(self, body: bytes) -> bytes:
        """Return the time at the end of the first sample, empty if it has none or is not known."""
        start = 0
        while body.startswith(b"#", start):
            start = body.find(b"\n", start) + 1
            if not start:
                return b""
        before, _, stamp = body[start : body.find(b"\n", start)].rpartition(b" ")
        is_known = before not in self._prefixes and before.rpartition(b" ")[0] in self._prefixes
        return stamp if is_known and _is_stamp(stamp) else b""

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
        """Read "known prefix, blank, value", then a timestamp, an exemplar or both."""
        if _EXEMPLAR in line:
            line = line.partition(_EXEMPLAR)[0]
            prefix = line.rpartition(b" ")[0]
            column = self._prefixes.get(prefix)
            if column is not None:
                return self._known_value(column, line[len(prefix) + 1 :], None, page)
        known, _, text = prefix.rpartition(b" ")
        column = self._prefixes.get(known)
        if column is None:
            if known in self._refused and _is_stamp(line[len(prefix) + 1 :]):
                page.refused += 1
                return True
            return False
        stamp = line[len(prefix) + 1 :]
        return _is_stamp(stamp) and self._known_value(column, text, float(stamp), page)

    def _known_value(self, column: int, text: bytes, stamp: float | None, page: "_Page") -> bool:
        try:
            value = float(text)
        except ValueError:
            return False
        page.put(column, value, stamp)
        return True

    def _cold_line(self, line: bytes, page: "_Page") -> None:
        if self._cold_left <= 0:
            page.unread += 1
            return
        self._cold_left -= 1
        if len(page.strings) >= _SHARED_PAIRS:
            # Pairs that are met once only, such as ids, must not cost more than the page itself.
            page.strings.clear()
        sample = read_sample(line, page.strings)
        if isinstance(sample, SkipReason):
            if sample is SkipReason.BLANK:
                self._cold_left += 1
            else:
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
        page.put(column, sample.value, sample.stamp)

    def _remember(self, sample: SampleLine, column: int) -> None:
        if not sample.prefix:
            return
        if column == NO_COLUMN:
            if len(self._refused) < _MOST_REFUSED:
                self._refused.add(sample.prefix)
            return
        if len(self._prefixes) >= len(self._columns) + _SPARE_ENTRIES:
            # Odd spellings filled the cache: start over, the next page pays the strict grammar.
            self._prefixes.clear()
        self._prefixes[sample.prefix] = column


class _Page:
    """What is gathered while one page is read."""

    __slots__ = ("refused", "row", "samples", "skipped", "stamps", "strings", "unread")

    def __init__(self, row: "array[float]") -> None:
        self.row = row
        self.samples = 0
        self.refused = 0
        self.unread = 0
        self.skipped: Counter[SkipReason] = Counter()
        self.strings: Strings = {}
        self.stamps: dict[int, float] = {}

    def put(self, column: int, value: float, stamp: float | None) -> None:
        """Take a value, unless a newer one of the same series is there."""
        self.samples += 1
        if stamp is not None:
            if stamp < self.stamps.get(column, stamp):
                return
            self.stamps[column] = stamp
        self.row[column] = value

    def stamp_present(self, stamp: float) -> None:
        """Note that all that was read so far had this time."""
        missing = set(missing_columns(self.row))
        present = (column for column in range(len(self.row)) if column not in missing)
        self.stamps = dict.fromkeys(present, stamp)


def _is_stamp(text: bytes) -> bool:
    return text.removeprefix(b"-").replace(b".", b"", 1).isdigit()


class _Declarations:
    """HELP and TYPE lines seen so far."""

    def __init__(self, columns: Columns) -> None:
        self.lines: set[bytes] = set()
        """Those that bring no news."""
        self._columns = columns
        self._types: dict[str, MetricType] = {}
        self._helps: dict[str, str] = {}

    def take(self, line: bytes) -> None:
        comment = read_comment(line)
        if comment is None:
            return
        if len(self.lines) > self._columns.limit + _SPARE_ENTRIES:
            self.lines.clear()
            self._types.clear()
            self._helps.clear()
        self.lines.add(line)
        self._apply(comment, line)

    def of(self, name: str) -> tuple[MetricType, str]:
        """Return type and help of a sample name; components take those of their family."""
        kind = self._types.get(name)
        if kind is not None:
            return kind, self._helps.get(name, "")
        base = component_base(name)
        if not base and name.endswith("_total"):
            # OpenMetrics names a counter without the suffix that its samples have.
            base = name.removesuffix("_total")
            if self._types.get(base) is MetricType.COUNTER:
                return MetricType.COUNTER, self._helps.get(name) or self._helps.get(base, "")
            return MetricType.UNSPECIFIED, self._helps.get(name, "")
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
            self.lines.clear()
            self.lines.add(line)
        for suffix in ("", "_bucket", "_sum", "_count", "_total"):
            name = comment.name + suffix
            self._columns.describe(name, *self.of(name))


def _chunks(body: bytes, end: bytes) -> Iterator[bytes]:
    """Yield whole lines of `body` in portions, so that a large page is not in memory twice.

    Lines end with a newline; a carriage return before it is a blank. A page without any newline
    may end its lines with carriage returns alone (T-PARSE-28).
    """
    start = 0
    while start < len(body):
        stop = body.find(end, start + _CHUNK_BYTES) + 1 or len(body)
        yield body[start:stop]
        start = stop


def _is_comment(line: bytes) -> bool:
    return not line or line[0] == _HASH


_ABSENT_BYTES: Final = array("d", [ABSENT]).tobytes()
_ABSENT_BITS: Final = int.from_bytes(_ABSENT_BYTES, sys.byteorder)


def missing_columns(row: "array[float]") -> list[int]:
    """Return the columns in which `row` holds no sample, ascending."""
    if _ABSENT_BYTES not in row.tobytes():
        return []
    cells = memoryview(row).cast("B").cast("Q")
    return [column for column, cell in enumerate(cells) if cell == _ABSENT_BITS]
