# SPDX-License-Identifier: Apache-2.0
"""A client's half of HTTP/2 on literals, and a core with what it heard and said."""

import struct

from fodc_proxy.wire.http2.connection import Connection
from fodc_proxy.wire.http2.events import Event

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, MORE = range(10)
GREETING = PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream)
    return head + payload


def field(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


CALL = (
    b"\x83\x86"
    b"\x04\x05/a/Go" + field(b"content-type", b"application/grpc") + field(b"te", b"trailers")
)


def opened(stream: int, block: bytes = CALL, flags: int = 4) -> bytes:
    """Headers of a call, complete and with more to come."""
    return frame(HEADERS, flags, stream, block)


class Core(Connection):
    """A connection whose client is a test."""

    def __init__(self, greeting: bytes = GREETING) -> None:
        super().__init__()
        self.rest = b""
        self.hear(greeting)
        self.said()
        self.events.clear()

    def hear(self, data: bytes) -> list[Event]:
        """Take bytes as a socket gives them; return what happened."""
        data = self.rest + data
        self.rest = data[self.receive(memoryview(data)) :]
        heard, self.events = self.events, []
        return heard

    def said(self) -> list[tuple[int, int, int, bytes]]:
        """Return the frames that were sent since the last time."""
        data, self.sending.out = b"".join(self.sending.out), []
        frames = []
        while data:
            size = int.from_bytes(data[:3], "big")
            stream = int.from_bytes(data[5:9], "big")
            frames.append((data[3], data[4], stream, data[9 : 9 + size]))
            data = data[9 + size :]
        return frames

    def parting(self) -> int | None:
        """Return the code with which the connection was closed."""
        return next(
            (int.from_bytes(p[4:8], "big") for k, _, _, p in self.said() if k == GOAWAY), None
        )
