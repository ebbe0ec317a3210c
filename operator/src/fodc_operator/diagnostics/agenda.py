# SPDX-License-Identifier: Apache-2.0
"""When to look at which request again.

The one idea: one index of due times serves changes, retries, coalesced writes and expiry alike, so
no object has a timer of its own.
"""

import heapq

from fodc_operator.resources.diagnostic_request import Key


class Agenda:
    """At most one due time per key, the earliest that was asked for; Unix milliseconds."""

    def __init__(self) -> None:
        self._due: dict[Key, int] = {}
        self._heap: list[tuple[int, Key]] = []

    def __len__(self) -> int:
        return len(self._due)

    def put(self, key: Key, due_ms: int) -> None:
        """Look at the key at this time, or earlier when that was asked for before."""
        known = self._due.get(key)
        if known is None or due_ms < known:
            self._due[key] = due_ms
            heapq.heappush(self._heap, (due_ms, key))

    def drop(self, key: Key) -> None:
        """Do not look at the key any more."""
        self._due.pop(key, None)

    def next_ms(self) -> int | None:
        """Return the earliest due time, None when there is none."""
        self._clean()
        return self._heap[0][0] if self._heap else None

    def take_due(self, now_ms: int) -> Key | None:
        """Remove and return the key that is due for longest, None when nothing is due."""
        next_ms = self.next_ms()
        if next_ms is None or next_ms > now_ms:
            return None
        _, key = heapq.heappop(self._heap)
        del self._due[key]
        return key

    def _clean(self) -> None:
        """Forget entries that were dropped or replaced by earlier ones."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
