# SPDX-License-Identifier: Apache-2.0
"""Turns of many who wait: few at a time, and the next one is of the next who waits.

The one idea: somebody who asks a thousand things makes himself wait, and nobody else.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairTurns:
    """`turn` of somebody; a turn that is given back goes around among those who wait."""

    def __init__(self, at_a_time: int) -> None:
        self._free = at_a_time
        # In the order in which their turn comes.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, whose: str) -> AsyncIterator[None]:
        """Hold a turn for a with-block."""
        await self._take(whose)
        try:
            yield
        finally:
            self._give()

    async def _take(self, whose: str) -> None:
        if self._free:
            self._free -= 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(whose, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._give()
            raise

    def _give(self) -> None:
        while self._waiting:
            whose = next(iter(self._waiting))
            queue = self._waiting.pop(whose)
            next_one = queue.popleft()
            if queue:
                self._waiting[whose] = queue
            if not next_one.done():
                next_one.set_result(None)
                return
        self._free += 1
