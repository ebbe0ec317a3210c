# SPDX-License-Identifier: Apache-2.0
"""Takes over the rows of an earlier life while the new life records already. Pure.

The one idea: restored rows get the columns that their series have now and a window of their own,
which is put before the new one when it is complete. So replay needs no pause of the recording, and
it can be done in small steps.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from fodc_agent.recorder.columns import NO_COLUMN
from fodc_agent.recorder.journal_records import Entry, JournaledRow, JournaledSeries
from fodc_agent.recorder.parser import missing_columns
from fodc_agent.recorder.track import Track
from fodc_agent.recorder.window import Window, absent_row
from fodc_protocol.metrics.samples import Series

_CLOCK_JUMP_MS: Final = 60_000
_STEP_SERIES: Final = 500  # some 2 ms


class Restoration:
    """Rows of an earlier life on their way back."""

    def __init__(
        self,
        times_ms: Sequence[int],
        *,
        pause_ms: int,
        target_ms: int,
        track: Callable[[str], Track],
        room_bytes: Callable[[], int],
        stored: Callable[[Track], None],
        joined: Callable[[], None],
    ) -> None:
        """Take the times of all rows to come.

        Rows older than `target_ms` before the last one are left out. A jump of the clock is taken
        for `pause_ms`.
        """
        self._ages_ms = ages_ms(times_ms, pause_ms)
        self._target_ms = target_ms
        self._track = track
        self._room_bytes = room_bytes
        self._stored = stored
        self._joined = joined
        self._layouts: dict[str, _Layout] = {}
        self._place = 0
        self._rows = 0

    def windows(self) -> list[Window]:
        """Return what has been taken over so far, by source."""
        return [layout.window for layout in self._layouts.values()]

    def steps(self, entries: Iterable[Entry]) -> Iterator[None]:
        """Take some more entries of the journal; yield after each few milliseconds of work."""
        for entry in entries:
            layout = self._layouts.get(entry.source)
            if layout is None:
                layout = self._layouts[entry.source] = _Layout()
            match entry:
                case JournaledSeries():
                    layout.define(entry.column, entry.series)
                case JournaledRow():
                    yield from self._take(layout, entry)
                    yield

    def join(self) -> int:
        """Put the restored rows before those of this life; return how many there were."""
        for source, layout in self._layouts.items():
            track = self._track(source)
            track.window.join(layout.window)
            track.columns.settle(track.window.first_row + len(layout.window) - 1)
        self._joined()
        return self._rows

    def _take(self, layout: "_Layout", entry: JournaledRow) -> Iterator[None]:
        age_ms = self._ages_ms[self._place] if self._place < len(self._ages_ms) else 0
        self._place += 1
        if age_ms < -self._target_ms:
            return
        track = self._track(entry.source)
        yield from layout.resolve(track, entry.row, self._room_bytes)
        row = layout.moved(track, entry.row)
        present = len(row) - len(missing_columns(row))
        layout.window.append(entry.at_ms, age_ms, row, present)
        self._rows += 1
        self._stored(track)


class _Layout:
    """Columns of a journaled source beside the columns that the same series have now."""

    def __init__(self) -> None:
        self.window = Window(recent_rows=1)
        self._series: dict[int, Series] = {}
        self._columns: dict[int, int] = {}

    def define(self, column: int, series: Series) -> None:
        self._series[column] = series
        self._columns.pop(column, None)

    def resolve(
        self, track: Track, row: "array[float]", room_bytes: Callable[[], int]
    ) -> Iterator[None]:
        """Give every series of `row` a column, some hundred at a time."""
        unknown = range(len(row)) - self._columns.keys()
        if not unknown:
            return
        for number, column in enumerate(sorted(unknown - set(missing_columns(row)))):
            series = self._series.get(column)
            now = NO_COLUMN
            if series is not None:
                room = track.columns.name_bytes + room_bytes()
                now = track.columns.restore(series, room)
            self._columns[column] = now
            if number % _STEP_SERIES == _STEP_SERIES - 1:
                yield

    def moved(self, track: Track, old: "array[float]") -> "array[float]":
        """Return the row in the columns of now."""
        row = absent_row(track.columns.width)
        missing = set(missing_columns(old))
        for column, value in enumerate(old):
            if column not in missing:
                place = self._columns[column]
                if place != NO_COLUMN:
                    row[place] = value
        return row


def ages_ms(times_ms: Sequence[int], pause_ms: int) -> "array[int]":
    """Return the ages of rows with these wall-clock times, 0 for the last one.

    Rows of several sources come in the order of their arrival and carry the time of their start,
    so a small step back is none. A jump of the clock counts as one pause.
    """
    ages = array("q")
    newest_ms: int | None = None
    age_ms = 0
    for at_ms in times_ms:
        step = 0 if newest_ms is None else at_ms - newest_ms
        if abs(step) > max(_CLOCK_JUMP_MS, 3 * pause_ms):
            age_ms += pause_ms
            newest_ms = at_ms
        elif step > 0 or newest_ms is None:
            age_ms += step
            newest_ms = at_ms
        ages.append(age_ms)
    return array("q", [age - age_ms for age in ages])
