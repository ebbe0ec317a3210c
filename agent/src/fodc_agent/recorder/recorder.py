# SPDX-License-Identifier: Apache-2.0
"""The flight recorder: newest values, a window of history and a budget that it never exceeds.

The one idea: every source has its own rows with its own times, all sources share one budget, and
whatever must go is the oldest row of all. The budget counts names and caches as well as rows, so
that it is what the process pays; a series whose name does not fit is refused and counted.

There are two times: `at_ms` is the wall clock's and for people, `arrived_ms` counts on a clock that
never steps and decides what is old.
"""

from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from fodc_agent.recorder.journal_records import Definition
from fodc_agent.recorder.openmetrics import NameFacts
from fodc_agent.recorder.rendering import merge_sources
from fodc_agent.recorder.restoration import Restoration
from fodc_agent.recorder.track import PageReport, StoredRow, Track
from fodc_agent.recorder.window import Picks, Window, absent_row
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import Labels, Sample, Series
from fodc_protocol.steps import run_through

_RECENT_S: Final = 120  # newest rows that stay uncompressed, if the budget has room for them
_RECENT_SHARE: Final = 8  # ... which is one part in eight of it
_PIECE_CELLS: Final = 1 << 17
_PIECE_SERIES: Final = 400
_PACKED_GUESS: Final = 3.5  # bytes per sample before anything has been compressed
_NAMES_SHARE: Final = 0.75  # of the budget for the names of one source and all others ...
_LEAST_SHARE: Final = 0.9  # ... and for the few that each source may have beyond that
_RESTORED_SHARE: Final = 0.5  # what names of an earlier life may fill
_LEAST_SERIES_BYTES: Final = 512


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
    """How far back the history goes and what it costs; times are 0 when it is empty.

    `refused` series of the newest pages have no room; `reachable_s` is how much history the budget
    holds at the pace of now, None while nothing is known.
    """

    oldest_ms: int
    newest_ms: int
    series: int
    rows: int
    samples: int
    bytes: int
    budget_bytes: int
    target_s: float
    reachable_s: float | None
    refused: int


class Diary(Protocol):
    """Where rows are written so that they outlive the process."""

    def append(
        self,
        source: str,
        at_ms: int,
        row: "array[float]",
        fresh: Sequence[Definition],
        everything: Callable[[], Iterable[Definition]],
    ) -> bool:
        """Write one row with the series new in it; say whether that was possible."""


class _Answers:
    """What the tracks of a recorder are asked for."""

    _tracks: dict[str, Track]

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

    def names(self) -> list[NameFacts]:
        """Return every sample name that has history, in order of appearance, each once.

        The first source that gives a type and a help decides them.
        """
        found: dict[str, NameFacts] = {}
        for track in self._tracks.values():
            for one in track.columns.names():
                known = found.get(one.name)
                found[one.name] = one if known is None else known.with_more(one)
        return list(found.values())

    def value(
        self, name: str, match: Mapping[str, str] | None = None, source: str | None = None
    ) -> float | None:
        """Return the value of the first match in order of appearance, None without any (W-09)."""
        return next((sample.value for sample in self.values(name, match, source)), None)

    def window(
        self, start_ms: int, end_ms: int, names: frozenset[str] | None = None
    ) -> Iterator[WindowColumns]:
        """Yield the history with start <= time <= end in bounded pieces, times ascending.

        `names` are exact sample names. A series without a sample in that time is left out. Rows
        recorded while the pieces are consumed do not appear, rows that leave the window meanwhile
        are missing from later pieces.
        """
        for source, track in list(self._tracks.items()):
            picks = track.window.pick(start_ms, end_ms)
            yield from _pieces(source, track, picks, track.chosen_columns(names))

    def _one(self, source: str) -> Iterable[Track]:
        track = self._tracks.get(source)
        return () if track is None else (track,)


class Recorder(_Answers):
    """Records pages and samples of named sources and answers for newest values and history.

    `budget_bytes` bounds names, rows and caches; `interval_s` is the usual scrape interval;
    `target_s` how much history is wanted; a series absent for `stale_after` scrapes leaves the
    latest values; more than `max_series` series are refused and counted, but each source may have
    `least_series` as long as the budget lasts, so that a huge page silences nobody.

    A `diary` is told each row; what an earlier life told it comes back through `restoration`.
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
        diary: Diary | None = None,
    ) -> None:
        if interval_s <= 0:
            raise ValueError(f"interval_s must be above 0, got {interval_s}")
        self.budget_bytes = budget_bytes
        self.interval_s = interval_s
        self.target_s = target_s
        self._stale_after = stale_after
        self._max_series = max_series
        self._least_series = least_series
        self.diary = diary
        self._tracks = {}
        self._restoration: Restoration | None = None
        self._shared_identity: Labels = ()
        self._identities: dict[str, Labels] = {}
        self._age_ms = 0
        self._first_ms: int | None = None

    # ---- recording --------------------------------------------------------------------------

    def record_page(
        self, source: str, body: bytes, at_ms: int, arrived_ms: int | None = None
    ) -> PageReport:
        """Store one page of the text format in one go; never raises, whatever the bytes are."""
        return run_through(self.page_steps(source, body, at_ms, arrived_ms))

    def page_steps(
        self, source: str, body: bytes, at_ms: int, arrived_ms: int | None = None
    ) -> Generator[None, None, PageReport]:
        """Store one page in steps of a few milliseconds; nobody sees it before the last one.

        `arrived_ms` is when it came, on a clock that never steps back; None takes `at_ms` for it.
        One page of a source at a time.
        """
        track = self._prepare_track(source)
        report, stored = yield from track.take_page(body, at_ms)
        self._finish(source, track, at_ms, arrived_ms, stored)
        return report

    def record_samples(
        self, source: str, samples: Sequence[Sample], at_ms: int, arrived_ms: int | None = None
    ) -> PageReport:
        """Store one reading of a source that is no page; absent samples are left out."""
        track = self._prepare_track(source)
        report, stored = track.take_samples(samples, at_ms)
        self._finish(source, track, at_ms, arrived_ms, stored)
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

    def _prepare_track(self, source: str) -> Track:
        """Return the track with the room for series that the others leave."""
        track = self._track(source)
        columns = track.columns
        others = [other for other in self._tracks.values() if other is not track]
        series = sum(len(other.columns) for other in others)
        columns.limit = max(self._least_series, self._max_series - series)
        taken = sum(other.table_bytes for other in others) + track.table_bytes - columns.name_bytes
        least = min(
            self._least_series * _LEAST_SERIES_BYTES, self.budget_bytes * _LEAST_SHARE - taken
        )
        columns.room_bytes = int(max(self.budget_bytes * _NAMES_SHARE - taken, least))
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

    def _advance(self, arrived_ms: int) -> int:
        """Return the age stamp of a row that came then; 0 is the last one of an earlier life.

        Between the two an interval is taken to have passed, however long the agent was away.
        """
        if self._first_ms is None:
            self._first_ms = arrived_ms - int(self.interval_s * 1000)
        self._age_ms = max(self._age_ms, arrived_ms - self._first_ms)
        return self._age_ms

    def _finish(
        self, source: str, track: Track, at_ms: int, arrived_ms: int | None, stored: StoredRow
    ) -> None:
        age_ms = self._advance(at_ms if arrived_ms is None else arrived_ms)
        if stored.row:
            track.window.append(at_ms, age_ms, stored.row, stored.present)
            if self.diary is not None:
                fresh = [(column, track.columns.series(column)) for column in stored.fresh]
                self.diary.append(source, at_ms, stored.row, fresh, lambda: _all_series(track))
        self._fit(track)
        for each in self._tracks.values():
            each.release()

    # ---- the budget -------------------------------------------------------------------------

    def resize(self, budget_bytes: int) -> None:
        """Take another budget; a source whose names do not fit a smaller one starts anew."""
        self.budget_bytes = budget_bytes
        by_size = sorted(self._tracks.items(), key=lambda pair: pair[1].table_bytes)
        while by_size and self._names_bytes() > budget_bytes * _LEAST_SHARE:
            source, track = by_size.pop()
            if not track.busy:
                del self._tracks[source]

    def _fit(self, newest: Track) -> None:
        """Compress what is no longer recent, then drop the oldest rows until the budget holds."""
        newest.window.recent_rows = self._recent_rows()
        newest.window.pack()
        oldest_age_ms = self._age_ms - int(self.target_s * 1000)
        for window in self._windows():
            while len(window) and window.oldest_age_ms < oldest_age_ms:
                window.drop_oldest()
        while self._bytes() > self.budget_bytes:
            held = [window for window in self._windows() if len(window)]
            if not held:
                return
            min(held, key=lambda window: window.oldest_age_ms).drop_oldest()

    def _windows(self) -> list[Window]:
        windows = [track.window for track in self._tracks.values()]
        if self._restoration is not None:
            windows += self._restoration.windows()
        return windows

    def _recent_rows(self) -> int:
        wanted = int(_RECENT_S / self.interval_s)
        width = sum(each.columns.width for each in self._tracks.values())
        affordable = self.budget_bytes // _RECENT_SHARE // (8 * max(1, width))
        return max(1, min(wanted, affordable))

    def _bytes(self) -> int:
        return self._names_bytes() + sum(window.bytes for window in self._windows())

    def _names_bytes(self) -> int:
        return sum(each.table_bytes for each in self._tracks.values())

    def extent(self) -> WindowExtent:
        """Return size, cost and reach of the history; `reachable_s` is what the budget allows."""
        tracks = self._tracks.values()
        spans = [(min(times), max(times)) for track in tracks if (times := track.window.times_ms())]
        return WindowExtent(
            oldest_ms=min((oldest for oldest, _ in spans), default=0),
            newest_ms=max((newest for _, newest in spans), default=0),
            series=sum(len(track.columns) for track in tracks),
            rows=sum(len(track.window) for track in tracks),
            samples=sum(track.window.samples for track in tracks),
            bytes=self._bytes(),
            budget_bytes=self.budget_bytes,
            target_s=self.target_s,
            reachable_s=_reachable_s(
                self._tracks.values(),
                self.budget_bytes - self._names_bytes(),
                target_s=self.target_s,
                age_ms=self._age_ms,
                interval_s=self.interval_s,
            ),
            refused=sum(track.refused for track in tracks),
        )

    # ---- an earlier life ----------------------------------------------------------------------

    def restoration(self, times_ms: Sequence[int]) -> Restoration:
        """Begin to take over rows of an earlier life; `times_ms` are the times of all of them.

        They are history once `Restoration.join` was called, and what is recorded meanwhile stays
        behind them.
        """
        self._restoration = Restoration(
            times_ms,
            pause_ms=int(self.interval_s * 1000),
            target_ms=int(self.target_s * 1000),
            track=self._prepare_track,
            room_bytes=lambda: int(self.budget_bytes * _RESTORED_SHARE) - self._names_bytes(),
            stored=self._fit,
            joined=self._joined,
        )
        return self._restoration

    def _joined(self) -> None:
        self._restoration = None


def _all_series(track: Track) -> Iterator[tuple[int, Series]]:
    return ((column, track.columns.series(column)) for column in track.columns.assigned())


def _reachable_s(
    tracks: Iterable[Track], room_bytes: int, *, target_s: float, age_ms: int, interval_s: float
) -> float | None:
    """Return how much history the room holds at the pace of now, None without a series."""
    seen = [track for track in tracks if len(track.columns)]
    if not seen:
        return None
    cost_per_s = sum(_row_cost(one) / _pace_s(one, age_ms, interval_s) for one in seen)
    return max(0.0, min(target_s, room_bytes / cost_per_s))


def _pace_s(track: Track, age_ms: int, interval_s: float) -> float:
    """Return the mean time between two rows of a source."""
    rows = len(track.window)
    if rows < 2:
        return interval_s
    return max(0.1, (age_ms - track.window.oldest_age_ms) / 1000 / (rows - 1))


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
