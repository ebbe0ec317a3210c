# SPDX-License-Identifier: Apache-2.0
"""Blocking work beside the event loop: files, /proc, cgroups, disks.

The one idea: a lane is one kind of work, done piece by piece and never two at a time. All lanes
share one thread, which stays for a moment when there is no more work: a round of readings asks the
kernel in several goes, and to begin a thread costs more than most of them. What is done in one go
is told to the loop in one go. A piece that takes long costs its own lane and no
other: the next lane gets another thread then. Until a piece that hangs has come back its lane
refuses at once, so that nothing piles up behind it. A program can end with a piece that never
comes back.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import field
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

from fodc_protocol.lean import dataclass

_T = TypeVar("_T")

TIMEOUT_S: Final = 5.0
LONG_S: Final = 0.03
"""For how long others wait behind a piece of another lane."""
_LINGER_S: Final = 0.25
"""For how long a thread waits for more work."""
_IDLE: Final = "lanes"
"""Its name meanwhile."""
_MOST_WAITING: Final = 64


class StuckError(TimeoutError):
    """A piece of blocking work did not come back in time, or one before it still has not."""


class _Job(Protocol):
    """A piece as threads see it, whatever comes of it."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of whoever waits for it."""

    def carry_out(self) -> None:
        """Call and keep what comes of it; in a thread."""

    def tell(self) -> None:
        """Hand over what came of it; in the loop."""


@dataclass(slots=True, eq=False)
class _Piece(Generic[_T]):
    call: Callable[[], _T]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[_T]"
    give: Callable[[], None] = lambda: None

    def carry_out(self) -> None:
        if self.future.cancelled():
            return
        try:
            self.give = partial(self.future.set_result, self.call())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            self.give = partial(self.future.set_exception, error)

    def tell(self) -> None:
        if not self.future.done():
            self.give()


@dataclass(frozen=True, slots=True)
class _Order:
    """Work of which nobody hears again."""

    call: Callable[[], None]
    loop: asyncio.AbstractEventLoop

    def carry_out(self) -> None:
        self.call()

    def tell(self) -> None:
        pass


class Lane:
    """One kind of blocking work; `name` is its thread's and stands in what it says of itself."""

    def __init__(self, name: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """Let a piece take `timeout_s` seconds, waiting for those before it included."""
        self.name: Final = name
        self.timeout_s: Final = timeout_s
        self.waiting: Final[deque[_Job]] = deque()
        """Pieces that were not begun; it and the next two belong to whoever carries them out."""
        self.is_served = False
        self.since_s: float | None = None

    async def run(self, call: Callable[[], _T]) -> _T:
        """Return what `call` returns or raise what it raises; raise StuckError when it is late.

        Pieces are done in the order in which they were given. Who leaves early does not stop one.
        """
        loop = asyncio.get_running_loop()
        self._refuse_while_stuck()
        piece: _Piece[_T] = _Piece(call, loop, loop.create_future())
        _HANDS.take(self, piece)
        try:
            await self._settled(piece.future)
        finally:
            piece.future.cancel()
        return piece.future.result()

    def soon(self, call: Callable[[], None]) -> None:
        """Let `call` be done behind what is there, however long that takes; it must not raise."""
        _HANDS.take(self, _Order(call, asyncio.get_running_loop()))

    async def _settled(self, future: "asyncio.Future[_T]") -> None:
        """Wait for a piece; while it does not come, see to it that it waits for no other lane."""
        left_s, step_s = self.timeout_s, LONG_S
        while left_s > 0:
            done, _ = await asyncio.wait({future}, timeout=min(step_s, left_s))
            if done:
                return
            _HANDS.hurry()
            left_s -= step_s
            step_s *= 2
        if not future.done():
            raise StuckError(f"{self.name}: no answer within {self.timeout_s:g} s")

    def _refuse_while_stuck(self) -> None:
        since_s = self.since_s
        hung_s = 0.0 if since_s is None else time.monotonic() - since_s
        if hung_s > self.timeout_s:
            raise StuckError(f"{self.name}: what was asked {hung_s:.0f} s ago still hangs")
        if len(self.waiting) >= _MOST_WAITING:
            raise StuckError(f"{self.name}: {_MOST_WAITING} pieces of work wait already")


# ---- threads ------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Hand:
    """A thread: since when it is at its piece, and what it has done that was not told."""

    since_s: float
    done: deque[_Job] = field(default_factory=deque)
    is_idle: bool = False
    """Whether it waits for work."""

    def tell(self) -> None:
        """Hand over what was done to those of the running loop, and see to it that others hear."""
        here = asyncio.get_running_loop()
        while self.done:
            job = self.done.popleft()
            if job.loop is here:
                job.tell()
            else:
                _soon_in(job.loop, job.tell)


class _Hands:
    """The threads of all lanes: mostly one, and none when there was no work for a moment."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._line: deque[Lane] = deque()  # lanes with work that no thread does
        self._hands: set[_Hand] = set()

    def take(self, lane: Lane, job: _Job) -> None:
        """Let a job be done behind those of its lane; raises OSError without a thread for it."""
        with self._lock:
            lane.waiting.append(job)
            if not lane.is_served:
                lane.is_served = True
                self._line.append(lane)
        try:
            self._get_help()
        except RuntimeError as error:
            with self._lock, contextlib.suppress(ValueError):
                lane.waiting.remove(job)
            raise OSError(f"{lane.name}: {error}") from error

    def hurry(self) -> None:
        """Tell now what is done, and let nobody wait behind a piece that takes long."""
        for hand in tuple(self._hands):
            hand.tell()
        with contextlib.suppress(RuntimeError):  # no thread now: who waits longer asks again
            self._get_help()

    def _get_help(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            if not self._line:
                return
            if any(hand.is_idle for hand in self._hands):
                self._lock.notify()
                return
            if any(now_s - hand.since_s < LONG_S for hand in self._hands):
                return
            hand = _Hand(now_s)
            self._hands.add(hand)
        try:
            threading.Thread(target=self._work, args=(hand,), daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._hands.discard(hand)
            raise

    def _work(self, hand: _Hand) -> None:
        while True:
            self._do_all(hand)
            threading.current_thread().name = _IDLE
            for loop in {job.loop for job in tuple(hand.done)}:
                _soon_in(loop, hand.tell)
            if not self._stays(hand):
                return

    def _do_all(self, hand: _Hand) -> None:
        lane = None
        while (found := self._next(lane)) is not None:
            lane, job = found
            threading.current_thread().name = lane.name
            lane.since_s = hand.since_s = time.monotonic()
            job.carry_out()
            lane.since_s = None
            hand.done.append(job)

    def _next(self, before: Lane | None) -> tuple[Lane, _Job] | None:
        """Return the next piece and its lane, and let the lane that was served wait again or go."""
        with self._lock:
            if before is not None:
                before.is_served = bool(before.waiting)
                if before.is_served:
                    self._line.append(before)
            while self._line:
                lane = self._line.popleft()
                if lane.waiting:
                    return lane, lane.waiting.popleft()
                lane.is_served = False
            return None

    def _stays(self, hand: _Hand) -> bool:
        """Wait for more work unless another thread does so; say whether there is some."""
        with self._lock:
            wait_s = 0.0 if any(one.is_idle for one in self._hands) else _LINGER_S
            hand.is_idle = True
            has_come = bool(self._lock.wait_for(lambda: self._line, wait_s))
            hand.is_idle = False
            hand.since_s = time.monotonic()
            if not has_come:
                self._hands.discard(hand)
            return has_come


def _soon_in(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    # A loop that has ended refuses; then nobody waits any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)


_HANDS: Final = _Hands()
