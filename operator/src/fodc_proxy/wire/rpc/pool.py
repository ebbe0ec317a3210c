# SPDX-License-Identifier: Apache-2.0
"""Memory for messages that are being put together, over all connections.

The one idea: a message larger than a window tells its length before its bytes may come, so it is
let in whole or waits; one that was let in can always be completed. Everything below a window may
come unasked and is counted: who makes it more than a bound is sent away.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

LARGE_POOL_BYTES: Final = 64 * 1024 * 1024
FIRST_POOL_BYTES: Final = 8 * 1024 * 1024
"""For those who have not said yet who they are."""
MOST_KEPT_BYTES: Final = LARGE_POOL_BYTES + 128 * 1024 * 1024


class Pool:
    """Bytes that large messages may take, in the order in which they ask.

    While others wait, one host gets no more than half of them. One is let in for each turn of the
    loop: the answers of a whole fleet would else come in all at once, and a turn that reads from
    every connection is one in which nobody is answered.
    """

    def __init__(self, size_bytes: int = LARGE_POOL_BYTES) -> None:
        self._size_bytes = size_bytes
        self._taken_bytes = 0
        self._taken_of: Counter[str] = Counter()
        self._waiting: deque[_Waiting] = deque()
        self._next: asyncio.Handle | None = None
        self.kept_bytes = 0

    @property
    def is_flooded(self) -> bool:
        """Whether more is kept than anybody may make us keep."""
        return self.kept_bytes > MOST_KEPT_BYTES

    async def take(self, size_bytes: int, host: str = "") -> None:
        """Wait until there is room; one message has it alone when it is larger than the pool."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(size_bytes, host, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size_bytes, host)
            self._admit()
            raise

    def _fits(self, size_bytes: int) -> bool:
        return self._taken_bytes == 0 or self._taken_bytes + size_bytes <= self._size_bytes

    def _has_share(self, one: "_Waiting") -> bool:
        """Say whether a host may have more."""
        taken_bytes = self._taken_of[one.host]
        if not taken_bytes or taken_bytes + one.size_bytes <= self._size_bytes // 2:
            return True
        return all(other.host == one.host for other in self._waiting)

    def give(self, size_bytes: int, host: str = "") -> None:
        """Give room back."""
        self._note(-size_bytes, host)
        self._admit()

    def _admit(self) -> None:
        """Let one in who fits, unless this turn of the loop had its one."""
        if self._next is None and self._let_in():
            self._next = asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._next = None
        self._admit()

    def _let_in(self) -> bool:
        """Let one in; who has its share is passed over, who does not fit is waited for."""
        for one in tuple(self._waiting):
            if one.turn.done():  # cancelled meanwhile
                self._waiting.remove(one)
            elif not self._has_share(one):
                continue
            elif self._fits(one.size_bytes):
                self._waiting.remove(one)
                self._note(one.size_bytes, one.host)
                one.turn.set_result(None)
                return True
            else:
                return False
        return False

    def _note(self, size_bytes: int, host: str) -> None:
        self._taken_bytes += size_bytes
        self._taken_of[host] += size_bytes
        if not self._taken_of[host]:
            del self._taken_of[host]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A message that waits for room, and the host that sends it."""

    size_bytes: int
    host: str
    turn: asyncio.Future[None]
