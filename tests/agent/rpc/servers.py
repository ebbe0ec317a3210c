# SPDX-License-Identifier: Apache-2.0
"""A server's half of HTTP/2 on literals, and the client's core with what it heard and said."""

import struct

from fodc_agent.rpc.connection import Connection

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, MORE = range(10)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream)
    return head + payload


def field(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


GREETING = frame(SETTINGS, 0, 0)
CONTENT = field(b"content-type", b"application/grpc")
ANSWER = b"\x88" + CONTENT
OK = field(b"grpc-status", b"0")
CALL = b"\x83\x86\x04\x05/a/Go"


class Core(Connection):
    """A connection whose server is a test; it has opened stream 1."""

    def __init__(self, greeting: bytes = GREETING) -> None:
        super().__init__()
        self.rest = b""
        self.open(CALL)
        self.hear(greeting)
        self.said()

    def hear(self, data: bytes) -> list:
        """Take bytes as a socket gives them; return what happened."""
        data = self.rest + data
        self.rest = data[self.receive(memoryview(data)) :]
        heard, self.events = self.events, []
        return heard

    def said(self) -> list[tuple[int, int, int, bytes]]:
        """Return the frames that were sent since the last time, without the preface."""
        data, self.sending.out = b"".join(self.sending.out), []
        data = data.removeprefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        frames = []
        while data:
            size = int.from_bytes(data[:3], "big")
            stream = int.from_bytes(data[5:9], "big")
            frames.append((data[3], data[4], stream, data[9 : 9 + size]))
            data = data[9 + size :]
        return frames
