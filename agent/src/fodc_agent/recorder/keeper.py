# SPDX-License-Identifier: Apache-2.0
"""The journal beside the recorder: rows go out through a lane, those of an earlier life come back.

The one idea: the recorder never waits for the disk. A row that the disk takes too long for is lost
to the journal, is counted, and the next row of its source says anew what its columns mean. Rows of
one round of the sources go out together. What an earlier life wrote is read beside the first
scrapes, a few milliseconds at a time.
"""

import asyncio
import logging
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Final, NoReturn

from fodc_agent.lanes import Lane
from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.journal_records import Definition, Entry, JournaledRow
from fodc_agent.recorder.recorder import Recorder
from fodc_protocol.lean import dataclass

_log: Final = logging.getLogger(__name__)

_DISK_S: Final = 10.0
_WAITING_BYTES: Final = 1 << 20
_BATCH_ENTRIES: Final = 100
_BATCH_CELLS: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class _Row:
    source: str
    at_ms: int
    row: "array[float]"
    fresh: Sequence[Definition]
    everything: Callable[[], Iterable[Definition]]

    @property
    def bytes(self) -> int:
        return 8 * len(self.row)


class _AskedError(Exception):
    """The journal begins a new segment and has to know all series of the source."""


class Keeper:
    """Writes what the recorder records; run `write` and `replay` as tasks, `close` at the end."""

    def __init__(
        self,
        journal: Journal,
        recorder: Recorder,
        *,
        gather_s: float = 0.0,
        others: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Become the diary of `recorder`; nothing is touched before the tasks run.

        A row waits for the `others` of its round to be written with it, at most `gather_s`.
        """
        self.lost = 0
        """Rows that never came to the disk."""
        self._journal = journal
        self._recorder = recorder
        self._gather_s = gather_s
        self._others = others
        self._lane = Lane("journal", timeout_s=_DISK_S)
        self._waiting: deque[_Row] = deque()
        self._waiting_bytes = 0
        self._incomplete: set[str] = set()
        self._filled = asyncio.Event()
        self._listed = asyncio.Event()
        self.replayed = asyncio.Event()
        """Set when the history of earlier lives is there, as far as it could be read."""
        self._problem = ""
        recorder.diary = self

    @property
    def problem(self) -> str:
        """Why rows do not come to the disk now, empty when they do."""
        return self._problem or self._journal.problem or ""

    def resize(self, max_bytes: int) -> None:
        """Take another bound of the disk space."""
        self._journal.max_bytes = max_bytes

    # ---- writing ------------------------------------------------------------------------------

    def append(
        self,
        source: str,
        at_ms: int,
        row: "array[float]",
        fresh: Sequence[Definition],
        everything: Callable[[], Iterable[Definition]],
    ) -> bool:
        """Take a row to be written soon; False when too many wait already."""
        one = _Row(source, at_ms, row, fresh, everything)
        if self._waiting and self._waiting_bytes + one.bytes > _WAITING_BYTES:
            self._lose(one, "the disk does not keep up with what is recorded")
            return False
        self._waiting.append(one)
        self._waiting_bytes += one.bytes
        self._filled.set()
        return True

    async def write(self) -> None:
        """Write for ever what is taken."""
        # What this life writes must not be taken for what an earlier one left.
        await self._listed.wait()
        while True:
            await self._write_waiting()
            self._filled.clear()
            await self._filled.wait()
            await self._others(self._gather_s)

    async def close(self) -> None:
        """Close the open segment, unless the disk hangs; what was taken is written before."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                if self._listed.is_set():
                    await self._write_waiting()
                await self._lane.run(self._journal.close)
        except OSError as error:  # a TimeoutError is one as well
            _log.warning("journal_left_open reason=%r", str(error) or "the disk hangs")

    async def _write_waiting(self) -> None:
        while self._waiting:
            rows = list(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            await self._write(rows)

    async def _write(self, rows: list[_Row]) -> None:
        while rows:
            try:
                written = await self._write_first(rows)
            except OSError as error:
                for row in rows:
                    self._lose(row, f"{self._journal.directory}: {error}")
                return
            self._problem = ""
            del rows[:written]

    async def _write_first(self, rows: Sequence[_Row]) -> int:
        """Write as many of the first rows as go at once; return how many are done with."""
        known = list(takewhile(lambda row: row.source not in self._incomplete, rows))
        written = await self._lane.run(partial(self._append, known)) if known else 0
        if not written:
            await self._write_all(rows[0], rows[1:])
        return max(1, written)

    async def _write_all(self, row: _Row, later: Sequence[_Row]) -> None:
        """Write a row with all series of its source, as they are now."""
        if any(one.source == row.source and one.fresh for one in (*later, *self._waiting)):
            # A column may mean another series by now; what it meant then is not known any more.
            self._lose(row, "a row was overtaken by series that came later")
            return
        everything = list(row.everything())
        await self._lane.run(partial(self._append_with, row, everything))
        self._incomplete.discard(row.source)

    def _append(self, rows: Sequence[_Row]) -> int:
        """Write in the lane; return how many rows came before one that needs all its series."""
        for number, row in enumerate(rows):
            try:
                self._journal.append(row.source, row.at_ms, row.row, row.fresh, _asked)
            except _AskedError:
                return number
        return len(rows)

    def _append_with(self, row: _Row, everything: Sequence[Definition]) -> None:
        self._journal.append(row.source, row.at_ms, row.row, everything, lambda: everything)

    def _lose(self, row: _Row, why: str) -> None:
        if not self._problem:
            _log.warning("journal_row_lost source=%s reason=%r", row.source, why)
        self._problem = why
        self.lost += 1
        self._incomplete.add(row.source)

    # ---- an earlier life ------------------------------------------------------------------------

    async def replay(self) -> None:
        """Take over what earlier lives wrote; damage and a disk that hangs cost what they hit."""
        try:
            await self._replay()
        finally:
            self._listed.set()
            self.replayed.set()

    async def _replay(self) -> None:
        try:
            paths = await self._lane.run(self._journal.earlier)
            times_ms = await self._lane.run(partial(self._journal.times_ms, paths))
        except OSError as error:
            _log.warning("window_not_restored reason=%r", str(error))
            return
        self._listed.set()
        restoration = self._recorder.restoration(times_ms)
        entries = self._journal.replay(paths)
        try:
            while batch := await self._lane.run(partial(_batch, entries)):
                for _ in restoration.steps(batch):
                    await asyncio.sleep(0)
        except OSError as error:
            _log.warning("window_partly_restored reason=%r", str(error))
        rows = restoration.join()
        segments, problems = self._journal.damage()
        _log.info("window_restored rows=%d segments=%d problems=%r", rows, segments, problems)


_CLOSE_S: Final = 0.5


def _asked() -> NoReturn:
    raise _AskedError


def _batch(entries: Iterator[Entry]) -> list[Entry]:
    """Return the next entries, some milliseconds of reading; none at the end."""
    batch: list[Entry] = []
    cells = 0
    for entry in entries:
        batch.append(entry)
        cells += len(entry.row) if isinstance(entry, JournaledRow) else 0
        if len(batch) >= _BATCH_ENTRIES or cells >= _BATCH_CELLS:
            break
    return batch
