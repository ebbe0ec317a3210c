# SPDX-License-Identifier: Apache-2.0
"""Writes of one stream: never two at a time, never more waiting than a bound.

The one idea: whoever finds the stream idle writes; whoever finds it busy leaves the message behind
and the writer takes it along. At rest there is neither a task nor a queue.
"""

import asyncio
import contextlib
from collections import deque
from typing import Final, Protocol

from fodc_proxy.wire.pauses import stream_event
from fodc_proxy.wire.rpc.status import StreamOverError

MOST_WAITING: Final = 256
WRITE_TIMEOUT_S: Final = 30.0


class WritingStream(Protocol):
    """The part of a gRPC context that an outbox needs."""

    async def write(self, message: bytes) -> None:
        """Send one message."""

    def write_now(self, message: bytes) -> bool:
        """Send one message at once, or nothing when that needs waiting; say which."""


class Writers:
    """Owns the tasks of all outboxes, and says what they have dropped."""

    def __init__(self) -> None:
        self.dropped = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, outbox: "Outbox") -> None:
        """Write in the background until the outbox is empty."""
        task = asyncio.create_task(outbox.drain(), name="outbox")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """End all writing and wait for it."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Outbox:
    """Messages on their way to one stream."""

    __slots__ = ("_busy", "_stream", "_waiting", "_writers", "closed")

    def __init__(self, stream: WritingStream, writers: Writers) -> None:
        self.closed = False
        self._stream = stream
        self._writers = writers
        self._waiting: deque[bytes] | None = None
        self._busy = False

    def offer(self, data: bytes) -> bool:
        """Send a message or leave it for sending; False when closed or 256 wait already."""
        if self.write_now(data):
            return True
        waiting = self._waiting
        if self.closed or (waiting is not None and len(waiting) >= MOST_WAITING):
            self._writers.dropped += 1
            return False
        if waiting is None:
            waiting = self._waiting = deque()
        waiting.append(data)
        if not self._busy:
            self._busy = True
            self._writers.spawn(self)
        return True

    def write_now(self, data: bytes) -> bool:
        """Send a message at once, or nothing when that needs waiting; say which."""
        return not (self._busy or self.closed) and self._stream.write_now(data)

    async def write(self, data: bytes) -> bool:
        """Send a message now, or leave it to the writer at work; False when it cannot be sent."""
        if self._busy:
            return self.offer(data)
        self._busy = True
        sent = await self._send(data)
        await self.drain()
        return sent

    async def drain(self) -> None:
        """Send what waits; the caller has marked the outbox busy."""
        try:
            while self._waiting and not self.closed:
                await self._send(self._waiting.popleft())
        finally:
            self._waiting = None
            self._busy = False

    async def _send(self, data: bytes) -> bool:
        """Send one message; a peer that takes none for 30 s has its stream closed."""
        if self.closed:
            return False
        with contextlib.suppress(StreamOverError, TimeoutError):
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._stream.write(data)
            stream_event()
            return True
        self.closed = True
        return False

    def close(self) -> None:
        """Send nothing more."""
        self.closed = True
