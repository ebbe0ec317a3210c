# SPDX-License-Identifier: Apache-2.0
"""Requests of API servers on one connection: a head, a body piece by piece, its answer, the next.

The one idea: HTTP is read by httptools, the parser of Node.js, which keeps nothing of a body. What
is kept of a request is its path, how long it says to be, and the piece that was read last: no
buffer that somebody can fill. What comes before the answer to a request is no next request: the
connection ends with that answer.
"""

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httptools

BUFFER_BYTES: Final = 16 * 1024
"""Of a head, and twice as much of a body that is not read yet, for each connection."""
_PIECE_BYTES: Final = 64 * 1024
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_HEAD: Final = "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n"


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
        self._told = _Told()
        self._parser = httptools.HttpRequestParser(self._told)
        self._message = self._told.message

    async def next_request(self) -> "Request | None":
        """Read the next head; None where the connection has ended. Raises HeadError, OSError."""
        self._message = message = self._told.begin()
        head_bytes = 0
        while not message.has_head and not message.fault:
            if head_bytes >= BUFFER_BYTES:
                raise HeadError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            data = await self._reader.read(BUFFER_BYTES)
            if not data:
                return None
            head_bytes += len(data)
            self._feed(data)
        if not message.has_host or (message.fault and not message.is_whole):
            raise HeadError(message.refusal)
        return Request(self, message, self._parser.get_method())

    async def piece(self) -> bytes:
        """Return what has come of the body, empty at its end; raises OSError for an early end."""
        message = self._message
        if message.waits and not message.body:
            self._writer.write(_CONTINUE)
        message.waits = False
        while not message.body and not message.is_whole:
            data = b"" if message.fault else await self._reader.read(_PIECE_BYTES)
            if not data:
                why = f": {message.fault}" if message.fault else ""
                raise ConnectionResetError(f"the body ended after {message.body_bytes} bytes{why}")
            self._feed(data)
        piece = b"".join(message.body)
        message.body.clear()
        return piece

    async def answered(self, answer: Answer) -> bool:
        """Send the answer of a request, or of what was none; say whether the connection goes on.

        It does not where the answer is the last one, came before the end of the body, or after
        something else had come.
        """
        message, status = self._message, answer.status
        is_asked_for_more = message.is_whole and self._parser.should_keep_alive()
        goes_on = is_asked_for_more and not (message.fault or answer.is_last)
        end = "" if goes_on else "Connection: close\r\n"
        told = (status.value, status.phrase, answer.content_type, len(answer.body), end)
        is_head = message.has_head and self._parser.get_method() == b"HEAD"
        self._writer.write((_HEAD % told).encode("ascii") + (b"" if is_head else answer.body))
        await self._writer.drain()
        return goes_on

    def _feed(self, data: bytes) -> None:
        message = self._message
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            message.fault = "another protocol is asked for"
        except httptools.HttpParserError as error:
            message.fault = message.fault or str(error)


@dataclass(slots=True)
class _Message:
    """What the parser has told of one request."""

    url: bytes = b""
    told_bytes: int = 0
    has_host: bool = False
    waits: bool = False
    """Whether the body comes when it was asked for."""
    refusal: HTTPStatus = HTTPStatus.BAD_REQUEST
    has_head: bool = False
    body: list[bytes] = field(default_factory=list)
    """What was read and not taken yet, of one read at most."""
    body_bytes: int = 0
    is_whole: bool = False
    fault: str = ""
    """Why nothing can be read behind it."""

    def header(self, name: bytes, value: bytes) -> None:
        """Take in what is asked of the server."""
        match name.lower():
            case b"content-length":
                self.told_bytes = int(value)
            case b"host":
                self.has_host = True
            case b"expect":
                self.waits = value.lower() == b"100-continue"
            case b"transfer-encoding" if value.lower() != b"chunked":
                self.refusal = HTTPStatus.NOT_IMPLEMENTED


class _Told:
    """What the parser calls, by its own names; a request behind the one that is read goes by."""

    def __init__(self) -> None:
        self.message = _Message()

    def begin(self) -> _Message:
        """Return what the next request will be told in."""
        self.message = _Message()
        return self.message

    def on_message_begin(self) -> None:
        if self.message.has_head:
            self.message.fault = "the next request came before the answer"

    def on_url(self, url: bytes) -> None:
        if not self.message.has_head:
            self.message.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.message.has_head:
            self.message.header(name, value)

    def on_headers_complete(self) -> None:
        self.message.has_head = True

    def on_body(self, body: bytes) -> None:
        if not self.message.is_whole:
            self.message.body.append(body)
            self.message.body_bytes += len(body)

    def on_message_complete(self) -> None:
        self.message.is_whole = True


class Request:
    """One request whose body comes as it is read."""

    def __init__(self, exchange: Exchange, message: _Message, method: bytes) -> None:
        self.method = method.decode("ascii")
        self.path = message.url.partition(b"?")[0].decode("latin-1")
        self.told_bytes = message.told_bytes
        """How long the body is said to be, 0 where nothing is said."""
        self.piece = exchange.piece
