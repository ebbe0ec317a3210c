# SPDX-License-Identifier: Apache-2.0
"""One TCP connection: moves bytes between a socket and the core, and events to calls.

The one idea: all connections read into one buffer, since each is done with it before the next one
reads; and what is to be sent in one turn of the loop goes out in one write at its end. A peer that
takes nothing is not read any more, so that its questions cannot make our answers grow.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, TypeAlias

from fodc_protocol.addresses import Address
from fodc_proxy.wire.http2.connection import Connection
from fodc_proxy.wire.http2.events import Closed, Opened, Received, Reset, Room
from fodc_proxy.wire.http2.frames import FRAME_BYTES, HEAD_BYTES, Code
from fodc_proxy.wire.rpc.call import Call
from fodc_proxy.wire.rpc.pool import Pool
from fodc_proxy.wire.rpc.refusing import (
    WORDS_FOR_HTTP,
    http_refusal_of,
    metadata_of,
    refusal_of,
    timeout_s,
)
from fodc_proxy.wire.rpc.status import (
    AbortedError,
    Status,
    StreamOverError,
    refusal,
    trailers,
)
from fodc_proxy.wire.streams import Context

StreamHandler: TypeAlias = Callable[[object, Context], Coroutine[object, object, None]]

READ_BYTES: Final = 64 * 1024
_AT_ONCE_BYTES: Final = 128 * 1024
_MOST_UNSENT_BYTES: Final = 256 * 1024
_GREETING_TIMEOUT_S: Final = 10.0
_BODY_TIMEOUT_S: Final = 1.0
_STALL_TIMEOUT_S: Final = 30.0
_NO_ROOM_TIMEOUT_S: Final = 120.0
_IDLE_TIMEOUT_S: Final = 300.0
_PING_AFTER_S: Final = 60.0
_PING_TIMEOUT_S: Final = 20.0
_NOBODY: Final[dict[Call, asyncio.Future[None]]] = {}  # of all connections: never written to
_log = logging.getLogger(__name__)


class Shared:
    """What all connections of a listener have in common."""

    __slots__ = (
        "_waiting",
        "buffer",
        "lines",
        "loop",
        "max_message_bytes",
        "methods",
        "pool",
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
        self.lines: set[Line] = set()
        self.buffer = bytearray(FRAME_BYTES + HEAD_BYTES + READ_BYTES)
        self.view = memoryview(self.buffer)
        self._waiting: asyncio.Future[None] | None = None

    def left(self, line: "Line") -> None:
        """Forget a connection."""
        self.lines.discard(line)
        if not self.lines and self._waiting is not None:
            _wake(self._waiting)

    async def all_gone(self) -> None:
        """Wait until there is no connection any more."""
        if self.lines:
            self._waiting = self.loop.create_future()
            await self._waiting


class Line(asyncio.BufferedProtocol):
    """One connection."""

    __slots__ = (
        "_calls",
        "_connection",
        "_heard_s",
        "_idle_since_s",
        "_is_flushing",
        "_is_leaving",
        "_is_paused",
        "_is_pinged",
        "_parked",
        "_queued_bytes",
        "_rest",
        "_shared",
        "_stalled_since_s",
        "_transport",
        "certificate_names",
        "is_tls",
        "peer",
        "pool",
    )

    def __init__(self, shared: Shared) -> None:
        self.pool = shared.pool
        self.peer = Address("", 0)
        self.certificate_names: tuple[str, ...] = ()
        self.is_tls = False
        self._shared = shared
        self._transport: asyncio.Transport | None = None
        self._connection = Connection()
        self._calls: dict[int, Call] = {}
        self._rest = b""  # the beginning of a frame
        self._parked: dict[Call, asyncio.Future[None]] = _NOBODY
        self._queued_bytes = 0  # of messages, until the end of this turn of the loop
        self._is_flushing = False
        self._is_leaving = False
        self._is_paused = False
        self._is_pinged = False
        self._heard_s = self._idle_since_s = self._stalled_since_s = shared.loop.time()

    # ---- the transport's side -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet at once: settings that are there before the first call spare a table."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_MOST_UNSENT_BYTES)
        place = transport.get_extra_info("peername") or ("", 0)
        self.peer = Address(str(place[0]).removeprefix("::ffff:"), int(place[1]))
        self._shared.lines.add(self)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Lend the buffer of all, with what is left of the last reading at its beginning."""
        left = len(self._rest)
        if left:
            self._shared.buffer[:left] = self._rest
        return self._shared.view[left : left + READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """Read what came into the buffer."""
        end = len(self._rest) + nbytes
        connection = self._connection
        data = self._shared.view[:end]
        used = connection.receive(data)
        self._rest = bytes(data[used:]) if used < end else b""
        self._heard_s = self._shared.loop.time()
        self._is_pinged = False
        if connection.events:
            events, connection.events = connection.events, []
            for event in events:
                self._heard(event)
        if connection.sending.out:
            self._flush_soon()

    def eof_received(self) -> None:
        """Close: a client that has closed its side hears nothing any more."""

    def pause_writing(self) -> None:
        """Stop reading as well."""
        self._is_paused = True
        self._stalled_since_s = self._shared.loop.time()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._is_paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self._unpark()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End all calls."""
        self._shared.left(self)
        self._connection.is_closed = True
        for call in tuple(self._calls.values()):
            self._over(call)
        self._transport = None

    # ---- events ---------------------------------------------------------------------------------

    def _heard(self, event: Opened | Received | Reset | Room | Closed) -> None:
        match event:
            case Received():
                call = self._calls.get(event.stream_id)
                if call is not None:
                    call.received(event.data, ended=event.ended)
            case Opened():
                self._open(event)
            case Reset():
                call = self._calls.get(event.stream_id)
                if call is not None:
                    self._over(call)
                else:
                    self._connection.streams.forget(event.stream_id)
            case Room():
                self._unpark()
            case Closed():
                _log.debug("a gRPC peer at %s was sent away: %s", self.peer, event.message)
                self._leave()

    def _open(self, event: Opened) -> None:
        request, stream_id = event.request, event.stream_id
        if headers := http_refusal_of(request):
            self._start(_tell_of_grpc, event).headers = headers
            return
        handler = self._shared.methods.get(request.path)
        refused = refusal_of(request, is_known=handler is not None)
        if refused or handler is None:
            self._connection.sending.headers(stream_id, refused, ended=True)
            self._connection.streams.forget(stream_id)
            return
        call = self._start(handler, event)
        wait_s = timeout_s(request)
        if wait_s is not None:
            late = AbortedError(Status.DEADLINE_EXCEEDED, "the deadline of the call has passed")
            call.deadline = self._shared.loop.call_later(wait_s, call.cancel, late)

    def _start(self, handler: StreamHandler, event: Opened) -> Call:
        metadata = metadata_of(event.request)
        call = Call(self, event.stream_id, metadata, self._shared.max_message_bytes)
        call.is_ended = event.ended
        self._calls[event.stream_id] = call
        call.task = self._shared.loop.create_task(handler(None, call))
        call.task.add_done_callback(call.done)
        return call

    def _over(self, call: Call) -> None:
        """End a call of which the peer wants to hear nothing any more."""
        call.cancel()
        self._let_go(call)

    # ---- the end of calls -----------------------------------------------------------------------

    def done(self, call: Call, task: asyncio.Task[None]) -> None:
        """Tell the client how its call has ended, and forget it."""
        ended = _ending(call, task)
        is_told = not call.is_over and not self._connection.is_closed
        del self._calls[call.stream_id]
        call.close()
        self._let_go(call)
        if is_told:
            self._tell(call, ended)
        self._connection.streams.forget(call.stream_id)
        if not self._calls:
            self._idle_since_s = self._shared.loop.time()
            if self._is_leaving:
                self._part()

    def _let_go(self, call: Call) -> None:
        """Let nobody wait for room of a call that is over."""
        if self._parked and (waiting := self._parked.pop(call, None)) is not None:
            _wake(waiting)

    def _tell(self, call: Call, ended: AbortedError) -> None:
        connection, stream_id = self._connection, call.stream_id
        if call.is_torn:
            connection.sending.reset(stream_id, Code.INTERNAL_ERROR)
        elif call.is_answered or ended.status is Status.OK:
            if not call.is_answered:
                connection.sending.headers(stream_id, call.headers)
            connection.sending.headers(stream_id, trailers(ended.status, ended.message), ended=True)
        else:
            connection.sending.headers(stream_id, refusal(ended.status, ended.message), ended=True)
        self._flush_soon()

    # ---- for calls ------------------------------------------------------------------------------

    def send(self, call: Call, data: memoryview) -> int:
        """Send what may be sent now; return how many bytes that were."""
        room_bytes = _AT_ONCE_BYTES - self._queued_bytes
        if self._is_paused or room_bytes <= 0 or self._connection.is_closed:
            return 0
        if not call.is_answered:
            call.is_answered = True
            self._connection.sending.headers(call.stream_id, call.headers)
        self._flush_soon()
        sent = self._connection.sending.data(call.stream_id, data, room_bytes)
        self._queued_bytes += sent
        return sent

    async def room(self, call: Call) -> None:
        """Wait until it is worth while to try again."""
        if not self._parked:
            self._parked = {}
            self._stalled_since_s = self._shared.loop.time()
        waiting = self._parked[call] = self._shared.loop.create_future()
        try:
            await waiting
        finally:
            if self._parked.get(call) is waiting:
                del self._parked[call]

    def allow(self, stream_id: int, least_bytes: int, wanted_bytes: int) -> None:
        """Let the client send more."""
        connection = self._connection
        connection.allow(stream_id, least_bytes, wanted_bytes)
        if connection.sending.out:
            self._flush_soon()

    def flood(self) -> None:
        """End the connection: its peer sends more than anybody can keep."""
        if self._transport is not None:
            self._transport.abort()

    def _unpark(self) -> None:
        """Let everybody try again who waits for room, in the order in which they came."""
        if self._parked and not self._is_paused:
            parked, self._parked = self._parked, _NOBODY
            for waiting in parked.values():
                _wake(waiting)

    # ---- sending --------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if not self._is_flushing:
            self._is_flushing = True
            self._shared.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        out = self._connection.sending.out
        if not out:
            return
        self._connection.sending.out = []
        self._queued_bytes = 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            if self._parked:
                self._shared.loop.call_soon(self._unpark)

    def _leave(self) -> None:
        """Send what is to be sent and close."""
        for call in tuple(self._calls.values()):
            self._over(call)
        self._part()

    # ---- the watch ------------------------------------------------------------------------------

    def stop(self) -> None:
        """Say goodbye, end all calls with a status, and close when that is sent."""
        self._is_leaving = True
        self._connection.sending.goodbye()
        for call in tuple(self._calls.values()):
            call.cancel(AbortedError(Status.UNAVAILABLE, "the proxy stops"))
        if not self._calls:
            self._part()

    def _part(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def look(self, now_s: float, *, is_crowded: bool) -> None:
        """Called every few seconds: ping a silent peer, end what does not live."""
        self._connection.forgive()
        silent_s = now_s - self._heard_s
        if self._is_dead(now_s, silent_s, is_crowded=is_crowded):
            self.abort()
        elif silent_s >= _PING_AFTER_S and not self._is_pinged:
            self._is_pinged = True
            self._connection.sending.ping()
            self._flush_soon()

    def _is_dead(self, now_s: float, silent_s: float, *, is_crowded: bool) -> bool:
        if self._is_paused or self._parked:
            most_s = _STALL_TIMEOUT_S if self._is_paused else _NO_ROOM_TIMEOUT_S
            return now_s - self._stalled_since_s > most_s
        if self._is_pinged:
            return silent_s > _PING_AFTER_S + _PING_TIMEOUT_S
        if self._calls:
            return False
        idle_s = now_s - self._idle_since_s
        is_new = not self._connection.is_greeted or self._connection.is_closed or is_crowded
        return idle_s > (_GREETING_TIMEOUT_S if is_new else _IDLE_TIMEOUT_S)


def _ending(call: Call, task: asyncio.Task[None]) -> AbortedError:
    """Return how a handler has ended."""
    if task.cancelled():
        return call.parting or AbortedError(Status.CANCELLED, "the call was cancelled")
    error = task.exception()
    if error is None:
        return AbortedError(Status.OK, "")
    if isinstance(error, AbortedError):
        return error
    if not isinstance(error, StreamOverError):
        _log.error("a gRPC handler failed", exc_info=error)
    return AbortedError(Status.UNKNOWN, "the handler failed: see the log of the proxy")


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


async def _tell_of_grpc(_requests: object, context: Context) -> None:
    """Say to somebody who speaks HTTP and no gRPC what this port is for, once all is asked."""
    assert isinstance(context, Call)
    with contextlib.suppress(TimeoutError, AbortedError):
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            while await context.read() is not None:
                pass
    await context.write_raw(WORDS_FOR_HTTP)
