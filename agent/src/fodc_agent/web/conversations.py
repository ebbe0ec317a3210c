# SPDX-License-Identifier: Apache-2.0
"""One connection of the HTTP server: requests in, answers out, each within its time.

The one idea: h11 knows the protocol and this knows the socket and the clock; neither knows what a
path means.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

import h11

from fodc_agent.web.replies import Reply, text_reply
from fodc_protocol.lean import dataclass

READ_BYTES: Final = 16 * 1024
_REASONS: Final = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    413: b"Content Too Large",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server bears. Times in seconds."""

    head_s: float = 3.0
    idle_s: float = 75.0
    answer_s: float = 30.0
    shutdown_s: float = 5.0
    head_bytes: int = 16 * 1024
    body_bytes: int = 64 * 1024
    connections: int = 64
    connections_per_peer: int = 16
    probe_places: int = 4
    """Connections beyond these for probes alone, where all others are busy."""


class Conversation:
    """Requests and answers of one connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._clock = clock
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._is_first = True
        self._is_head = False

    async def next_request(self) -> h11.Request | None:
        """Return the next request with its body read and dropped, None at the end.

        A malformed or too large one is answered here. Raises TimeoutError when the head comes too
        slowly, and OSError.
        """
        try:
            async with asyncio.timeout(self._limits.head_s if self._is_first else None) as deadline:
                if not self._is_first and not await self._first_bytes(deadline):
                    return None
                self._is_first = False
                return await self._request()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, str(error))
            return None

    async def _first_bytes(self, deadline: asyncio.Timeout) -> bool:
        """Wait for the next request to begin; its head then has its own, shorter time."""
        loop = asyncio.get_running_loop()
        if self._protocol.trailing_data[0]:
            deadline.reschedule(loop.time() + self._limits.head_s)
            return True
        deadline.reschedule(loop.time() + self._limits.idle_s)
        data = await self._reader.read(READ_BYTES)
        deadline.reschedule(loop.time() + self._limits.head_s)
        self._protocol.receive_data(data)
        return bool(data)

    async def _request(self) -> h11.Request | None:
        request = await self._event()
        if not isinstance(request, h11.Request):
            return None
        self._is_head = request.method == b"HEAD"
        body_bytes = 0
        while isinstance(event := await self._event(), h11.Data):
            body_bytes += len(event.data)
            if body_bytes > self._limits.body_bytes:
                raise h11.RemoteProtocolError("body too large", error_status_hint=413)
        return request

    async def _event(self) -> h11.Event:
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                self._protocol.receive_data(await self._reader.read(READ_BYTES))
            else:
                assert not isinstance(event, type)
                return event

    async def answer(self, reply: Reply) -> None:
        """Send an answer; raises TimeoutError when the peer does not read, and OSError.

        A body that fails in the middle ends the connection, so that nobody takes a part for all.
        """
        async with asyncio.timeout(self._limits.answer_s):
            if isinstance(reply.body, bytes):
                length = ("Content-Length", str(len(reply.body)))
                await self._send_all(reply, (reply.body,), length)
            else:
                chunked = ("Transfer-Encoding", "chunked")
                await self._send_all(reply, reply.body, chunked)

    async def _send_all(
        self, reply: Reply, pieces: Iterable[bytes], framing: tuple[str, str]
    ) -> None:
        date = ("Date", http_date(self._clock()))
        headers = [("Content-Type", reply.content_type), date, framing, *reply.headers]
        head = h11.Response(
            status_code=reply.status, reason=_REASONS.get(reply.status, b""), headers=headers
        )
        waiting = self._protocol.send(head)
        if not self._is_head:
            for piece in pieces:
                waiting += self._protocol.send(h11.Data(data=piece)) if piece else b""
                self._writer.write(waiting)
                waiting = b""
                await self._writer.drain()
                # drain returns at once while the socket takes everything: let others run too.
                await asyncio.sleep(0)
        self._writer.write(waiting + self._protocol.send(h11.EndOfMessage()))
        await self._writer.drain()

    def may_continue(self) -> bool:
        """Prepare for another request; False when the connection has to end."""
        if self._protocol.our_state is not h11.DONE or self._protocol.their_state is not h11.DONE:
            return False
        self._protocol.start_next_cycle()
        return True

    async def decline(self, why: str) -> None:
        """Answer 503 without reading the request."""
        await self._refuse(503, why)

    async def _refuse(self, status: int, why: str) -> None:
        """Answer what was not read to its end; the connection is over."""
        if self._protocol.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        self._is_head = False
        await self.answer(text_reply(status, why, (("Connection", "close"),)))


def http_date(unix_s: float) -> str:
    """Return a time as HTTP writes it, independent of the locale."""
    at = time.gmtime(unix_s)
    month = _MONTHS[at.tm_mon * 4 - 4 : at.tm_mon * 4 - 1]
    clock = f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d}"
    return f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {month} {at.tm_year:04d} {clock} GMT"
