# SPDX-License-Identifier: Apache-2.0
"""One connection: moves bytes between a transport and the core, and events to calls.

The one idea: what is to be sent in one turn of the loop goes out in one write at its end. A peer
that takes nothing is not read any more, so that its questions cannot make our answers grow.
"""

import asyncio
import contextlib
import logging
from typing import Final

from fodc_protocol.addresses import Address
from fodc_protocol.grpc_status import Status
from fodc_protocol.http2.events import Closed, Received, Reset, Room
from fodc_proxy.wire.http2.connection import Connection
from fodc_proxy.wire.http2.events import Event, Opened
from fodc_proxy.wire.rpc.call import Call
from fodc_proxy.wire.rpc.carriage import READ_BYTES, Carriage, Shared, StreamHandler
from fodc_proxy.wire.rpc.ending import ending_of, tell
from fodc_proxy.wire.rpc.pulse import Pulse, Verdict
from fodc_proxy.wire.rpc.refusing import (
    WORDS_FOR_HTTP,
    http_refusal_of,
    metadata_of,
    refusal_of,
    timeout_s,
)
from fodc_proxy.wire.rpc.rooms import Rooms
from fodc_proxy.wire.rpc.status import AbortedError
from fodc_proxy.wire.streams import FIRST_MESSAGE_BYTES, LARGE_BYTES, Context

_AT_ONCE_BYTES: Final = 128 * 1024
_MOST_UNSENT_BYTES: Final = 256 * 1024
_BODY_TIMEOUT_S: Final = 1.0
# Read of a connection that brings little; one that has brought more is read in larger pieces and
# waits for its turn in between.
_LITTLE_BYTES: Final = 16 * 1024
_log = logging.getLogger(__name__)


class Line(asyncio.BufferedProtocol):
    """One connection."""

    __slots__ = (
        "_calls",
        "_connection",
        "_is_flushing",
        "_is_held",
        "_is_leaving",
        "_is_paused",
        "_pulse",
        "_queued_bytes",
        "_rest",
        "_rooms",
        "_shared",
        "_transport",
        "certificate_names",
        "first_pool",
        "is_tls",
        "kept_bytes",
        "peer",
        "pool",
    )

    def __init__(self, shared: Shared) -> None:
        self.pool = shared.pool
        self.first_pool = shared.first_pool
        self.peer = Address("", 0)
        self.certificate_names: tuple[str, ...] = ()
        self.is_tls = False
        self.kept_bytes = 0
        self._shared = shared
        self._transport: Carriage | None = None
        self._connection = Connection()
        self._calls: dict[int, Call] = {}
        self._rooms = Rooms(shared.loop)
        self._pulse = Pulse(shared.loop.time())
        self._rest = b""  # the beginning of a frame
        self._queued_bytes = 0  # of messages, until the end of this turn of the loop
        self._is_flushing = False
        self._is_held = False  # until others were read
        self._is_leaving = False
        self._is_paused = False

    # ---- the transport's side -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, on a socket of its own."""
        assert isinstance(transport, asyncio.Transport)
        self.begin(transport)

    def begin(self, transport: Carriage) -> None:
        """Begin; our greeting goes with the first answer, behind the client's."""
        self._transport = transport
        transport.set_write_buffer_limits(_MOST_UNSENT_BYTES)
        place = transport.get_extra_info("peername")
        if isinstance(place, tuple) and len(place) >= 2:
            self.peer = Address(str(place[0]).removeprefix("::ffff:"), int(place[1]))
        self._shared.lines.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Lend the buffer of all, with what is left of the last reading at its beginning."""
        left = len(self._rest)
        if left:
            self._shared.buffer[:left] = self._rest
        more = READ_BYTES if self.kept_bytes else _LITTLE_BYTES
        return self._shared.view[left : left + more]

    def buffer_updated(self, nbytes: int) -> None:
        """Read what came into the buffer."""
        end = len(self._rest) + nbytes
        connection = self._connection
        data = self._shared.view[:end]
        used = connection.receive(data)
        self._rest = bytes(data[used:]) if used < end else b""
        self._pulse.heard(self._shared.loop.time())
        if connection.events:
            events, connection.events = connection.events, []
            for event in events:
                self._heard(event)
        if connection.sending.out:
            self._flush_soon()
        if self.kept_bytes >= LARGE_BYTES:
            self._hold()

    def _hold(self) -> None:
        """Read on when others had their turn: here a large message comes in."""
        if self._transport is not None and not self._is_held:
            self._is_held = True
            self._transport.pause_reading()
            self._shared.hold(self._go_on)

    def _go_on(self) -> None:
        self._is_held = False
        if not self._is_paused:
            self._read_on()

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> None:
        """Close: a client that has closed its side hears nothing any more."""

    def pause_writing(self) -> None:
        """Stop reading as well."""
        self._is_paused = True
        self._pulse.stalled_since_s = self._shared.loop.time()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._is_paused = False
        if not self._is_held:
            self._read_on()
        self._rooms.try_again()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End all calls."""
        self._shared.left(self)
        self._connection.is_closed = True
        for call in tuple(self._calls.values()):
            self._over(call)
        self._transport = None

    # ---- events ---------------------------------------------------------------------------------

    def _heard(self, event: Event) -> None:
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
            case Room():
                self._try_again()
            case Closed():
                _log.debug("a gRPC peer at %s was sent away: %s", self.peer, event.message)
                for call in tuple(self._calls.values()):
                    self._over(call)
                self._part()

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
        self._rooms.let_go(call)

    # ---- for calls ------------------------------------------------------------------------------

    def send(self, call: Call, data: memoryview) -> int:
        """Send what may be sent now; return how many bytes that were."""
        room_bytes = self._room_bytes()
        if room_bytes <= 0:
            return 0
        self._flush_soon()
        return self._put(call, data, room_bytes)

    def send_now(self, call: Call, data: memoryview) -> bool:
        """Send all of it before the peer is heard again, or nothing; say which."""
        size_bytes = len(data)
        room_bytes = self._connection.sending.room(call.stream_id)
        if size_bytes > min(room_bytes, self._room_bytes()):
            return False
        self._put(call, data, size_bytes)
        self._flush()
        return True

    def _room_bytes(self) -> int:
        """Return how many bytes may be sent in this turn of the loop."""
        if self._is_paused or self._connection.is_closed:
            return 0
        return _AT_ONCE_BYTES - self._queued_bytes

    def _put(self, call: Call, data: memoryview, room_bytes: int) -> int:
        """Leave for the end of the turn what goes; return how many bytes that were."""
        sending = self._connection.sending
        if not call.is_answered:
            call.is_answered = True
            sending.headers(call.stream_id, call.headers)
        sent = sending.data(call.stream_id, data, room_bytes)
        self._queued_bytes += sent
        return sent

    async def room(self, call: Call) -> None:
        """Wait until it is worth while to try again."""
        if not self._rooms:
            self._pulse.stalled_since_s = self._shared.loop.time()
        await self._rooms.wait(call)

    def allow(self, stream_id: int, least_bytes: int, wanted_bytes: int) -> None:
        """Let the client send more."""
        self._connection.allow(stream_id, least_bytes, wanted_bytes)
        if self._connection.sending.out:
            self._flush_soon()

    def done(self, call: Call, task: asyncio.Task[None]) -> None:
        """Tell the client how its call has ended, and forget it."""
        ended = ending_of(call, task)
        is_told = not call.is_over and not self._connection.is_closed
        del self._calls[call.stream_id]
        call.close()
        self._rooms.let_go(call)
        if is_told:
            tell(self._connection.sending, call, ended)
            self._flush_soon()
        self._connection.streams.forget(call.stream_id)
        if not self._calls:
            self._pulse.idle_since_s = self._shared.loop.time()
            if self._is_leaving:
                self._part()

    def keep(self, change_bytes: int) -> None:
        """Count bytes that are kept; beyond what anybody can keep the greatest of all goes."""
        self.kept_bytes += change_bytes
        self.pool.kept_bytes += change_bytes
        if change_bytes > 0 and self.pool.is_flooded:
            self._shared.greatest().abort()

    def _try_again(self) -> None:
        if not self._is_paused:
            self._rooms.try_again()

    # ---- sending --------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if not self._is_flushing:
            self._is_flushing = True
            self._shared.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        sending = self._connection.sending
        if not sending.out:
            return
        out, sending.out = sending.out, []
        self._queued_bytes = 0
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            if self._rooms:
                self._shared.loop.call_soon(self._try_again)

    def _part(self) -> None:
        """Send what is to be sent and close."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    # ---- the watch ------------------------------------------------------------------------------

    def stop(self) -> None:
        """Say goodbye, end all calls with a status, and close when that is sent."""
        self._is_leaving = True
        self._connection.sending.goodbye()
        for call in tuple(self._calls.values()):
            call.cancel(AbortedError(Status.UNAVAILABLE, "the proxy stops"))
        if not self._calls:
            self._part()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def look(self, now_s: float, *, is_crowded: bool) -> None:
        """Called every few seconds: ping a silent peer, end what does not live."""
        connection = self._connection
        connection.forgive()
        verdict = self._pulse.verdict(
            now_s,
            is_paused=self._is_paused,
            is_waiting=bool(self._rooms),
            is_idle=not self._calls,
            is_new=is_crowded or connection.is_closed or not connection.is_greeted,
        )
        if verdict is Verdict.END:
            if not (self._calls or self._is_paused):
                connection.sending.goodbye()
                self._flush()
            self.abort()
        elif verdict is Verdict.PING:
            connection.sending.ping()
            self._flush_soon()


async def _tell_of_grpc(_requests: object, context: Context) -> None:
    """Say to somebody who speaks HTTP and no gRPC what this port is for, once all is asked."""
    assert isinstance(context, Call)
    with contextlib.suppress(TimeoutError, AbortedError):
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            while await context.read(FIRST_MESSAGE_BYTES) is not None:
                pass
    await context.write_raw(WORDS_FOR_HTTP)
