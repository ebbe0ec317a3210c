# SPDX-License-Identifier: Apache-2.0
"""Blocking work beside the event loop: files, /proc, cgroups, disks.

The one idea: a lane is one kind of work, done piece by piece in a daemon thread that exists only
while there is some. A piece that hangs costs its own lane and no other, and until it has come back
its lane refuses at once, so that nothing piles up behind it. A program can end with a piece that
never comes back.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, TypeVar

from fodc_protocol.lean import dataclass

_T = TypeVar("_T")

TIMEOUT_S: Final = 5.0
_MOST_WAITING: Final = 64


class StuckError(TimeoutError):
    """A piece of blocking work did not come back in time, or one before it still has not."""


@dataclass(slots=True, eq=False)
class _Piece(Generic[_T]):
    call: Callable[[], _T]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[_T]"

    def carry_out(self) -> None:
        """Call and hand over what comes of it; for the thread of the lane."""
        if self.future.cancelled():
            return
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            self._hand_over(partial(self.future.set_exception, error))
        else:
            self._hand_over(partial(self.future.set_result, result))

    def _hand_over(self, give: Callable[[], None]) -> None:
        # A loop that has ended refuses; then nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._given, give)

    def _given(self, give: Callable[[], None]) -> None:
        if not self.future.done():
            give()


class Lane:
    """One kind of blocking work; `name` is its thread's and stands in what it says of itself."""

    def __init__(self, name: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Let a piece take `timeout_s` seconds, waiting for those before it included."""
        self.name: Final = name
        self.timeout_s: Final = timeout_s
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_working = False
        self._since_s: float | None = None

    async def run(self, call: Callable[[], _T]) -> _T:
        """Return what `call` returns or raise what it raises; raise StuckError when it is late.

        Pieces are done in the order in which they were given. Who leaves early does not stop one.
        """
        loop = asyncio.get_running_loop()
        self._refuse_while_stuck()
        piece: _Piece[_T] = _Piece(call, loop, loop.create_future())
        self._add(piece.carry_out)
        try:
            done, _ = await asyncio.wait({piece.future}, timeout=self.timeout_s)
        finally:
            piece.future.cancel()
        if not done:
            raise StuckError(f"{self.name}: no answer within {self.timeout_s:g} s")
        return piece.future.result()

    def soon(self, call: Callable[[], None]) -> None:
        """Let `call` be done behind what is there, however long that takes; it must not raise."""
        self._add(call)

    def _refuse_while_stuck(self) -> None:
        since_s = self._since_s
        hung_s = 0.0 if since_s is None else time.monotonic() - since_s
        if hung_s > self.timeout_s:
            raise StuckError(f"{self.name}: what was asked {hung_s:.0f} s ago still hangs")
        if len(self._waiting) >= _MOST_WAITING:
            raise StuckError(f"{self.name}: {_MOST_WAITING} pieces of work wait already")

    def _add(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._waiting.append(work)
            if self._is_working:
                return
            self._is_working = True
        try:
            threading.Thread(target=self._work, name=self.name, daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._is_working = False
                self._waiting.clear()
            raise OSError(f"{self.name}: {error}") from error

    def _work(self) -> None:
        while (work := self._next()) is not None:
            self._since_s = time.monotonic()
            work()
            self._since_s = None

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._is_working = False
            return None
