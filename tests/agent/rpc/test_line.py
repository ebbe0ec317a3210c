# SPDX-License-Identifier: Apache-2.0
"""The client's connection over real sockets, with peers that are silent, deaf, wrong or leaving."""

import asyncio
import contextlib
import struct

import pytest

from fodc_agent.rpc import line
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault

from .servers import ANSWER, DATA, GOAWAY, GREETING, HEADERS, OK, PING, SETTINGS, frame


class Peer:
    """A socket that a test serves: it says what it is told, and reads when it may."""

    def __init__(self, *, reads: bool = True):
        self.may_read = asyncio.Event()
        if reads:
            self.may_read.set()
        self.heard = bytearray()
        self.news = asyncio.Event()
        self.over = asyncio.Event()
        self.writer: asyncio.Queue = asyncio.Queue()

    async def serve(self, reader, writer):
        self.writer.put_nowait(writer)
        await self.may_read.wait()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                self.heard += data
                self.news.set()
        self.over.set()
        writer.close()

    async def hear(self, wanted: bytes) -> None:
        while wanted not in self.heard:
            self.news.clear()
            await self.news.wait()


def scene(play, *, reads=True, ping_s=None):
    async def whole():
        peer = Peer(reads=reads)
        server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, limit=1024)
        endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
        async with asyncio.timeout(20):
            channel = await RpcChannel.connect(endpoint, ping_s=ping_s)
            writer = await peer.writer.get()
            try:
                await play(channel, peer, writer)
            finally:
                channel.close()
                await peer.over.wait()
                server.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    asyncio.run(whole())


async def failure_of(channel) -> RpcError:
    with pytest.raises(RpcError) as caught:
        async with channel.open("/t.T/Go") as stream:
            await stream.receive()
    return caught.value


def test_a_port_that_speaks_http_1_is_named_so():
    async def play(channel, _peer, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        error = await failure_of(channel)
        assert error.fault is RpcFault.CUT
        assert "/t.T/Go: the peer speaks no HTTP/2: " in str(error)
        assert "speaks no HTTP/2" in str(await failure_of(channel))

    scene(play)


def test_a_peer_that_breaks_a_rule_is_told_and_left():
    async def play(channel, peer, writer):
        writer.write(GREETING + frame(DATA, 0, 77, b"x"))
        assert "broke the rules of HTTP/2: stream 77 was never opened" in str(
            await failure_of(channel)
        )
        await peer.hear(b"stream 77 was never opened")

    scene(play)


def test_a_peer_that_closes_cuts_the_call():
    async def play(channel, peer, writer):
        asking = asyncio.create_task(failure_of(channel))
        await peer.hear(b"/t.T/Go")
        writer.write(GREETING)
        writer.close()
        error = await asking
        assert error.fault is RpcFault.CUT
        assert str(error).endswith("the peer closed the connection")

    scene(play)


def test_what_came_before_the_end_of_the_line_is_still_read():
    async def play(channel, peer, writer):
        message = b"\0\0\0\0\x05hello"
        async with channel.open("/t.T/Go") as stream:
            await peer.hear(b"/t.T/Go")
            writer.write(GREETING + frame(HEADERS, 4, 1, ANSWER) + frame(DATA, 0, 1, message))
            writer.close()
            await peer.over.wait()
            assert await stream.receive() == b"hello"
            with pytest.raises(RpcError, match="the peer closed the connection"):
                await stream.receive()

    scene(play)


def test_a_peer_that_answers_no_ping_is_left(monkeypatch):
    monkeypatch.setattr(line, "_PING_TIMEOUT_S", 0.2)

    async def play(channel, peer, writer):
        writer.write(GREETING)
        error = await failure_of(channel)
        assert str(error).endswith("no answer to a ping")
        await peer.hear(frame(PING, 0, 0, bytes(8)))

    scene(play, ping_s=0.05)


def test_a_peer_that_answers_is_pinged_again(monkeypatch):
    monkeypatch.setattr(line, "_PING_TIMEOUT_S", 1.0)

    async def play(channel, peer, writer):
        writer.write(GREETING)
        asking = asyncio.create_task(failure_of(channel))
        for _ in range(2):
            await peer.hear(frame(PING, 0, 0, bytes(8)))
            peer.heard.clear()
            writer.write(frame(PING, 1, 0, bytes(8)))
        assert not asking.done()
        channel.close()
        assert "closed here" in str(await asking)

    scene(play, ping_s=0.05)


def test_a_peer_that_leaves_is_asked_nothing_more_and_left_after_a_moment(monkeypatch):
    monkeypatch.setattr(line, "_PARTING_S", 1.0)

    async def play(channel, peer, writer):
        async with channel.open("/t.T/Go") as taken, channel.open("/t.T/Go") as missed:
            told = struct.pack(">II", 1, 0) + b"password=hunter2 is old"
            writer.write(GREETING + frame(GOAWAY, 0, 0, told))
            with pytest.raises(RpcError, match="takes no more calls: password=") as caught:
                await missed.receive()
            assert "hunter2" not in str(caught.value)
            writer.write(frame(HEADERS, 4, 1, ANSWER) + frame(DATA, 0, 1, b"\0\0\0\0\x01x"))
            assert await taken.receive() == b"x"
            assert "takes no more calls" in str(await failure_of(channel))
            with pytest.raises(RpcError, match="takes no more calls"):
                await taken.receive()
        await peer.over.wait()

    scene(play)


def test_a_call_that_ended_on_both_sides_is_not_reset():
    async def play(channel, peer, writer):
        async with channel.open("/t.T/Go") as stream:
            await stream.end()
            writer.write(GREETING + frame(HEADERS, 5, 1, ANSWER + OK))
            assert await stream.receive() is None
        async with channel.open("/t.T/Go") as stream:
            await peer.hear(frame(SETTINGS, 1, 0))
        await peer.hear(frame(3, 0, 3, struct.pack(">I", 8)))
        assert frame(3, 0, 1, bytes(4))[:9] not in peer.heard

    scene(play)


def test_no_more_calls_are_opened_than_the_peer_takes():
    async def play(channel, peer, writer):
        writer.write(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 1)))
        await peer.hear(frame(SETTINGS, 1, 0))
        async with channel.open("/t.T/Go"):
            assert str(await failure_of(channel)).endswith("the peer takes 1 calls at once")

    scene(play)


def test_a_peer_that_reads_nothing_holds_a_sender_but_not_the_closing():
    async def play(channel, peer, writer):
        writer.write(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)))
        writer.write(frame(8, 0, 0, struct.pack(">I", 2**31 - 65_536)))
        async with channel.open("/t.T/Go") as stream:
            sending = asyncio.create_task(stream.send(bytes(64 << 20)))
            done, _ = await asyncio.wait([sending], timeout=0.5)
            assert not done
            channel.close()
            with pytest.raises(RpcError, match="closed here"):
                await sending
        peer.may_read.set()

    scene(play, reads=False)


def test_a_large_message_lets_small_ones_of_other_calls_through():
    """A heartbeat waited for 12 s behind an answer of 4 MiB."""

    async def play(channel, peer, writer):
        writer.write(GREETING)
        async with channel.open("/t.T/Large") as large, channel.open("/t.T/Small") as small:
            sending = asyncio.create_task(large.send(bytes(1 << 20)))
            while len(peer.heard) < 65_535:  # the window of the connection is used up
                await asyncio.sleep(0)
            beating = asyncio.create_task(small.send(b"beat"))
            for _ in range(2):
                heard = len(peer.heard)
                writer.write(frame(8, 0, 0, struct.pack(">I", 16_384)))
                writer.write(frame(8, 0, 1, struct.pack(">I", 16_384)))
                while len(peer.heard) < heard + 16_384:  # all of it is used
                    await asyncio.sleep(0)
            assert (beating.done(), sending.done()) == (True, False)
            sending.cancel()

    scene(play)


def test_metadata_that_cannot_be_sent_costs_the_call_alone():
    async def play(channel, peer, writer):
        with pytest.raises(RpcError, match="'agent_id' holds what cannot be sent") as caught:
            async with channel.open("/t.T/Go", {"agent_id": "a\nb"}):
                pass
        assert caught.value.fault is RpcFault.REJECTED
        async with channel.open("/t.T/Go", {"agent_id": "a b"}):
            await peer.hear(b"a b")

    scene(play)
