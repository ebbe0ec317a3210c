# SPDX-License-Identifier: Apache-2.0
"""The agent's gRPC client against three servers over real sockets: grpcio, grpclib and our own."""

import asyncio
import contextlib
import gc
import weakref
from dataclasses import dataclass, field

import grpc
import grpc.aio
import grpclib.const
import grpclib.encoding.base
import grpclib.server
import pytest

from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_protocol.grpc_status import Status
from fodc_proxy.wire.server import GrpcServer

MIB = 1024 * 1024
WORDS = "no: 100 % of “it”"


@dataclass
class Seen:
    """What a server saw of calls."""

    metadata: list[dict] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    sizes: list[int] = field(default_factory=list)


@contextlib.asynccontextmanager
async def grpcio_server(seen):
    async def echo(requests, context):
        seen.metadata.append(dict(context.invocation_metadata()))
        async for message in requests:
            await context.write(message)

    async def size(requests, context):
        async for message in requests:
            seen.sizes.append(len(message))
            await context.write(len(message).to_bytes(4, "big"))

    async def refuse(_requests, context):
        await context.abort(grpc.StatusCode.ABORTED, WORDS)

    async def wait(_requests, context):
        try:
            await context.write(b"here")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.cancelled.set()
            raise

    options = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1))
    server = grpc.aio.server(options=options)
    handlers = {
        name: grpc.stream_stream_rpc_method_handler(method)
        for name, method in (("echo", echo), ("size", size), ("refuse", refuse), ("wait", wait))
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


class Plain(grpclib.encoding.base.CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message, message_type):
        return message

    def decode(self, data, message_type):
        return data


class GrpclibService:
    def __init__(self, seen):
        self.seen = seen

    def __mapping__(self):
        kind = grpclib.const.Cardinality.STREAM_STREAM
        return {
            f"/t.T/{name}": grpclib.const.Handler(getattr(self, name), kind, bytes, bytes)
            for name in ("echo", "size", "refuse", "wait")
        }

    async def echo(self, stream):
        self.seen.metadata.append(dict(stream.metadata))
        async for message in stream:
            await stream.send_message(message)

    async def size(self, stream):
        async for message in stream:
            self.seen.sizes.append(len(message))
            await stream.send_message(len(message).to_bytes(4, "big"))

    async def refuse(self, stream):
        raise grpclib.GRPCError(grpclib.const.Status.ABORTED, WORDS)

    async def wait(self, stream):
        try:
            await stream.send_message(b"here")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.seen.cancelled.set()
            raise


@contextlib.asynccontextmanager
async def grpclib_server(seen):
    server = grpclib.server.Server([GrpclibService(seen)], codec=Plain())
    await server.start("127.0.0.1", 0)
    try:
        yield server._server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def own_server(seen):
    async def echo(_requests, context):
        seen.metadata.append(dict(context.metadata))
        while (message := await context.read()) is not None:
            await context.write(message)

    async def size(_requests, context):
        while (message := await context.read()) is not None:
            seen.sizes.append(len(message))
            await context.write(len(message).to_bytes(4, "big"))

    async def refuse(_requests, context):
        await context.abort(Status.ABORTED, WORDS)

    async def wait(_requests, context):
        try:
            await context.write(b"here")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.cancelled.set()
            raise

    methods = {"/t.T/echo": echo, "/t.T/size": size, "/t.T/refuse": refuse, "/t.T/wait": wait}
    server = GrpcServer(methods, max_message_bytes=24 * MIB)
    await server.start("127.0.0.1", 0)
    try:
        yield int(server.address.rpartition(":")[2])
    finally:
        await server.stop()


async def credentials():
    return {"authorization": "Bearer x"}


SERVERS = {"grpcio": grpcio_server, "grpclib": grpclib_server, "own": own_server}


@pytest.fixture(params=SERVERS)
def scene(request):
    """Run a play with a channel to the server and what that saw."""

    def run(play):
        async def whole():
            seen = Seen()
            async with asyncio.timeout(30), SERVERS[request.param](seen) as port:
                channel = await RpcChannel.connect(
                    Endpoint("127.0.0.1", port), credentials=credentials
                )
                try:
                    await play(channel, seen)
                finally:
                    channel.close()
                    await asyncio.sleep(0)

        asyncio.run(whole())

    return run


def roomy(_head):
    return 32 * MIB


def test_messages_go_and_come_in_their_order_and_the_end_behind_them(scene):
    async def play(channel, seen):
        async with channel.open("/t.T/echo", {"agent_id": "a-1"}) as stream:
            for message in (b"one", b"", b"two" * 5_000):
                await stream.send(message)
            await stream.end()
            assert [await stream.receive() for _ in range(4)] == [
                b"one",
                b"",
                b"two" * 5_000,
                None,
            ]
        [metadata] = seen.metadata
        assert (metadata["agent_id"], metadata["authorization"]) == ("a-1", "Bearer x")

    scene(play)


def test_messages_larger_than_any_window_go_and_come(scene):
    async def play(channel, seen):
        async with channel.open("/t.T/size") as stream:
            for message in (bytearray(8 * MIB), bytes(3_000_000), b"x"):
                await stream.send(message)
                assert int.from_bytes(await stream.receive(), "big") == len(message)
        data = bytes(range(256)) * 8_192
        async with channel.open("/t.T/echo", limit=roomy) as stream:
            sending = asyncio.create_task(stream.send(data))
            assert await stream.receive() == data
            await sending

    scene(play)


def test_forty_mebibytes_of_a_capture_use_up_no_allowance(scene):
    async def play(channel, seen):
        async with channel.open("/t.T/size") as stream:
            for _ in range(640):
                await stream.send(bytes(65_536))
                await stream.receive()
        assert sum(seen.sizes) == 40 * MIB

    scene(play)


def test_a_refusal_comes_with_its_status_and_words(scene):
    async def play(channel, _seen):
        with pytest.raises(RpcError) as caught:
            await channel.unary("/t.T/refuse", b"", timeout_s=10)
        assert (caught.value.fault, caught.value.status) == (RpcFault.REJECTED, "ABORTED")
        assert str(caught.value).endswith(f"/t.T/refuse: ABORTED: {WORDS}")

    scene(play)


def test_an_unknown_method_is_unimplemented_and_the_line_goes_on(scene):
    async def play(channel, _seen):
        for _ in range(3):
            with pytest.raises(RpcError) as caught:
                await channel.unary("/t.T/nothing", b"", timeout_s=10)
            assert caught.value.fault is RpcFault.UNIMPLEMENTED
        assert await channel.unary("/t.T/echo", b"here", timeout_s=10) == b"here"

    scene(play)


def test_a_call_that_is_left_is_reset_and_the_line_goes_on(scene):
    async def play(channel, seen):
        async with channel.open("/t.T/wait") as stream:
            assert await stream.receive() == b"here"
        await seen.cancelled.wait()
        assert await channel.unary("/t.T/echo", b"still", timeout_s=10) == b"still"

    scene(play)


def test_a_call_that_is_late_says_so_whoever_has_noticed_it_first(scene):
    async def play(channel, _seen):
        async def wait():
            async with channel.open("/t.T/wait", timeout_s=0.2) as stream:
                assert await stream.receive() == b"here"
                await stream.receive()

        with pytest.raises((RpcError, TimeoutError)) as caught:
            await wait()
        assert getattr(caught.value, "fault", RpcFault.LATE) is RpcFault.LATE

    scene(play)


class Large(bytearray):
    """A message of which it is known whether somebody still has it."""


def test_a_message_that_nobody_took_is_not_kept_by_its_failure(scene):
    async def play(channel, _seen):
        async def send():
            message = Large(8 * MIB)
            known.append(weakref.ref(message))
            async with channel.open("/t.T/refuse") as stream:
                await stream.send(message)

        known = []
        gc.disable()
        try:
            with contextlib.suppress(RpcError):
                await send()
            assert known[0]() is None
        finally:
            gc.enable()

    scene(play)


def test_many_calls_at_once_share_the_line(scene):
    async def play(channel, _seen):
        async def ask(number):
            message = bytes([number]) * 40_000
            assert await channel.unary("/t.T/echo", message, timeout_s=20) == message

        await asyncio.gather(*map(ask, range(30)))

    scene(play)
