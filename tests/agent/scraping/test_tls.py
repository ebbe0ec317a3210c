# SPDX-License-Identifier: Apache-2.0
"""TLS towards a hardened node, and no OpenSSL in memory without it."""

import asyncio
import contextlib
import ssl
import subprocess
import sys

import pytest
import trustme

from fodc_agent.scraping.client import HttpClient
from fodc_agent.scraping.faults import Fault, FetchError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n"


def fetched_over_tls(trusted: bool) -> bytes:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    client_side = ssl.create_default_context()
    if trusted:
        authority.configure_trust(client_side)

    async def handle(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await reader.read()
        writer.close()

    async def run() -> bytes:
        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=server_side)
        client = HttpClient(tls=client_side)
        try:
            port = server.sockets[0].getsockname()[1]
            url = f"https://localhost:{port}/metrics"
            return (await client.get(url, timeout_s=5, max_bytes=99)).body
        finally:
            await client.aclose()
            server.close()
            await server.wait_closed()
            await asyncio.sleep(0.05)  # transports of TLS close in a later turn of the loop

    return asyncio.run(run())


def test_a_page_is_fetched_over_tls():
    """W-46."""
    assert fetched_over_tls(trusted=True) == b"a 1\n"


def test_a_certificate_of_a_stranger_is_refused():
    with pytest.raises(FetchError) as caught:
        fetched_over_tls(trusted=False)

    assert caught.value.fault is Fault.REFUSED
    assert "certificate verify failed" in caught.value.message.lower()


HEAVY = ("ssl", "_ssl", "ctypes", "http.client", "urllib.request", "email", "aiohttp", "grpc")
LISTED = f"""
import sys
sys.modules["ssl"] = None
import asyncio
import fodc_agent.captures.orders
import fodc_agent.captures.pprof
import fodc_agent.scraping.client
import fodc_agent.sources.banyandb
import fodc_agent.sources.cgroup
import fodc_agent.sources.configuration
import fodc_agent.sources.pressure
import fodc_agent.sources.process
import fodc_agent.sources.self_health
import fodc_agent.web.routes
import fodc_agent.web.server
print([name for name in {HEAVY!r} if sys.modules.get(name)])
"""


def test_nothing_heavy_is_imported_without_tls():
    """Each of these modules is memory beside a database."""
    listed = subprocess.run(
        [sys.executable, "-c", LISTED], capture_output=True, text=True, timeout=30, check=True
    )

    assert listed.stdout == "[]\n"
