# SPDX-License-Identifier: Apache-2.0
"""Peers for the tests of captures: a pprof port that does as it is told, and the sample node."""

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
Handler = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving_pprof(handler: Handler) -> AsyncIterator[str]:
    """Serve on loopback; `handler(target, writer)` answers one request per connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                head = await reader.readuntil(b"\r\n\r\n")
                await handler(head.split(b" ")[1].decode(), writer)
                await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@pytest.fixture
def pprof_port():
    return serving_pprof


@pytest.fixture
def recorded():
    """Return the bytes of a profile recorded from a BanyanDB node."""

    def read(name: str) -> bytes:
        return (ROOT / "tests" / "data" / "pprof" / name).read_bytes()

    return read


@pytest.fixture(scope="session")
def sample_nodes() -> ModuleType:
    """The module that runs sample nodes."""
    path = ROOT / "e2e" / "node" / "running.py"
    spec = importlib.util.spec_from_file_location("fodc_sample_node_running_for_captures", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module
