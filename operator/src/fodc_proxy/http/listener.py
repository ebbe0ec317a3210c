# SPDX-License-Identifier: Apache-2.0
"""The HTTP listener: connections are counted, watched and ended.

The one idea: bounds of a connection are kept where all of its bytes pass, not in each handler. A
connection that sends nothing is ended by the library after the read timeout; one whose reader takes
nothing is ended here, whatever it was reading; and when there are too many, one that waits for its
next request makes room for the new one.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from fodc_proxy.http.handshakes import Handshakes
from fodc_proxy.listening import address_of, bound, descriptors

if TYPE_CHECKING:
    from fodc_tls.serving import ServingCertificate

_WATCH_EVERY_S: Final = 0.5
_TELL_EVERY_S: Final = 10.0
_ACCEPT_AT_ONCE: Final = 64
_BACKLOG: Final = 1024
_log = logging.getLogger(__name__)
_requests_log = logging.getLogger(f"{__name__}.requests")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how many; times in seconds."""

    read_timeout_s: float = 10.0
    write_timeout_s: float = 10.0
    shutdown_s: float = 0.5
    max_connections: int = 512


def most_connections(wanted: int) -> int:
    """Return `wanted`, or half of the descriptors that this process may have when that is less."""
    return max(8, min(wanted, descriptors() // 2))


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Leave out what the library says of requests that it cannot read.

    It repeats them, with the token that may be in them, and a stranger could fill the log.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


_requests_log.addFilter(_is_worth_telling)


class _Watched(asyncio.Protocol):
    """One connection: passes everything on to the library and notes what the watch needs."""

    def __init__(self, inner: asyncio.Protocol, watch: "_Watch") -> None:
        self._inner = inner
        self._watch = watch
        self._is_refused = False
        self.transport: asyncio.Transport | None = None
        self.is_idle = True
        self.unsent_bytes = 0
        self.stalled_since_s = 0.0

    @property
    def host(self) -> str:
        """Where its peer is."""
        place = None if self.transport is None else self.transport.get_extra_info("peername")
        return str(place[0]) if isinstance(place, tuple) and place else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if not self._watch.admits(self):
            self._is_refused = True
            transport.abort()
            return
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self._is_refused:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._is_refused else self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self.unsent_bytes = 0
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._watch.gone(self)
        if not self._is_refused:
            self._inner.connection_lost(error)

    def end(self) -> None:
        """End it at once; what was not sent is lost."""
        if self.transport is not None:
            self.transport.abort()


class _Watch:
    """All connections of one listener."""

    def __init__(self, bounds: Bounds, loop: asyncio.AbstractEventLoop) -> None:
        self._bounds = bounds
        self._loop = loop
        self._most = most_connections(bounds.max_connections)
        # In the order in which they were last used.
        self._connections: dict[_Watched, None] = {}
        self._told_s = float("-inf")
        self._untold = 0
        self.ended = 0

    def __len__(self) -> int:
        return len(self._connections)

    def admits(self, new: _Watched) -> bool:
        """Take a connection in; the one that is idle for longest makes room."""
        if len(self._connections) >= self._most:
            idle = next((one for one in self._connections if one.is_idle), None)
            self._tell(f"{self._most} connections are open: idle ones make room for new ones")
            leaving = idle or self._greediest(new)
            if leaving is None:
                return False
            del self._connections[leaving]
            leaving.end()
        self._connections[new] = None
        return True

    def _greediest(self, new: _Watched) -> _Watched | None:
        """Return the connection, longest in use, of the host that has most, None for the same host.

        Who fills all places with slow requests makes room himself, so that a probe finds some.
        """
        of_host = Counter(one.host for one in self._connections)
        host, number = of_host.most_common(1)[0]
        if number <= of_host[new.host] + 1:
            return None
        return next(one for one in self._connections if one.host == host)

    def gone(self, connection: _Watched) -> None:
        """Forget it."""
        self._connections.pop(connection, None)

    def used(self, connection: _Watched, *, is_idle: bool) -> None:
        """Note that a request begins or has been answered."""
        connection.is_idle = is_idle
        if connection in self._connections:
            del self._connections[connection]
            self._connections[connection] = None

    def look(self) -> None:
        """End connections whose reader took nothing for the write timeout."""
        now_s = self._loop.time()
        for connection in tuple(self._connections):
            if self._is_stalled(connection, now_s):
                self._tell("a reader took nothing of its answer in time and was disconnected")
                connection.end()

    def _is_stalled(self, connection: _Watched, now_s: float) -> bool:
        transport = connection.transport
        unsent = 0 if transport is None else transport.get_write_buffer_size()
        before, connection.unsent_bytes = connection.unsent_bytes, unsent
        if not unsent or not before or unsent < before:
            connection.stalled_since_s = now_s
        return now_s - connection.stalled_since_s >= self._bounds.write_timeout_s

    def _tell(self, what: str) -> None:
        """Log a line, and of a burst of them the first one and then how many there were."""
        self.ended += 1
        now_s = self._loop.time()
        if now_s - self._told_s < _TELL_EVERY_S:
            self._untold += 1
            return
        more = f" ({self._untold} more since the last line)" if self._untold else ""
        _log.warning("%s%s", what, more)
        self._told_s, self._untold = now_s, 0

    def end_all(self) -> None:
        """End what is left."""
        for connection in tuple(self._connections):
            connection.end()


class WebServer:
    """One HTTP listener; `start` fails with OSError when the address cannot be had."""

    def __init__(
        self,
        app: web.Application,
        bounds: Bounds | None = None,
        certificate: "ServingCertificate | None" = None,
    ) -> None:
        """With a `certificate` connections are TLS, and it is kept up to date while it listens."""
        self._bounds = bounds or Bounds()
        self._certificate = certificate
        self._renewing: asyncio.Task[None] | None = None
        app.middlewares.insert(0, self._noting)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_requests_log,
            shutdown_timeout=self._bounds.shutdown_s,
            keepalive_timeout=self._bounds.read_timeout_s,
            lingering_time=min(2.0, self._bounds.read_timeout_s),
            handler_cancellation=True,
        )
        self._watch: _Watch | None = None
        self._watching: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._handshakes: Handshakes | None = None
        self.address = ""

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return 0 if self._watch is None else len(self._watch)

    @property
    def ended(self) -> int:
        """How many connections were ended because of a bound."""
        return 0 if self._watch is None else self._watch.ended

    async def start(self, host: str, port: int) -> None:
        """Listen; an empty host means every interface, port 0 takes a free one.

        `address` tells where.
        """
        loop = asyncio.get_running_loop()
        await self._runner.setup()
        self._watch = _Watch(self._bounds, loop)
        self._handshakes = await self._sealing()
        listening = bound(host, port)
        if self._handshakes is None:
            self._server = await loop.create_server(
                self._connection, sock=listening, backlog=_ACCEPT_AT_ONCE
            )
        # As many are accepted in one turn of the loop as its backlog says; more may wait.
        listening.listen(_BACKLOG)
        if self._handshakes is not None:
            self._handshakes.start(listening)
        self.address = address_of(listening)
        self._watching = asyncio.create_task(self._keep_watch(self._watch))

    async def _sealing(self) -> Handshakes | None:
        """Return what accepts connections by TLS, None for a listener in the clear."""
        if self._certificate is None:
            return None
        await self._certificate.refresh()
        self._renewing = asyncio.create_task(self._certificate.run(), name="http-certificate")
        timeout_s = self._bounds.read_timeout_s
        return Handshakes(self._connection, self._certificate.context, timeout_s=timeout_s)

    def _connection(self) -> _Watched:
        make: Callable[[], asyncio.Protocol] | None = self._runner.server
        assert make is not None
        assert self._watch is not None
        return _Watched(make(), self._watch)

    @web.middleware
    async def _noting(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Note when a connection is in use, so that it is not the one that makes room."""
        connection = None if request.transport is None else request.transport.get_protocol()
        if self._watch is None or not isinstance(connection, _Watched):
            return await handler(request)
        self._watch.used(connection, is_idle=False)
        try:
            return await handler(request)
        finally:
            self._watch.used(connection, is_idle=True)

    async def _keep_watch(self, watch: _Watch) -> None:
        pause_s = min(_WATCH_EVERY_S, self._bounds.write_timeout_s / 4)
        while True:
            await asyncio.sleep(pause_s)
            watch.look()

    async def stop(self) -> None:
        """Stop listening, give requests in flight a moment, then end them."""
        if self._server is not None:
            self._server.close()
        if self._handshakes is not None:
            await self._handshakes.stop()
        for task in (self._watching, self._renewing):
            if task is not None:
                task.cancel()
        await self._runner.cleanup()
        if self._watch is not None:
            self._watch.end_all()
