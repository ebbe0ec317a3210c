# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 client: h11 over asyncio streams.

The one idea: a body goes to a sink piece by piece, so nothing here ever holds more than one piece;
who wants bytes collects them (`get`), who wants a file writes them (`stream`). Every exchange has
one deadline from the name lookup to the last byte, and an upper limit of body bytes.
"""

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import field, replace
from io import BytesIO
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias
from urllib.parse import urlsplit

import h11

from fodc_agent.addresses import NEXT_ADDRESS_S
from fodc_agent.scraping.faults import Fault, FetchError
from fodc_protocol.lean import dataclass
from fodc_protocol.redaction import redact_foreign

if TYPE_CHECKING:
    import ssl

Sink: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Takes the next piece of a body; what it raises ends the exchange."""

_READ_BYTES: Final = 32 * 1024  # pieces that the C library does not map anew each time
_EXCERPT_BYTES: Final = 512
_HEAD_BYTES: Final = 32 * 1024
_GZIP: Final = 31  # zlib's word for "gzip, with its checksum"


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed http address; `localhost` is 127.0.0.1, where the node listens (§3.2)."""

    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What stands in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_url(text: str) -> Url:
    """Parse an absolute http URL; raise ValueError that says what is accepted."""
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{text!r} is not a URL such as http://127.0.0.1:2121/metrics")
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(host, parts.port or 80, target)


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer with status 200; header names are lower case.

    `body` is empty when the body went to a sink; `received_bytes` counts it in both cases, as it
    was sent. A body in gzip is decoded.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_bytes: int
    cut: bool = False
    """Whether the body was longer than was wanted, and its beginning was taken."""


@dataclass(slots=True)
class _Connection:
    """One TCP connection with its protocol state; `idle_since_s` while nobody uses it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: h11.Connection
    used: bool = False
    ended: bool = False
    idle_since_s: float = 0.0

    def abort(self) -> None:
        """Drop the connection at once; the node sees a reset request, not a polite end."""
        self.writer.transport.abort()

    async def next_event(self) -> h11.Event:
        """Return the next event, reading from the socket as needed."""
        while True:
            event = self.protocol.next_event()
            if event is h11.NEED_DATA:
                data = await self.reader.read(_READ_BYTES)
                self.ended = not data
                self.protocol.receive_data(data)
            elif event is h11.PAUSED:
                raise h11.RemoteProtocolError("the peer sent more than it was asked for")
            else:
                assert not isinstance(event, type)
                return event


class HttpAccess(Protocol):
    """TLS and credentials of the ports that are asked."""

    @property
    def server_name(self) -> str | None:
        """Name that the certificate must have, None for the host's."""

    async def http_context(self) -> "ssl.SSLContext | None":
        """Return the context of a new connection, None for plain text; raises OSError."""

    async def authorization(self) -> str:
        """Return the header of a request, empty for none; raises OSError."""


class HttpClient:
    """Requests with a deadline and a size limit; keeps a few idle connections for reuse.

    A connection goes back to the pool only after a complete exchange. Close with `aclose`.
    """

    def __init__(
        self,
        *,
        idle_limit_s: float = 30.0,
        idle_per_port: int = 2,
        clock: Callable[[], float] = time.monotonic,
        access: HttpAccess | None = None,
    ) -> None:
        self._access = access
        self._idle_limit_s = idle_limit_s
        self._idle_per_port = idle_per_port
        self._clock = clock
        self._idle: dict[tuple[str, int], list[_Connection]] = {}

    async def get(
        self,
        url: str,
        *,
        timeout_s: float,
        max_bytes: int,
        cut: bool = False,
    ) -> Response:
        """Fetch `url` into memory; raise FetchError for everything but a complete 200.

        With `cut` the beginning of a body above `max_bytes` is an answer as well.
        """
        # Its value is the buffer itself, so a page of 8 MiB is never there twice.
        collected = BytesIO()

        async def collect(data: bytes) -> None:
            collected.write(data)

        answer = await self.stream(
            url, sink=collect, timeout_s=timeout_s, max_bytes=max_bytes, cut=cut
        )
        return replace(answer, body=collected.getvalue())

    async def stream(
        self,
        url: str,
        *,
        sink: Sink,
        timeout_s: float,
        max_bytes: int,
        cut: bool = False,
    ) -> Response:
        """Fetch `url` and hand each piece of a 200's body to `sink` as it comes.

        Raises FetchError; `sink` may have got a part by then. Bodies of other statuses never reach
        the sink. `max_bytes` and `timeout_s` are for the whole exchange.
        """
        request = _Request(parse_url(url), max_bytes, cut)
        access = self._access
        deadline = asyncio.timeout(timeout_s)
        try:
            async with deadline:
                if access is not None:
                    request = await _authorized(request, access)
                return await self._exchange(request, sink)
        except TimeoutError:
            if not deadline.expired():
                raise  # The sink's own: it is not the node that is late.
            message = f"{request}: no complete answer within {timeout_s:g} s"
            raise FetchError(Fault.HUNG, message) from None

    async def aclose(self) -> None:
        """Close every idle connection."""
        connections = [one for pool in self._idle.values() for one in pool]
        self._idle.clear()
        for connection in connections:
            connection.abort()
        await asyncio.sleep(0)

    async def _exchange(self, request: "_Request", sink: Sink) -> Response:
        """Try once; once more on a new connection where a kept one turned out to be dead."""
        connection = self._take_idle(request.url) or await self._connect(request)
        try:
            head = await _ask(connection, request)
        except FetchError as failure:
            if not connection.used or failure.fault is not Fault.REFUSED:
                raise
            connection = await self._connect(request)
            head = await _ask(connection, request)
        return await self._receive(connection, request, head, sink)

    async def _receive(
        self, connection: _Connection, request: "_Request", head: h11.Response, sink: Sink
    ) -> Response:
        """Read the body; keep the connection when the exchange was complete, else drop it."""
        try:
            answer = await _read_body(connection, request, head, sink)
        except BaseException:
            connection.abort()
            raise
        self._keep(request.url, connection)
        return answer

    def _take_idle(self, url: Url) -> _Connection | None:
        """Return the youngest idle connection that is still good."""
        pool = self._idle.get((url.host, url.port), [])
        while pool:
            connection = pool.pop()
            age_s = self._clock() - connection.idle_since_s
            if age_s < self._idle_limit_s and not connection.reader.at_eof():
                return connection
            connection.abort()
        return None

    def _keep(self, url: Url, connection: _Connection) -> None:
        """Put a finished connection aside, or close it when it or the pool says so."""
        protocol = connection.protocol
        pool = self._idle.setdefault((url.host, url.port), [])
        done = protocol.our_state is h11.DONE and protocol.their_state is h11.DONE
        if not done or len(pool) >= self._idle_per_port:
            connection.abort()
            return
        protocol.start_next_cycle()
        connection.used = True
        connection.idle_since_s = self._clock()
        pool.append(connection)

    async def _connect(self, request: "_Request") -> _Connection:
        url, access = request.url, self._access
        try:
            tls = None if access is None else await access.http_context()
            reader, writer = await asyncio.open_connection(
                url.host,
                url.port,
                limit=_READ_BYTES,
                happy_eyeballs_delay=NEXT_ADDRESS_S,
                ssl=tls,
                server_hostname=None if tls is None or access is None else access.server_name,
            )
        except OSError as error:
            # A name that does not resolve is an OSError as well.
            message = f"{request}: {error.strerror or error}"
            raise FetchError(Fault.REFUSED, message) from error
        protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        return _Connection(reader, writer, protocol)


@dataclass(frozen=True, slots=True)
class _Request:
    url: Url
    max_bytes: int
    cut: bool
    authorization: str = field(default="", repr=False)

    def event(self) -> h11.Request:
        headers = [("Host", self.url.authority), ("User-Agent", "fodc-agent")]
        if self.authorization:
            headers.append(("Authorization", self.authorization))
        return h11.Request(method="GET", target=self.url.target, headers=headers)

    def __str__(self) -> str:
        return f"http://{self.url.authority}{self.url.target}"


async def _authorized(request: _Request, access: HttpAccess) -> _Request:
    """Return the request with what it needs to be answered."""
    try:
        return replace(request, authorization=await access.authorization())
    except OSError as error:
        raise FetchError(Fault.REFUSED, f"{request}: {error}") from error


async def _ask(connection: _Connection, request: _Request) -> h11.Response:
    """Send the request and return the head of the answer; drops the connection on a failure."""
    try:
        await _send(connection, request)
        return await _head(connection)
    except (h11.RemoteProtocolError, OSError) as error:
        connection.abort()
        if connection.ended or isinstance(error, OSError):
            message = f"{request}: the connection was closed without an answer"
            raise FetchError(Fault.REFUSED, message) from error
        raise FetchError(Fault.PROTOCOL, f"{request}: {_not_http('answer', error)}") from error
    except BaseException:
        connection.abort()
        raise


async def _send(connection: _Connection, request: _Request) -> None:
    protocol = connection.protocol
    parts = (protocol.send(request.event()), protocol.send(h11.EndOfMessage()))
    connection.writer.write(b"".join(part for part in parts if part))
    await connection.writer.drain()


async def _head(connection: _Connection) -> h11.Response:
    """Skip interim answers (100 Continue); return the one that counts."""
    while not isinstance(event := await connection.next_event(), h11.Response):
        if isinstance(event, h11.ConnectionClosed):
            raise h11.RemoteProtocolError("closed without an answer")
    return event


def _headers(head: h11.Response) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}


async def _read_body(
    connection: _Connection, request: _Request, head: h11.Response, sink: Sink
) -> Response:
    if head.status_code != 200:
        raise await _status_failure(connection, request, head)
    headers = _headers(head)
    announced = int(headers.get("content-length", "0"))
    if announced > request.max_bytes and not request.cut:
        raise _too_large(request, f"{announced} bytes are announced")
    decoder = _decoder_of(request, headers)
    received = given = 0
    while data := await _next_piece(connection, request, received):
        received += len(data)
        for piece in (data,) if decoder is None else decoder.pieces(data):
            room = request.max_bytes - given
            await sink(piece[:room])
            given += min(len(piece), room)
            if len(piece) > room:
                if request.cut:
                    return Response(head.status_code, headers, b"", received, cut=True)
                decoded = "" if decoder is None else " when decoded"
                raise _too_large(request, f"more than {request.max_bytes} bytes came{decoded}")
    if decoder is not None:
        decoder.end()
    return Response(head.status_code, headers, b"", received)


def _decoder_of(request: _Request, headers: Mapping[str, str]) -> "_Gunzip | None":
    """Return what undoes the encoding of a body; raise FetchError for one that nobody asked for."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return None
    if encoding in ("gzip", "x-gzip"):
        return _Gunzip(request)
    told = redact_foreign(encoding, 60)
    message = f"{request}: the answer is encoded as {told}, which nobody asked for"
    raise FetchError(Fault.CONTENT, message, status=200)


class _Gunzip:
    """Undoes gzip, of one or several members, some 64 KiB at a time."""

    def __init__(self, request: _Request) -> None:
        self._request = request
        self._given = 0
        self._member = zlib.decompressobj(_GZIP)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what a piece decodes to; raises FetchError for what is no gzip."""
        full = False
        while data or full:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            try:
                plain = self._member.decompress(data, _READ_BYTES)
            except zlib.error as error:
                message = f"{self._request}: the answer is said to be gzip and is not: {error}"
                raise FetchError(Fault.CONTENT, message, status=200) from error
            data = self._member.unconsumed_tail or self._member.unused_data
            full = len(plain) == _READ_BYTES and not self._member.eof
            self._given += len(plain)
            yield plain

    def end(self) -> None:
        """Raise FetchError when the last member is not whole."""
        if not self._member.eof:
            message = f"{self._request}: the gzip of the answer ends after {self._given} bytes"
            raise FetchError(Fault.TRUNCATED, message)


async def _next_piece(connection: _Connection, request: _Request, received: int) -> bytes:
    """Return the next piece of a body, empty at its end."""
    try:
        event = await connection.next_event()
    except (h11.RemoteProtocolError, OSError) as error:
        if connection.ended or isinstance(error, OSError):
            message = f"{request}: the answer was cut off after {received} bytes"
            raise FetchError(Fault.TRUNCATED, message) from error
        raise FetchError(Fault.PROTOCOL, f"{request}: {_not_http('body', error)}") from error
    return bytes(event.data) if isinstance(event, h11.Data) else b""


def _not_http(part: str, error: Exception) -> str:
    """Say why a part of an answer cannot be read; h11 repeats what the node has sent."""
    return f"the {part} is not HTTP: {redact_foreign(str(error))}"


def _too_large(request: _Request, seen: str) -> FetchError:
    return FetchError(Fault.TOO_LARGE, f"{request}: {seen}, the limit is {request.max_bytes}")


async def _status_failure(
    connection: _Connection, request: _Request, head: h11.Response
) -> FetchError:
    """Describe an answer that is not 200, with the beginning of its text."""
    text = b""
    try:
        while len(text) < _EXCERPT_BYTES and (data := await _next_piece(connection, request, 0)):
            text += data
    except FetchError:
        pass  # The status says enough; the text is a courtesy.
    excerpt = redact_foreign(text[:_EXCERPT_BYTES], _EXCERPT_BYTES)
    message = f"{request}: HTTP {head.status_code}" + (f": {excerpt}" if excerpt else "")
    return FetchError(
        Fault.STATUS,
        message,
        status=head.status_code,
        headers=_headers(head),
        excerpt=excerpt,
    )
