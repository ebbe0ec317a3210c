# SPDX-License-Identifier: Apache-2.0
"""Proxies for tests: real grpc.aio servers on loopback that do what a test tells them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc
import grpc.aio
import pytest

from fodc_wire.fodc.v1 import agent_link_pb2 as pb


@dataclass
class LinkPeer:
    """A proxy that speaks the link; `frames` holds what the agent said, oldest first."""

    welcome: bool = True
    greeting: pb.ProxyFrame | None = None
    server: grpc.aio.Server | None = None
    port: int = 0
    streams: int = 0
    half_closed: int = 0
    frames: asyncio.Queue = field(default_factory=asyncio.Queue)
    outgoing: asyncio.Queue = field(default_factory=asyncio.Queue)
    ack_heartbeats: bool = True
    heartbeat_interval_ms: int = 10_000
    cut: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, port: int = 0) -> None:
        self.server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        handler = grpc.stream_stream_rpc_method_handler(
            self._connect,
            request_deserializer=pb.AgentFrame.FromString,
            response_serializer=lambda frame: (
                frame if isinstance(frame, bytes) else frame.SerializeToString()
            ),
        )
        services = grpc.method_handlers_generic_handler("fodc.v1.AgentLink", {"Connect": handler})
        self.server.add_generic_rpc_handlers((services,))
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop(0)

    async def _connect(self, requests, context) -> None:
        self.streams += 1
        self.cut.clear()
        number = self.streams
        writer = asyncio.create_task(self._write(context))
        cut = asyncio.create_task(self.cut.wait())
        reader = asyncio.create_task(self._read(requests, context, number))
        await asyncio.wait({cut, reader}, return_when=asyncio.FIRST_COMPLETED)
        for task in (cut, reader):
            task.cancel()
        # A write that is cancelled halfway would stand in the way of the status.
        self.outgoing.put_nowait(None)
        await asyncio.gather(cut, reader, writer, return_exceptions=True)

    async def _write(self, context) -> None:
        while (frame := await self.outgoing.get()) is not None:
            await context.write(frame)

    async def _read(self, requests, context, number) -> None:
        async for frame in requests:
            if frame.WhichOneof("frame") == "hello" and self.greeting is not None:
                self.outgoing.put_nowait(self.greeting)
            elif frame.WhichOneof("frame") == "hello" and self.welcome:
                self.outgoing.put_nowait(self.welcome_frame(f"agent-{number}"))
            elif frame.WhichOneof("frame") == "heartbeat" and self.ack_heartbeats:
                ack = pb.HeartbeatAck(sequence=frame.heartbeat.sequence)
                self.outgoing.put_nowait(pb.ProxyFrame(heartbeat_ack=ack))
            self.frames.put_nowait(frame)
        self.half_closed += 1

    def welcome_frame(self, agent_id: str) -> pb.ProxyFrame:
        return pb.ProxyFrame(
            welcome=pb.Welcome(
                protocol=1,
                agent_id=agent_id,
                heartbeat_interval_ms=self.heartbeat_interval_ms,
                proxy_version="test",
                chunk_bytes=1024,
            )
        )

    def say(self, **frame) -> None:
        self.outgoing.put_nowait(pb.ProxyFrame(**frame))

    async def hear(self, kind: str):
        """Return the next frame of this kind; what comes before it is dropped."""
        while True:
            async with asyncio.timeout(10):
                frame = await self.frames.get()
            if frame.WhichOneof("frame") == kind:
                return getattr(frame, kind)


FODC_STREAMS = (
    "RegisterAgent",
    "StreamMetrics",
    "StreamClusterTopology",
    "StreamLifecycle",
    "StreamCrashDiagnostics",
    "StreamPressureProfiles",
    "StreamSchemaRegistry",
)


@dataclass
class BytesProxy:
    """A proxy of the existing contract that knows bytes alone, so recordings can be played.

    `commands[method]` are sent as they are, None ends that stream; `unknown` methods are
    UNIMPLEMENTED; `deaf` streams are never read. A registration is answered by `reply`, if any.
    """

    reply: bytes = b""
    unknown: frozenset[str] = frozenset()
    deaf: frozenset[str] = frozenset()
    credentials: grpc.ServerCredentials | None = None
    registrations: int = 0
    port: int = 0
    server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self.opened: asyncio.Queue = asyncio.Queue()
        self.heard: dict = {name: asyncio.Queue() for name in FODC_STREAMS}
        self.commands: dict = {name: asyncio.Queue() for name in FODC_STREAMS}
        self.server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        handlers = {
            name: grpc.stream_stream_rpc_method_handler(self._handler(name))
            for name in FODC_STREAMS
            if name not in self.unknown
        }
        service = grpc.method_handlers_generic_handler("banyandb.fodc.v1.FODCService", handlers)
        self.server.add_generic_rpc_handlers((service,))
        address = f"127.0.0.1:{self.port}"
        if self.credentials is None:
            self.port = self.server.add_insecure_port(address)
        else:
            self.port = self.server.add_secure_port(address, self.credentials)
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop(0)

    async def hear(self, method: str) -> bytes:
        return await asyncio.wait_for(self.heard[method].get(), 10)

    async def streams(self, count: int) -> list:
        """Return name and metadata of the next streams that the agent opens."""
        return [await asyncio.wait_for(self.opened.get(), 10) for _ in range(count)]

    def _handler(self, name: str):
        async def handle(requests, context) -> None:
            self.opened.put_nowait((name, list(context.invocation_metadata())))
            self.registrations += name == "RegisterAgent"
            if name == "RegisterAgent" and self.reply:
                self.commands[name].put_nowait(self.reply)
            reader = asyncio.create_task(self._read(name, requests))
            writer = asyncio.create_task(self._write(name, context))
            try:
                await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # Also when the agent resets the call: a writer left behind would take the
                # commands that are meant for the next stream.
                reader.cancel()
                writer.cancel()
                await asyncio.gather(reader, writer, return_exceptions=True)

        return handle

    async def _read(self, name: str, requests) -> None:
        if name in self.deaf:
            await asyncio.Event().wait()
        async for message in requests:
            self.heard[name].put_nowait(message)

    async def _write(self, name: str, context) -> None:
        while (command := await self.commands[name].get()) is not None:
            await context.write(command)


@pytest.fixture
def bytes_proxy() -> Callable[..., BytesProxy]:
    return BytesProxy


@pytest.fixture
def link_peer() -> Callable[..., LinkPeer]:
    return LinkPeer


@pytest.fixture
def run_async() -> Callable[[Callable[[], Awaitable[None]]], None]:
    def run(work: Callable[[], Awaitable[None]]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await work()

        asyncio.run(bounded())

    return run
