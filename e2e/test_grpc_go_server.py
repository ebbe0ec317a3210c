# SPDX-License-Identifier: Apache-2.0
"""The agent's gRPC client against grpc-go, which the existing proxies are written with."""

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from e2e import having
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault

MIB = 1024 * 1024


class GoServer:
    """The program, which says that a call was cancelled and stops when its input ends."""

    def __init__(self, program: str) -> None:
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.line())

    def line(self) -> str:
        """Return what it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def stop(self) -> None:
        """Let it stop as it does for people."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def close(self) -> None:
        """End it at once."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def go() -> Iterator[GoServer]:
    server = GoServer(having.had("A GO PEER IS NOT TRIED", "grpc_server"))
    try:
        yield server
    finally:
        server.close()


def play(go: GoServer, work: Callable[[RpcChannel], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(40):
            channel = await RpcChannel.connect(Endpoint("127.0.0.1", go.port))
            try:
                await work(channel)
            finally:
                channel.close()
                await asyncio.sleep(0)

    asyncio.run(whole())


def test_messages_go_and_come_and_the_end_behind_them(go: GoServer) -> None:
    async def work(channel: RpcChannel) -> None:
        async with channel.open("/t.T/echo") as stream:
            for message in (b"one", b"", b"two" * 20_000):
                await stream.send(message)
            await stream.end()
            assert [await stream.receive() for _ in range(4)] == [
                b"one",
                b"",
                b"two" * 20_000,
                None,
            ]

    play(go, work)


def test_messages_larger_than_any_window_go_and_come(go: GoServer) -> None:
    async def work(channel: RpcChannel) -> None:
        async with channel.open("/t.T/size") as stream:
            for message in (bytearray(32 * MIB), bytes(3_000_000), b"x"):
                await stream.send(message)
                assert int.from_bytes(await stream.receive(), "big") == len(message)
        data = bytes(range(256)) * 8_192
        async with channel.open("/t.T/echo", limit=lambda _: 4 * MIB) as stream:
            await stream.send(data)
            assert await stream.receive() == data

    play(go, work)


def test_refusals_come_with_their_status_and_words(go: GoServer) -> None:
    async def work(channel: RpcChannel) -> None:
        with pytest.raises(RpcError, match="ABORTED: no: 100 % of “it”") as refused:
            await channel.unary("/t.T/refuse", b"", timeout_s=10)
        with pytest.raises(RpcError) as missing:
            await channel.unary("/t.T/nothing", b"", timeout_s=10)
        assert refused.value.fault is RpcFault.REJECTED
        assert missing.value.fault is RpcFault.UNIMPLEMENTED

    play(go, work)


def test_a_call_that_is_left_is_reset_and_the_line_goes_on(go: GoServer) -> None:
    async def work(channel: RpcChannel) -> None:
        async with channel.open("/t.T/wait") as stream:
            assert await stream.receive() == b"here"
        assert await asyncio.to_thread(go.line) == "cancelled"
        assert await channel.unary("/t.T/echo", b"still", timeout_s=10) == b"still"

    play(go, work)


def test_a_graceful_stop_ends_what_runs_and_then_the_line(go: GoServer) -> None:
    async def work(channel: RpcChannel) -> None:
        async with channel.open("/t.T/echo") as stream, channel.open("/t.T/wait") as other:
            await other.receive()
            await stream.send(b"before")
            assert await stream.receive() == b"before"
            begun_s = time.monotonic()
            await asyncio.to_thread(go.stop)
            with pytest.raises(RpcError, match="takes no more calls") as cut:
                await other.receive()
            assert cut.value.fault is RpcFault.CUT
            assert time.monotonic() - begun_s < 8
            with pytest.raises(RpcError, match="takes no more calls"):
                await channel.unary("/t.T/echo", b"", timeout_s=5)

    play(go, work)
