# SPDX-License-Identifier: Apache-2.0
"""The server's answers do not depend on how TCP cuts the requests."""

import asyncio
import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from fodc_agent.web.routes import routes_of
from fodc_agent.web.server import WebServer
from fodc_protocol.addresses import Address

REQUESTS = (
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
)


async def answers_to(pieces: list[bytes]) -> list[bytes]:
    server = WebServer(Address("127.0.0.1", 0), clock=lambda: 0)
    table = routes_of(page=lambda: [b"a 1\n"], checks=list, version={})
    address = await server.start(table)
    reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await reader.read()
    writer.close()
    await server.aclose()
    return re.findall(rb"HTTP/1\.1 (\d+)", answer)


@settings(max_examples=60)
@given(places=st.sets(st.integers(1, len(REQUESTS) - 1), max_size=15))
def test_any_split_of_the_requests_gives_the_same_answers(places):
    ends = [0, *sorted(places), len(REQUESTS)]

    statuses = asyncio.run(answers_to([REQUESTS[a:b] for a, b in itertools.pairwise(ends)]))

    assert statuses == [b"200", b"405", b"200", b"404"]
