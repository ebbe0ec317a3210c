# SPDX-License-Identifier: Apache-2.0
"""One HTTP/2 connection to a gRPC peer and its bidirectional streams of bytes.

The one idea: messages are bytes here, so a codec decides what they mean and no stub is needed;
every failure of the transport leaves as RpcError. How long a message may be is known before it is
read: a peer that announces more loses the line, not the agent its memory.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from fodc_agent.rpc.compact_huffman import take_the_place_of_the_large_table

take_the_place_of_the_large_table()

# ruff: noqa: E402 - the line above comes first on purpose
from grpclib.client import Channel as _GrpcChannel
from grpclib.client import Stream as _GrpcStream
from grpclib.config import Configuration
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.protocol import H2Protocol
from h2.exceptions import H2Error

from fodc_agent.addresses import NEXT_ADDRESS_S
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_protocol.redaction import redact_foreign

if TYPE_CHECKING:
    import ssl

CONNECT_TIMEOUT_S: Final = 10.0
_UNACKED_LIMIT_MS: Final = 30_000
_PROBE_AFTER_S: Final = 20
_PROBE_EVERY_S: Final = 5
_PROBES: Final = 3
_TOLD_CHARS: Final = 500
"""How much of a peer's error text is kept."""
_RECEIVE_WINDOW_BYTES: Final = 256 * 1024
_NOTHING: Final[Mapping[str, str]] = {}
Credentials = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns what goes with the next call, such as `authorization`, as it is now."""
MESSAGE_BYTES: Final = 64 * 1024
"""How long a message may be where the caller says nothing else."""
_PREFIX_BYTES: Final = 5
_HEAD_BYTES: Final = 16

Limit = Callable[[bytes], int]
"""Takes the first bytes of a message and returns how many it may have in all."""


def _usual(head: bytes) -> int:  # noqa: ARG001 - the same for every kind
    return MESSAGE_BYTES


class _Bytes(CodecBase):
    """Messages pass as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: object, message_type: object) -> bytes:  # noqa: ARG002 - grpclib's signature
        """Return the message, which is bytes already."""
        assert isinstance(message, bytes)
        return message

    def decode(self, data: bytes, message_type: object) -> bytes:  # noqa: ARG002 - grpclib's signature
        """Return the bytes that came."""
        return data


_CODEC: Final = _Bytes()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a peer listens; `tls` is None for plaintext."""

    host: str
    port: int
    tls: "ssl.SSLContext | None" = None
    server_name: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the exceptions of the transport into RpcError."""
    try:
        yield
    except GRPCError as error:
        missing = error.status is Status.UNIMPLEMENTED
        fault = RpcFault.UNIMPLEMENTED if missing else RpcFault.REJECTED
        told = redact_foreign(error.message or "no text", _TOLD_CHARS)
        message = f"{what}: {error.status.name}: {told}"
        raise RpcError(fault, message, status=error.status.name) from error
    except (StreamTerminatedError, ProtocolError, H2Error, OSError, AttributeError) as error:
        # An AttributeError is how grpclib and h2 fail on a connection that closed under them.
        raise RpcError(RpcFault.CUT, f"{what}: {error or type(error).__name__}") from error
    except AssertionError as error:
        # How grpclib says that a message is cut in its middle.
        raise RpcError(RpcFault.CUT, f"{what}: broken message: {error}") from error


class ByteStream:
    """One open bidirectional call; not safe for two concurrent senders or receivers."""

    def __init__(
        self, stream: "_GrpcStream[bytes, bytes]", what: str, limit: Limit = _usual
    ) -> None:
        self._stream = stream
        self._what = what
        self._limit = limit
        self._ended = False

    async def send(self, message: bytes) -> None:
        """Send one message; waits while the peer's flow control is exhausted."""
        with _translated(self._what):
            await self._stream.send_message(message)

    async def receive(self) -> bytes | None:
        """Return the next message, None when the peer ended the call well.

        Raises RpcError when the peer ended it with another status or the stream broke.
        """
        with _translated(self._what):
            try:
                return await self._next()
            except StreamTerminatedError:
                return await self._rest()

    async def _next(self) -> bytes | None:
        stream = self._stream
        if not stream._recv_initial_metadata_done:  # noqa: SLF001 - its only way
            await stream.recv_initial_metadata()
        # What grpclib's own recv_message does, but for the checks; its wrapper tells of a reset.
        with stream._wrapper:  # noqa: SLF001 - see above
            message = await read_message(stream._stream, self._what, self._limit)  # noqa: SLF001 - see above
        if message is None:
            # The peer's status counts, whether or not this side had already ended.
            self._stream._end_done = True  # noqa: SLF001 - its only way
            await self._stream.recv_trailing_metadata()
        return message

    async def _rest(self) -> bytes | None:
        """Return what came before a reset: servers may reset a call right after its status."""
        call = self._stream._stream  # noqa: SLF001 - the HTTP/2 stream below
        if call.trailers is None:
            self._stream._maybe_raise()  # noqa: SLF001 - what the trailers say
            raise StreamTerminatedError("stream reset by the peer")
        message = await read_message(call, self._what, self._limit)
        if message is None:
            self._stream._maybe_raise()  # noqa: SLF001 - what the trailers say
        return message

    async def end(self) -> None:
        """Say that nothing more will be sent; the peer may go on."""
        if self._ended:
            return
        self._ended = True
        with _translated(self._what):
            await self._stream.end()


class Incoming(Protocol):
    """Bytes of one call as they come in."""

    async def recv_data(self, size: int) -> bytes:
        """Return `size` bytes; fewer, or an AssertionError, where the call ends before."""


async def read_message(call: Incoming, what: str, limit: Limit) -> bytes | None:
    """Return the next message of a call, None at its end.

    Raises RpcError for one that is cut, compressed, or longer than `limit` allows. Of the last one
    only the beginning has been read: what is not read is not buffered beyond the receive window.
    """
    prefix = await call.recv_data(_PREFIX_BYTES)
    if not prefix:
        return None
    if len(prefix) < _PREFIX_BYTES or prefix[0]:
        problem = "compressed, which nobody offered" if prefix[0] else "cut in its length"
        raise RpcError(RpcFault.CUT, f"{what}: broken message: {problem}")
    length = int.from_bytes(prefix[1:], "big")
    head = await call.recv_data(min(length, _HEAD_BYTES))
    most = limit(head)
    if length > most:
        told = f"{what}: a message of {length} bytes, its kind may have {most}"
        raise RpcError(RpcFault.OVERSIZED, told)
    message = head + await call.recv_data(length - len(head))
    if len(message) != length:
        told = f"{what}: broken message: {len(message)} of {length} bytes"
        raise RpcError(RpcFault.CUT, told)
    return message


class _Channel(_GrpcChannel):
    """grpclib's channel that does not wait for an address which swallows what it is sent (A19)."""

    async def _create_connection(self) -> H2Protocol:
        _, protocol = await self._loop.create_connection(
            self._protocol_factory,
            self._host,
            self._port,
            ssl=self._ssl,
            server_hostname=self._config.ssl_target_name_override if self._ssl else None,
            happy_eyeballs_delay=NEXT_ADDRESS_S,
        )
        return protocol


class RpcChannel:
    """One connection; open it with `connect`, close it with `close`."""

    def __init__(
        self, endpoint: Endpoint, channel: _GrpcChannel, credentials: Credentials | None = None
    ) -> None:
        """Take what gives the credentials of each call."""
        self.endpoint = endpoint
        self._channel = channel
        self._credentials = credentials

    @classmethod
    async def connect(
        cls,
        endpoint: Endpoint,
        *,
        timeout_s: float = CONNECT_TIMEOUT_S,
        ping_s: float | None = None,
        credentials: Credentials | None = None,
    ) -> "RpcChannel":
        """Dial within the deadline; raise RpcError when nobody answers.

        `ping_s` sends an HTTP/2 ping that often. Go servers punish more than one in five minutes,
        so the short watch over a dead line is TCP's own (keepalive probes and the limit of
        unacknowledged data), which no peer can object to.
        """
        channel = _Channel(
            endpoint.host,
            endpoint.port,
            codec=_CODEC,
            ssl=endpoint.tls,
            config=_configuration(ping_s, endpoint.server_name if endpoint.tls else None),
        )
        try:
            async with asyncio.timeout(timeout_s):
                protocol = await channel.__connect__()
        except TimeoutError:
            message = f"{endpoint}: no connection within {timeout_s:g} s"
            raise RpcError(RpcFault.UNREACHABLE, message) from None
        except OSError as error:
            fault = RpcFault.NOT_TRUSTED if _is_tls(endpoint, error) else RpcFault.UNREACHABLE
            raise RpcError(fault, f"{endpoint}: {error.strerror or error}") from error
        # grpclib keeps the transport to itself, but the socket below is to be tuned.
        _watch_line(protocol.connection._transport.get_extra_info("socket"))  # noqa: SLF001
        return cls(endpoint, channel, credentials)

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        metadata: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
        limit: Limit = _usual,
    ) -> AsyncIterator[ByteStream]:
        """Open a bidirectional call; leaving the block resets a call that has not ended.

        `limit` says how long a message of the peer may be.
        """
        own = _NOTHING if self._credentials is None else await self._credentials()
        call = self._channel.request(
            method,
            Cardinality.STREAM_STREAM,
            bytes,
            bytes,
            timeout=timeout_s,
            metadata={**own, **(metadata or {})},
        )
        what = f"{self.endpoint} {method}"
        # The block is left by cancelling whatever waits on the stream, so the call's own exit
        # must not wait for the peer's last words: it is told that an exception is under way.
        await call.__aenter__()
        try:
            with _translated(what):
                await call.send_request()
            yield ByteStream(call, what, limit)
        finally:
            with contextlib.suppress(Exception):
                await call.__aexit__(asyncio.CancelledError, asyncio.CancelledError(), None)

    async def unary(
        self, method: str, request: bytes, *, timeout_s: float, limit: Limit = _usual
    ) -> bytes:
        """Ask one question; raise RpcError, LATE when the deadline passes."""
        try:
            async with asyncio.timeout(timeout_s), self.open(method, limit=limit) as stream:
                await stream.send(request)
                await stream.end()
                answer = await stream.receive()
        except TimeoutError:
            message = f"{self.endpoint} {method}: no answer within {timeout_s:g} s"
            raise RpcError(RpcFault.LATE, message) from None
        if answer is None:
            raise RpcError(RpcFault.REJECTED, f"{self.endpoint} {method}: OK without an answer")
        return answer

    def close(self) -> None:
        """Close the connection and every stream on it; idempotent."""
        self._channel.close()


def _is_tls(endpoint: Endpoint, error: OSError) -> bool:
    if endpoint.tls is None:
        return False
    import ssl  # noqa: PLC0415 - loaded already when there is TLS, and never otherwise

    return isinstance(error, ssl.SSLError)


def _configuration(ping_s: float | None, server_name: str | None) -> Configuration:
    return Configuration(
        _keepalive_time=ping_s,
        _keepalive_timeout=20.0,
        _http2_max_pings_without_data=0,
        _http2_min_sent_ping_interval_without_data=1.0,
        http2_connection_window_size=_RECEIVE_WINDOW_BYTES,
        http2_stream_window_size=_RECEIVE_WINDOW_BYTES,
        ssl_target_name_override=server_name,
    )


def _watch_line(line: socket.socket | None) -> None:
    """Let the kernel notice a peer whose machine is gone (W-53)."""
    if line is None or line.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _PROBE_AFTER_S),
        ("TCP_KEEPINTVL", _PROBE_EVERY_S),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", _UNACKED_LIMIT_MS),
    ):
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
