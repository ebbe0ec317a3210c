# SPDX-License-Identifier: Apache-2.0
"""One call: what a handler reads from and writes to.

The one idea: bytes stay as they came until the handler asks for the next message, and the client
gets leave to send more only then. So a handler that is slow, or never reads, costs a window.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NoReturn, Protocol

from fodc_protocol.addresses import Address
from fodc_protocol.grpc_status import Status
from fodc_protocol.http2.frames import FIRST_WINDOW
from fodc_proxy.wire.rpc.pool import Pool
from fodc_proxy.wire.rpc.status import HEADERS, AbortedError, StreamOverError

PREFIX_BYTES: Final = 5
LARGE_TIMEOUT_S: Final = 10.0
"""A message larger than a window that has not come whole by then ends its call, and one of more
bytes than `SLOWEST_BYTES_PER_S` brings in that time somewhat later."""
SLOWEST_BYTES_PER_S: Final = 512 * 1024


class Carrier(Protocol):
    """The connection as a call sees it."""

    pool: Pool
    first_pool: Pool
    peer: Address
    certificate_names: tuple[str, ...]
    is_tls: bool

    def send(self, call: "Call", data: memoryview) -> int:
        """Send what may be sent now; return how many bytes that were."""

    def send_now(self, call: "Call", data: memoryview) -> bool:
        """Send all of it before the peer is heard again, or nothing; say which."""

    async def room(self, call: "Call") -> None:
        """Wait until it is worth while to try again."""

    def allow(self, stream_id: int, least_bytes: int, wanted_bytes: int) -> None:
        """Let the client send more."""

    def done(self, call: "Call", task: asyncio.Task[None]) -> None:
        """Tell the client how the handler has ended."""

    def keep(self, change_bytes: int) -> None:
        """Count bytes that are kept until a handler reads them, more or, below 0, less."""


class Call:
    """A stream of one method, from its headers to its status."""

    __slots__ = (
        "_buffer",
        "_carrier",
        "_lender",
        "_limit_bytes",
        "_most_bytes",
        "_reader",
        "_reserved_bytes",
        "_taker",
        "_wanted_bytes",
        "deadline",
        "headers",
        "is_answered",
        "is_ended",
        "is_over",
        "is_torn",
        "metadata",
        "parting",
        "stream_id",
        "task",
    )

    def __init__(
        self, carrier: Carrier, stream_id: int, metadata: Mapping[str, str], most_bytes: int
    ) -> None:
        self.stream_id = stream_id
        self.metadata = metadata
        self.task: asyncio.Task[None] | None = None
        self.deadline: asyncio.TimerHandle | None = None
        self.parting: AbortedError | None = (
            None  # why the task was cancelled, when the peer may know
        )
        self.headers = HEADERS  # which an answer begins with
        self.is_answered = False  # headers were sent
        self.is_ended = False  # the client has said its last word
        self.is_over = False  # nothing can be sent
        self.is_torn = False  # a part of a message has gone, and it was left or waits for room
        self._carrier = carrier
        self._most_bytes = self._limit_bytes = most_bytes
        self._buffer: bytearray | None = None
        self._reader: asyncio.Future[bytes | None] | None = None
        self._taker: Callable[[bytes], bool] | None = None
        self._wanted_bytes = 0  # how many the reader waits for in all
        self._lender = carrier.pool
        self._reserved_bytes = 0

    # ---- for handlers ---------------------------------------------------------------------------

    @property
    def peer(self) -> Address:
        """Where the client is."""
        return self._carrier.peer

    @property
    def is_tls(self) -> bool:
        """Whether nobody between could read along."""
        return self._carrier.is_tls

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """The names of the client's certificate, none without one that was verified."""
        return self._carrier.certificate_names

    async def read(self, most_bytes: int = 0) -> bytes | None:
        """Return the next message, None when the client has ended its side.

        A message of more than `most_bytes`, of more than the server's own bound without it, or one
        that is compressed or cut off ends the call: raises AbortedError.
        """
        self._give_back()
        self._limit_bytes = most_bytes or self._most_bytes
        # Who may send little only, such as a stranger, takes no room from those who are known.
        self._lender = self._carrier.first_pool if most_bytes else self._carrier.pool
        while (message := self._next()) is None and not self.is_ended:
            if (message := await self._more()) is not None:
                return message
        if message is None and self._buffer:
            raise AbortedError(Status.INTERNAL, "the stream ended in the midst of a message")
        return message

    def hear(self, taker: Callable[[bytes], bool]) -> None:
        """Offer `taker` each message that comes in one piece while a read waits for it.

        The reader never sees one of which it returns True. It must not raise. So what can be
        answered at once needs neither a turn of the loop nor a task that is woken.
        """
        self._taker = taker

    def write_now(self, message: bytes) -> bool:
        """Send one message at once, or nothing when that needs waiting; say which."""
        if self.is_over or self.is_torn:
            return False
        return self._carrier.send_now(self, memoryview(_prefixed(message)))

    async def write(self, message: bytes) -> None:
        """Send one message; raises StreamOverError when there is nobody to take it.

        A write that is cancelled in its midst leaves nothing to be said but the end of the stream.
        """
        await self.write_raw(_prefixed(message))

    async def write_raw(self, raw: bytes) -> None:
        """Send bytes as they are; as `write` otherwise."""
        data = memoryview(raw)
        sent = self._send(data)
        while sent < len(data):
            self.is_torn = sent > 0
            await self._carrier.room(self)
            self.is_torn = False
            sent += self._send(data[sent:])

    def _send(self, data: memoryview) -> int:
        if self.is_over or self.is_torn:
            raise StreamOverError("the stream is over")
        return self._carrier.send(self, data)

    async def abort(self, status: Status, message: str) -> NoReturn:
        """End the call with a status: raises AbortedError, which must not be caught."""
        raise AbortedError(status, message)

    # ---- for the connection ---------------------------------------------------------------------

    def received(self, data: bytes, *, ended: bool) -> None:
        """Take what the client sent."""
        self.is_ended = ended
        reader = self._reader
        if reader is None or reader.done():
            self._keep(data)
        elif self._buffer is None and _is_whole(data, self._limit_bytes):
            self._offer(data, reader)
        else:
            self._keep(data)
            if ended or self._has_enough():
                reader.set_result(None)

    def _offer(self, data: bytes, reader: asyncio.Future[bytes | None]) -> None:
        """Give a message to who takes it at once, else to the reader."""
        message = data[PREFIX_BYTES:]
        is_taken = self._taker is not None and self._taker(message)
        if reader.done():  # whoever took it has ended the stream
            if not is_taken:
                self._keep(data)
        elif not is_taken:
            reader.set_result(message)
        elif self.is_ended:
            reader.set_result(None)
        else:
            self._carrier.allow(self.stream_id, PREFIX_BYTES, FIRST_WINDOW)

    def done(self, task: asyncio.Task[None]) -> None:
        """Pass on that the handler has ended."""
        self._carrier.done(self, task)

    def close(self) -> None:
        """Let go of what is kept; nothing is read or sent any more."""
        self.is_over = True
        self._carrier.keep(-len(self._buffer or b""))
        self._buffer = None
        self._give_back()
        if self.deadline is not None:
            self.deadline.cancel()

    def cancel(self, parting: AbortedError | None = None) -> None:
        """End the handler; `parting` is what the client is told."""
        self.is_over = parting is None
        self.parting = parting
        if self.task is not None:
            self.task.cancel()

    # ---- messages -------------------------------------------------------------------------------

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        if self._buffer is None:
            self._buffer = bytearray()
        self._buffer += data
        self._carrier.keep(len(data))

    def _has_enough(self) -> bool:
        return self._buffer is not None and len(self._buffer) >= self._wanted_bytes

    def _next(self) -> bytes | None:
        """Cut the next message off what came."""
        buffer = self._buffer
        if buffer is None or len(buffer) < PREFIX_BYTES:
            self._wanted_bytes = PREFIX_BYTES
            return None
        size = int.from_bytes(buffer[1:PREFIX_BYTES], "big")
        _check(buffer[0], size, self._limit_bytes)
        end = self._wanted_bytes = PREFIX_BYTES + size
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            message = bytes(view[PREFIX_BYTES:end])
        self._carrier.keep(-end)
        if len(buffer) == end:
            self._buffer = None
        else:
            del buffer[:end]
        return message

    async def _more(self) -> bytes | None:
        """Wait for what is missing; return a message that came in one piece."""
        kept_bytes = len(self._buffer or b"")
        missing_bytes = self._wanted_bytes - kept_bytes
        if self._wanted_bytes <= FIRST_WINDOW:
            wanted_bytes = max(missing_bytes, FIRST_WINDOW - kept_bytes)
            self._carrier.allow(self.stream_id, missing_bytes, wanted_bytes)
            return await self._wait()
        if not self._reserved_bytes:
            await self._lender.take(self._wanted_bytes, self.peer.host)
            self._reserved_bytes = self._wanted_bytes
            return None  # something may have come meanwhile
        self._carrier.allow(self.stream_id, missing_bytes, missing_bytes)
        longest_s = max(LARGE_TIMEOUT_S, self._wanted_bytes / SLOWEST_BYTES_PER_S)
        try:
            async with asyncio.timeout(longest_s):
                return await self._wait()
        except TimeoutError:
            told = f"a message of {self._wanted_bytes} bytes took more than {longest_s:g} s"
            raise AbortedError(Status.DEADLINE_EXCEEDED, told) from None

    async def _wait(self) -> bytes | None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            return await self._reader
        finally:
            self._reader = None

    def _give_back(self) -> None:
        """Let another large message in."""
        if self._reserved_bytes:
            self._lender.give(self._reserved_bytes, self.peer.host)
            self._reserved_bytes = 0


def _prefixed(message: bytes) -> bytes:
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _is_whole(data: bytes, most_bytes: int) -> bool:
    """Say whether a piece is one message, as small ones are."""
    size = len(data) - PREFIX_BYTES
    if not 0 <= size <= most_bytes or data[0]:
        return False
    return int.from_bytes(data[1:PREFIX_BYTES], "big") == size


def _check(flag: int, size_bytes: int, most_bytes: int) -> None:
    """Refuse what cannot be read; raises AbortedError."""
    if flag:
        message = "messages must not be compressed: grpc-encoding identity is all that is taken"
        raise AbortedError(Status.UNIMPLEMENTED, message)
    if size_bytes > most_bytes:
        message = f"a message of {size_bytes} bytes, at most {most_bytes} are taken"
        raise AbortedError(Status.RESOURCE_EXHAUSTED, message)
