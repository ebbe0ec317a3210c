# SPDX-License-Identifier: Apache-2.0
"""Connections whose TLS handshake has begun, of a listener that accepts them itself.

The one idea: a handshake that nobody goes on with costs a quarter of a megabyte until its deadline,
and the loop's own server begins as many as there are descriptors. Here there are so many at a time,
and the one that has taken longest makes room; one that is meant takes milliseconds.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ssl import SSLContext

MOST: Final = 128
_PAUSE_S: Final = 0.5
"""After a connection that could not be accepted, such as for want of descriptors."""
_log = logging.getLogger(__name__)


class Handshakes:
    """Accepts on a bound socket until stopped; belongs to the running loop."""

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        context: "SSLContext",
        *,
        timeout_s: float,
        most: int = MOST,
    ) -> None:
        self._make, self._context = make, context
        self._timeout_s, self._most = timeout_s, most
        # In the order in which they have begun.
        self._running: dict[asyncio.Task[None], None] = {}
        self._accepting: asyncio.Task[None] | None = None
        self._listening: socket.socket | None = None

    def __len__(self) -> int:
        return len(self._running)

    def start(self, listening: socket.socket) -> None:
        """Begin to accept; the socket is this object's from now on."""
        listening.settimeout(0)
        self._listening = listening
        self._accepting = asyncio.create_task(self._accept(listening), name="http-accept")

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                _log.warning("no connection can be accepted: %s", error.strerror)
                await asyncio.sleep(_PAUSE_S)
                continue
            self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        task = asyncio.create_task(self._sealed(connection))
        self._running[task] = None
        task.add_done_callback(lambda done: self._running.pop(done, None))
        if len(self._running) > self._most:
            longest = next(iter(self._running))
            del self._running[longest]
            longest.cancel()

    async def _sealed(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._make, connection, ssl=self._context, ssl_handshake_timeout=self._timeout_s
            )
        except (OSError, asyncio.CancelledError):
            # Errors of TLS are OSErrors too: whoever speaks otherwise is a stranger.
            connection.close()

    async def stop(self) -> None:
        """End what has begun and close the socket."""
        tasks = [*self._running, *(() if self._accepting is None else (self._accepting,))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listening is not None:
            self._listening.close()
