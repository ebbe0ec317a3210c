# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - what the handlers of a test server do is seen
"""What stands around a measured agent, each a process of its own: a node's page and a proxy.

Each prints its port when it listens. The proxy speaks our link or, for an agent that has to fall
back, the seven streams of the existing contract; it asks for the latest values at a pace, and once
for the whole window.
"""

import argparse
import asyncio
import http.server
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeAlias

import grpc
import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from bench.peers import DATA_STREAMS
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc
from fodc_wire.fodc.v1 import agent_link_pb2 as link

# What a node is told once and what it began with: a limit that grows from nothing would be a node
# short of memory, and its agent one that takes profiles instead of one at its usual pace.
UNMOVED = ("banyandb_memory_protector_cgroup_limit_bytes", "process_start_time_seconds")
REAL_PAGE = Path(__file__).resolve().parents[1] / "tests" / "data" / "pages" / "data.txt"


# ---- the page ---------------------------------------------------------------------------------


class Page:
    """A node's page, a fifth of whose values move between two scrapes.

    `kind` is a count of made series, or "real" for the page of a BanyanDB data node.
    """

    def __init__(self, kind: str) -> None:
        lines = REAL_PAGE.read_text().splitlines() if kind == "real" else _made(int(kind))
        self._lines = [line.rpartition(" ") for line in lines]
        self._values = [0.0 if line.startswith("#") else _value(line) for line in lines]
        still = ("#", *UNMOVED)
        self._moving = [place for place, line in enumerate(lines) if not line.startswith(still)]
        self._scrapes = 0

    def text(self) -> bytes:
        self._scrapes += 1
        for place in self._moving[self._scrapes % 5 :: 5]:
            self._values[place] += (place * self._scrapes) % 17 + 0.25
        return "".join(map(self._told, range(len(self._lines)))).encode()

    def _told(self, place: int) -> str:
        head, _, tail = self._lines[place]
        return f"{head} {tail}\n" if head.startswith("#") else f"{head} {self._values[place]:g}\n"


def _value(line: str) -> float:
    return float(line.rpartition(" ")[2])


def _made(series: int) -> list[str]:
    head = [
        "# HELP banyandb_measure_total_written Written.",
        "# TYPE banyandb_measure_total_written counter",
    ]
    return head + [
        f'banyandb_measure_total_written{{group="sw_metric_{place % 37}",'
        f'shard="{place % 5}",seg="2026{place:05d}",method="write"}} {place * 997 % 100_003}'
        for place in range(series)
    ]


def serve_page(kind: str) -> None:
    page = Page(kind)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = page.text() if self.path == "/metrics" else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


# ---- the proxy --------------------------------------------------------------------------------


async def whole_window_once(every_s: float, window_after_s: float) -> AsyncIterator[bool]:
    """Yield at each question whether it is the one for the whole window."""
    begun_s = time.monotonic()
    asked = window_after_s <= 0
    while True:
        await asyncio.sleep(every_s)
        due = not asked and time.monotonic() - begun_s > window_after_s
        asked = asked or due
        yield due


class Context(Protocol):
    """What the handlers need of a call."""

    async def write(self, message: bytes) -> None: ...


Handler: TypeAlias = Callable[[AsyncIterator[bytes], Context], Awaitable[None]]
Methods: TypeAlias = tuple[str, dict[str, Handler]]


def link_methods(every_s: float, window_after_s: float) -> Methods:
    async def ask(write: Callable[[bytes], Awaitable[None]]) -> None:
        number = 0
        async for whole in whole_window_once(every_s, window_after_s):
            number += 1
            query = link.ProxyFrame(metrics_query=link.MetricsQuery(query_id=number))
            if whole:
                window = link.WindowQuery(query_id=number, end_ms=int(time.time() * 2000))
                query = link.ProxyFrame(window_query=window)
            await write(query.SerializeToString())

    async def connect(frames: AsyncIterator[bytes], context: Context) -> None:
        writing = asyncio.Lock()
        asking = None

        async def write(message: bytes) -> None:
            async with writing:  # grpc fails one of two that write at the same time
                await context.write(message)

        async for data in frames:
            if asking is not None and asking.done():
                return  # who is not asked any more would be measured at rest
            frame = link.AgentFrame.FromString(data)
            kind = frame.WhichOneof("frame")
            if kind == "hello":
                told = link.Welcome(protocol=1, agent_id="bench", heartbeat_interval_ms=10_000)
                await write(link.ProxyFrame(welcome=told).SerializeToString())
                asking = asyncio.create_task(ask(write))
            elif kind == "heartbeat":
                ack = link.HeartbeatAck(sequence=frame.heartbeat.sequence)
                await write(link.ProxyFrame(heartbeat_ack=ack).SerializeToString())
        if asking is not None:
            asking.cancel()

    return "fodc.v1.AgentLink", {"Connect": connect}


def fodc_methods(every_s: float, window_after_s: float) -> Methods:
    async def register(requests: AsyncIterator[bytes], context: Context) -> None:
        async for _ in requests:
            told = fodc.RegisterAgentResponse(
                success=True, agent_id="bench", heartbeat_interval_seconds=10
            )
            await context.write(told.SerializeToString())

    async def metrics(requests: AsyncIterator[bytes], context: Context) -> None:
        reading = asyncio.create_task(read_all(requests))
        async for whole in whole_window_once(every_s, window_after_s):
            query = fodc.StreamMetricsResponse()
            if whole:
                now_s = int(time.time())
                query = fodc.StreamMetricsResponse(
                    start_time=Timestamp(seconds=now_s - 7_200),
                    end_time=Timestamp(seconds=now_s + 60),
                )
            if reading.done():
                return
            await context.write(query.SerializeToString())

    async def read_all(requests: AsyncIterator[bytes]) -> None:
        async for _ in requests:
            pass

    async def drain(requests: AsyncIterator[bytes], _: Context) -> None:
        await read_all(requests)

    streams: dict[str, Handler] = dict.fromkeys(DATA_STREAMS, drain)
    methods: dict[str, Handler] = {"RegisterAgent": register, **streams, "StreamMetrics": metrics}
    return "banyandb.fodc.v1.FODCService", methods


async def serve_proxy(contract: str, every_s: float, window_after_s: float) -> None:
    methods_of = {"link": link_methods, "fodc": fodc_methods}[contract]
    service, methods = methods_of(every_s, window_after_s)
    handlers = {
        name: grpc.stream_stream_rpc_method_handler(handler) for name, handler in methods.items()
    }
    # As large as an existing proxy takes them.
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 32 << 20)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("page").add_argument("kind")
    proxy = parts.add_parser("proxy")
    proxy.add_argument("contract", choices=("link", "fodc"))
    proxy.add_argument("every_s", type=float)
    proxy.add_argument("window_after_s", type=float)
    arguments = parser.parse_args()
    if arguments.part == "page":
        serve_page(arguments.kind)
    else:
        asyncio.run(serve_proxy(arguments.contract, arguments.every_s, arguments.window_after_s))


if __name__ == "__main__":
    main()
