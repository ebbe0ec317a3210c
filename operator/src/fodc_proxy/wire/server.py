# SPDX-License-Identifier: Apache-2.0
"""The gRPC server: raw bytes in and out, both services on one port.

The one idea: handlers take bytes, so that each decides when and how to decode. The server is our
own because a general one costs an agent of seven streams 158 KiB and its registration 1.3 ms.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from fodc_proxy.listening import address_of, bound, descriptors
from fodc_proxy.wire.agent_link import AgentLinkService
from fodc_proxy.wire.existing.service import FodcService
from fodc_proxy.wire.rpc.carriage import Shared, StreamHandler, Watched
from fodc_proxy.wire.rpc.line import Line

if TYPE_CHECKING:
    import ssl

    from fodc_proxy.wire.rpc.either import Either
    from fodc_proxy.wire.rpc.sealed import Sealed

_FODC: Final = "/banyandb.fodc.v1.FODCService/"
_ACCEPT_AT_ONCE: Final = 256
_BACKLOG: Final = 4096
_LOOK_EVERY_S: Final = 5.0
_LOOK_AT_ONCE: Final = 256
_TELL_EVERY_S: Final = 10.0
_STOP_TIMEOUT_S: Final = 1.0
_RESERVED_DESCRIPTORS: Final = 0.1
_CROWDED: Final = 0.9
_log = logging.getLogger(__name__)


def methods_of(link: AgentLinkService, fodc: FodcService) -> dict[str, StreamHandler]:
    """Return every stream that this proxy serves, by full name."""
    return {
        "/fodc.v1.AgentLink/Connect": link.connect,
        _FODC + "RegisterAgent": fodc.register_agent,
        _FODC + "StreamMetrics": fodc.stream_metrics,
        _FODC + "StreamClusterTopology": fodc.stream_cluster_topology,
        _FODC + "StreamLifecycle": fodc.stream_lifecycle,
        _FODC + "StreamCrashDiagnostics": fodc.stream_crash_diagnostics,
        _FODC + "StreamPressureProfiles": fodc.stream_pressure_profiles,
        _FODC + "StreamSchemaRegistry": fodc.stream_schema_registry,
    }


class GrpcServer:
    """One gRPC listener."""

    def __init__(
        self,
        methods: Mapping[str, StreamHandler],
        *,
        max_message_bytes: int,
        tls: "ssl.SSLContext | None" = None,
        admits_plain: bool = False,
    ) -> None:
        """With `tls` plain text is answered only if `admits_plain`."""
        self._secured = None if tls is None else _secured(admits_plain=admits_plain)
        self._methods = methods
        self._tls = tls
        self._max_message_bytes = max_message_bytes
        self._most = int(descriptors() * (1 - _RESERVED_DESCRIPTORS))
        self._shared: Shared | None = None
        self._server: asyncio.Server | None = None
        self._looking: asyncio.Handle | None = None
        self._told_s = float("-inf")
        self.address = ""

    async def start(self, host: str, port: int) -> None:
        """Listen; raises OSError when the address cannot be had (G17). Port 0 takes a free one.

        With TLS a client gets the certificate that the context has when it comes.
        """
        loop = asyncio.get_running_loop()
        if self._tls is not None:
            self._tls.set_alpn_protocols(["h2"])
        shared = self._shared = Shared(self._methods, self._max_message_bytes, loop)
        listening = bound(host, port)
        self._server = await loop.create_server(self._line, sock=listening, backlog=_ACCEPT_AT_ONCE)
        # As many are accepted in one turn of the loop as its backlog says; more may wait.
        listening.listen(_BACKLOG)
        self.address = address_of(listening)
        self._looking = loop.call_later(_LOOK_EVERY_S, self._look, shared)

    def _line(self) -> asyncio.BaseProtocol:
        shared = self._shared
        assert shared is not None
        if len(shared.lines) < self._most:
            if self._tls is None or self._secured is None:
                return Line(shared)
            return self._secured(shared, self._tls)
        now_s = shared.loop.time()
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            _log.warning("%d gRPC connections are open: new ones are refused", self._most)
        return _Refused()

    def _look(self, shared: Shared) -> None:
        """Begin to look at all connections, some in each turn of the loop."""
        self._look_on(shared, list(shared.lines), shared.loop.time())

    def _look_on(self, shared: Shared, unseen: list[Watched], began_s: float) -> None:
        now_s, is_crowded = shared.loop.time(), len(shared.lines) > self._most * _CROWDED
        for line in unseen[-_LOOK_AT_ONCE:]:
            if line in shared.lines:
                line.look(now_s, is_crowded=is_crowded)
        del unseen[-_LOOK_AT_ONCE:]
        if unseen:
            self._looking = shared.loop.call_soon(self._look_on, shared, unseen, began_s)
        else:
            self._looking = shared.loop.call_at(began_s + _LOOK_EVERY_S, self._look, shared)

    async def stop(self) -> None:
        """End all streams with a status and stop; a peer that does not read is not waited for."""
        shared = self._shared
        if self._server is None or shared is None:
            return
        self._server.close()
        if self._looking is not None:
            self._looking.cancel()
        for line in tuple(shared.lines):
            line.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await shared.all_left()
        for line in tuple(shared.lines):
            line.abort()


def _secured(*, admits_plain: bool) -> "type[Either | Sealed]":
    """Return what a connection is where there is a certificate."""
    # OpenSSL is memory that only those pay for who have one.
    from fodc_proxy.wire.rpc.either import Either  # noqa: PLC0415 - see above
    from fodc_proxy.wire.rpc.sealed import Sealed  # noqa: PLC0415 - see above

    return Either if admits_plain else Sealed


class _Refused(asyncio.Protocol):
    """A connection beyond the bound."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
