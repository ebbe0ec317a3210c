# SPDX-License-Identifier: Apache-2.0
"""The HTTP client against real sockets that behave, hang, cut, lie and flood."""

import asyncio
import contextlib
import gc
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from fodc_agent.scraping.client import HttpClient, Response, parse_url
from fodc_agent.scraping.faults import Fault, FetchError
from fodc_protocol.errors import Reason

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nup 1\nx 2\n"


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await handler(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def answering(*answers: bytes, close: bool = False) -> Handler:
    """Answer each request of a connection with the next of `answers`, the last one for ever."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = 0
        while True:
            await request_of(reader)
            writer.write(answers[min(turn, len(answers) - 1)])
            await writer.drain()
            turn += 1
            if close:
                return

    return handle


def fetched(handler: Handler, *, timeout_s: float = 5.0, max_bytes: int = 1 << 20) -> Response:
    async def run() -> Response:
        async with serving(handler) as port:
            client = HttpClient()
            try:
                return await client.get(
                    f"http://localhost:{port}/metrics", timeout_s=timeout_s, max_bytes=max_bytes
                )
            finally:
                await client.aclose()

    return asyncio.run(run())


def failure_of(handler: Handler, *, timeout_s: float = 5.0, max_bytes: int = 1 << 20) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetched(handler, timeout_s=timeout_s, max_bytes=max_bytes)
    return caught.value


def test_get_returns_the_body_when_its_length_is_announced():
    answer = fetched(answering(OK))

    assert answer.body == b"up 1\nx 2\n"
    assert answer.headers["content-type"] == "text/plain"
    assert answer.received_bytes == 9


def test_get_returns_the_body_when_it_comes_in_chunks():
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = fetched(answering(head + b"5\r\nup 1\n\r\n4\r\nx 2\n\r\n0\r\n\r\n"))

    assert answer.body == b"up 1\nx 2\n"


def test_get_returns_an_empty_body_when_the_node_sends_none():
    """T-WD-22: an empty 200 is a success."""
    assert fetched(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).body == b""


def test_get_reads_to_the_end_of_the_connection_when_nothing_announces_a_length():
    answer = fetched(answering(b"HTTP/1.0 200 OK\r\n\r\nup 1\n", close=True))

    assert answer.body == b"up 1\n"


def test_get_fails_as_refused_when_nobody_listens():
    """T-WD-04."""

    async def run() -> FetchError:
        async with serving(answering(OK)) as port:
            pass
        with pytest.raises(FetchError) as caught:
            await HttpClient().get(f"http://127.0.0.1:{port}/", timeout_s=5, max_bytes=9)
        return caught.value

    failure = asyncio.run(run())

    assert failure.fault is Fault.REFUSED
    assert failure.reason is Reason.NODE_UNREACHABLE


def test_get_fails_as_refused_when_the_connection_closes_without_an_answer():
    async def handle(reader, writer):
        await request_of(reader)

    assert failure_of(handle).fault is Fault.REFUSED


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", OK[:-3]], ids=["", "head", "body"])
def test_get_fails_as_hung_when_the_node_stops_in_the_middle(sent):
    async def handle(reader, writer):
        await request_of(reader)
        writer.write(sent)
        await reader.read()

    failure = failure_of(handle, timeout_s=0.1)

    assert failure.fault is Fault.HUNG
    assert failure.reason is Reason.NODE_HUNG
    assert "no complete answer within 0.1 s" in failure.message


def test_get_fails_as_hung_when_bytes_trickle_past_the_total_deadline():
    async def handle(reader, writer):
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.01)

    assert failure_of(handle, timeout_s=0.15).fault is Fault.HUNG


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup 1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nup 1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nup 1\r\n",
    ],
    ids=["length", "inside a chunk", "between chunks"],
)
def test_get_fails_as_truncated_when_the_connection_ends_inside_the_body(cut):
    failure = failure_of(answering(cut, close=True))

    assert failure.fault is Fault.TRUNCATED
    assert "cut off after 4 bytes" in failure.message


def test_get_fails_with_status_headers_and_text_when_the_node_says_500():
    """T-WD-03; facts of pprof: second CPU profile (measurement 15)."""
    text = b"Could not enable CPU profiling: cpu profiling already in use\n"
    head = b"HTTP/1.1 500 Internal Server Error\r\nX-Go-Pprof: 1\r\nContent-Length: %d\r\n\r\n"

    failure = failure_of(answering(head % len(text) + text))

    assert (failure.fault, failure.status) == (Fault.STATUS, 500)
    assert failure.headers["x-go-pprof"] == "1"
    assert failure.excerpt == "Could not enable CPU profiling: cpu profiling already in use"
    assert failure.reason is Reason.NODE_ERROR


def test_get_keeps_only_the_beginning_of_an_error_text_when_it_is_long():
    head = b"HTTP/1.1 500 Nope\r\nContent-Length: 100000\r\n\r\n"

    assert len(failure_of(answering(head + b"x" * 100_000)).excerpt) == 512


def test_what_a_node_says_of_its_failure_carries_no_secret():
    """A29: the body reached the agent's log, /readyz and the proxy's /cluster in clear."""
    text = b"dial postgres://u:hunter2@h/x password=hunter2: refused\x1b[31m"
    head = b"HTTP/1.1 500 Nope\r\nContent-Length: %d\r\n\r\n"

    failure = failure_of(answering(head % len(text) + text))

    assert failure.excerpt == "dial postgres://u:***@h/x password=*** refused [31m"
    assert "hunter2" not in failure.message


def test_an_answer_that_is_not_http_is_not_repeated_with_its_secrets():
    """A29: the parser repeats the line that it could not read."""
    failure = failure_of(answering(b"ERR password=hunter2\r\n\r\n"))

    assert failure.fault is Fault.PROTOCOL
    assert "hunter2" not in failure.message


def test_get_fails_as_protocol_when_the_answer_is_not_http():
    assert failure_of(answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")).fault is Fault.PROTOCOL


def test_get_fails_as_protocol_when_a_chunk_is_malformed():
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert failure_of(answering(head + b"zz\r\nup 1\r\n")).fault is Fault.PROTOCOL


def test_get_fails_as_protocol_when_the_head_never_ends():
    failure = failure_of(answering(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000))

    assert failure.fault is Fault.PROTOCOL


def test_get_refuses_at_once_when_the_announced_length_is_above_the_limit():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n"

    failure = failure_of(answering(head), max_bytes=1000)

    assert failure.fault is Fault.TOO_LARGE
    assert "209715200 bytes are announced, the limit is 1000" in failure.message


def test_stream_gives_up_after_the_limit_when_a_node_floods_200_mb_without_a_length():
    """A flood costs neither memory nor the rest of the download."""
    sent = 0

    async def flood(reader, writer):
        nonlocal sent
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + bytes(65_536) + b"\r\n"
        while sent < 200 * 2**20:
            writer.write(piece)
            await writer.drain()
            sent += 65_536

    async def run() -> tuple[int, int, FetchError]:
        got = 0

        async def sink(data: bytes) -> None:
            nonlocal got
            got += len(data)

        async with serving(flood) as port:
            gc.collect()
            tracemalloc.start()
            with pytest.raises(FetchError) as caught:
                await HttpClient().stream(
                    f"http://127.0.0.1:{port}/", sink=sink, timeout_s=20, max_bytes=4 * 2**20
                )
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return got, peak, caught.value

    got, peak, failure = asyncio.run(run())

    assert failure.fault is Fault.TOO_LARGE
    assert got <= 4 * 2**20
    assert sent < 40 * 2**20
    assert peak < 2 * 2**20


def test_stream_hands_pieces_to_the_sink_before_the_body_is_complete():
    async def run() -> bytes:
        got = bytearray()
        seen = asyncio.Event()

        async def sink(data: bytes) -> None:
            got.extend(data)
            seen.set()

        async def handle(reader, writer):
            await request_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
            await seen.wait()
            writer.write(b"def")
            await reader.read()

        async with serving(handle) as port:
            client = HttpClient()
            await client.stream(f"http://127.0.0.1:{port}/", sink=sink, timeout_s=5, max_bytes=6)
            await client.aclose()
        return bytes(got)

    assert asyncio.run(run()) == b"abcdef"


def test_what_the_sink_raises_is_not_taken_for_a_node_that_is_late():
    """A4: a disk that hangs is not the node."""

    async def sink(data: bytes) -> None:
        raise TimeoutError("spool: no answer within 30 s")

    async def run() -> None:
        async with serving(answering(OK)) as port:
            client = HttpClient()
            with pytest.raises(TimeoutError, match="spool"):
                await client.stream(
                    f"http://127.0.0.1:{port}/", sink=sink, timeout_s=5, max_bytes=99
                )
            await client.aclose()

    asyncio.run(run())


# ---- reuse of connections -------------------------------------------------------------------


class Counting:
    """A peer that counts connections and answers `per_connection` requests on each."""

    def __init__(self, per_connection: int = 1000) -> None:
        self.connections = 0
        self.per_connection = per_connection

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for _ in range(self.per_connection):
            await request_of(reader)
            writer.write(OK)
            await writer.drain()


def test_get_reuses_the_connection_when_the_peer_keeps_it_alive():
    """T-WD-19."""
    peer = Counting()

    async def run() -> None:
        async with serving(peer) as port:
            client = HttpClient()
            for _ in range(5):
                await client.get(f"http://127.0.0.1:{port}/", timeout_s=5, max_bytes=9)
            assert sum(map(len, client._idle.values())) == 1
            await client.aclose()
            assert sum(map(len, client._idle.values())) == 0

    asyncio.run(run())

    assert peer.connections == 1


def test_get_connects_anew_when_the_kept_connection_was_closed_by_the_peer():
    peer = Counting(per_connection=1)

    async def run() -> list[bytes]:
        async with serving(peer) as port:
            client = HttpClient()
            url = f"http://127.0.0.1:{port}/"
            bodies = [(await client.get(url, timeout_s=5, max_bytes=9)).body for _ in range(3)]
            await client.aclose()
            return bodies

    assert asyncio.run(run()) == [b"up 1\nx 2\n"] * 3
    assert peer.connections == 3


def test_get_connects_anew_when_the_kept_connection_is_older_than_the_limit():
    peer = Counting()
    now = 100.0

    async def run() -> None:
        nonlocal now
        async with serving(peer) as port:
            client = HttpClient(idle_limit_s=30, clock=lambda: now)
            url = f"http://127.0.0.1:{port}/"
            await client.get(url, timeout_s=5, max_bytes=9)
            now = 129.0
            await client.get(url, timeout_s=5, max_bytes=9)
            now = 160.0
            await client.get(url, timeout_s=5, max_bytes=9)
            await client.aclose()

    asyncio.run(run())

    assert peer.connections == 2


def test_get_does_not_keep_a_connection_after_a_failure():
    async def run() -> int:
        async with serving(answering(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")) as port:
            client = HttpClient()
            with pytest.raises(FetchError):
                await client.get(f"http://127.0.0.1:{port}/", timeout_s=5, max_bytes=9)
            return sum(map(len, client._idle.values()))

    assert asyncio.run(run()) == 0


def test_get_closes_its_connection_when_it_is_cancelled():
    """T-WD-07: cancellation ends the exchange, nothing is retried behind the caller's back."""

    async def run() -> None:
        arrived, gone = asyncio.Event(), asyncio.Event()

        async def handle(reader, writer):
            await request_of(reader)
            arrived.set()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            gone.set()

        async with serving(handle) as port:
            client = HttpClient()
            task = asyncio.create_task(
                client.get(f"http://127.0.0.1:{port}/", timeout_s=50, max_bytes=9)
            )
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(gone.wait(), 5)

    asyncio.run(run())


# ---- addresses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("http://localhost:2121/metrics", "127.0.0.1", 2121, "/metrics"),
        ("http://10.0.0.7:6060", "10.0.0.7", 6060, "/"),
        ("http://[::1]:2121/a?b=c", "::1", 2121, "/a?b=c"),
        ("http://node/metrics", "node", 80, "/metrics"),
    ],
)
def test_parse_url_splits(text, host, port, target):
    url = parse_url(text)

    assert (url.host, url.port, url.target) == (host, port, target)


@pytest.mark.parametrize("text", ["", "localhost:2121", "ftp://x/", "http://", "https://node/"])
def test_parse_url_says_what_is_accepted_when_it_cannot_parse(text):
    with pytest.raises(ValueError, match="is not a URL such as"):
        parse_url(text)


# ---- encodings that nobody asked for (A15) ----------------------------------------------------


def encoded(body: bytes, encoding: str = "gzip") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
def test_a15_a_body_in_gzip_is_decoded(encoding):
    page = b"".join(b"a%d 1\n" % number for number in range(50_000))

    assert fetched(answering(encoded(gzip.compress(page), encoding))).body == page


def test_a15_gzip_of_several_members_is_one_body():
    members = gzip.compress(b"a 1\n") + gzip.compress(b"b 2\n")

    assert fetched(answering(encoded(members))).body == b"a 1\nb 2\n"


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_072])
def test_a15_no_byte_is_lost_at_the_edge_of_a_piece(size):
    assert fetched(answering(encoded(gzip.compress(b"x" * size)))).body == b"x" * size


def test_a15_what_becomes_too_large_is_cut_off_early():
    bomb = gzip.compress(bytes(50 << 20))

    failure = failure_of(answering(encoded(bomb)), max_bytes=1 << 20)

    assert failure.fault is Fault.TOO_LARGE
    assert "more than 1048576 bytes came when decoded" in failure.message


@pytest.mark.parametrize(
    ("answer", "fault", "text"),
    [
        (encoded(b"a 1\n"), Fault.CONTENT, "is said to be gzip and is not"),
        (
            encoded(gzip.compress(b"a 1\n" * 99, mtime=0)[:-9]),
            Fault.TRUNCATED,
            "the gzip of the answer ends",
        ),
        (encoded(b"", "gzip"), Fault.TRUNCATED, "the gzip of the answer ends after 0 bytes"),
        (encoded(b"a 1\n", "br"), Fault.CONTENT, "encoded as br, which nobody asked for"),
        (encoded(b"a 1\n", "deflate, gzip"), Fault.CONTENT, "encoded as deflate, gzip"),
    ],
)
def test_a15_what_cannot_be_decoded_is_a_failure_that_says_so(answer, fault, text):
    failure = failure_of(answering(answer))

    assert failure.fault is fault
    assert text in failure.message


def test_identity_is_no_encoding():
    assert fetched(answering(encoded(b"a 1\n", "identity"))).body == b"a 1\n"
