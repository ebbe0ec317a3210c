# SPDX-License-Identifier: Apache-2.0
"""TLS between a socket and a line.

The one idea: asyncio's own TLS keeps 256 KiB for each connection. Here all connections share two
buffers, and what OpenSSL keeps in between is fed and emptied in small pieces, because its memory
never shrinks: at rest a connection costs what OpenSSL itself needs.
"""

import asyncio
import contextlib
import ssl
from typing import Final, cast

from fodc_proxy.wire.rpc.carriage import Shared
from fodc_proxy.wire.rpc.line import Line

HANDSHAKE_TIMEOUT_S: Final = 10.0
_PROTOCOL: Final = "h2"
_FEED_BYTES: Final = 4 * 1024
_RECORD_BYTES: Final = 16 * 1024


class Sealed(asyncio.BufferedProtocol):
    """One connection over TLS: a protocol for the socket and a transport for its line."""

    __slots__ = (
        "_incoming",
        "_is_open",
        "_line",
        "_outgoing",
        "_shared",
        "_since_s",
        "_tls",
        "_transport",
    )

    def __init__(self, shared: Shared, context: ssl.SSLContext) -> None:
        self._shared = shared
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._transport: asyncio.Transport | None = None
        self._line = Line(shared)
        self._is_open = False  # hands were shaken
        self._since_s = shared.loop.time()

    # ---- for the socket -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's first word."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._shared.lines.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Lend the buffer of all."""
        return self._shared.sealed_view

    def buffer_updated(self, nbytes: int) -> None:
        """Unseal what came, piece by piece."""
        for at in range(0, nbytes, _FEED_BYTES):
            end = min(nbytes, at + _FEED_BYTES)
            self._incoming.write(self._shared.sealed_view[at:end])
            if not self._take():
                break

    def _take(self) -> bool:
        """Go on with what is there; False when the connection is over."""
        try:
            if not self._is_open:
                self._tls.do_handshake()
                self._open()
            while not self.is_closing():
                buffer = cast("bytearray", self._line.get_buffer(-1))
                size = cast("int", self._tls.read(_RECORD_BYTES, buffer))  # as it is with a buffer
                if size == 0:
                    break  # the client's goodbye
                self._line.buffer_updated(size)
        except ssl.SSLWantReadError:
            self._drain()
            return True
        except ssl.SSLError:
            pass  # no TLS, or no certificate that we trust
        self._drain()
        self.close()
        return False

    def _open(self) -> None:
        """Begin to speak HTTP/2; a client that chose another protocol is not served."""
        self._is_open = True
        line = self._line
        if self._tls.selected_alpn_protocol() not in {_PROTOCOL, None}:
            self.close()
            return
        line.is_tls = True
        line.certificate_names = names_of(self._tls.getpeercert())
        self._shared.left(self)
        line.begin(self)

    def eof_received(self) -> None:
        """Close."""

    def pause_writing(self) -> None:
        """Pass on."""
        self._line.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._line.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on."""
        self._transport = None
        self._shared.left(self)
        if self._is_open:
            self._line.connection_lost(exc)

    # ---- for the line ---------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Seal and send; what cannot be sealed any more ends the connection."""
        view = memoryview(data)
        try:
            for at in range(0, len(view), _RECORD_BYTES):
                self._tls.write(view[at : at + _RECORD_BYTES])
                self._drain()
        except ssl.SSLError:
            self.abort()

    def _drain(self) -> None:
        if self._outgoing.pending and self._transport is not None:
            self._transport.write(self._outgoing.read())

    def set_write_buffer_limits(self, high: int) -> None:
        """Pass on."""
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high)

    def get_extra_info(self, name: str) -> object:
        """Pass on."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    def is_closing(self) -> bool:
        """Say whether nothing is sent any more."""
        return self._transport is None or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Pass on."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Pass on."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Say goodbye, and close once all is sent."""
        if self._transport is None or self._transport.is_closing():
            return
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()  # the client need not do the same
        self._drain()
        self._transport.close()

    # ---- for the watch, until hands are shaken ---------------------------------------------------

    @property
    def kept_bytes(self) -> int:
        """How many bytes wait for handlers."""
        return self._line.kept_bytes

    def look(self, now_s: float, *, is_crowded: bool) -> None:  # noqa: ARG002 - as lines are looked at
        """End a connection whose client does not shake hands."""
        if now_s - self._since_s > HANDSHAKE_TIMEOUT_S:
            self.abort()

    def stop(self) -> None:
        """End it."""
        self.abort()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()


def names_of(certificate: object) -> tuple[str, ...]:
    """Return the names of a verified certificate: DNS names and URIs, else its common name."""
    if not isinstance(certificate, dict):
        return ()
    names = [
        value for kind, value in certificate.get("subjectAltName", ()) if kind in {"DNS", "URI"}
    ]
    common = [
        value
        for part in certificate.get("subject", ())
        for kind, value in part
        if kind == "commonName"
    ]
    return tuple(names or common)
