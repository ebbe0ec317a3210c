# SPDX-License-Identifier: Apache-2.0
"""Everything the recorder holds about one source: columns, parser, window, newest values.

The one idea: one page is one row, taken in one step without interruption, so whoever asks sees all
of it or nothing of it (W-61).
"""

from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from fodc_agent.recorder.columns import NO_COLUMN, Columns
from fodc_agent.recorder.lines import SkipReason
from fodc_agent.recorder.parser import PageParser, ParsedPage, missing_columns
from fodc_agent.recorder.rendering import Renderer, with_identity
from fodc_agent.recorder.window import Window, absent_row
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import Labels, Sample, Series, is_absent


@dataclass(frozen=True, slots=True)
class PageReport:
    """What became of one page.

    `series` present on it, `new_series` never seen before (or forgotten since), lines `skipped` by
    reason, `duplicates` overwritten by a later line, `dropped` because the table is full, `unread`
    because the page brought too many new ones.
    """

    series: int
    new_series: int
    skipped: Mapping[SkipReason, int]
    duplicates: int
    dropped: int
    unread: int = 0


@dataclass(frozen=True, slots=True)
class StoredRow:
    """The row a page became, empty if it held nothing, with the columns new in it."""

    row: "array[float]"
    present: int
    fresh: Sequence[int]


class Track:
    """State of one source. `table_bytes` is what it costs beside its rows.

    `refused` counts the series of the newest page for which there was no room; `busy` is true while
    a page is being read.
    """

    def __init__(self, *, stale_after: int, recent_rows: int) -> None:
        self.columns = Columns(stale_after=stale_after)
        self.window = Window(recent_rows=recent_rows)
        self.at_ms: int | None = None
        self.identity: Labels = ()
        self.refused = 0
        self.busy = False
        self._parser = PageParser(self.columns)
        self._renderer = Renderer(self.columns)
        self._latest = array("d")

    @property
    def table_bytes(self) -> int:
        """Estimated cost of names, labels and caches."""
        return self.columns.name_bytes + 8 * len(self._latest)

    # ---- taking rows ------------------------------------------------------------------------

    def take_page(
        self, body: bytes, at_ms: int
    ) -> Generator[None, None, tuple[PageReport, StoredRow]]:
        """Parse and store one page in steps of a few milliseconds; its row comes at the end."""
        self.busy = True
        try:
            with self._all_or_nothing():
                page = yield from self._parser.steps(body)
        finally:
            self.busy = False
        return self._store(page, at_ms)

    def take_samples(self, samples: Iterable[Sample], at_ms: int) -> tuple[PageReport, StoredRow]:
        """Store samples that another source of the agent took."""
        with self._all_or_nothing():
            page = self._collect(samples)
        return self._store(page, at_ms)

    def missed(self) -> None:
        """Count one scrape that brought nothing."""
        self.columns.page_missed()

    def release(self) -> set[int]:
        """Free columns whose history has left the window; return them."""
        if self.busy:
            return set()  # The page that is being read may bring one of them back.
        freed = self.columns.release(self.window.first_row)
        if freed:
            self._parser.forget(freed)
        return freed

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Free the new columns of a page that breaks halfway, so that nobody reads half of it."""
        try:
            yield
        except BaseException:
            self._parser.forget(self.columns.drop_fresh())
            raise

    def _collect(self, samples: Iterable[Sample]) -> ParsedPage:
        row = absent_row(self.columns.width)
        taken = refused = 0
        for sample in samples:
            if is_absent(sample.value):
                continue
            column = self.columns.resolve(_sorted(sample.series))
            if column == NO_COLUMN:
                refused += 1
                continue
            if column >= len(row):
                row.extend(absent_row(column + 1 - len(row)))
            row[column] = sample.value
            taken += 1
        return ParsedPage(row, taken, refused, 0, {})

    def _store(self, page: ParsedPage, at_ms: int) -> tuple[PageReport, StoredRow]:
        """Make the row the newest one; its age is the time at which it is appended."""
        row = page.row
        # Series of an earlier life may have got columns while the page was read.
        row.extend(absent_row(self.columns.width - len(row)))
        missing = missing_columns(row)
        present = len(row) - len(missing)
        self.columns.page_seen(missing, self.window.next_row)
        fresh = self.columns.take_fresh()
        self._remember(row)
        self.refused = page.refused
        if present:
            self.at_ms = at_ms
        duplicates = page.samples - present
        report = PageReport(
            present, len(fresh), page.skipped, duplicates, page.refused, page.unread
        )
        return report, StoredRow(row if present else array("d"), present, fresh)

    def _remember(self, row: "array[float]") -> None:
        """Keep the newest value of every series, also of one that missed this page."""
        latest = row[:]
        known = len(self._latest)
        for column in self.columns.absent:
            if column < known:
                latest[column] = self._latest[column]
        self._latest = latest

    # ---- reading ----------------------------------------------------------------------------

    def set_identity(self, identity: Labels) -> None:
        """Change the labels that every series gets on its way out."""
        if identity != self.identity:
            self.identity = identity
            self._renderer.forget()

    def blocks(self) -> Iterator[FamilyBlock]:
        """Yield the newest values as family blocks."""
        if not self.columns.outage:
            yield from self._renderer.blocks(self._latest, self.identity)

    def latest_samples(self) -> Iterator[Sample]:
        """Yield the newest values with identity labels, families in order of appearance."""
        if self.columns.outage:
            return
        for family in self.columns.families():
            for column in self.columns.visible(family):
                yield Sample(self.series(column), self._latest[column])

    def named(self, name: str) -> Iterator[Sample]:
        """Yield the newest values of one exact sample name."""
        for column in self.columns.of_name(name):
            if not self.columns.is_stale(column):
                yield Sample(self.series(column), self._latest[column])

    def series(self, column: int) -> Series:
        """Return the series of a column with identity labels."""
        return with_identity(self.columns.series(column), self.identity)

    def chosen_columns(self, names: frozenset[str] | None) -> list[int]:
        """Return the columns of the given sample names, ascending; all of them for None."""
        if names is None:
            return list(self.columns.assigned())
        return sorted(column for name in names for column in self.columns.of_name(name))


def _sorted(series: Series) -> Series:
    """Return the series with its labels sorted and without empty ones."""
    labels = tuple(sorted(pair for pair in series.labels if pair[1]))
    if labels == series.labels:
        return series
    return Series(series.name, labels, series.type, series.help)
