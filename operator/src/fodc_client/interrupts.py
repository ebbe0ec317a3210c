# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C as an event that code can wait for, so that the first one is a wish and not an end."""

import asyncio
import signal
from collections.abc import Coroutine
from types import TracebackType
from typing import Self, TypeVar

from fodc_client.errors import ClientError, ExitCode

T = TypeVar("T")


class InterruptedByUserError(ClientError):
    """The person pressed Ctrl-C and what was waited for was left."""

    exit_code = ExitCode.INTERRUPTED


class Interrupts:
    """Counts presses of Ctrl-C while it is entered; needs the main thread's event loop."""

    def __init__(self) -> None:
        self._presses = 0
        self._pressed = asyncio.Event()

    def __enter__(self) -> Self:
        """Take SIGINT over from Python."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.press)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give SIGINT back."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    def press(self) -> None:
        """Count one press."""
        self._presses += 1
        self._pressed.set()

    async def _reached(self, presses: int) -> None:
        while self._presses < presses:
            self._pressed.clear()
            await self._pressed.wait()

    async def unless(self, presses: int, work: Coroutine[None, None, T]) -> T:
        """Return the result of `work`; raise InterruptedByUserError at the given press.

        Work that is left is cancelled and awaited.
        """
        working = asyncio.create_task(work, name="work")
        pressing = asyncio.create_task(self._reached(presses), name="press")
        try:
            await asyncio.wait({working, pressing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise InterruptedByUserError("interrupted")
        finally:
            working.cancel()
            pressing.cancel()
            await asyncio.gather(working, pressing, return_exceptions=True)
