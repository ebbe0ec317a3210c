# SPDX-License-Identifier: Apache-2.0
"""Whatever somebody sends is read or refused in our words, in a time that its length bounds.

FODC_FUZZ_S=60 takes a minute for each kind of input; without it some hundreds of each are tried.
FODC_FUZZ_FROM=0 begins where the gate does.
"""

import asyncio
import time
from pathlib import Path

import pytest

from tests.fuzz.mutating import FIRST, FUZZ_S, INPUTS, LONGEST, inputs, made, seconds_of
from tests.fuzz.targets import TARGETS, Target
from tests.proxy.live import running

SOME_S = 0.25
PER_BYTE_S = 25e-6
SMALL, LARGE = 8 * 1024, 64 * 1024

pytestmark = pytest.mark.timeout(120 + 3 * FUZZ_S)
by_name = pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.name)


@by_name
def test_whatever_comes_is_read_or_refused_in_our_words_and_soon(target: Target) -> None:
    for number, data in inputs(target.seeds, FIRST):
        began_s = time.process_time()
        try:
            target(data)
        except Exception as error:
            raise AssertionError(f"input {number} of {target.name}: {data[:200]!r}") from error
        took_s = time.process_time() - began_s
        assert took_s < SOME_S + PER_BYTE_S * len(data), (number, len(data))


@by_name
def test_no_input_takes_more_than_linear_time(target: Target) -> None:
    """A piece that comes again and again, eight times as long, takes eight times as long."""
    pieces = [
        b"a",
        b"\x0a\x00",
        b"{",
        b"[",
        b'"',
        b"\\",
        b"a=",
        b"a b c\n",
        b"x 1\n",
        b"\x80",
        b" ",
    ]
    pieces += [made(target.seeds, number)[:40] for number in range(12)]
    for piece in (one for one in pieces if one):
        for head in (b"", target.seeds[0][:200]):
            short, long = ((head + piece * (size // len(piece))) for size in (SMALL, LARGE))
            short_s, long_s = seconds_of(target, short), seconds_of(target, long)
            # Room for the steps by which memory grows, and for a machine that does something else.
            assert long_s < 3 * (LARGE // SMALL) * short_s + 0.1, piece


def test_an_input_can_be_made_again_by_its_number_and_has_a_bound() -> None:
    seeds = [b"one", b"another"]

    assert [made(seeds, number) for number in range(50)] == [
        made(seeds, number) for number in range(50)
    ]
    assert all(len(made(seeds, number)) <= LONGEST for number in range(300))
    assert len({made(seeds, number) for number in range(300)}) > 150


HEADS = (
    "GET /cluster?role=data HTTP/1.1|Authorization: Bearer abcdef||",
    "POST /diagnostics/requests HTTP/1.1|Content-Type: application/json|Content-Length: 60||{BODY}",
    "GET /metrics-windows?start_time=2026-01-01T00:00:00Z&pod_name=a HTTP/1.1|Range: bytes=0-5||",
    "POST /session HTTP/1.1|Transfer-Encoding: chunked||5|hello|0||",
    "GET /metrics HTTP/1.1|Accept-Encoding: gzip|Cookie: fodc-session=x|X-Forwarded-For: a||",
)
BODY = '{"target": {"all": true}, "captures": [{"profile": "cpu"}]}  '
REQUESTS = [
    one.replace("|", "|Host: localhost|", 1).replace("|", "\r\n").replace("{BODY}", BODY).encode()
    for one in HEADS
]


def test_whatever_comes_over_http_the_next_one_is_answered(tmp_path: Path, caplog) -> None:
    async def run() -> None:
        async with running(tmp_path) as proxy:
            host, port = proxy.http_address.rsplit(":", 1)
            for number, data in inputs(REQUESTS, 0):
                if not FUZZ_S and number >= INPUTS // 4:
                    break
                await send(host, int(port), data)
            good = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"
            assert b" 200 " in await send(host, int(port), good, 20)

    asyncio.run(run())
    assert not [one.message for one in caplog.records if one.exc_info]
    # What cannot be read may hold a token: it is not repeated.
    assert "abcdef" not in caplog.text


async def send(host: str, port: int, data: bytes, patience_s: float = 0.3) -> bytes:
    """Send it, and return the beginning of what is said; what is half sent is not waited for."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(data)
        async with asyncio.timeout(patience_s):
            return await reader.read(1_000)
    except (ConnectionError, TimeoutError):
        return b""
    finally:
        writer.transport.abort()
