# SPDX-License-Identifier: Apache-2.0
"""Files that let the window survive the death of the agent.

The one idea: every scrape is one small append to the newest segment file; a full segment is closed
and the oldest one deleted, so the directory never outgrows its bound. The page cache survives a
kill -9 of the process, so nothing is synced: a crash of the whole machine may cost more.

A journal that cannot be written is a reason to tell, never a reason to stop recording.
"""

import contextlib
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from fodc_agent.own_folder import check_own, make_own
from fodc_agent.recorder import journal_records as records
from fodc_agent.recorder.journal_records import CorruptJournalError, Definition, Entry
from fodc_protocol.lean import dataclass

_SEGMENTS: Final = 4  # a full segment is this part of the bound
_MAX_SEGMENTS: Final = 64
_RETRY_AFTER_APPENDS: Final = 30
_OPEN_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC


@dataclass(slots=True)
class _Segment:
    path: Path
    descriptor: int
    size: int
    before: "dict[str, array[float]]"
    earlier: list[tuple[Path, int]]
    """Segments before this one with their sizes, the oldest first."""


class Journal:
    """Append-only journal in `directory`, at most `max_bytes` in all, files 0600.

    `problem` says why nothing is being written at the moment; None when all is well. Writing is
    tried again after a while.
    """

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self.problem: str | None = None
        self.lost = 0
        self._segment: _Segment | None = None
        self._pause = 0
        self._problems: list[str] = []
        self._read = 0

    # ---- reading ----------------------------------------------------------------------------

    def earlier(self) -> list[Path]:
        """Return the segments that are there, none of a folder that is not ours to read."""
        self._problems.clear()
        try:
            check_own(self.directory)
        except OSError as fault:
            self._problems.append(fault.strerror or str(fault))
            return []
        return self._paths()

    def replay(self, paths: Sequence[Path]) -> Iterator[Entry]:
        """Yield what earlier lives wrote, oldest first; damage ends a segment, never the replay.

        `damage` tells afterwards what was found.
        """
        self._read = 0
        for path in paths:
            try:
                with path.open("rb") as segment:
                    yield from records.read_segment(segment)
            except (CorruptJournalError, OSError) as fault:
                self._problems.append(f"{path.name}: {fault}")
            self._read += 1

    def times_ms(self, paths: Sequence[Path]) -> "array[int]":
        """Return the times of all rows that `replay` yields, without reading the rows."""
        times = array("q")
        for path in paths:
            with contextlib.suppress(CorruptJournalError, OSError), path.open("rb") as segment:
                for at_ms in records.row_times(segment):
                    times.append(at_ms)
        return times

    def damage(self) -> tuple[int, tuple[str, ...]]:
        """Return how many segments the last replay read, and what was wrong with which."""
        return self._read, tuple(self._problems)

    # ---- writing ----------------------------------------------------------------------------

    def append(
        self,
        source: str,
        at_ms: int,
        row: "array[float]",
        fresh: Sequence[Definition],
        everything: Callable[[], Iterable[Definition]],
    ) -> bool:
        """Write one row with the series new in it; say whether it is on file.

        `everything` is asked for all series of the source when a new segment has to know them.
        """
        if self._pause > 0:
            self._pause -= 1
            self.lost += 1
            return False
        try:
            self._write_row(source, at_ms, row, fresh, everything)
        except OSError as fault:
            self._give_up(f"{self.directory}: {fault.strerror or fault}")
            return False
        self.problem = None
        return True

    def close(self) -> None:
        """Close the open segment; a later append opens a new one."""
        if self._segment is not None:
            os.close(self._segment.descriptor)
            self._segment = None

    def _write_row(
        self,
        source: str,
        at_ms: int,
        row: "array[float]",
        fresh: Sequence[Definition],
        everything: Callable[[], Iterable[Definition]],
    ) -> None:
        segment = self._segment
        if segment is None or segment.size >= self.max_bytes // _SEGMENTS:
            segment = self._next_segment()
        before = segment.before.get(source)
        series = fresh if before is not None else list(everything())
        parts = list(records.definitions(source, series))
        parts.append(records.row_record(source, at_ms, row, before))
        data = b"".join(parts)
        self._make_room(len(data), segment)
        self._write(segment, data)
        segment.before[source] = row

    def _next_segment(self) -> _Segment:
        self.close()
        make_own(self.directory)
        known = self._paths()
        number = int(known[-1].stem.partition("-")[2]) + 1 if known else 1
        path = self.directory / f"window-{number:010d}.journal"
        descriptor = os.open(path, _OPEN_FLAGS, 0o600)
        earlier = [(other, other.stat().st_size) for other in known]
        self._segment = _Segment(path, descriptor, 0, {}, earlier)
        self._write(self._segment, records.MAGIC)
        return self._segment

    def _write(self, segment: _Segment, data: bytes) -> None:
        """Append all of `data` or nothing: half a record would hide everything behind it."""
        written = os.write(segment.descriptor, data)
        if written != len(data):
            os.ftruncate(segment.descriptor, segment.size)
            raise OSError(f"wrote {written} of {len(data)} bytes, is the volume full?")
        segment.size += written

    def _make_room(self, coming: int, current: _Segment) -> None:
        if current.size + coming > self.max_bytes:
            raise OSError(f"row of {coming} bytes does not fit a journal of {self.max_bytes} bytes")
        earlier = current.earlier
        total = current.size + coming + sum(size for _, size in earlier)
        while earlier and (total > self.max_bytes or len(earlier) >= _MAX_SEGMENTS):
            path, size = earlier.pop(0)
            path.unlink(missing_ok=True)
            total -= size

    def _give_up(self, reason: str) -> None:
        """Leave this segment: definitions in it may be incomplete, the next one starts anew."""
        self.problem = reason
        self.lost += 1
        self._pause = _RETRY_AFTER_APPENDS
        self.close()

    def _paths(self) -> list[Path]:
        found = self.directory.glob("window-*.journal")
        return sorted(path for path in found if path.stem.partition("-")[2].isdecimal())
