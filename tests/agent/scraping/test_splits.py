# SPDX-License-Identifier: Apache-2.0
"""The client's answer does not depend on how TCP cuts the bytes."""

import asyncio
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_agent.scraping.client import HttpClient

BODY = b'# HELP a b\na 1\nb{c="d"} 2\n'
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
    b"b\r\n" + BODY[:11] + b"\r\n%x\r\n" % len(BODY[11:]) + BODY[11:] + b"\r\n0\r\n\r\n"
)
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-A: b\r\n\r\n" % len(BODY) + BODY


class ByPieces:
    """Stands for one peer; each piece reaches the client in a read of its own."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.gone = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in self.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()
        writer.transport.abort()
        self.gone.set()


def cut(data: bytes, places: set[int]) -> list[bytes]:
    ends = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(ends) if a < b]


@settings(max_examples=60)
@given(
    answer=st.sampled_from([CHUNKED, PLAIN]),
    places=st.sets(st.integers(1, len(CHUNKED) - 1), max_size=12),
)
def test_any_split_of_the_answer_gives_the_same_body(answer, places):
    async def run() -> bytes:
        peer = ByPieces(cut(answer, {place for place in places if place < len(answer)}))
        server = await asyncio.start_server(peer.handle, "127.0.0.1", 0)
        async with server:
            client = HttpClient()
            port = server.sockets[0].getsockname()[1]
            got = await client.get(f"http://127.0.0.1:{port}/", timeout_s=5, max_bytes=1000)
            await client.aclose()
            await peer.gone.wait()
        assert got.headers["x-a"] == "b"
        return got.body

    assert asyncio.run(run()) == BODY
