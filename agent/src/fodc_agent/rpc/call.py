# SPDX-License-Identifier: Apache-2.0
"""One open call: what a caller reads from and writes to.

The one idea: a large message is sent in slices of itself, as far as the windows of the peer and
what is not written yet allow, so it exists once. And the peer gets leave to send only what somebody
waits for.
"""

import asyncio
from collections.abc import Iterator
from typing import Final, Protocol, TypeAlias

from fodc_agent.rpc.answer import PREFIX_BYTES, Answer
from fodc_protocol.http2.frames import FIRST_WINDOW, FRAME_BYTES

Message: TypeAlias = bytes | bytearray
_WITH_PREFIX_BYTES: Final = FRAME_BYTES - PREFIX_BYTES


class Carrier(Protocol):
    """The connection as a call sees it."""

    def send(self, stream_id: int, data: memoryview) -> int:
        """Send what may be sent now; return how many bytes that were."""

    def room(self, *, is_served: bool) -> asyncio.Future[None]:
        """Return what is done when more may be sent, or the connection has ended.

        Who could send nothing goes before who could send a part.
        """

    def end(self, stream_id: int) -> None:
        """Say that no more bytes follow."""

    def allow(self, stream_id: int, least_bytes: int, wanted_bytes: int) -> None:
        """Let the peer send more."""


class ByteStream:
    """One open bidirectional call; not safe for two concurrent senders or receivers."""

    __slots__ = ("_carrier", "_is_sending", "_reader", "answer", "is_closed", "stream_id")

    def __init__(self, carrier: Carrier, stream_id: int, answer: Answer) -> None:
        self.stream_id = stream_id
        self.answer = answer
        self.is_closed = False  # this side has said its last word
        self._carrier = carrier
        self._is_sending = False  # also when a message was left in its midst
        self._reader: asyncio.Future[None] | None = None

    async def send(self, message: Message) -> None:
        """Send one message; waits while the peer's flow control is exhausted.

        The message must not be changed before this returns. Raises RpcError when the call has
        failed; what is sent after the peer has ended it well goes nowhere.
        """
        self._is_sending = True
        for piece in _pieces(message):
            data = piece
            while len(data) > 0 and not self._is_over():
                sent = self._carrier.send(self.stream_id, data)
                data = data[sent:]
                if len(data) > 0:
                    await self._carrier.room(is_served=sent > 0)
        self._is_sending = False

    def _is_over(self) -> bool:
        self.answer.check()
        return self.answer.is_ended

    async def receive(self) -> bytes | None:
        """Return the next message, None when the peer ended the call well.

        Raises RpcError when the peer ended it with another status, the stream broke, or a message
        is longer than its kind may be.
        """
        answer = self.answer
        while (message := answer.message()) is None:
            if answer.is_ended:
                return None
            missing_bytes = answer.missing_bytes
            self._carrier.allow(self.stream_id, missing_bytes, max(missing_bytes, FIRST_WINDOW))
            await self._news()
        return message

    async def _news(self) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    async def end(self) -> None:
        """Say that nothing more will be sent; the peer may go on."""
        if not (self.is_closed or self._is_sending or self._is_over()):
            # In the midst of a message, or of a call that the peer has ended, leaving resets it.
            self.is_closed = True
            self._carrier.end(self.stream_id)

    def heard(self) -> None:
        """Wake who waits for the peer; called when something has come."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def _pieces(message: Message) -> Iterator[memoryview]:
    """Yield a message behind its length; only what shares a frame with the length is copied."""
    prefix = b"\x00" + len(message).to_bytes(4, "big")
    view = memoryview(message)
    yield memoryview(prefix + view[:_WITH_PREFIX_BYTES])
    if len(view) > _WITH_PREFIX_BYTES:
        yield view[_WITH_PREFIX_BYTES:]
