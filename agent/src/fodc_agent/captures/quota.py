# SPDX-License-Identifier: Apache-2.0
"""How much of the disk captures may take, and which ones make room.

The one idea: a running capture owns what it was promised and asks before it takes more, so what
lies on the disk is never above the quota. Evidence that nobody has fetched yet goes last: first go
ends without bytes and results that were read to their end. Pure: no file is touched here.
"""

from typing import Final

from fodc_protocol.lean import dataclass

SENDING_MS: Final = 60_000
"""How long after its last read a result counts as being on its way."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """There is room once `evict` is gone (ids, oldest end first)."""

    evict: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoRoom:
    """Nothing that could go makes enough room; the message has the figures."""

    message: str


@dataclass(slots=True)
class _Entry:
    size_bytes: int
    finished_at_ms: int | None = None
    read_at_ms: int | None = None
    fetched: bool = False

    @property
    def is_evidence(self) -> bool:
        """Whether there are bytes that nobody else has."""
        return self.size_bytes > 0 and not self.fetched

    def is_being_sent(self, now_ms: int) -> bool:
        return self.read_at_ms is not None and now_ms - self.read_at_ms < SENDING_MS


class Quota:
    """Counts captures and their bytes; decides who has to go.

    Those that run or are being sent stay, whatever comes. Times in Unix milliseconds.
    """

    def __init__(self, *, max_bytes: int, max_count: int) -> None:
        """Both limits are at least 1 and include running captures."""
        if max_bytes < 1 or max_count < 1:
            raise ValueError("max_bytes and max_count must be at least 1")
        self.max_bytes = max_bytes
        """May be changed: what is beyond a smaller limit goes with the next promise."""
        self.max_count: Final = max_count
        self._entries: dict[str, _Entry] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes that lie on the disk or are promised to running captures."""
        return sum(entry.size_bytes for entry in self._entries.values())

    @property
    def count(self) -> int:
        """Captures that are known, running ones included."""
        return len(self._entries)

    def knows(self, command_id: str) -> bool:
        """Whether a capture has a promise or a result."""
        return command_id in self._entries

    def reserve(self, command_id: str, size_bytes: int, now_ms: int) -> Admitted | NoRoom:
        """Promise `size_bytes` to a capture that begins; nothing changes when there is no room."""
        admitted = self._made_room(size_bytes, 1, now_ms)
        if isinstance(admitted, Admitted):
            self._entries[command_id] = _Entry(size_bytes)
        return admitted

    def grow(self, command_id: str, size_bytes: int, now_ms: int) -> Admitted | NoRoom:
        """Raise the promise of a running capture to `size_bytes`; or nothing changes."""
        entry = self._entries[command_id]
        admitted = self._made_room(size_bytes - entry.size_bytes, 0, now_ms)
        if isinstance(admitted, Admitted):
            entry.size_bytes = size_bytes
        return admitted

    def _made_room(self, size_bytes: int, count: int, now_ms: int) -> Admitted | NoRoom:
        evict = self._eviction_for(size_bytes, count, now_ms)
        if evict is None:
            return NoRoom(
                f"{self.count} captures with {self.used_bytes} bytes are running or being sent; "
                f"{size_bytes} bytes more would exceed {self.max_count} captures or "
                f"{self.max_bytes} bytes"
            )
        for victim in evict:
            del self._entries[victim]
        return Admitted(evict)

    def _eviction_for(self, size_bytes: int, count: int, now_ms: int) -> tuple[str, ...] | None:
        """Return the finished ones that must go, None when even all are too few.

        An end without bytes goes only where a place is missing: it makes no room.
        """
        missing_bytes = self.used_bytes + size_bytes - self.max_bytes
        missing_count = self.count + count - self.max_count
        evict: list[str] = []
        for command_id in self._evictable(now_ms):
            size = self._entries[command_id].size_bytes
            if missing_count > 0 or (missing_bytes > 0 and size):
                evict.append(command_id)
                missing_bytes -= size
                missing_count -= 1
        return None if missing_bytes > 0 or missing_count > 0 else tuple(evict)

    def _evictable(self, now_ms: int) -> list[str]:
        """Return what may go, evidence that nobody has fetched last, else the oldest end first."""
        order = [
            (entry.is_evidence, entry.finished_at_ms, command_id)
            for command_id, entry in self._entries.items()
            if entry.finished_at_ms is not None and not entry.is_being_sent(now_ms)
        ]
        return [command_id for _, _, command_id in sorted(order)]

    def finished(self, command_id: str, size_bytes: int, at_ms: int) -> None:
        """Replace the promise by what the result has; 0 for a failure, which stays countable."""
        entry = self._entries[command_id]
        entry.size_bytes, entry.finished_at_ms = size_bytes, at_ms

    def recovered(self, command_id: str, size_bytes: int, finished_at_ms: int) -> tuple[str, ...]:
        """Take in what an earlier run left; returns ids to remove because the limits shrank."""
        self._entries[command_id] = _Entry(size_bytes, finished_at_ms)
        evict: list[str] = []
        for victim in self._evictable(finished_at_ms):
            if self.used_bytes <= self.max_bytes and self.count <= self.max_count:
                break
            del self._entries[victim]
            evict.append(victim)
        return tuple(evict)

    def reading(self, command_id: str, now_ms: int, end_bytes: int = 0) -> None:
        """Protect a result for a while, because it is on its way; unknown ids are ignored.

        `end_bytes` is how far it was read: a result that was read to its end is no longer the
        only copy, as far as anybody here knows.
        """
        if entry := self._entries.get(command_id):
            entry.read_at_ms = now_ms
            entry.fetched = entry.fetched or end_bytes >= entry.size_bytes

    def released(self, command_id: str) -> None:
        """Forget an entry; unknown ids are ignored."""
        self._entries.pop(command_id, None)
