# SPDX-License-Identifier: Apache-2.0
"""One port for TLS and, where that was allowed by name, for plain text.

The one idea: the first byte tells. Agents that know no TLS come in beside those that do, and the
gate asks of each what it asks.
"""

import asyncio
from typing import TYPE_CHECKING, Final

from fodc_proxy.wire.rpc.carriage import Shared
from fodc_proxy.wire.rpc.line import Line
from fodc_proxy.wire.rpc.sealed import HANDSHAKE_TIMEOUT_S, Sealed

if TYPE_CHECKING:
    import ssl

_HANDSHAKE: Final = 0x16
"""How a record of TLS begins that shakes hands; HTTP/2 begins with a letter."""


class Either(asyncio.BufferedProtocol):
    """A connection that has not said anything yet."""

    __slots__ = ("_context", "_shared", "_since_s", "_transport")

    def __init__(self, shared: Shared, context: "ssl.SSLContext") -> None:
        self._shared = shared
        self._context = context
        self._transport: asyncio.Transport | None = None
        self._since_s = shared.loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first word."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._shared.lines.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Lend the buffer of all."""
        return self._shared.sealed_view

    def buffer_updated(self, nbytes: int) -> None:
        """Hand the connection over to whom the first byte is meant for."""
        transport, shared = self._transport, self._shared
        assert transport is not None, "what was read came from somewhere"
        data = bytes(shared.sealed_view[:nbytes])
        is_sealed = data[0] == _HANDSHAKE
        heir = Sealed(shared, self._context) if is_sealed else Line(shared)
        transport.set_protocol(heir)
        heir.connection_made(transport)
        shared.left(self)
        heir.get_buffer(nbytes)[:nbytes] = data
        heir.buffer_updated(nbytes)

    def eof_received(self) -> None:
        """Close."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget it."""
        self._transport = None
        self._shared.left(self)

    # ---- for the watch --------------------------------------------------------------------------

    @property
    def kept_bytes(self) -> int:
        """How many bytes wait for handlers: none, nobody knows yet what they are."""
        return 0

    def look(self, now_s: float, *, is_crowded: bool) -> None:  # noqa: ARG002 - as lines are looked at
        """End a connection that says nothing."""
        if now_s - self._since_s > HANDSHAKE_TIMEOUT_S:
            self.abort()

    def stop(self) -> None:
        """End it."""
        self.abort()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()
