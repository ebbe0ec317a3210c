# SPDX-License-Identifier: Apache-2.0
"""One TCP connection to a peer: moves bytes between a socket and the core, and events to calls."""

import asyncio
from collections.abc import Callable
from typing import Final

from fodc_agent.rpc.answer import Answer
from fodc_agent.rpc.call import ByteStream
from fodc_agent.rpc.connection import Connection, Leaving, Told
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_protocol.http2.events import Closed, Received, Reset, Room
from fodc_protocol.http2.frames import FRAME_BYTES, HEAD_BYTES, Code
from fodc_protocol.redaction import redact_foreign

_READ_BYTES: Final = 16 * 1024
_AT_ONCE_BYTES: Final = 64 * 1024
"""How much of messages is written in one turn of the loop, and may wait in the transport."""
_PING_TIMEOUT_S: Final = 20.0
_FORGIVE_S: Final = 5.0
_PARTING_S: Final = 5.0
"""How long calls may go on after the peer has said that it takes no more."""
_TOLD_CHARS: Final = 200


class Line(asyncio.BufferedProtocol):
    """One connection; `what` is how errors name its peer."""

    def __init__(self, what: str, ping_s: float | None) -> None:
        self._what = what
        self._ping_s = ping_s
        self._loop = asyncio.get_running_loop()
        self._connection = Connection()
        self._transport: asyncio.Transport | None = None
        self._calls: dict[int, ByteStream] = {}
        self._buffer = bytearray(FRAME_BYTES + HEAD_BYTES + _READ_BYTES)
        self._view = memoryview(self._buffer)
        self._left_bytes = 0  # of a frame, at the beginning of the buffer
        self._parked: list[asyncio.Future[None]] = []  # who could send nothing,
        self._served: list[asyncio.Future[None]] = []  # and who could send a part
        self._queued_bytes = 0  # of messages, until the end of this turn of the loop
        self._is_flushing = False
        self._is_paused = False
        self._over = ""  # why no call can be opened any more
        self._heard_s = self._forgiven_s = self._pinged_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None  # of pings, then of parting

    # ---- the transport's side -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet at once."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_AT_ONCE_BYTES)
        self._flush()
        if self._ping_s is not None:
            self._timer = self._loop.call_later(self._ping_s, self._ping)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Lend what is free of the buffer, which is at least one reading."""
        return self._view[self._left_bytes :]

    def buffer_updated(self, nbytes: int) -> None:
        """Read what came into the buffer."""
        end = self._left_bytes + nbytes
        connection = self._connection
        used = connection.receive(self._view[:end])
        self._left_bytes = end - used
        self._buffer[: self._left_bytes] = self._buffer[used:end]
        self._heard_s = self._loop.time()
        if self._heard_s - self._forgiven_s > _FORGIVE_S and not self._is_paused:
            self._forgiven_s = self._heard_s
            connection.forgive()
        events, connection.events = connection.events, []
        for event in events:
            self._heard(event)
        self._flush_soon()

    def pause_writing(self) -> None:
        """Let senders wait; our answers to the peer's frames are bounded by its allowance."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._unpark()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all calls."""
        self._cut(str(exc) if exc else "the peer closed the connection")
        self._transport = None

    # ---- events ---------------------------------------------------------------------------------

    def _heard(self, event: Received | Reset | Room | Closed | Told | Leaving) -> None:
        match event:
            case Received():
                if (call := self._calls.get(event.stream_id)) is not None:
                    call.answer.received(event.data, ended=event.ended)
                    call.heard()
            case Told():
                if (call := self._calls.get(event.stream_id)) is not None:
                    call.answer.told(event.status, event.headers, ended=event.ended)
                    self._changed(call)
            case Reset():
                if (call := self._calls.get(event.stream_id)) is not None:
                    call.answer.fail(f"stream reset by the peer: {_name_of(event.code)}")
                    self._changed(call)
            case Room():
                self._unpark()
            case Leaving():
                self._part(event)
            case Closed():
                is_http2 = self._connection.is_greeted
                broken = "broke the rules of HTTP/2" if is_http2 else "speaks no HTTP/2"
                self._cut(f"the peer {broken}: {event.message}")
                self._hang_up()

    def _changed(self, call: ByteStream) -> None:
        """Wake who reads or writes on a call that may have ended."""
        call.heard()
        if call.answer.is_ended:
            self._unpark()

    def _part(self, leaving: Leaving) -> None:
        """Open no more calls; those that the peer took may end, but not for ever."""
        told = redact_foreign(leaving.message, _TOLD_CHARS) or _name_of(leaving.code)
        text = f"the peer takes no more calls: {told}"
        for call in tuple(self._calls.values()):
            if call.stream_id > leaving.last_stream_id:
                call.answer.fail(text)
                self._changed(call)
        if not self._over:
            self._over = text
            self._set_timer(_PARTING_S, self._parted)

    def _parted(self) -> None:
        self._cut(self._over)
        self._hang_up()

    def _cut(self, why: str) -> None:
        """End all calls for this reason; the first one counts."""
        self._over = self._over or why
        self._connection.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls.values():
            call.answer.fail(why)
            call.heard()
        self._unpark()

    # ---- calls ----------------------------------------------------------------------------------

    def open(self, block: bytes, answer: Answer) -> ByteStream:
        """Open a call with its headers; raises RpcError."""
        most = self._connection.most_streams
        if self._over:
            raise RpcError(RpcFault.CUT, f"{self._what}: {self._over}")
        if len(self._calls) >= most:
            raise RpcError(RpcFault.CUT, f"{self._what}: the peer takes {most} calls at once")
        stream_id = self._connection.open(block)
        call = self._calls[stream_id] = ByteStream(self, stream_id, answer)
        self._flush_soon()
        return call

    def leave(self, call: ByteStream) -> None:
        """Forget a call; one that has not ended on both sides is reset."""
        del self._calls[call.stream_id]
        if self._connection.is_closed:
            return
        stream = self._connection.streams.get(call.stream_id)
        if stream is not None and not (stream.peer_ended and call.is_closed):
            code = Code.NO_ERROR if stream.peer_ended else Code.CANCEL
            self._connection.sending.reset(call.stream_id, code)
            self._flush_soon()
        self._connection.streams.forget(call.stream_id)

    def send(self, stream_id: int, data: memoryview) -> int:
        """Send what may be sent now; return how many bytes that were."""
        room_bytes = _AT_ONCE_BYTES - self._queued_bytes
        if self._is_paused or room_bytes <= 0 or self._connection.is_closed:
            return 0
        sent = self._connection.sending.data(stream_id, data, room_bytes)
        self._queued_bytes += sent
        self._flush_soon()
        return sent

    def room(self, *, is_served: bool) -> asyncio.Future[None]:
        """Return what is done when more may be sent, or the connection has ended."""
        waiting = self._loop.create_future()
        (self._served if is_served else self._parked).append(waiting)
        return waiting

    def end(self, stream_id: int) -> None:
        """Say that no more bytes follow."""
        self._connection.sending.end(stream_id)
        self._flush_soon()

    def allow(self, stream_id: int, least_bytes: int, wanted_bytes: int) -> None:
        """Let the peer send more."""
        self._connection.allow(stream_id, least_bytes, wanted_bytes)
        self._flush_soon()

    def _unpark(self) -> None:
        """Let everybody try again, first those whom a large message has left nothing."""
        parked, self._parked, self._served = self._parked + self._served, [], []
        for waiting in parked:
            if not waiting.done():
                waiting.set_result(None)

    # ---- sending --------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if not self._is_flushing and self._connection.sending.out:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        out, self._connection.sending.out = self._connection.sending.out, []
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(b"".join(out))
        if self._queued_bytes and not self._is_paused:
            # Leave for more is asked for by what was sent, so the peer may use it up again.
            self._connection.forgive()
            self._loop.call_soon(self._unpark)
        self._queued_bytes = 0

    def close(self) -> None:
        """Say goodbye and close; who waits on a call hears that it is cut. Idempotent."""
        if not self._connection.is_closed:
            self._connection.sending.goodbye()
        self._cut("the connection was closed here")
        self._hang_up()

    def _hang_up(self) -> None:
        self._flush()
        if self._transport is None:
            return
        if self._is_paused:
            self._transport.abort()  # what nobody reads would keep it open
        else:
            self._transport.close()

    # ---- the watch ------------------------------------------------------------------------------

    def _set_timer(self, after_s: float, ring: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(after_s, ring)

    def _ping(self) -> None:
        self._pinged_s = self._loop.time()
        self._connection.sending.ping()
        self._flush_soon()
        self._set_timer(_PING_TIMEOUT_S, self._pinged)

    def _pinged(self) -> None:
        """Go on with a peer that was heard since, end it with one that was not."""
        if self._heard_s < self._pinged_s or self._ping_s is None:
            self._cut("no answer to a ping")
            self._hang_up()
        else:
            self._set_timer(self._ping_s, self._ping)


def _name_of(code: int) -> str:
    try:
        return Code(code).name
    except ValueError:
        return f"code {code}"
