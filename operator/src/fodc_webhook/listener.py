# SPDX-License-Identifier: Apache-2.0
"""Takes connections of API servers, so many at a time.

The one idea: a connection costs memory before it has sent a byte (its TLS buffers), so they are
counted where they are accepted. When all places are taken the one goes that has been longest
without an answer, once it had its time: whoever sends slowly makes room for whoever wants an answer
now, and idle connections of API servers go last.
"""

import asyncio
import contextlib
import gc
import logging
import socket
import ssl
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

MOST_CONNECTIONS: Final = 48
"""An API server has one for each pod that it asks about at a time."""
HANDSHAKE_S: Final = 2.0
KEEPALIVE_S: Final = 120.0
"""API servers close idle connections after 90 s; whoever closes first can cost the other a call."""
READ_BYTES: Final = 16 * 1024
"""Of a body that is not read yet, for each connection."""
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

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Listener:
    """`start`, and at the end `stop`; belongs to one event loop."""

    def __init__(self, handler: Handler, *, most_connections: int = MOST_CONNECTIONS) -> None:
        self.address = ""
        """Where it listens, empty when it does not."""
        self.dropped = 0
        """Connections that had to make room."""
        self._handler = handler
        self._most = most_connections
        self._server: _Server | None = None
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._since_s: dict[_Place, float] = {}
        self._places: dict[object, _Place] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._since_s)

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Listen; port 0 takes a free one. Raises OSError for an address that cannot be had."""
        self._server = _Server(
            self._handled,
            self._made,
            self._lost,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            read_bufsize=READ_BYTES,
        )
        self._socket = _bound(host, port)
        named = self._socket.getsockname()
        self.address = f"{host or '127.0.0.1'}:{named[1]}"
        self._begin(self._accept(self._socket, context))

    async def stop(self, within_s: float) -> None:
        """Take no more connections; answers that are being made may be finished."""
        self.address = ""
        if self._socket is None or self._server is None:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._server.shutdown(within_s)

    # ---- connections --------------------------------------------------------------------------

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
            place = _Place(taken)
            self._since_s[place] = loop.time()
            self._begin(self._connect(place, context))

    async def _room(self) -> None:
        while True:
            if len(self._since_s) < self._most or self._make_room():
                return
            await asyncio.sleep(GRACE_S / 10)

    def _make_room(self) -> bool:
        """Drop a connection; False while all that there are still have their time."""
        now_s = asyncio.get_running_loop().time()
        late = [one for one, since_s in self._since_s.items() if now_s - since_s > GRACE_S]
        if not late:
            return False
        oldest = min(late, key=lambda one: (one.is_idle, self._since_s[one]))
        del self._since_s[oldest]
        self.dropped += 1
        oldest.drop()
        self._sweep_soon()
        return True

    def _sweep_soon(self) -> None:
        """Free what dropped connections held: each holds itself until the collector looks.

        Where a program has frozen what was there at its start, that takes a millisecond or two.
        """
        if gc.get_freeze_count() and self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(GRACE_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        gc.collect()

    async def _connect(self, place: "_Place", context: ssl.SSLContext | None) -> None:
        loop, server = asyncio.get_running_loop(), self._server
        assert server is not None
        timeout_s = HANDSHAKE_S if context is not None else None
        try:
            await loop.connect_accepted_socket(
                server, place.socket, ssl=context, ssl_handshake_timeout=timeout_s
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            _log.debug("a connection came to nothing: %s", error)
            self._failed(place)
        except asyncio.CancelledError:
            self._failed(place)
            raise

    async def _handled(self, request: web.BaseRequest) -> web.StreamResponse:
        place = self._places.get(request.protocol)
        if place is None:
            raise ConnectionResetError("the connection had to make room")
        place.is_idle = False
        try:
            return await self._handler(request)
        finally:
            place.is_idle = True
            if place in self._since_s:
                self._since_s[place] = asyncio.get_running_loop().time()

    def _made(self, handler: object, transport: asyncio.Transport) -> None:
        number = transport.get_extra_info("socket").fileno()
        place = next((one for one in self._since_s if one.socket.fileno() == number), None)
        if place is None:
            transport.abort()  # it had to make room in its handshake
            return
        place.transport = transport
        self._places[handler] = place
        if isinstance(transport, sslproto._SSLProtocolTransport):  # noqa: SLF001 - has no other name
            transport.set_read_buffer_limits(SEALED_BYTES)

    def _lost(self, handler: object) -> None:
        place = self._places.pop(handler, None)
        if place is not None:
            self._since_s.pop(place, None)

    def _failed(self, place: "_Place") -> None:
        self._since_s.pop(place, None)
        place.socket.close()

    def _begin(self, work: Any) -> None:  # noqa: ANN401 - a coroutine of no result
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Place:
    """One of the connections that there may be."""

    def __init__(self, taken: socket.socket) -> None:
        self.socket = taken
        self.transport: asyncio.Transport | None = None
        self.is_idle = False
        """Whether it was answered and asks nothing now."""

    def drop(self) -> None:
        """End the connection, whatever it is doing."""
        if self.transport is not None:
            self.transport.abort()
        else:
            # In its handshake: the socket is the transport's, which sees that it has ended.
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)


class _Server(web.Server):
    """The library's server, which also tells who comes and goes."""

    def __init__(
        self,
        handler: Handler,
        made: Callable[[object, asyncio.Transport], None],
        lost: Callable[[object], None],
        **more: Any,  # noqa: ANN401 - the library's
    ) -> None:
        super().__init__(handler, **more)
        self._made, self._lost = made, lost

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:  # noqa: ANN401 - as above
        super().connection_made(handler, transport)
        self._made(handler, transport)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:  # noqa: ANN401 - as above
        super().connection_lost(handler, exc)
        self._lost(handler)


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
