# SPDX-License-Identifier: Apache-2.0
"""Requests of API servers on one connection: a head, a body piece by piece, its answer, the next.

The one idea: HTTP is h11's, and what is kept of a request is its path, how long it says to be, and
the piece that was read last: no buffer that somebody can fill.
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import h11

BUFFER_BYTES: Final = 16 * 1024
"""Of a head, and twice as much of a body that is not read yet, for each connection."""
_PIECE_BYTES: Final = 64 * 1024


class HeadError(Exception):
    """What came is no request that can be answered; the connection ends with this status."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "application/json"
    is_last: bool = False
    """Whether the connection ends with it."""


class Exchange:
    """One connection: `next_request`, then `answered`, until that says that it was the last."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=BUFFER_BYTES)
        self._wants_body = True

    async def next_request(self) -> "Request | None":
        """Read the next head; None where the connection has ended. Raises HeadError, OSError."""
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        try:
            event = await self._event(BUFFER_BYTES)
        except h11.RemoteProtocolError as error:
            raise HeadError(HTTPStatus(error.error_status_hint)) from None
        if not isinstance(event, h11.Request):
            return None
        self._wants_body = event.method != b"HEAD"
        return Request(self, event)

    async def piece(self) -> bytes:
        """Return what has come of the body, empty at its end; raises OSError for an early end."""
        if self._http.they_are_waiting_for_100_continue:
            self._send(h11.InformationalResponse(status_code=100, headers=[]))
        if self._http.their_state is not h11.SEND_BODY:
            return b""
        try:
            event = await self._event(_PIECE_BYTES)
        except h11.RemoteProtocolError as error:
            raise ConnectionResetError(str(error)) from None
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def answered(self, answer: Answer) -> bool:
        """Send the answer of a request, or of what was none; say whether the connection goes on.

        It does not where the answer is the last one, or came before the end of the body.
        """
        is_whole = self._http.their_state is h11.DONE
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            *(() if is_whole and not answer.is_last else (("Connection", "close"),)),
        ]
        status = answer.status
        self._send(
            h11.Response(status_code=status.value, reason=status.phrase, headers=headers),
            h11.Data(answer.body if self._wants_body else b""),
            h11.EndOfMessage(),
        )
        await self._writer.drain()
        return self._http.our_state is h11.DONE

    def _send(self, *events: h11.Event) -> None:
        self._writer.write(b"".join(self._http.send(one) or b"" for one in events))

    async def _event(self, most_bytes: int) -> h11.Event:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                raise ConnectionResetError("nothing more is read")
            self._http.receive_data(await self._reader.read(most_bytes))


class Request:
    """One request whose body comes as it is read."""

    def __init__(self, exchange: Exchange, head: h11.Request) -> None:
        self.method = head.method.decode("ascii")
        self.path = head.target.partition(b"?")[0].decode("latin-1")
        lengths = (value for name, value in head.headers if name == b"content-length")
        self.told_bytes = int(next(lengths, b"0"))
        """How long the body is said to be, 0 where nothing is said."""
        self.piece = exchange.piece
