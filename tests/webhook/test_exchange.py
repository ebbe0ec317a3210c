# SPDX-License-Identifier: Apache-2.0
"""HTTP as API servers speak it to the webhook: one request after the other on a connection."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_webhook.exchange import Answer, Request
from fodc_webhook.listener import Listener

POST = b"POST /inject?timeout=2s HTTP/1.1\r\nHost: fodc\r\nContent-Length: %d\r\n\r\n"
ASKING = b"POST /inject HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
Handler = Callable[[Request], Awaitable[Answer]]


@asynccontextmanager
async def connected(handler: Handler) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """A connection to a listener."""
    listener = Listener(handler)
    await listener.start("127.0.0.1", 0, None)
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(20):
            yield reader, writer
    finally:
        writer.close()
        await listener.stop(1.0)


async def send(writer: StreamWriter, pieces: list[bytes]) -> None:
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)


def heard(sent: list[bytes], handler: Handler) -> bytes:
    """All that comes back for what is sent, piece by piece, until the server or we end it."""

    async def run() -> bytes:
        async with connected(handler) as (reader, writer):
            await send(writer, sent)
            writer.write_eof()
            return await reader.read()

    return asyncio.run(run())


def heard_in_two(head: bytes, rest: bytes, handler: Handler) -> tuple[bytes, bytes]:
    """What comes back for a head that asks whether to go on, and then for what follows it."""

    async def run() -> tuple[bytes, bytes]:
        async with connected(handler) as (reader, writer):
            await send(writer, [head])
            first = await reader.readuntil(b"\r\n\r\n")
            await send(writer, [rest])
            writer.write_eof()
            return first, await reader.read()

    return asyncio.run(run())


def told_to(met: list[str]) -> Handler:
    """A handler that notes what keeps it from reading a body, and answers all the same."""

    async def reads(request: Request) -> Answer:
        try:
            return await echo(request)
        except ConnectionResetError as error:
            met.append(str(error))
            return Answer(b"all the same")

    return reads


def said_in_turn(requests: list[list[bytes]]) -> list[bytes]:
    """The answers to requests on one connection, each of which waits for the one before."""

    async def run() -> list[bytes]:
        said = []
        async with connected(echo) as (reader, writer):
            for pieces in requests:
                await send(writer, pieces)
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"close" not in head
                said.append(await reader.readexactly(int(head.rpartition(b"Length: ")[2])))
        return said

    return asyncio.run(run())


async def echo(request: Request) -> Answer:
    whole = b""
    while piece := await request.piece():
        whole += piece
    return Answer(b"%s %s" % (request.path.encode(), whole))


def bodies(said: bytes) -> list[bytes]:
    """The bodies of the answers."""
    found = []
    while said:
        head, _, said = said.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append(said[:length])
        said = said[length:]
    return found


def test_requests_on_one_connection_are_answered_in_their_order() -> None:
    said = said_in_turn([[POST % 3 + b"one"], [POST % 0], [POST % 5 + b"three"]])

    assert said == [b"/inject one", b"/inject ", b"/inject three"]


@given(st.integers(1, 60))
def test_a_request_may_come_in_pieces_of_any_size(size: int) -> None:
    whole = POST % 9 + b"in pieces"
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]

    assert said_in_turn([pieces, pieces]) == [b"/inject in pieces"] * 2


@pytest.mark.parametrize(
    "behind", [POST % 0, POST % 3 + b"two", b"POST /stamp", b"HEAD / HTTP/1.1\r\n", b"nonsense"]
)
def test_a_request_with_something_behind_it_is_refused_and_ends_the_connection(
    behind: bytes,
) -> None:
    said = heard([POST % 3 + b"one" + behind, POST % 0], echo)

    assert said.startswith(b"HTTP/1.1 400 ")
    assert bodies(said) == [b"Bad Request\n"]


def test_what_comes_with_the_end_of_a_body_is_not_answered_and_ends_the_connection() -> None:
    _, said = heard_in_two(ASKING % 6, b"onetwo" + b"HEAD / HTTP/1.1\r\n", echo)

    assert bodies(said) == [b"/inject onetwo"]
    assert b"\r\nConnection: close\r\n" in said


def test_after_an_answer_before_the_end_of_the_body_the_connection_ends() -> None:
    async def at_once(request: Request) -> Answer:
        return Answer(b"no", HTTPStatus.NOT_FOUND)

    said = heard([POST % 100_000 + b"x" * 1000, b"x" * 99_000, POST % 0], at_once)

    assert said.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"\r\nConnection: close\r\n" in said
    assert bodies(said) == [b"no"]


def test_a_body_that_ends_early_is_an_error_of_its_reader() -> None:
    seen: list[str] = []

    heard([POST % 9 + b"half"], told_to(seen))

    assert seen == ["the body ended after 4 bytes"]


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"NOTHING /inject HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"POST /inject HTTP/1.1\r\n\r\n", 400),
        (b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: 1e3\r\n\r\n", 400),
        (
            b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        (b"POST /inject HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /inject HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST /inject HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"POST /inject HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_cannot_be_answered_ends_the_connection_with_its_status(
    told: bytes, status: int
) -> None:
    said = heard([told, POST % 0], echo)

    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert len(bodies(said)) == 1


@pytest.mark.parametrize(
    "last",
    [
        b"POST /stamp HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nconnection: close\r\n\r\n.",
        b"POST /stamp HTTP/1.0\r\ncontent-length: 1\r\nexpect: 100-continue\r\n\r\n.",
        b"POST /stamp HTTP/1.0\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n.",
    ],
)
def test_the_connection_ends_with_the_answer_for_who_asks_for_that_and_for_old_clients(
    last: bytes,
) -> None:
    """Whoever reads to the end of the connection hears nothing more and sends nothing more."""

    async def run() -> bytes:
        async with connected(echo) as (reader, writer):
            await send(writer, [last])
            return await reader.read()

    said = asyncio.run(run())

    assert bodies(said) == [b"/stamp ."]
    assert b"\r\nConnection: close\r\n" in said


CHUNKED = b"POST /inject HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_body_may_come_in_chunks() -> None:
    chunked = [CHUNKED, b"3\r\none\r\n", b"4\r\n two\r\n0\r\n", b"Behind: it\r\n\r\n"]

    assert said_in_turn([chunked, [POST % 0]]) == [b"/inject one two", b"/inject "]


@pytest.mark.parametrize(
    "endless", [b"0\r\nX: " + b"x" * 500, b"0\r\n" + b"x" * 500, b"3;" + b"x" * 500]
)
def test_a_body_that_does_not_go_on_is_not_kept(endless: bytes) -> None:
    """Of trailers and extensions nothing is wanted, and the parser would gather them."""
    seen: list[str] = []

    said = heard([CHUNKED, b"3\r\none\r\n", endless, *[b"x" * 10_000] * 8], told_to(seen))

    assert bodies(said) == [b"all the same"]
    assert seen == ["the body ended after 3 bytes: it does not go on"]


def test_a_malformed_chunk_is_an_error_of_its_reader() -> None:
    seen: list[str] = []
    head = CHUNKED.removesuffix(b"\r\n") + b"Expect: 100-continue\r\n\r\n"

    _, said = heard_in_two(head, b"3\r\none\r\nfour\r\n" + POST % 0, told_to(seen))

    assert bodies(said) == [b"all the same"]
    assert seen == ["the body ended after 3 bytes: Invalid character in chunk size"]


@pytest.mark.parametrize("method", [b"HEAD", b"OPTIONS", b"PATCH"])
def test_other_methods_are_answered_too(method: bytes) -> None:
    said = heard([method + b" /inject HTTP/1.1\r\nHost: a\r\n\r\n"], echo)

    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.endswith(b"\r\n\r\n" if method == b"HEAD" else b"/inject ")


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT other:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nabc",
    ],
)
def test_who_asks_for_another_protocol_is_refused(head: bytes) -> None:
    said = heard([head], echo)

    assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_who_asks_whether_to_send_a_body_is_told_to() -> None:
    first, then = heard_in_two(ASKING % 3, b"now", echo)

    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert bodies(then) == [b"/inject now"]


@given(st.binary(max_size=200))
def test_any_head_is_answered_with_some_status_or_not_at_all(told: bytes) -> None:
    said = heard([b"POST /inject HTTP/1.1\r\nHost: a\r\n" + told + b"\r\n\r\n"], echo)

    assert said == b"" or said.startswith(b"HTTP/1.1 ")
