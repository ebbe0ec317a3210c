# SPDX-License-Identifier: Apache-2.0
"""Memory for messages that are being put together, over all connections.

The one idea: a message larger than a window tells its length before its bytes may come, so it is
let in whole or waits; one that was let in can always be completed. Everything below a window may
come unasked and is counted: who makes it more than a bound is sent away.
"""

import asyncio
from collections import deque
from typing import Final

LARGE_POOL_BYTES: Final = 64 * 1024 * 1024
FIRST_POOL_BYTES: Final = 8 * 1024 * 1024
"""For those who have not said yet who they are."""
MOST_KEPT_BYTES: Final = LARGE_POOL_BYTES + 128 * 1024 * 1024


class Pool:
    """Bytes that large messages may take, in the order in which they ask."""

    def __init__(self, size_bytes: int = LARGE_POOL_BYTES) -> None:
        self._size_bytes = size_bytes
        self._taken_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.kept_bytes = 0

    @property
    def is_flooded(self) -> bool:
        """Whether more is kept than anybody may make us keep."""
        return self.kept_bytes > MOST_KEPT_BYTES

    async def take(self, size_bytes: int) -> None:
        """Wait until there is room; one message has it alone when it is larger than the pool."""
        if not self._waiting and self._fits(size_bytes):
            self._taken_bytes += size_bytes
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size_bytes)
            self._admit()
            raise

    def _fits(self, size_bytes: int) -> bool:
        return self._taken_bytes == 0 or self._taken_bytes + size_bytes <= self._size_bytes

    def give(self, size_bytes: int) -> None:
        """Give room back."""
        self._taken_bytes -= size_bytes
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            size_bytes, turn = self._waiting[0]
            if turn.done():  # cancelled meanwhile
                self._waiting.popleft()
            elif self._fits(size_bytes):
                self._waiting.popleft()
                self._taken_bytes += size_bytes
                turn.set_result(None)
            else:
                return
