# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as API servers speak it to webhooks: a request with a length, its answer, the next one.

The one idea: of a request we need its path, how long its body is, and that body piece by piece; a
whole server gives each request a dozen objects that nobody looks at, and each connection buffers
that somebody can fill.
"""

import asyncio
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

BUFFER_BYTES: Final = 16 * 1024
"""Of a head, and twice as much of a body that is not read yet, for each connection."""
PIECE_BYTES: Final = 64 * 1024
_LINE: Final = re.compile(rb"([A-Z]{1,16}) (/[^ ?]*)(?:\?[^ ]*)? HTTP/1\.1\r\n")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:([^\r\n]*)(?=\r\n)", re.IGNORECASE)
_CODED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_LAST: Final = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*\r\n", re.IGNORECASE)


class HeadError(Exception):
    """What came is no request that can be answered; the connection ends with this status."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """What a request says of itself."""

    method: str
    path: str
    length: int
    """Bytes of the body."""
    is_last: bool
    """Whether the connection ends with its answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "application/json"
    is_last: bool = False
    """Whether the connection ends with it."""

    def sent(self, *, is_last: bool) -> bytes:
        """Return the bytes on the connection, which ends after them when `is_last`."""
        last = "Connection: close\r\n" if is_last else ""
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"Content-Type: {self.content_type}\r\nContent-Length: {len(self.body)}\r\n{last}\r\n"
        )
        return head.encode("ascii") + self.body


class Request:
    """One request whose body comes as it is read."""

    def __init__(self, head: Head, reader: asyncio.StreamReader) -> None:
        self.head = head
        self.left = head.length
        """Bytes of the body that were not read yet."""
        self._reader = reader

    async def piece(self) -> bytes:
        """Return what has come, empty at the end; raises ConnectionResetError for an early end."""
        if not self.left:
            return b""
        found = await self._reader.read(min(self.left, PIECE_BYTES))
        if not found:
            raise ConnectionResetError("it ended before the body did")
        self.left -= len(found)
        return found


async def next_request(reader: asyncio.StreamReader) -> Request | None:
    """Read the next head; None where the connection has ended. Raises HeadError, OSError."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise HeadError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    return Request(head_of(head), reader)


def head_of(told: bytes) -> Head:
    """Read a head with the empty line at its end; raises HeadError."""
    line = _LINE.match(told)
    if line is None:
        raise HeadError(HTTPStatus.BAD_REQUEST)
    if _CODED.search(told):  # API servers never do that
        raise HeadError(HTTPStatus.LENGTH_REQUIRED)
    lengths = _LENGTH.findall(told)
    length = lengths[0].strip() if lengths else b"0"
    if len(lengths) > 1 or not (length.isdigit() and len(length) <= 12):
        raise HeadError(HTTPStatus.BAD_REQUEST)
    method, path = line[1].decode("ascii"), line[2].decode("latin-1")
    return Head(method, path, int(length), is_last=_LAST.search(told) is not None)
