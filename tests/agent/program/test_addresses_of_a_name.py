# SPDX-License-Identifier: Apache-2.0
"""A name with several addresses, the first of which swallows whatever is sent to it (A19)."""

import asyncio
import socket
import time
from contextlib import contextmanager

import grpc
import grpc.aio
import pytest

from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.scraping.client import HttpClient

NAME = "proxy.test"


@contextmanager
def swallowing(address: str):
    """Listen with a full queue, so that the kernel drops every further SYN; yield the port."""
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for one in fillers:
            one.setblocking(False)
            one.connect_ex((address, port))
        try:
            yield port
        finally:
            for one in fillers:
                one.close()


@pytest.fixture
def resolves(monkeypatch):
    """Let the name have these addresses, in this order."""

    def to(*addresses):
        async def getaddrinfo(self, host, port, **_):
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*kind, (one, port)) for one in (addresses if host == NAME else (host,))]

        monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)

    return to


def test_a19_the_next_address_of_a_proxy_is_tried_within_the_connect_time(resolves):
    resolves("127.0.0.1", "127.0.0.2")

    async def main(port):
        server = grpc.aio.server()
        server.add_insecure_port(f"127.0.0.2:{port}")
        await server.start()
        begun_s = time.monotonic()
        channel = await RpcChannel.connect(Endpoint(NAME, port))
        took_s = time.monotonic() - begun_s
        channel.close()
        await server.stop(0)
        return took_s

    with swallowing("127.0.0.1") as port:
        assert asyncio.run(main(port)) < 8  # the connect time is 10 s


def test_a19_the_next_address_of_a_node_is_tried_within_the_time_of_an_attempt(resolves):
    resolves("127.0.0.1", "127.0.0.2")

    over = asyncio.Event()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n")
        await writer.drain()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        over.set()

    async def main(port):
        server = await asyncio.start_server(answer, "127.0.0.2", port)
        client = HttpClient()
        page = await client.get(f"http://{NAME}:{port}/metrics", timeout_s=3, max_bytes=99)
        await client.aclose()
        await over.wait()
        server.close()
        await server.wait_closed()
        return page.body

    with swallowing("127.0.0.1") as port:
        assert asyncio.run(main(port)) == b"a 1\n"
