# SPDX-License-Identifier: Apache-2.0
"""Places for rounds that hold much memory.

The one idea: a window's columns stay in memory until its reader has them, so a round takes a place
before it begins and gives it back when its result is let go. Whoever finds none waits a while, in
turn, and is then told to come back.
"""

import asyncio
import weakref
from typing import Final

from fodc_proxy.queries.results import TooManyWindowsError

PLACES: Final = 2
MOST_WAITING: Final = 64
LONGEST_WAIT_S: Final = 20.0


class Place:
    """Room for one round; given back once, however often that is said."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places: asyncio.Semaphore | None = places

    def give_back(self) -> None:
        """Let the next one in."""
        places, self._places = self._places, None
        if places is not None:
            places.release()

    def until_gone(self, result: object) -> None:
        """Give the place back when nobody holds this object any more."""
        weakref.finalize(result, self.give_back).atexit = False


class Places:
    """All places and who waits for one."""

    def __init__(self, number: int = PLACES, *, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._free = asyncio.Semaphore(number)
        self._longest_wait_s = longest_wait_s
        self._waiting = 0

    async def take(self) -> Place:
        """Wait for a place; raises TooManyWindowsError when none is free in time."""
        if self._waiting >= MOST_WAITING:
            raise TooManyWindowsError
        self._waiting += 1
        try:
            async with asyncio.timeout(self._longest_wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise TooManyWindowsError from None
        finally:
            self._waiting -= 1
        return Place(self._free)
