# SPDX-License-Identifier: Apache-2.0
"""Takes connections of API servers, so many at a time.

The one idea: a connection costs memory before it has sent a byte (its TLS buffers), so they are
counted where they are accepted. When all places are taken the one goes that has been longest
without an answer, once it had its time: whoever sends slowly makes room for whoever wants an answer
now, and idle connections of API servers go last.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from fodc_webhook.exchange import BUFFER_BYTES, Answer, Exchange, HeadError, Request

MOST_CONNECTIONS: Final = 48
"""An API server has one for each pod that it asks about at a time."""
HANDSHAKE_S: Final = 2.0
KEEPALIVE_S: Final = 120.0
"""API servers close idle connections after 90 s; whoever closes first can cost the other a call."""
# The library gives each connection 256 KiB for what TLS hands over at once, which is 16 KiB.
sslproto.SSLProtocol.max_size = 32 * 1024
SEALED_BYTES: Final = 32 * 1024
"""Of what came by TLS and is not read yet, for each connection; the library takes 256 KiB."""
LINGER_S: Final = 0.5
"""How long the rest of a body is let pass that was answered before its end."""
ACCEPT_AGAIN_S: Final = 0.1
GRACE_S: Final = 0.2
"""A connection is given so long before it has to make room; an honest one needs a tenth of it."""
_log = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Answer]]


class Listener:
    """`start`, and at the end `stop`; belongs to one event loop."""

    def __init__(self, handler: Handler, *, most_connections: int = MOST_CONNECTIONS) -> None:
        self.address = ""
        """Where it listens, empty when it does not."""
        self.dropped = 0
        """Connections that had to make room."""
        self._handler = handler
        self._most = most_connections
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._places: set[_Place] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        """Of all connections, also of those that had to make room and have not ended yet."""
        self._is_ending = False

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._places)

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Listen; port 0 takes a free one. Raises OSError for an address that cannot be had."""
        self._socket = _bound(host, port)
        named = self._socket.getsockname()
        self.address = f"{host or '127.0.0.1'}:{named[1]}"
        self._is_ending = False
        self._accepting = asyncio.create_task(self._accept(self._socket, context))

    async def stop(self, within_s: float) -> None:
        """Take no more connections; answers that are being made may be finished."""
        self.address, self._is_ending = "", True
        if self._socket is None or self._accepting is None:
            return
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)
        self._socket.close()
        busy = [one.task for one in self._places if one.task is not None and one.is_asked]
        if busy:
            await asyncio.wait(busy, timeout=within_s)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # ---- places -------------------------------------------------------------------------------

    async def _accept(self, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                taken, _ = await loop.sock_accept(listening)
            except OSError as error:
                _log.warning("no connection is taken now: %s", error)
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            await self._room()
            place = _Place(taken, loop.time())
            self._places.add(place)
            place.task = asyncio.create_task(self._connected(place, context))
            self._tasks.add(place.task)
            place.task.add_done_callback(partial(self._ended, place))

    def _ended(self, place: "_Place", task: asyncio.Task[None]) -> None:
        self._places.discard(place)
        self._tasks.discard(task)
        if place.transport is None:
            place.socket.close()

    async def _room(self) -> None:
        while True:
            if len(self._places) < self._most or self._make_room():
                return
            await asyncio.sleep(GRACE_S / 10)

    def _make_room(self) -> bool:
        """Drop a connection; False while all that there are still have their time."""
        now_s = asyncio.get_running_loop().time()
        late = [one for one in self._places if now_s - one.since_s > GRACE_S]
        if not late:
            return False
        oldest = min(late, key=lambda one: (one.is_idle, one.since_s))
        self._places.discard(oldest)
        self.dropped += 1
        oldest.drop()
        return True

    # ---- one connection -----------------------------------------------------------------------

    async def _connected(self, place: "_Place", context: ssl.SSLContext | None) -> None:
        """Serve a connection from its handshake to its end."""
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(BUFFER_BYTES)
        try:
            transport, protocol = await loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader),
                place.socket,
                ssl=context,
                ssl_handshake_timeout=None if context is None else HANDSHAKE_S,
            )
        except OSError as error:
            _log.debug("a connection came to nothing: %s", error)
            return
        place.transport = transport
        if isinstance(transport, sslproto._SSLProtocolTransport):  # noqa: SLF001 - has no other name
            transport.set_read_buffer_limits(SEALED_BYTES)
        exchange = Exchange(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        try:
            if await self._serve(place, exchange):
                await _lingered(reader)
        except OSError as error:
            _log.debug("a connection has ended: %s", error)
        finally:
            transport.abort()

    async def _serve(self, place: "_Place", exchange: Exchange) -> bool:
        """Answer one request after the other; say whether we have ended it, not the peer."""
        goes_on = True
        while goes_on:
            try:
                async with asyncio.timeout(KEEPALIVE_S):
                    request = await exchange.next_request()
            except HeadError as error:
                told = f"{error}\n".encode()
                await exchange.answered(Answer(told, error.status, "text/plain", is_last=True))
                return True
            if request is None:
                return False
            place.is_asked, place.is_idle = True, False
            answer = await self._handler(request)
            if self._is_ending:
                answer = replace(answer, is_last=True)
            goes_on = await exchange.answered(answer)
            place.is_asked, place.is_idle = not goes_on, True
            place.since_s = asyncio.get_running_loop().time()
        return True


class _Place:
    """One of the connections that there may be."""

    def __init__(self, taken: socket.socket, since_s: float) -> None:
        self.socket = taken
        self.task: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None
        """None until its handshake is done; from then on the socket is the transport's."""
        self.since_s = since_s
        """When it came, or was answered last."""
        self.is_asked = False
        """Whether an answer is on its way."""
        self.is_idle = False
        """Whether it was answered and asks nothing now."""

    def drop(self) -> None:
        """End the connection, whatever it is doing."""
        if self.transport is not None:
            self.transport.abort()
        elif self.task is not None:
            self.task.cancel()


async def _lingered(reader: asyncio.StreamReader) -> None:
    """Let the rest pass by: what is not read when a connection ends takes the answer with it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while await reader.read(BUFFER_BYTES):
                continue


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
    found = socket.create_server(
        (host, port),
        family=family,
        backlog=1024,
        dualstack_ipv6=not host and socket.has_dualstack_ipv6(),
    )
    found.setblocking(False)  # noqa: FBT003 - the library's
    return found
