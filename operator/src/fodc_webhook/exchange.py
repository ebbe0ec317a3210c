# SPDX-License-Identifier: Apache-2.0
"""Requests of API servers on one connection: a head, a body piece by piece, its answer, the next.

The one idea: HTTP is read by httptools, the parser of Node.js, which keeps nothing of a body. What
is kept of a request is its path, how long it says to be, and the piece that was read last: no
buffer that somebody can fill. A request that comes in one read with more than itself is refused:
API servers wait for the answer.
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

    async def next_request(self) -> "Request | None":
        """Read the next head; None where the connection has ended. Raises HeadError, OSError."""
        message, head_bytes = self._told.begin(), 0
        while not message.has_head and not message.fault:
            if head_bytes >= BUFFER_BYTES:
                raise HeadError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            data = await self._reader.read(BUFFER_BYTES)
            if not data:
                return None
            head_bytes += len(data)
            self._feed(data)
        message.is_old = self._parser.get_http_version() != "1.1"
        if message.fault or (message.hosts != 1 and not (message.is_old and message.hosts == 0)):
            raise HeadError(message.refusal)
        message.method = self._parser.get_method().decode("ascii")
        return Request(self, message)

    async def piece(self) -> bytes:
        """Return what has come of the body, empty at its end; raises OSError for an early end."""
        message, idle_bytes = self._told.message, 0
        if message.waits and not message.is_old and not message.body:
            self._writer.write(_CONTINUE)
        message.waits = False
        while not message.body and not message.is_whole:
            if idle_bytes >= BUFFER_BYTES:
                message.fault = "it does not go on"
            data = b"" if message.fault else await self._reader.read(_PIECE_BYTES)
            if not data:
                why = f": {message.fault}" if message.fault else ""
                raise ConnectionResetError(f"the body ended after {message.body_bytes} bytes{why}")
            idle_bytes += len(data)
            self._feed(data)
        piece = b"".join(message.body)
        message.body.clear()
        return piece

    async def answered(self, answer: Answer) -> bool:
        """Send the answer of a request, or of what was none; say whether the connection goes on.

        It does not where either side wants that, or the answer came before the end of the body.
        """
        message, status = self._told.message, answer.status
        may_go_on = message.is_whole and not (message.fault or message.is_old or message.is_last)
        goes_on = may_go_on and not answer.is_last
        end = "" if goes_on else "Connection: close\r\n"
        told = (status.value, status.phrase, answer.content_type, len(answer.body), end)
        body = b"" if message.method == "HEAD" else answer.body
        self._writer.write((_HEAD % told).encode("ascii") + body)
        await self._writer.drain()
        return goes_on

    def _feed(self, data: bytes) -> None:
        """Parse it; what is wrong is kept with the message that is read."""
        message = self._told.message
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            message.fault = "another protocol is asked for"
        except httptools.HttpParserError as error:
            message.fault = message.fault or str(error)


@dataclass(slots=True)
class _Message:
    """What the parser has told of one request."""

    method: str = ""
    url: bytes = b""
    told_bytes: int = 0
    hosts: int = 0
    is_old: bool = False
    """Whether it is of HTTP/1.0."""
    is_last: bool = False
    """Whether who asks wants the connection to end."""
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
                self.hosts += 1
            case b"connection":
                self.is_last |= b"close" in value.lower()
            case b"expect":
                self.waits = value.lower() == b"100-continue"
            case b"transfer-encoding" if value.lower() != b"chunked":
                self.refusal = HTTPStatus.NOT_IMPLEMENTED
                self.fault = "the transfer encoding is unknown"


class _Told:
    """What the parser calls, by its own names; a request behind the one that is read is a fault."""

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

    def __init__(self, exchange: Exchange, message: _Message) -> None:
        self.method = message.method
        self.path = message.url.partition(b"?")[0].decode("latin-1")
        self.told_bytes = message.told_bytes
        """How long the body is said to be, 0 where nothing is said."""
        self.piece = exchange.piece
