# SPDX-License-Identifier: Apache-2.0
"""What connections stand on and what they share, as protocols and one record."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, Protocol, TypeAlias

from fodc_protocol.http2.frames import FRAME_BYTES, HEAD_BYTES
from fodc_proxy.wire.rpc.pool import FIRST_POOL_BYTES, Pool
from fodc_proxy.wire.streams import Context

StreamHandler: TypeAlias = Callable[[object, Context], Coroutine[object, object, None]]

READ_BYTES: Final = 64 * 1024
_GO_ON_AT_ONCE: Final = 4


class Carriage(Protocol):
    """The part of a transport that is used: a socket's, or TLS above it."""

    def write(self, data: bytes) -> None:
        """Send."""

    def set_write_buffer_limits(self, high: int) -> None:
        """Ask to be paused when more than this waits."""

    def get_extra_info(self, name: str) -> object:
        """Tell of the socket."""

    def is_closing(self) -> bool:
        """Say whether nothing is sent any more."""

    def pause_reading(self) -> None:
        """Read nothing."""

    def resume_reading(self) -> None:
        """Read again."""

    def close(self) -> None:
        """Close once all is sent."""

    def abort(self) -> None:
        """Close at once."""


class Watched(Protocol):
    """A connection as the listener sees it."""

    @property
    def kept_bytes(self) -> int:
        """How many bytes wait for handlers."""

    def look(self, now_s: float, *, is_crowded: bool) -> None:
        """Called every few seconds: end what does not live."""

    def stop(self) -> None:
        """End it with a word to the peer."""

    def abort(self) -> None:
        """End it at once."""


class Shared:
    """What all connections of a listener have in common.

    Two buffers among it: each connection is done with them before the next one reads.
    """

    __slots__ = (
        "_empty",
        "_held",
        "buffer",
        "first_pool",
        "lines",
        "loop",
        "max_message_bytes",
        "methods",
        "pool",
        "sealed_view",
        "view",
    )

    def __init__(
        self,
        methods: Mapping[str, StreamHandler],
        max_message_bytes: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.methods = methods
        self.max_message_bytes = max_message_bytes
        self.loop = loop
        self.pool = Pool()
        self.first_pool = Pool(FIRST_POOL_BYTES)
        self.lines: set[Watched] = set()
        self.buffer = bytearray(FRAME_BYTES + HEAD_BYTES + READ_BYTES)
        self.view = memoryview(self.buffer)
        self.sealed_view = memoryview(bytearray(READ_BYTES))
        self._empty: asyncio.Future[None] | None = None
        self._held: deque[Callable[[], None]] = deque()

    def hold(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` in a later turn of the loop, for a connection that brings much.

        A few of them go on in each turn: reading from all would take as long as ten beats wait.
        """
        self._held.append(go_on)
        if len(self._held) == 1:
            self.loop.call_soon(self._let_go)

    def _let_go(self) -> None:
        for _ in range(min(len(self._held), _GO_ON_AT_ONCE)):
            self._held.popleft()()
        if self._held:
            self.loop.call_soon(self._let_go)

    def left(self, line: Watched) -> None:
        """Forget a connection."""
        self.lines.discard(line)
        if not self.lines and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def greatest(self) -> Watched:
        """Return the connection that makes us keep most."""
        return max(self.lines, key=lambda one: one.kept_bytes)

    async def all_left(self) -> None:
        """Wait until there is no connection any more."""
        if self.lines:
            self._empty = self.loop.create_future()
            await self._empty
