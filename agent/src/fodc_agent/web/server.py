# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server: h11 over asyncio streams, for scrapers and probes.

The one idea: everything a stranger can make grow has a limit - connections in all and per peer,
bytes of a head, time for a head, for an answer and between requests - because this process shares
its memory with a database.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import h11

from fodc_agent.web.addresses import open_listener
from fodc_agent.web.conversations import READ_BYTES, Conversation, Limits
from fodc_agent.web.replies import NOT_ALLOWED, NOT_FOUND, Reply, Route, primed, text_reply
from fodc_protocol.addresses import Address
from fodc_protocol.errors import FodcError

_log: Final = logging.getLogger(__name__)


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
        self._idle: set[asyncio.Task[None]] = set()
        self._peers: Counter[str] = Counter()

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
        self._server.close()
        await self._server.wait_closed()
        self._server = self._listener = None
        for task in self._idle:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._limits.shutdown_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def is_started(self) -> bool:
        """Whether requests are answered."""
        return self._server is not None

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._tasks)

    # ---- connections --------------------------------------------------------------------------

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; the task belongs to this server until it ends."""
        task = asyncio.current_task()
        assert task is not None
        peer = _peer_of(writer)
        task.set_name(f"web {peer}")
        try:
            with self._counted(task, peer) as has_room, contextlib.suppress(OSError, TimeoutError):
                conversation = Conversation(reader, writer, self._limits, self._clock)
                if has_room:
                    await self._converse(task, conversation)
                else:
                    await conversation.decline("too many connections")
        except Exception:  # noqa: BLE001 - a page that breaks halfway ends its connection only
            _log.exception("the answer to %s broke off", peer)
        finally:
            writer.close()

    @contextlib.contextmanager
    def _counted(self, task: "asyncio.Task[None]", peer: str) -> Iterator[bool]:
        limits = self._limits
        has_room = (
            len(self._tasks) < limits.connections
            and self._peers[peer] < limits.connections_per_peer
        )
        self._tasks.add(task)
        self._peers[peer] += 1
        try:
            yield has_room
        finally:
            self._tasks.discard(task)
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]

    async def _converse(self, task: "asyncio.Task[None]", conversation: Conversation) -> None:
        """Answer one request after the other; between them the connection is idle."""
        while self._server is not None:
            self._idle.add(task)
            try:
                request = await conversation.next_request()
            finally:
                self._idle.discard(task)
            if request is None:
                return
            await conversation.answer(self._reply_to(request))
            if not conversation.may_continue():
                return

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
