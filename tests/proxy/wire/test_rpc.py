# SPDX-License-Identifier: Apache-2.0
"""Our gRPC server over real sockets: grpcio, grpclib and bare bytes as its clients."""

import asyncio
import contextlib
import logging
import random
import socket
import struct
from itertools import pairwise

import grpc
import grpclib.client
import grpclib.const
import pytest

from fodc_protocol.grpc_status import Status
from fodc_proxy.wire import server as serving
from fodc_proxy.wire.rpc import call as calls
from fodc_proxy.wire.rpc import pool as pools
from fodc_proxy.wire.rpc import pulse
from fodc_proxy.wire.rpc.carriage import Shared
from fodc_proxy.wire.rpc.pool import Pool
from fodc_proxy.wire.server import GrpcServer

from ..http2.clients import (  # noqa: TID252 - one folder's tests
    DATA,
    GOAWAY,
    GREETING,
    HEADERS,
    PING,
    PREFACE,
    RST,
    SETTINGS,
    WINDOW,
    field,
    frame,
)
from ..live import until  # noqa: TID252 - as above

MIB = 1024 * 1024
NARROW = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))


class Service:
    """Methods that do one thing each, and what they saw."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.contexts: list[object] = []
        self.may_end = asyncio.Event()

    async def echo(self, _requests: object, context: object) -> None:
        self.contexts.append(context)
        while (message := await context.read()) is not None:
            await context.write(message)

    async def hear(self, _requests: object, context: object) -> None:
        self.contexts.append(context)
        context.hear(lambda message: message.startswith(b"now") and context.write_now(message))
        while (message := await context.read()) is not None:
            self.seen.append(message)
            await context.write(message)

    async def wait(self, _requests: object, context: object) -> None:
        self.contexts.append(context)
        try:
            await context.read()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise

    async def stubborn(self, _requests: object, context: object) -> None:
        """End late, as one that cleans up."""
        self.contexts.append(context)
        while not self.may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.may_end.wait()
        self.seen.append("ended")

    async def refuse(self, _requests: object, context: object) -> None:
        await context.abort(Status.ABORTED, "no: 100 % of “it”\n")

    async def answer_and_refuse(self, _requests: object, context: object) -> None:
        await context.write(b"first")
        await context.abort(Status.UNKNOWN, "then no")

    async def fail(self, _requests: object, context: object) -> None:
        raise ValueError("a secret of ours")

    async def small(self, _requests: object, context: object) -> None:
        self.contexts.append(context)
        await context.read(100_000)

    async def deaf(self, _requests: object, context: object) -> None:
        self.contexts.append(context)
        await asyncio.Event().wait()

    def pool(self) -> Pool:
        return self.contexts[0]._carrier.pool

    def waiting_first(self) -> int:
        return len(self.contexts[0]._carrier.first_pool._waiting) if self.contexts else 0

    async def pour(self, _requests: object, context: object) -> None:
        self.contexts.append(context)
        while True:
            await context.write(bytes(100_000))
            self.seen.append("written")

    def methods(self):
        named = (
            "echo",
            "hear",
            "wait",
            "stubborn",
            "refuse",
            "answer_and_refuse",
            "fail",
            "small",
            "deaf",
            "pour",
        )
        return {f"/t.T/{name}": getattr(self, name) for name in named}


def scene(play):
    async def run():
        service = Service()
        server = GrpcServer(service.methods(), max_message_bytes=24 * MIB)
        await server.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(30):
                return await play(server, service)
        finally:
            await server.stop()

    return asyncio.run(run())


def channel(server, **told):
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
    ]
    return grpc.aio.insecure_channel(server.address, options=options, **told)


class Bare:
    """A client that says bytes and reads what comes."""

    def __init__(self, server: GrpcServer) -> None:
        self.address = server.address

    async def __aenter__(self):
        host, _, port = self.address.rpartition(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port))
        return self

    async def __aexit__(self, *_):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def call(self, stream: int, path: str, *more: tuple[bytes, bytes]) -> None:
        block = b"\x83\x86\x04" + bytes((len(path),)) + path.encode()
        block += field(b"content-type", b"application/grpc") + field(b"te", b"trailers")
        block += b"".join(field(*pair) for pair in more)
        self.writer.write(frame(1, 4, stream, block))

    async def frame(self) -> tuple[int, int, int, bytes]:
        head = await self.reader.readexactly(9)
        payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:9], "big"), payload

    async def next_of(self, kind: int) -> bytes:
        while True:
            got, _, _, payload = await self.frame()
            if got == kind:
                return payload


SIZES = (0, 1, 16_379, 16_380, 65_529, 65_530, 65_531, 65_536, 300_000, 20 * MIB)


def test_messages_of_any_size_go_both_ways_in_their_order():
    async def play(server, _service):
        async with channel(server) as line:
            stream = line.stream_stream("/t.T/echo")()
            got = []
            for size in SIZES:
                await stream.write(bytes(size))
                got.append(len(await stream.read()))
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            return got, await stream.code()

    assert scene(play) == (list(SIZES), grpc.StatusCode.OK)


def test_many_streams_of_one_connection_do_not_wait_for_each_other():
    async def play(server, _service):
        async with channel(server) as line:

            async def one(number: int) -> int:
                stream = line.stream_stream("/t.T/echo")()
                total = 0
                for _ in range(5):
                    await stream.write(bytes(50_000 + number))
                    total += len(await stream.read())
                await stream.done_writing()
                return total

            return await asyncio.gather(*(one(number) for number in range(40)))

    assert scene(play) == [5 * (50_000 + number) for number in range(40)]


def test_the_library_that_agents_use_is_served_too():
    async def play(server, _service):
        host, _, port = server.address.rpartition(":")
        line = grpclib.client.Channel(host, int(port), codec=Bytes())
        method = grpclib.const.Cardinality.STREAM_STREAM
        async with line.request("/t.T/echo", method, bytes, bytes) as stream:
            await stream.send_message(b"a" * 200_000)
            got = await stream.recv_message()
            await stream.send_message(b"b", end=True)
            again = await stream.recv_message()
            ended = await stream.recv_message()
        line.close()
        return len(got), again, ended

    class Bytes:
        __content_subtype__ = "proto"

        def encode(self, message, _type):
            return message

        def decode(self, data, _type):
            return data

    assert scene(play) == (200_000, b"b", None)


@pytest.mark.parametrize(
    ("method", "code", "words"),
    [
        ("nothing", "UNIMPLEMENTED", "there is no method /t.T/nothing"),
        ("refuse", "ABORTED", "no: 100 % of “it”\n"),
        ("answer_and_refuse", "UNKNOWN", "then no"),
        ("fail", "UNKNOWN", "the handler failed: see the log of the proxy"),
    ],
)
def test_a_call_ends_with_its_status_and_the_words(method, code, words, caplog):
    async def play(server, _service):
        async with channel(server) as line:
            stream = line.stream_stream(f"/t.T/{method}")()
            with contextlib.suppress(grpc.aio.AioRpcError):
                while await stream.read() is not grpc.aio.EOF:
                    pass
            return (await stream.code()).name, await stream.details()

    with caplog.at_level(logging.CRITICAL):
        assert scene(play) == (code, words)


def test_messages_beyond_a_bound_are_refused_before_they_have_come():
    async def play(server, _service):
        async with channel(server) as line:
            told = []
            for method, size in (("echo", 25 * MIB), ("small", 100_001)):
                stream = line.stream_stream(f"/t.T/{method}")()
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await stream.write(bytes(size))
                told.append((await stream.code(), await stream.details()))
            return told

    assert scene(play) == [
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"a message of {25 * MIB} bytes, at most {24 * MIB} are taken",
        ),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "a message of 100001 bytes, at most 100000 are taken"),
    ]


def test_compressed_messages_are_not_implemented():
    async def play(server, _service):
        async with channel(server, compression=grpc.Compression.Gzip) as line:
            stream = line.stream_stream("/t.T/echo")()
            return await stream.code(), await stream.details()

    told = scene(play)

    assert told == (grpc.StatusCode.UNIMPLEMENTED, "grpc-encoding gzip is not taken")


def test_a_deadline_ends_the_handler_and_the_call():
    async def play(server, service):
        async with channel(server) as line:
            await line.channel_ready()
            stream = line.stream_stream("/t.T/wait")(timeout=2)
            code = await stream.code()
            await until(lambda: service.seen)
            return code, service.seen

    assert scene(play) == (grpc.StatusCode.DEADLINE_EXCEEDED, ["cancelled"])


def test_the_server_keeps_a_deadline_that_the_client_has_forgotten():
    async def play(server, service):
        async with Bare(server) as client:
            client.writer.write(GREETING)
            client.call(1, "/t.T/wait", (b"grpc-timeout", b"50m"))
            return await client.next_of(1), service.seen

    trailers, seen = scene(play)

    assert b"grpc-status\x014" in trailers
    assert seen == ["cancelled"]


@pytest.mark.parametrize("ending", ["cancel", "close"])
def test_a_client_that_goes_ends_its_handlers(ending):
    async def play(server, service):
        async with channel(server) as line:
            stream = line.stream_stream("/t.T/wait")()
            await stream.write(b"x")
            await until(lambda: service.contexts)
            if ending == "cancel":
                stream.cancel()
            else:
                await line.close()
            await until(lambda: service.seen)

    scene(play)


def test_metadata_and_address_are_there_and_what_comes_twice_is_joined():
    async def play(server, service):
        async with channel(server) as line:
            metadata = (("authorization", "Bearer t"), ("agent_id", "a"), ("agent_id", "b"))
            stream = line.stream_stream("/t.T/wait")(metadata=metadata)
            await stream.write(b"x")
            await until(lambda: service.contexts)
            context = service.contexts[0]
            return (
                dict(context.metadata),
                context.peer.host,
                context.is_tls,
                context.certificate_names,
            )

    metadata, host, is_tls, names = scene(play)

    assert metadata == {"authorization": "Bearer t", "agent_id": "a,b"}
    assert (host, is_tls, names) == ("127.0.0.1", False, ())


@pytest.mark.parametrize(
    ("block", "status"),
    [
        (b"\x82\x86\x84", b"405"),
        (b"\x83\x86\x84", b"415"),
        (b"\x83\x86\x84" + field(b"content-type", b"text/plain"), b"415"),
    ],
)
def test_requests_that_are_no_grpc_are_told_so_by_http(block, status):
    async def play(server, _service):
        async with Bare(server) as client:
            client.writer.write(GREETING + frame(1, 5, 1, block))
            return await client.next_of(1)

    assert status in scene(play)


def test_a_stream_that_ends_in_the_midst_of_a_message_is_an_error():
    async def play(server, _service):
        async with Bare(server) as client:
            client.writer.write(GREETING)
            client.call(1, "/t.T/echo")
            client.writer.write(frame(DATA, 1, 1, b"\x00\x00\x00\x00\x09half"))
            return await client.next_of(1)

    assert b"grpc-status\x0213" in scene(play)


def test_a_message_may_come_byte_by_byte():
    async def play(server, _service):
        async with Bare(server) as client:
            client.writer.write(GREETING)
            client.call(1, "/t.T/echo")
            for byte in b"\x00\x00\x00\x00\x03abc\x00\x00\x00\x00\x00":
                client.writer.write(frame(DATA, 0, 1, bytes((byte,))))
                await asyncio.sleep(0)
            return await client.next_of(DATA), await client.next_of(DATA)

    assert scene(play) == (b"\x00\x00\x00\x00\x03abc", b"\x00\x00\x00\x00\x00")


def test_a_handler_waits_for_a_client_that_takes_nothing():
    async def play(server, service):
        async with Bare(server) as client:
            client.writer.write(GREETING + NARROW)
            client.call(1, "/t.T/pour")
            await until(lambda: service.contexts)
            await asyncio.sleep(0.05)
            before = list(service.seen)
            client.writer.write(frame(WINDOW, 0, 1, struct.pack(">I", 100_005)))
            client.writer.write(frame(WINDOW, 0, 0, struct.pack(">I", 1 << 20)))
            await until(lambda: service.seen)
            return before, service.seen

    assert scene(play) == ([], ["written"])


def test_a_client_that_reads_nothing_is_not_read_either():
    """Each of its pings would be an answer that waits."""

    async def play(server, service):
        host, _, port = server.address.rpartition(":")
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, (host, int(port)))
            wide = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1))
            wider = frame(WINDOW, 0, 0, struct.pack(">I", 2**30))
            block = b"\x83\x86\x04\x09/t.T/pour" + field(b"content-type", b"application/grpc")
            await loop.sock_sendall(client, GREETING + wide + wider + frame(1, 4, 1, block))
            await until(lambda: service.seen)
            before = -1
            while before < len(service.seen) < 100:
                before = len(service.seen)
                await asyncio.sleep(0.3)
            return len(service.seen)

    assert scene(play) < 100  # 10 MB, of which the most is the system's


def test_stop_tells_every_client_and_does_not_wait_for_one_that_is_stuck():
    async def play(server, service):
        loop = asyncio.get_running_loop()
        async with channel(server) as line, Bare(server) as stuck:
            stuck.writer.write(GREETING + NARROW)
            stuck.call(1, "/t.T/pour")
            stream = line.stream_stream("/t.T/wait")()
            await stream.write(b"x")
            await until(lambda: len(service.contexts) == 2)
            began_s = loop.time()
            await server.stop()
            took_s = loop.time() - began_s
            return await stream.code(), await stream.details(), took_s

    code, details, took_s = scene(play)

    assert (code, details) == (grpc.StatusCode.UNAVAILABLE, "the proxy stops")
    assert took_s < 10


@pytest.mark.parametrize("said", [b"", GREETING[:20], GREETING])
def test_connections_that_say_nothing_are_closed_after_a_while(said, monkeypatch):
    monkeypatch.setattr(serving, "_LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(pulse, "GREETING_TIMEOUT_S", 0.2)
    monkeypatch.setattr(pulse, "IDLE_TIMEOUT_S", 0.2)

    async def play(server, _service):
        async with Bare(server) as client:
            client.writer.write(said)
            with contextlib.suppress(ConnectionError):
                while await client.reader.read(1000):
                    pass

    scene(play)


def test_a_client_at_rest_hears_goodbye_with_its_last_call_before_it_is_closed(monkeypatch):
    """So that it opens another connection instead of losing a call to a closed one."""
    monkeypatch.setattr(serving, "_LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(pulse, "IDLE_TIMEOUT_S", 0.2)

    async def play(server, _service):
        async with Bare(server) as client:
            client.writer.write(GREETING)
            client.call(1, "/t.T/refuse")
            return await client.next_of(GOAWAY), await client.reader.read()

    assert scene(play) == (struct.pack(">II", 1, 0), b"")


def test_p26_no_more_than_128_handlers_run_for_a_client_that_resets_its_calls():
    """Rapid reset: what a handler still does when its stream is gone counts as a stream."""

    async def play(server, service):
        async with Bare(server) as client:
            client.writer.write(GREETING)
            for stream in range(1, 257, 2):
                client.call(stream, "/t.T/stubborn")
            await until(lambda: len(service.contexts) == 128)
            for stream in range(1, 257, 2):
                client.writer.write(frame(RST, 0, stream, struct.pack(">I", 8)))
            for stream in range(257, 601, 2):
                client.call(stream, "/t.T/stubborn")
                client.writer.write(frame(RST, 0, stream, struct.pack(">I", 8)))
            refused = [await client.next_of(RST) for _ in range(172)]
            running = len(service.contexts)
            service.may_end.set()
            await until(lambda: len(service.seen) == running)
            client.call(601, "/t.T/refuse")
            await client.next_of(HEADERS)
            return running, set(refused)

    assert scene(play) == (128, {struct.pack(">I", 7)})


def test_a_silent_client_is_asked_and_stays_while_it_answers(monkeypatch):
    monkeypatch.setattr(serving, "_LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(pulse, "PING_AFTER_S", 0.1)
    monkeypatch.setattr(pulse, "PING_TIMEOUT_S", 3.0)

    async def play(server, service):
        async with Bare(server) as client:
            client.writer.write(GREETING)
            client.call(1, "/t.T/wait")
            for _ in range(3):
                client.writer.write(frame(PING, 1, 0, await client.next_of(PING)))
            answered = list(service.seen)
            await until(lambda: service.seen)
            return answered

    assert scene(play) == []


def test_connections_beyond_the_bound_are_refused_with_one_line(monkeypatch, caplog):
    monkeypatch.setattr(serving, "descriptors", lambda: 3)

    async def play(server, _service):
        async with Bare(server), Bare(server), Bare(server) as third, Bare(server) as fourth:
            with contextlib.suppress(ConnectionError):
                assert await third.reader.read() == b""
            with contextlib.suppress(ConnectionError):
                assert await fourth.reader.read() == b""

    scene(play)

    assert [r.message for r in caplog.records if "refused" in r.message] == [
        "2 gRPC connections are open: new ones are refused"
    ]


def test_who_hears_messages_at_once_has_them_before_the_reader_and_the_client_may_go_on():
    """More than four windows of messages: leave is given for what the reader never sees."""

    async def play(server, service):
        async with channel(server) as line:
            stream = line.stream_stream("/t.T/hear")()
            for number in range(300):
                await stream.write(b"now %04d" % number + bytes(1_000))
            await stream.write(b"later")
            got = [await stream.read() for _ in range(301)]
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            return got, service.seen, await stream.code()

    got, seen, code = scene(play)

    assert [one[:8] for one in got[:-1]] == [b"now %04d" % number for number in range(300)]
    assert got[-1] == b"later"
    assert seen[-1] == b"later"
    assert code is grpc.StatusCode.OK


def test_last_message_that_is_heard_at_once_ends_the_call_too():
    async def play(server, service):
        async with Bare(server) as client:
            client.writer.write(GREETING)
            client.call(1, "/t.T/hear")
            await until(lambda: service.contexts and service.contexts[0]._reader is not None)
            client.writer.write(frame(DATA, 1, 1, b"\0\0\0\0\x03now"))
            heard = await client.next_of(DATA)
            await client.next_of(HEADERS)
            return heard, service.seen

    assert scene(play) == (b"\0\0\0\0\x03now", [])


def test_nothing_is_sent_at_once_that_the_client_gives_no_room_for():
    async def play(server, service):
        async with Bare(server) as client:
            client.writer.write(PREFACE + frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\x05"))
            client.call(1, "/t.T/hear")
            await until(lambda: service.contexts and service.contexts[0]._reader is not None)
            client.writer.write(frame(DATA, 0, 1, b"\0\0\0\0\x03now"))
            await until(lambda: service.seen)
            first = await client.next_of(DATA)
            client.writer.write(frame(WINDOW, 0, 1, b"\0\0\0\x20"))
            return first, await client.next_of(DATA), service.seen

    assert scene(play) == (b"\0\0\0\0\x03", b"now", [b"now"])


def test_connections_that_bring_much_are_read_a_few_in_each_turn_of_the_loop():
    async def run():
        loop = asyncio.get_running_loop()
        shared, went = Shared({}, MIB, loop), []
        for number in range(10):
            shared.hold(lambda number=number: went.append(number))
        turns = []
        while len(went) < 10:
            await asyncio.sleep(0)
            turns.append(len(went))
        return went, turns

    assert asyncio.run(run()) == (list(range(10)), [4, 8, 10])


def test_one_large_message_is_let_in_for_each_turn_of_the_loop():
    async def run():
        pool, done = Pool(100), []

        async def one(number):
            await pool.take(10)
            done.append(number)

        waiting = [asyncio.create_task(one(number)) for number in range(4)]
        turns = []
        while len(done) < 4:
            await asyncio.sleep(0)
            turns.append(len(done))
        await asyncio.gather(*waiting)
        return done, [after - before for before, after in pairwise(turns)]

    done, steps = asyncio.run(run())

    assert done == [0, 1, 2, 3]
    assert max(steps) == 1


def test_large_messages_wait_for_room_in_their_order():
    async def run():
        pool, done = Pool(100), []

        async def one(name, size_bytes):
            await pool.take(size_bytes)
            done.append(name)

        await pool.take(60)
        waiting = [asyncio.create_task(one(*pair)) for pair in (("b", 50), ("c", 10), ("d", 300))]
        await asyncio.sleep(0)
        before = list(done)
        waiting[0].cancel()
        await asyncio.gather(*waiting[:2], return_exceptions=True)
        after = list(done)
        pool.give(60)
        pool.give(10)
        await waiting[2]
        return before, after, done

    assert asyncio.run(run()) == ([], ["c"], ["c", "d"])


def test_while_others_wait_one_host_gets_no_more_than_half_of_the_room():
    async def run():
        pool = Pool(100)
        await pool.take(40, "a")
        await pool.take(40, "a")
        mine = [asyncio.create_task(pool.take(40, "a")) for _ in range(3)]
        other = asyncio.create_task(pool.take(50, "b"))
        await asyncio.sleep(0)
        before = other.done()
        pool.give(40, "a")
        await other
        waiting = [one.done() for one in mine]
        pool.give(50, "b")
        await mine[0]
        for one in mine[1:]:
            one.cancel()
        return before, waiting

    assert asyncio.run(run()) == (False, [False, False, False])


def test_a_large_message_that_does_not_come_whole_gives_its_place_back(monkeypatch):
    monkeypatch.setattr(calls, "LARGE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(calls, "SLOWEST_BYTES_PER_S", 1 << 40)

    async def play(server, service):
        async with Bare(server) as client:
            client.writer.write(GREETING)
            client.call(1, "/t.T/echo")
            client.writer.write(frame(DATA, 0, 1, b"\x00\x00\xff\xff\xff"))
            trailers = await client.next_of(1)
            pool = service.pool()
            return trailers, pool._taken_bytes, pool.kept_bytes

    trailers, taken_bytes, kept_bytes = scene(play)

    assert b"grpc-status\x014" in trailers
    assert (taken_bytes, kept_bytes) == (0, 0)


def test_strangers_who_stall_take_no_room_from_those_who_are_known():
    async def play(server, service):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(2):
                client = await stack.enter_async_context(Bare(server))
                client.writer.write(GREETING)
                for number in range(50):
                    client.call(2 * number + 1, "/t.T/small")
                    half = frame(DATA, 0, 2 * number + 1, b"\x00\x00\x01\x86\xa0")
                    client.writer.write(half)
            await until(service.waiting_first)
            line = await stack.enter_async_context(channel(server))
            stream = line.stream_stream("/t.T/echo")()
            await stream.write(bytes(20 * MIB))
            return len(await stream.read())

    assert scene(play) == 20 * MIB


def test_a_peer_that_makes_us_keep_more_than_anybody_may_is_gone(monkeypatch):
    monkeypatch.setattr(pools, "MOST_KEPT_BYTES", 100_000)

    async def play(server, service):
        async with Bare(server) as client:
            client.writer.write(GREETING)
            for number in range(3):
                client.call(2 * number + 1, "/t.T/deaf")
                for _ in range(3):
                    client.writer.write(frame(DATA, 0, 2 * number + 1, bytes(16_000)))
            with contextlib.suppress(ConnectionError):
                while await client.reader.read(1000):
                    pass
            await until(lambda: service.pool().kept_bytes == 0)

    scene(play)


def test_at_the_bound_the_greatest_sender_goes_and_not_the_next_one(monkeypatch):
    monkeypatch.setattr(pools, "MOST_KEPT_BYTES", 100_000)

    async def play(server, service):
        async with Bare(server) as greedy, Bare(server) as modest:
            for client in (greedy, modest):
                client.writer.write(GREETING)
            for number in range(2):
                greedy.call(2 * number + 1, "/t.T/deaf")
                for _ in range(3):
                    greedy.writer.write(frame(DATA, 0, 2 * number + 1, bytes(16_000)))
            await until(lambda: service.contexts and service.pool().kept_bytes == 96_000)
            modest.call(1, "/t.T/deaf")
            modest.writer.write(frame(DATA, 0, 1, bytes(8_000)))
            with contextlib.suppress(ConnectionError):
                while await greedy.reader.read(1000):
                    pass
            await until(lambda: service.pool().kept_bytes == 8_000)

    scene(play)


def noise(chance: random.Random) -> bytes:
    """Some frames that a client might send, and some that none does."""
    path = chance.choice([b"/t.T/echo", b"/t.T/wait", b"/t.T/refuse", b"/t.T/none"])
    call = (
        b"\x83\x86\x04" + bytes((len(path),)) + path + field(b"content-type", b"application/grpc")
    )
    said = []
    for number in range(chance.randrange(1, 30)):
        stream = chance.choice([2 * number + 1, chance.randrange(9)])
        payload = chance.choice(
            [call, b"\x00\x00\x00\x00\x02ab", chance.randbytes(8), bytes(4), b""]
        )
        kind = chance.choice([0, 0, 1, 1, 1, 3, 4, 6, 8, 9, chance.randrange(12)])
        said.append(frame(kind, chance.choice([0, 1, 4, 4, 5, 8]), stream, payload))
    return b"".join(said)


@pytest.mark.parametrize("seed", range(8))
def test_no_noise_of_clients_fails_anything_or_stays(seed):
    chance = random.Random(seed)
    failures = []

    async def play(server, service):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, told: failures.append(told))
        for _ in range(25):
            async with Bare(server) as client:
                data = GREETING + noise(chance)
                cut = chance.randrange(len(data))
                client.writer.write(data[:cut])
                await asyncio.sleep(0)
                client.writer.write(data[cut:])
                client.writer.write_eof()
                with contextlib.suppress(ConnectionError):
                    while await client.reader.read(10_000):
                        pass
        await until(lambda: not server._shared.lines)
        pool = server._shared.pool
        return pool.kept_bytes, pool._taken_bytes

    assert scene(play) == (0, 0)
    assert failures == []
