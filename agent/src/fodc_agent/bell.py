# SPDX-License-Identifier: Apache-2.0
"""Waiting for something that may come before its time is up."""

import asyncio


class Bell:
    """Wakes the one task that waits for it; a ring that nobody waited for counts at the next wait.

    The one idea: what times out is a timer and no cancellation, which would be a turn of the loop
    more for each wake-up of a program that mostly sleeps.
    """

    def __init__(self) -> None:
        self._is_rung = False
        self._waiting: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake who waits, now or next."""
        self._is_rung = True
        if self._waiting is not None:
            _end(self._waiting)

    async def rings(self, within_s: float) -> bool:
        """Wait for a ring, but not longer than that; say whether it rang."""
        if not self._is_rung:
            loop = asyncio.get_running_loop()
            self._waiting = waiting = loop.create_future()
            timer = loop.call_later(within_s, _end, waiting)
            try:
                await waiting
            finally:
                timer.cancel()
                self._waiting = None
        is_rung, self._is_rung = self._is_rung, False
        return is_rung


def _end(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
