# SPDX-License-Identifier: Apache-2.0
"""Who waits until a connection takes more; at rest this is nothing."""

import asyncio
from typing import Final

from fodc_proxy.wire.rpc.call import Call

_NOBODY: Final[dict[Call, asyncio.Future[None]]] = {}  # of all connections: never written to


class Rooms:
    """Writers of one connection that wait, in the order in which they came."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting = _NOBODY

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def wait(self, call: Call) -> None:
        """Wait until it is worth while to try again."""
        if not self._waiting:
            self._waiting = {}
        turn = self._waiting[call] = self._loop.create_future()
        try:
            await turn
        finally:
            if self._waiting.get(call) is turn:
                del self._waiting[call]

    def let_go(self, call: Call) -> None:
        """Let a call wait no more that is over."""
        if self._waiting and (turn := self._waiting.pop(call, None)) is not None:
            _wake(turn)

    def try_again(self) -> None:
        """Let everybody try again, first those whom a large message has left nothing."""
        waiting, self._waiting = self._waiting, _NOBODY
        for call in sorted(waiting, key=lambda one: one.is_torn):
            _wake(waiting[call])


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
