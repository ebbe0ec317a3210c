# SPDX-License-Identifier: Apache-2.0
"""The rows of one source in order of arrival, newest as they are, older ones compressed.

The one idea: a packed row is the difference to the *newer* row beside it, so the oldest row can
leave at any moment without touching another, and each row keeps its own timestamp (W-12). Every
30th row is a key frame, which bounds how far a query has to unroll. Rows of an earlier life are
packed the same way and can be put before these afterwards.
"""

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from fodc_agent.recorder import compression
from fodc_protocol.lean import dataclass
from fodc_protocol.metrics.samples import ABSENT

_ABSENT_CELL: Final = array("d", [ABSENT])
_ROW_OVERHEAD_BYTES: Final = 64  # bytes object, deque slot, time, age and count of one row
_RAW_OVERHEAD_BYTES: Final = 48  # what an array object costs on top of that
_PACKED_COMPACTION: Final = 256


def absent_row(width: int) -> "array[float]":
    """Return a row of `width` cells that holds no sample."""
    return _ABSENT_CELL * width


class _Integers:
    """First-in first-out queue of integers in eight bytes each."""

    __slots__ = ("_cells", "_head")

    def __init__(self) -> None:
        self._cells = array("q")
        self._head = 0

    def __len__(self) -> int:
        return len(self._cells) - self._head

    def __getitem__(self, index: int) -> int:
        return self._cells[self._head + index]

    def append(self, value: int) -> None:
        self._cells.append(value)

    def held(self) -> "array[int]":
        return self._cells[self._head :]

    def prepend(self, earlier: "_Integers") -> None:
        self._cells = earlier._cells[earlier._head :] + self._cells[self._head :]  # noqa: SLF001 - own class
        self._head = 0

    def popleft(self) -> int:
        value = self._cells[self._head]
        self._head += 1
        if self._head >= _PACKED_COMPACTION and self._head * 2 >= len(self._cells):
            del self._cells[: self._head]
            self._head = 0
        return value


@dataclass(frozen=True, slots=True)
class Picks:
    """Rows that answer one question: their numbers and times, both ascending in time."""

    rows: tuple[int, ...]
    timestamps_ms: "array[int]"


class _KeyFrame(bytes):
    """A packed row that needs no other to be read."""

    __slots__ = ()


class Window:
    """Rows of one source. Positions count from the oldest row that is still held.

    `recent_rows` newest rows stay uncompressed; the owner may change it at any time.
    """

    __slots__ = (
        "_ages",
        "_packed",
        "_packed_bytes",
        "_present",
        "_raw",
        "_raw_bytes",
        "_samples",
        "_times",
        "first_row",
        "key_every",
        "recent_rows",
    )

    def __init__(self, *, key_every: int = 30, recent_rows: int = 12) -> None:
        self.key_every = key_every
        self.recent_rows = recent_rows
        self.first_row = 0
        self._packed: deque[bytes] = deque()
        self._raw: deque[array[float]] = deque()
        self._times = _Integers()
        self._ages = _Integers()
        self._present = _Integers()
        self._packed_bytes = self._raw_bytes = self._samples = 0

    def __len__(self) -> int:
        return len(self._packed) + len(self._raw)

    @property
    def next_row(self) -> int:
        """Number that the next row will get; numbers never repeat."""
        return self.first_row + len(self)

    @property
    def bytes(self) -> int:
        """Memory of all rows, object overhead included (an estimate from above)."""
        return self._packed_bytes + self._raw_bytes + len(self) * _ROW_OVERHEAD_BYTES

    @property
    def samples(self) -> int:
        """Count of cells that hold a sample."""
        return self._samples

    @property
    def packed_row_bytes(self) -> float:
        """Mean size of a compressed row; 0 as long as there is none."""
        return self._packed_bytes / len(self._packed) if self._packed else 0.0

    @property
    def oldest_age_ms(self) -> int:
        """Age stamp of the oldest row, as given to `append`; IndexError when empty."""
        return self._ages[0]

    def append(self, at_ms: int, age_ms: int, row: "array[float]", present: int) -> None:
        """Take one row: `at_ms` is shown to people, `age_ms` never steps back, `present` counts."""
        self._raw.append(row)
        self._raw_bytes += len(row) * 8 + _RAW_OVERHEAD_BYTES
        self._times.append(at_ms)
        self._ages.append(age_ms)
        self._present.append(present)
        self._samples += present
        self.pack()

    def pack(self) -> None:
        """Compress rows that are no longer recent."""
        while len(self._raw) > max(1, self.recent_rows):
            number = self.first_row + len(self._packed)
            row = self._raw.popleft()
            self._raw_bytes -= len(row) * 8 + _RAW_OVERHEAD_BYTES
            is_key = number % self.key_every == 0
            blob = compression.encode(row, None if is_key else self._raw[0])
            self._packed.append(_KeyFrame(blob) if is_key else blob)
            self._packed_bytes += len(blob)

    def join(self, older: "Window") -> None:
        """Put the rows of `older` before these; it is of no use afterwards."""
        while older._raw:  # noqa: SLF001 - own class
            blob = _KeyFrame(compression.encode(older._raw.popleft()))  # noqa: SLF001 - own class
            older._packed.append(blob)  # noqa: SLF001 - own class
            older._packed_bytes += len(blob)  # noqa: SLF001 - own class
        self.first_row -= len(older._packed)  # noqa: SLF001 - own class
        self._packed.extendleft(reversed(older._packed))  # noqa: SLF001 - own class
        self._packed_bytes += older._packed_bytes  # noqa: SLF001 - own class
        self._samples += older._samples  # noqa: SLF001 - own class
        for own, earlier in (
            (self._times, older._times),  # noqa: SLF001 - own class
            (self._ages, older._ages),  # noqa: SLF001 - own class
            (self._present, older._present),  # noqa: SLF001 - own class
        ):
            own.prepend(earlier)

    def drop_oldest(self) -> None:
        """Forget the oldest row; IndexError when empty."""
        if self._packed:
            self._packed_bytes -= len(self._packed.popleft())
        else:
            self._raw_bytes -= len(self._raw.popleft()) * 8 + _RAW_OVERHEAD_BYTES
        self._times.popleft()
        self._ages.popleft()
        self._samples -= self._present.popleft()
        self.first_row += 1

    def times_ms(self) -> "array[int]":
        """Return the timestamps in order of arrival."""
        return self._times.held()

    def pick(self, start_ms: int, end_ms: int) -> Picks:
        """Choose the rows with start <= time <= end, ascending in time.

        Rows with equal times keep the order in which they arrived.
        """
        times = self.times_ms()
        inside = [at for at, time_ms in enumerate(times) if start_ms <= time_ms <= end_ms]
        inside.sort(key=times.__getitem__)
        first = self.first_row
        return Picks(tuple([first + at for at in inside]), array("q", [times[at] for at in inside]))

    def held(self, picks: Picks) -> Picks:
        """Return `picks` without the rows that have been dropped since."""
        if not picks.rows or min(picks.rows) >= self.first_row:
            return picks
        kept = [at for at, row in enumerate(picks.rows) if row >= self.first_row]
        return Picks(
            tuple([picks.rows[at] for at in kept]),
            array("q", [picks.timestamps_ms[at] for at in kept]),
        )

    def gather(self, picks: Picks, columns: Sequence[int]) -> "array[float]":
        """Return the cells of `columns` (ascending) in the picked rows, series after series."""
        points = len(picks.rows)
        cells = absent_row(points * len(columns))
        if not points or not columns:
            return cells
        places = {row - self.first_row: place for place, row in enumerate(picks.rows)}
        width = max(columns) + 1
        low = columns[0] if len(columns) == width - columns[0] else None
        for position, row in self._unroll(min(places), max(places)):
            place = places.get(position)
            if place is not None:
                cells[place::points] = _cut(row, columns, width, low)
        return cells

    def _unroll(self, oldest: int, newest: int) -> Iterator[tuple[int, "array[float]"]]:
        """Yield rows from `newest` down to `oldest` by position."""
        packed = len(self._packed)
        for position in range(newest, max(oldest, packed) - 1, -1):
            yield position, self._raw[position - packed]
        if oldest >= packed:
            return
        row: array[float] | None = None
        for position in range(self._anchor(min(newest, packed - 1)), oldest - 1, -1):
            row = self._unpack(position, row)
            if position <= newest:
                yield position, row

    def _anchor(self, position: int) -> int:
        """Return the first packed position from `position` on that needs no newer packed row."""
        last = len(self._packed) - 1
        while position < last and not isinstance(self._packed[position], _KeyFrame):
            position += 1
        return position

    def _unpack(self, position: int, newer: "array[float] | None") -> "array[float]":
        blob = self._packed[position]
        if isinstance(blob, _KeyFrame):
            return compression.decode(blob)
        return compression.decode(blob, self._raw[0] if newer is None else newer)


def _cut(
    row: "array[float]", columns: Sequence[int], width: int, low: int | None
) -> "array[float]":
    """Return the cells of `columns`; a row from before a column was born has no such cell."""
    if low is not None and len(row) >= width:
        return row[low:width]
    if len(row) >= width:
        return array("d", [row[column] for column in columns])
    known = bisect_left(columns, len(row))
    return array("d", [row[column] for column in columns[:known]]) + absent_row(
        len(columns) - known
    )
