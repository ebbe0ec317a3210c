# SPDX-License-Identifier: Apache-2.0
"""The flight recorder: newest values, a window of history and a budget that it never exceeds.

The one idea: every source has its own rows with its own times, all sources share one budget, and
whatever must go is the oldest row of all. The budget counts names and caches as well as rows, so
that it is what the process pays.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fodc_agent.recorder.columns import NO_COLUMN
from fodc_agent.recorder.journal import Journal, RestoreReport
from fodc_agent.recorder.journal_records import JournaledRow, JournaledSeries
from fodc_agent.recorder.parser import missing_columns
from fodc_agent.recorder.rendering import merge_sources
from fodc_agent.recorder.track import PageReport, StoredRow, Track
from fodc_agent.recorder.window import Picks, absent_row
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import Labels, Sample, Series

_RECENT_S: Final = 120  # newest rows that stay uncompressed, if the budget has room for them
_RECENT_SHARE: Final = 8  # ... which is one part in eight of it
_PIECE_CELLS: Final = 1 << 17
_PIECE_SERIES: Final = 400
_PACKED_GUESS: Final = 3.5  # bytes per sample before anything has been compressed


@dataclass(frozen=True, slots=True)
class Latest:
    """Newest values of all sources at one instant; `at_ms` is the time of the newest row, or 0."""

    blocks: list[FamilyBlock]
    at_ms: int


@dataclass(frozen=True, slots=True)
class WindowColumns:
    """A piece of history: some series of one source, over all rows that were asked for.

    `values` is series-major: series i has the cells from i * len(timestamps_ms). A cell is ABSENT
    where the series was not on that page.
    """

    source: str
    series: tuple[Series, ...]
    timestamps_ms: "array[int]"
    values: "array[float]"


@dataclass(frozen=True, slots=True)
class WindowExtent:
    """How far back the history goes and what it costs; times are 0 when it is empty."""

    oldest_ms: int
    newest_ms: int
    series: int
    rows: int
    samples: int
    bytes: int
    budget_bytes: int
    target_s: float
    reachable_s: float


class Recorder:
    """Records pages and samples of named sources and answers for newest values and history.

    `budget_bytes` bounds names, rows and caches; `interval_s` is the usual scrape interval;
    `target_s` how much history is wanted; a series absent for `stale_after` scrapes leaves the
    latest values; more than `max_series` series are refused and counted, but each source may have
    `least_series` whatever the others hold, so that a huge page silences nobody.
    """

    def __init__(
        self,
        *,
        budget_bytes: int,
        interval_s: float,
        target_s: float = 3600,
        stale_after: int = 3,
        max_series: int = 20_000,
        least_series: int = 0,
        journal: Journal | None = None,
    ) -> None:
        if interval_s <= 0:
            raise ValueError(f"interval_s must be above 0, got {interval_s}")
        self.budget_bytes = budget_bytes
        self.interval_s = interval_s
        self.target_s = target_s
        self._stale_after = stale_after
        self._max_series = max_series
        self._least_series = least_series
        self._journal = journal
        self._tracks: dict[str, Track] = {}
        self._shared_identity: Labels = ()
        self._identities: dict[str, Labels] = {}
        self._age_ms = 0
        self._newest_ms: int | None = None
        self.restored = self._restore(journal) if journal is not None else None

    # ---- recording --------------------------------------------------------------------------

    def record_page(self, source: str, body: bytes, at_ms: int) -> PageReport:
        """Store one page of the text format; never raises, whatever the bytes are."""
        track, age_ms = self._prepare(source, at_ms)
        report, stored = track.take_page(body, at_ms, age_ms)
        self._finish(source, track, at_ms, stored)
        return report

    def record_samples(self, source: str, samples: Sequence[Sample], at_ms: int) -> PageReport:
        """Store one reading of a source that is no page; absent samples are left out."""
        track, age_ms = self._prepare(source, at_ms)
        report, stored = track.take_samples(samples, at_ms, age_ms)
        self._finish(source, track, at_ms, stored)
        return report

    def scrape_failed(self, source: str) -> None:
        """Count one missed scrape: after `stale_after` of them the source's series go stale."""
        self._track(source).missed()

    def set_identity(self, source: str | None, labels: Labels) -> None:
        """Set the labels that every series of `source` gets on its way out; None for all sources.

        A source's own labels come first and win over the common ones; empty values are left out.
        History shows the identity of now.
        """
        if source is None:
            self._shared_identity = labels
        else:
            self._identities[source] = labels
        for name, track in self._tracks.items():
            track.set_identity(self._identity(name))

    def close(self) -> None:
        """Close the journal; what was recorded stays readable."""
        if self._journal is not None:
            self._journal.close()

    def _prepare(self, source: str, at_ms: int) -> tuple[Track, int]:
        return self._prepare_track(source), self._advance(at_ms)

    def _prepare_track(self, source: str) -> Track:
        """Return the track with the room for series that the others leave."""
        track = self._track(source)
        others = sum(len(other.columns) for other in self._tracks.values() if other is not track)
        track.columns.limit = max(self._least_series, self._max_series - others)
        return track

    def _track(self, source: str) -> Track:
        track = self._tracks.get(source)
        if track is None:
            track = Track(stale_after=self._stale_after, recent_rows=1)
            track.set_identity(self._identity(source))
            self._tracks[source] = track
        return track

    def _identity(self, source: str) -> Labels:
        own = self._identities.get(source, ())
        taken = {name for name, value in own if value}
        return own + tuple(pair for pair in self._shared_identity if pair[0] not in taken)

    def _advance(self, at_ms: int) -> int:
        """Turn the wall clock into an age that never steps: a jump counts as one interval."""
        usual_ms = int(self.interval_s * 1000)
        if self._newest_ms is not None:
            step = at_ms - self._newest_ms
            if step < 0:
                step = 0
            elif step > max(60_000, 3 * usual_ms):
                step = usual_ms
            self._age_ms += step
        self._newest_ms = at_ms
        return self._age_ms

    def _finish(self, source: str, track: Track, at_ms: int, stored: StoredRow) -> None:
        if self._journal is not None and stored.row:
            fresh = [(column, track.columns.series(column)) for column in stored.fresh]
            self._journal.append(source, at_ms, stored.row, fresh, lambda: _all_series(track))
        self._fit(track)
        for each in self._tracks.values():
            each.release()

    # ---- the budget -------------------------------------------------------------------------

    def _fit(self, newest: Track) -> None:
        """Compress what is no longer recent, then drop the oldest rows until the budget holds."""
        newest.window.recent_rows = self._recent_rows()
        newest.window.pack()
        oldest_age_ms = self._age_ms - int(self.target_s * 1000)
        for track in self._tracks.values():
            while len(track.window) and track.window.oldest_age_ms < oldest_age_ms:
                track.window.drop_oldest()
        while self._bytes() > self.budget_bytes:
            held = [track.window for track in self._tracks.values() if len(track.window)]
            if not held:
                return
            min(held, key=lambda window: window.oldest_age_ms).drop_oldest()

    def _recent_rows(self) -> int:
        wanted = int(_RECENT_S / self.interval_s)
        width = sum(each.columns.width for each in self._tracks.values())
        affordable = self.budget_bytes // _RECENT_SHARE // (8 * max(1, width))
        return max(1, min(wanted, affordable))

    def _bytes(self) -> int:
        return sum(each.window.bytes + each.table_bytes for each in self._tracks.values())

    def extent(self) -> WindowExtent:
        """Return size, cost and reach of the history; `reachable_s` is what the budget allows."""
        tracks = self._tracks.values()
        times = [at for track in tracks for at in track.window.times_ms()]
        return WindowExtent(
            oldest_ms=min(times, default=0),
            newest_ms=max(times, default=0),
            series=sum(len(track.columns) for track in tracks),
            rows=sum(len(track.window) for track in tracks),
            samples=sum(track.window.samples for track in tracks),
            bytes=self._bytes(),
            budget_bytes=self.budget_bytes,
            target_s=self.target_s,
            reachable_s=self._reachable_s(),
        )

    def _reachable_s(self) -> float:
        room = self.budget_bytes - sum(track.table_bytes for track in self._tracks.values())
        cost_per_s = sum(_row_cost(track) / self._pace_s(track) for track in self._tracks.values())
        if cost_per_s <= 0:
            return self.target_s
        return max(0.0, min(self.target_s, room / cost_per_s))

    def _pace_s(self, track: Track) -> float:
        """Return the mean time between two rows of a source."""
        rows = len(track.window)
        if rows < 2:
            return self.interval_s
        return max(0.1, (self._age_ms - track.window.oldest_age_ms) / 1000 / (rows - 1))

    # ---- reading ----------------------------------------------------------------------------

    def latest(self) -> Latest:
        """Return one coherent snapshot of the newest values, stale series left out."""
        blocks = merge_sources(block for track in self._tracks.values() for block in track.blocks())
        return Latest(blocks, max((track.at_ms or 0 for track in self._tracks.values()), default=0))

    def latest_samples(self) -> Iterator[Sample]:
        """Yield the newest values one by one, components of histograms as samples of their own."""
        for track in list(self._tracks.values()):
            yield from track.latest_samples()

    def values(
        self, name: str, match: Mapping[str, str] | None = None, source: str | None = None
    ) -> list[Sample]:
        """Return the newest values of one exact sample name, in order of appearance (T-FR-08).

        `match` compares whole label values, identity labels included; stale series are left out.
        """
        wanted = (match or {}).items()
        tracks = self._tracks.values() if source is None else self._one(source)
        return [
            sample
            for track in tracks
            for sample in track.named(name)
            if wanted <= dict(sample.series.labels).items()
        ]

    def value(
        self, name: str, match: Mapping[str, str] | None = None, source: str | None = None
    ) -> float | None:
        """Return the value of the first match in order of appearance, None without any (W-09)."""
        return next((sample.value for sample in self.values(name, match, source)), None)

    def window(
        self,
        start_ms: int,
        end_ms: int,
        names: frozenset[str] | None = None,
        max_points: int | None = None,
    ) -> Iterator[WindowColumns]:
        """Yield the history with start <= time <= end in bounded pieces, times ascending.

        `names` are exact sample names. `max_points` thins each source's rows evenly. A series
        without a sample in that time is left out. Rows recorded while the pieces are consumed do
        not appear, rows that leave the window meanwhile are missing from later pieces.
        """
        for source, track in list(self._tracks.items()):
            picks = track.window.pick(start_ms, end_ms, max_points)
            yield from _pieces(source, track, picks, track.chosen_columns(names))

    def _one(self, source: str) -> Iterable[Track]:
        track = self._tracks.get(source)
        return () if track is None else (track,)

    # ---- an earlier life ----------------------------------------------------------------------

    def _restore(self, journal: Journal) -> RestoreReport:
        """Fill the window from the journal; the restored series wait to be seen again."""
        rows = 0
        layouts: dict[str, _Layout] = {}
        for entry in journal.replay():
            layout = layouts.get(entry.source)
            if layout is None:
                layout = layouts[entry.source] = _Layout(self._prepare_track(entry.source))
            match entry:
                case JournaledSeries():
                    layout.define(entry.column, entry.series)
                case JournaledRow():
                    layout.store(entry.row, entry.at_ms, self._advance(entry.at_ms))
                    self._fit(layout.track)
                    layout.release()
                    rows += 1
        for layout in layouts.values():
            layout.track.close_restore()
        return RestoreReport(rows, *journal.damage())


class _Layout:
    """Columns of a journaled source beside the columns that the same series have now."""

    def __init__(self, track: Track) -> None:
        self.track = track
        self._series: dict[int, Series] = {}
        self._columns: dict[int, int] = {}

    def define(self, column: int, series: Series) -> None:
        self._series[column] = series
        self._columns.pop(column, None)

    def store(self, old: "array[float]", at_ms: int, age_ms: int) -> None:
        missing = set(missing_columns(old))
        cells: list[tuple[int, float]] = []
        for column, value in enumerate(old):
            if column not in missing:
                cells.append((self._column(column), value))
        row = absent_row(self.track.columns.width)
        for place, value in cells:
            if place != NO_COLUMN:
                row[place] = value
        self.track.restore_row(at_ms, age_ms, row)

    def release(self) -> None:
        freed = self.track.release()
        if freed:
            kept = {old: now for old, now in self._columns.items() if now not in freed}
            self._columns = kept

    def _column(self, old: int) -> int:
        now = self._columns.get(old)
        if now is None:
            series = self._series.get(old)
            now = NO_COLUMN if series is None else self.track.columns.resolve(series)
            self._columns[old] = now
        return now


def _all_series(track: Track) -> Iterator[tuple[int, Series]]:
    return ((column, track.columns.series(column)) for column in track.columns.assigned())


def _row_cost(track: Track) -> float:
    packed = track.window.packed_row_bytes or track.columns.width * _PACKED_GUESS
    return packed + 64


def _pieces(source: str, track: Track, picks: Picks, columns: list[int]) -> Iterator[WindowColumns]:
    at = 0
    while at < len(columns):
        # Time passes between two pieces: rows that have left the window since are left out.
        picks = track.window.held(picks)
        if not picks.rows:
            return
        size = max(1, min(_PIECE_SERIES, _PIECE_CELLS // len(picks.rows)))
        piece = _piece(source, track, picks, columns[at : at + size])
        if piece.series:
            yield piece
        at += size


def _piece(source: str, track: Track, picks: Picks, columns: list[int]) -> WindowColumns:
    """Gather some columns and leave out those that hold nothing in these rows."""
    points = len(picks.rows)
    cells = track.window.gather(picks, columns)
    nothing = absent_row(points).tobytes()
    series: list[Series] = []
    values = array("d")
    for place, column in enumerate(columns):
        part = cells[place * points : (place + 1) * points]
        if part.tobytes() != nothing:
            series.append(track.series(column))
            values.extend(part)
    return WindowColumns(source, tuple(series), picks.timestamps_ms, values)
