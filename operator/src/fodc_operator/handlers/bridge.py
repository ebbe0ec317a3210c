# SPDX-License-Identifier: Apache-2.0
"""The one way from kopf's thread to the main loop, where proxy and cluster client live.

The one idea: a handler hands over a function that makes a coroutine; the main loop runs it, the
handler awaits the result, and whichever side ends first the other is not left waiting.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from fodc_protocol.errors import FodcError, Reason

T = TypeVar("T")
DEADLINE_S: Final = 20.0
MOST_IN_FLIGHT: Final = 256
# The caller waits a little longer than the callee may take, so that the callee's own error wins.
_SLACK_S: Final = 1.0


class BridgeError(FodcError):
    """The main loop did not answer in time, takes no more calls, or has ended."""

    default_reason = Reason.DEADLINE_EXCEEDED


class Bridge:
    """Made in the main loop; `call` is for other threads' loops."""

    def __init__(
        self, main: asyncio.AbstractEventLoop, *, most_in_flight: int = MOST_IN_FLIGHT
    ) -> None:
        self._main = main
        self._most = most_in_flight
        self._in_flight = 0
        self._lock = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """Refuse calls from now on; those in flight end by themselves."""
        self._is_closed = True

    async def call(
        self, make: Callable[[], Coroutine[Any, Any, T]], *, deadline_s: float = DEADLINE_S
    ) -> T:
        """Run `make()` on the main loop and return its result, or raise what it raised.

        Raises BridgeError after `deadline_s`, beyond the greatest number of calls in flight, and
        when the main loop has ended. Cancelling the caller cancels the call.
        """
        self._enter()
        try:
            return await self._send(make, deadline_s)
        finally:
            with self._lock:
                self._in_flight -= 1

    def _enter(self) -> None:
        with self._lock:
            if self._is_closed:
                raise BridgeError("the operator is stopping", reason=Reason.CANCELLED)
            if self._in_flight >= self._most:
                raise BridgeError(
                    f"{self._most} calls wait for the main loop already", reason=Reason.BUSY
                )
            self._in_flight += 1

    async def _send(self, make: Callable[[], Coroutine[Any, Any, T]], deadline_s: float) -> T:
        bounded = _bounded(make, deadline_s)
        try:
            sent = asyncio.run_coroutine_threadsafe(bounded, self._main)
        except RuntimeError as error:
            bounded.close()
            raise BridgeError("the main loop has ended", reason=Reason.CANCELLED) from error
        try:
            async with asyncio.timeout(deadline_s + _SLACK_S):
                return await asyncio.wrap_future(sent)
        except TimeoutError as error:
            raise BridgeError(f"no answer of the main loop within {deadline_s:g} s") from error


async def _bounded(make: Callable[[], Coroutine[Any, Any, T]], deadline_s: float) -> T:
    async with asyncio.timeout(deadline_s):
        return await make()
