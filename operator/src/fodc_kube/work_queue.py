# SPDX-License-Identifier: Apache-2.0
"""Which key to look at when, and the looking.

The one idea: whatever happens ends in "look at this key again", at once or at a time. A key is
looked at by one worker at a time; what comes meanwhile is one more look, and a look that fails is
repeated later. So changes, retries, coalesced writes and expiry need no timers of their own.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
FAILED_S: Final = 5.0
_log = logging.getLogger(__name__)


class Agenda(Generic[KeyT]):
    """At most one due time per key, the earliest that was asked for; pure, any unit of time."""

    def __init__(self) -> None:
        self._due: dict[KeyT, float] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._due)

    def put(self, key: KeyT, due: float) -> None:
        """Look at the key at this time, or earlier when that was asked for before."""
        known = self._due.get(key)
        if known is None or due < known:
            self._due[key] = due
            self._number += 1
            heapq.heappush(self._heap, (due, self._number, key))

    def drop(self, key: KeyT) -> None:
        """Do not look at the key any more."""
        self._due.pop(key, None)

    def next(self) -> float | None:
        """Return the earliest due time, None when there is none."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> KeyT | None:
        """Remove and return the key that is due for longest, None when nothing is due."""
        due = self.next()
        if due is None or due > now:
            return None
        _, _, key = heapq.heappop(self._heap)
        del self._due[key]
        return key


class WorkQueue(Generic[KeyT]):
    """`put` and `drop` at any time; `run` in a task. Times in seconds on the given clock."""

    def __init__(
        self,
        look: Callable[[KeyT], Awaitable[None]],
        *,
        workers: int,
        clock_s: Callable[[], float],
        failed: Callable[[KeyT], None] | None = None,
    ) -> None:
        """Look by `look`; when it raises, `failed` says what then, else it is tried again."""
        self._look = look
        self._workers = workers
        self._clock_s = clock_s
        self._failed = failed or (lambda key: self.put(key, clock_s() + FAILED_S))
        self._agenda = Agenda[KeyT]()
        self._busy: dict[KeyT, asyncio.Task[None]] = {}
        self._again: set[KeyT] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._agenda) + len(self._busy)

    def put(self, key: KeyT, due_s: float | None = None) -> None:
        """Look at the key now, or at this time unless an earlier one was asked for."""
        self._agenda.put(key, self._clock_s() if due_s is None else due_s)
        self._changed.set()

    def drop(self, key: KeyT) -> None:
        """Do not look at the key any more; a look that has begun goes on."""
        self._agenda.drop(key)
        self._again.discard(key)

    def wake(self) -> None:
        """Look at the clock again: it was turned."""
        self._changed.set()

    async def run(self) -> None:
        """Look at what is due until cancelled; looks that have begun are cancelled too."""
        try:
            while True:
                self._dispatch()
                await self._wait()
        finally:
            tasks = list(self._busy.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self) -> None:
        due_s = self._agenda.next() if len(self._busy) < self._workers else None
        left_s = None if due_s is None else max(due_s - self._clock_s(), 0.0)
        try:
            async with asyncio.timeout(left_s):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    def _dispatch(self) -> None:
        now_s = self._clock_s()
        while len(self._busy) < self._workers:
            key = self._agenda.take_due(now_s)
            if key is None:
                return
            if key in self._busy:
                self._again.add(key)
                continue
            self._busy[key] = asyncio.create_task(self._look_safely(key), name=f"look {key}")

    async def _look_safely(self, key: KeyT) -> None:
        try:
            await self._look(key)
        except Exception:  # noqa: BLE001 - one key must not cost the others
            _log.exception("%s: looked at again later", key)
            self._failed(key)
        finally:
            del self._busy[key]
            if key in self._again:
                self._again.discard(key)
                self.put(key)
            self._changed.set()
