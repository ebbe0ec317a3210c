# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server: h11 over asyncio streams, for scrapers and probes.

The one idea: everything a stranger can make grow has a limit - connections in all and per peer,
bytes of a head, time for a head, for an answer and between requests - because this process shares
its memory with a database. Who waits makes room for who comes, and where all are busy a few places
are kept for probes: a kubelet that gets no answer would end a healthy pod.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Final

import h11

from fodc_agent.web.addresses import open_listener
from fodc_agent.web.conversations import READ_BYTES, Conversation, Limits
from fodc_agent.web.replies import NOT_ALLOWED, NOT_FOUND, Reply, Route, primed, text_reply
from fodc_protocol.addresses import Address
from fodc_protocol.errors import FodcError
from fodc_protocol.lean import dataclass

_log: Final = logging.getLogger(__name__)

_PROBES: Final = frozenset({b"/healthz", b"/readyz"})
_BUSY: Final = "too many connections"


class _Place(Enum):
    """What a connection may ask for."""

    USUAL = "usual"
    PROBE = "probe"
    NONE = "none"


@dataclass(slots=True, eq=False)
class _Guest:
    """One open connection; it is counted until it ends or has been sent away."""

    peer: str
    writer: asyncio.StreamWriter
    place: _Place

    def send_away(self) -> None:
        """Close it while it waits; its task sees an end and returns."""
        self.place = _Place.NONE
        self.writer.close()


class WebServer:
    """Serves routes on one address; `bind` first, `start` when there is something to say."""

    def __init__(
        self,
        address: Address,
        flag: str = "--prometheus-listen-addr",
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take where to listen, and the flag that says so, for the case that it cannot be had."""
        self._address = address
        self._flag = flag
        self._limits = limits or Limits()
        self._clock = clock
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._routes: Mapping[str, Route] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._guests: set[_Guest] = set()
        # In the order in which they began to wait for a request.
        self._waiting: dict[_Guest, None] = {}

    def bind(self) -> Address:
        """Open the port and return its real address; raises ListenError.

        From here on connections are accepted by the kernel and wait for `start`.
        """
        if self._listener is None:
            self._listener = open_listener(self._address, self._flag)
        host, port = self._listener.getsockname()[:2]
        return Address(host, port)

    async def start(self, routes: Mapping[str, Route]) -> Address:
        """Answer `routes` from now on; raises FodcError when it answers already."""
        if self._server is not None:
            raise FodcError("server is already started")
        address = self.bind()
        self._routes = routes
        self._server = await asyncio.start_server(
            self._accepted, sock=self._listener, limit=READ_BYTES
        )
        return address

    async def aclose(self) -> None:
        """Stop accepting, give answers under way a moment, close; raises FodcError when idle."""
        if self._server is None:
            raise FodcError("server is not started")
        server, self._server, self._listener = self._server, None, None
        server.close()
        for guest in self._waiting:
            guest.send_away()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._limits.shutdown_s)
        for guest in self._guests:
            guest.writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # From Python 3.12 on it waits for the connections as well, so they are ended before.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.shutdown_s):
                await server.wait_closed()

    # ---- connections --------------------------------------------------------------------------

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; the task belongs to this server until it ends."""
        task = asyncio.current_task()
        assert task is not None
        peer = _peer_of(writer)
        task.set_name(f"web {peer}")
        self._tasks.add(task)
        try:
            with self._seated(peer, writer) as guest, contextlib.suppress(OSError, TimeoutError):
                conversation = Conversation(reader, writer, self._limits, self._clock)
                if guest.place is _Place.NONE:
                    await conversation.decline(_BUSY)
                else:
                    await self._converse(guest, conversation)
        except Exception:  # noqa: BLE001 - a page that breaks halfway ends its connection only
            _log.exception("the answer to %s broke off", peer)
        finally:
            self._tasks.discard(task)
            writer.close()

    @contextlib.contextmanager
    def _seated(self, peer: str, writer: asyncio.StreamWriter) -> Iterator[_Guest]:
        guest = _Guest(peer, writer, self._place_for(peer))
        self._guests.add(guest)
        try:
            yield guest
        finally:
            self._guests.discard(guest)

    def _place_for(self, peer: str) -> _Place:
        """Return the place of a new connection; one that waits for a request makes room."""
        limits = self._limits
        seated = [guest for guest in self._guests if guest.place is _Place.USUAL]
        of_peer = sum(guest.peer == peer for guest in seated)
        if of_peer >= limits.connections_per_peer:
            return _Place.USUAL if self._made_room(peer) else self._place_for_probe()
        if len(seated) >= limits.connections:
            return _Place.USUAL if self._made_room(None) else self._place_for_probe()
        return _Place.USUAL

    def _made_room(self, peer: str | None) -> bool:
        """Send away who has waited the longest, of one peer or of all; say whether there is one."""
        for guest in self._waiting:
            if guest.place is _Place.USUAL and peer in (None, guest.peer):
                guest.send_away()
                return True
        return False

    def _place_for_probe(self) -> _Place:
        taken = [guest for guest in self._guests if guest.place is _Place.PROBE]
        if len(taken) < self._limits.probe_places:
            return _Place.PROBE
        for guest in self._waiting:
            if guest.place is _Place.PROBE:
                guest.send_away()
                return _Place.PROBE
        return _Place.NONE

    async def _converse(self, guest: _Guest, conversation: Conversation) -> None:
        """Answer one request after the other; between them the connection only waits."""
        while self._server is not None:
            self._waiting[guest] = None
            try:
                request = await conversation.next_request()
            finally:
                del self._waiting[guest]
            if request is None:
                return
            if guest.place is _Place.PROBE:
                await self._probed(request, conversation)
                return
            await conversation.answer(self._reply_to(request))
            if not conversation.may_continue():
                return

    async def _probed(self, request: h11.Request, conversation: Conversation) -> None:
        """Answer a probe and nothing else; the place is free again afterwards."""
        if request.target.split(b"?", 1)[0] in _PROBES:
            await conversation.answer(self._reply_to(request))
        else:
            await conversation.decline(_BUSY)

    def _reply_to(self, request: h11.Request) -> Reply:
        path = request.target.split(b"?", 1)[0].decode("latin-1")
        route = self._routes.get(path)
        if route is None:
            return NOT_FOUND
        if request.method not in (b"GET", b"HEAD"):
            return NOT_ALLOWED
        try:
            return primed(route())
        except Exception:  # noqa: BLE001 - one broken route must not end the others
            _log.exception("%s failed", path)
            return text_reply(500, f"{path} failed, see the agent's log")


def _peer_of(writer: asyncio.StreamWriter) -> str:
    name = writer.get_extra_info("peername")
    return str(name[0]) if name else "unknown"
