# SPDX-License-Identifier: Apache-2.0
"""HTTP as API servers speak it to the webhook: one request after the other on a connection."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_webhook.exchange import Answer, Request
from fodc_webhook.listener import Listener

POST = b"POST /inject?timeout=2s HTTP/1.1\r\nHost: fodc\r\nContent-Length: %d\r\n\r\n"
Handler = Callable[[Request], Awaitable[Answer]]


def heard(sent: list[bytes], handler: Handler) -> bytes:
    """All that comes back for what is sent, piece by piece, until the server or we end it."""

    async def run() -> bytes:
        listener = Listener(handler)
        await listener.start("127.0.0.1", 0, None)
        host, _, port = listener.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            async with asyncio.timeout(20):
                for piece in sent:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.write_eof()
                return await reader.read()
        finally:
            writer.close()
            await listener.stop(1.0)

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
    said = heard([POST % 3 + b"one", POST % 0, POST % 5 + b"three"], echo)

    assert bodies(said) == [b"/inject one", b"/inject ", b"/inject three"]
    assert b"close" not in said


@given(st.integers(1, 60))
def test_a_request_may_come_in_pieces_of_any_size(size: int) -> None:
    whole = (POST % 9 + b"in pieces") * 2
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]

    assert bodies(heard(pieces, echo)) == [b"/inject in pieces"] * 2


def test_after_an_answer_before_the_end_of_the_body_the_connection_ends() -> None:
    async def at_once(request: Request) -> Answer:
        return Answer(b"no", HTTPStatus.NOT_FOUND)

    said = heard([POST % 100_000 + b"x" * 1000, b"x" * 99_000, POST % 0], at_once)

    assert said.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"\r\nConnection: close\r\n" in said
    assert bodies(said) == [b"no"]


def test_a_body_that_ends_early_is_an_error_of_its_reader() -> None:
    seen = []

    async def reads(request: Request) -> Answer:
        try:
            return await echo(request)
        except ConnectionResetError as error:
            seen.append(str(error))
            return Answer(b"early")

    heard([POST % 9 + b"half"], reads)

    assert len(seen) == 1
    assert "received 4 bytes, expected 9" in seen[0]


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST /inject HTTP/1.1\r\n\r\n", 400),
        (b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: 1e3\r\n\r\n", 400),
        (
            b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        (b"POST /inject HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /inject HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_cannot_be_answered_ends_the_connection_with_its_status(
    told: bytes, status: int
) -> None:
    said = heard([told, POST % 0], echo)

    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert len(bodies(said)) == 1


def test_who_asks_for_the_last_answer_gets_no_other() -> None:
    last = b"POST /stamp HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nconnection: close\r\n\r\n."

    assert bodies(heard([last, POST % 0], echo)) == [b"/stamp ."]


def test_a_body_may_come_in_chunks() -> None:
    head = b"POST /inject HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    said = heard([head, b"3\r\none\r\n", b"4\r\n two\r\n0\r\n\r\n", POST % 0], echo)

    assert bodies(said) == [b"/inject one two", b"/inject "]


@pytest.mark.parametrize("method", [b"HEAD", b"OPTIONS", b"BREW"])
def test_other_methods_are_answered_too(method: bytes) -> None:
    said = heard([method + b" /inject HTTP/1.1\r\nHost: a\r\n\r\n"], echo)

    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.endswith(b"\r\n\r\n" if method == b"HEAD" else b"/inject ")


def test_who_asks_for_a_tunnel_is_refused_as_for_any_unknown_path() -> None:
    async def refuses(request: Request) -> Answer:
        return Answer(b"no", HTTPStatus.NOT_FOUND)

    said = heard([b"CONNECT other:443 HTTP/1.1\r\nHost: a\r\n\r\n"], refuses)

    assert said.startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_who_asks_whether_to_send_a_body_is_told_to() -> None:
    head = b"POST /inject HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"

    said = heard([head, b"now"], echo)

    assert said.startswith(b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 OK\r\n")
    assert said.endswith(b"/inject now")


@given(st.binary(max_size=200))
def test_any_head_is_answered_with_some_status_or_not_at_all(told: bytes) -> None:
    said = heard([b"POST /inject HTTP/1.1\r\nHost: a\r\n" + told + b"\r\n\r\n"], echo)

    assert said == b"" or said.startswith(b"HTTP/1.1 ")
