# SPDX-License-Identifier: Apache-2.0
"""The agent's HTTP port over real sockets: answers, limits, and peers that behave badly."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Iterable

import pytest

from fodc_agent.scraping.client import HttpClient
from fodc_agent.scraping.faults import Fault, FetchError
from fodc_agent.web.addresses import ListenError
from fodc_agent.web.conversations import Limits, http_date
from fodc_agent.web.replies import Reply, coalesced
from fodc_agent.web.routes import Check, routes_of
from fodc_agent.web.server import WebServer
from fodc_protocol.addresses import Address
from fodc_protocol.errors import FodcError
from fodc_protocol.metrics.families import blocks_of
from fodc_protocol.metrics.page import render_page
from fodc_protocol.metrics.samples import MetricType, Sample, Series

ADDRESS = Address("127.0.0.1", 0)


def routes(
    page: Callable[[], Iterable[bytes]] = lambda: [b"a 1\n"],
    checks: Callable[[], list[Check]] = list,
):
    return routes_of(page=page, checks=checks, version={"version": "0.1.0"})


def conversed(work, table=None, **limits):
    """Run `work(port)` against a started server and return what it returns."""

    async def run():
        server = WebServer(ADDRESS, limits=Limits(**limits), clock=lambda: 1_700_000_000)
        address = await server.start(table or routes())
        try:
            return await asyncio.wait_for(work(address.port), 20)
        finally:
            await server.aclose()

    return asyncio.run(run())


def said(request: bytes, table=None, **limits) -> bytes:
    """Send bytes, close our half, and return all that comes back."""

    async def work(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    return conversed(work, table, **limits)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


# ---- answers ------------------------------------------------------------------------------------


def test_metrics_are_text_of_version_0_0_4():
    """T-EXP-05: content type, HELP and TYPE, sorted labels, plain numbers, escaped quotes."""
    series = [
        Sample(Series("c", (), MetricType.COUNTER, "counts"), 100.0),
        Sample(Series("g", (("z", "1"), ("a", 'x"y')), MetricType.UNSPECIFIED, "gauges"), 123.456),
        Sample(Series("g", (("a", "b"),), MetricType.UNSPECIFIED, "gauges"), 1e6),
        Sample(Series("h", (), MetricType.GAUGE), -10.0),
        Sample(Series("i", (), MetricType.GAUGE), 0.001),
    ]
    page = render_page(blocks_of(series))

    async def work(port):
        client = HttpClient()
        answer = await client.get(f"http://127.0.0.1:{port}/metrics", timeout_s=5, max_bytes=9999)
        await client.aclose()
        return answer

    answer = conversed(work, routes(lambda: [page]))

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.body.decode().splitlines() == [
        "# HELP c counts",
        "# TYPE c counter",
        "c 100",
        "# TYPE h gauge",
        "h -10",
        "# TYPE i gauge",
        "i 0.001",
        "# HELP g gauges",
        "# TYPE g gauge",
        'g{a="x\\"y",z="1"} 123.456',
        'g{a="b"} 1000000',
    ]


def test_a_page_in_many_pieces_arrives_whole():
    async def work(port):
        client = HttpClient()
        answer = await client.get(
            f"http://127.0.0.1:{port}/metrics", timeout_s=5, max_bytes=10_000_000
        )
        await client.aclose()
        return answer.body

    pieces = [b"m%d 1\n" % number for number in range(100_000)]

    assert conversed(work, routes(lambda: iter(pieces))) == b"".join(pieces)


def test_an_empty_page_is_a_page():
    assert status_of(said(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", routes(list))) == 200


def test_head_gets_the_headers_without_the_body():
    answer = said(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")

    assert status_of(answer) == 200
    assert body_of(answer) == b""


def test_a_query_does_not_change_the_path():
    assert status_of(said(b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")) == 200


def test_healthz_answers_while_nothing_is_ready():
    answer = said(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (status_of(answer), body_of(answer)) == (200, b"ok\n")
    assert b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n" in answer


def test_readyz_is_503_and_names_the_check_that_fails():
    checks = [Check("node", ok=True), Check("proxy", ok=False, message="not connected")]

    answer = said(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", routes(checks=lambda: checks))

    assert status_of(answer) == 503
    assert json.loads(body_of(answer)) == {
        "ready": False,
        "checks": [
            {"name": "node", "ok": True, "message": ""},
            {"name": "proxy", "ok": False, "message": "not connected"},
        ],
    }


def test_readyz_is_200_when_all_checks_hold():
    answer = said(
        b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
        routes(checks=lambda: [Check("node", ok=True)]),
    )

    assert status_of(answer) == 200


def test_version_is_json():
    answer = said(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")

    assert json.loads(body_of(answer)) == {"version": "0.1.0"}


@pytest.mark.parametrize("path", ["/", "/health", "/diagnostics", "/metrics/"])
def test_an_unknown_path_is_404_with_the_text_of_the_existing_agent(path):
    answer = said(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert (status_of(answer), body_of(answer)) == (404, b"404 page not found\n")


def test_t_srv_09_other_methods_are_405():
    """The existing agent answers POST /metrics with the page; ours takes GET and HEAD only."""
    answer = said(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")

    assert status_of(answer) == 405
    assert b"Allow: GET, HEAD\r\n" in answer


def test_a_route_that_fails_is_a_500_and_the_server_lives_on(caplog):
    def broken():
        yield from ()
        raise RuntimeError("secret detail")

    two = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with caplog.at_level(logging.CRITICAL):
        answer = said(two, routes(broken))

    assert status_of(answer) == 500
    assert b"secret detail" not in answer
    assert answer.endswith(b"ok\n")


def test_a_page_that_breaks_halfway_is_seen_as_cut_off(caplog):
    def broken():
        yield b"x" * 100_000
        raise RuntimeError("half")

    async def work(port):
        with pytest.raises(FetchError) as caught:
            await HttpClient().get(
                f"http://127.0.0.1:{port}/metrics", timeout_s=5, max_bytes=1 << 20
            )
        return caught.value.fault

    with caplog.at_level(logging.CRITICAL):
        assert conversed(work, routes(broken)) is Fault.TRUNCATED


# ---- connections -----------------------------------------------------------------------------


def test_requests_follow_each_other_on_one_connection():
    async def work(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = []
        for _ in range(3):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            answers.append((status_of(head), await reader.readexactly(3)))
        writer.close()
        return answers

    assert conversed(work) == [(200, b"ok\n")] * 3


def test_an_http_1_0_peer_gets_its_answer_and_the_end():
    answer = said(b"GET /metrics HTTP/1.0\r\n\r\n")

    assert body_of(answer) == b"a 1\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 60_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"z" * 70_000, 413),
    ],
    ids=["nonsense", "no host", "long head", "long body"],
)
def test_a_bad_request_is_answered_and_the_connection_ends(request_bytes, status):
    answer = said(request_bytes)

    assert status_of(answer) == status
    assert b"Connection: close" in answer


def test_a_slow_head_is_given_up_after_its_time():
    async def work(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HT")
        rest = await reader.read()
        writer.close()
        return rest

    assert conversed(work, head_s=0.1) == b""


def test_a_slow_head_on_a_kept_connection_is_given_up_as_well():
    async def work(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /he")
        answer = await reader.read()
        writer.close()
        return answer

    assert conversed(work, head_s=0.5).endswith(b"ok\n")


def test_an_idle_connection_is_closed_after_its_time():
    async def work(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    assert conversed(work, idle_s=0.5).endswith(b"ok\n")


def test_a_peer_that_does_not_read_is_given_up_after_its_time():
    async def work(port):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await server_is_idle(port)
        writer.close()

    async def server_is_idle(port):
        client = HttpClient()
        for _ in range(200):
            answer = await client.get(
                f"http://127.0.0.1:{port}/version", timeout_s=5, max_bytes=999
            )
            if json.loads(answer.body)["open"] == "1":
                break
            await asyncio.sleep(0.02)
        else:
            raise AssertionError("the connection of the peer that does not read is still open")
        await client.aclose()

    async def run():
        server = WebServer(ADDRESS, limits=Limits(answer_s=0.2))
        table = routes(lambda: (b"x" * 65_536 for _ in range(2_000)))
        table["/version"] = lambda: Reply(
            200, "application/json", json.dumps({"open": str(len(server._guests))}).encode()
        )
        address = await server.start(table)
        await work(address.port)
        await server.aclose()

    asyncio.run(run())


GET_HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


async def connected(port, request=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    return reader, writer


async def asked(port, request):
    """Return the whole answer to one request on a connection of its own."""
    reader, writer = await connected(
        port, request.replace(b"Host: x", b"Host: x\r\nConnection: close", 1)
    )
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


def endless():
    while True:
        yield b"x" * 65_536


@pytest.mark.parametrize("limits", [{"connections_per_peer": 2}, {"connections": 2}])
def test_a27_idle_connections_make_room_the_longest_idle_first(limits):
    async def work(port):
        held = [await connected(port, GET_HEALTH) for _ in range(2)]
        for reader, _ in held:
            await reader.readuntil(b"ok\n")
        third = await asked(port, GET_HEALTH)
        oldest = await asyncio.wait_for(held[0][0].read(), 5)
        held[1][1].write(GET_HEALTH)
        younger = await held[1][0].readuntil(b"ok\n")
        for _, writer in held:
            writer.close()
        return status_of(third), oldest, status_of(younger)

    assert conversed(work, **limits) == (200, b"", 200)


def test_a27_sixteen_idle_connections_do_not_keep_a_probe_from_its_answer():
    async def work(port):
        held = [await connected(port, GET_HEALTH) for _ in range(16)]
        for reader, _ in held:
            await reader.readuntil(b"ok\n")
        answers = [status_of(await asked(port, GET_HEALTH)) for _ in range(3)]
        for _, writer in held:
            writer.close()
        return answers

    assert conversed(work) == [200, 200, 200]


def test_a27_silent_connections_make_room_as_well():
    async def work(port):
        held = [await connected(port) for _ in range(40)]
        answer = await asked(port, GET_HEALTH)
        for _, writer in held:
            writer.close()
        return status_of(answer)

    assert conversed(work, connections_per_peer=3) == 200


def test_a27_where_all_are_busy_places_are_kept_for_probes_alone():
    page = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

    async def work(port):
        held = [await connected(port, page) for _ in range(2)]
        for reader, _ in held:
            await reader.readuntil(b"\r\n\r\n")
        silent = [await connected(port) for _ in range(4)]
        answers = [await asked(port, request) for request in (GET_HEALTH, page)]
        for _, writer in (*held, *silent):
            writer.transport.abort()
        return answers

    probe, refused = conversed(work, routes(endless), connections_per_peer=2, probe_places=2)

    assert status_of(probe) == 200
    assert status_of(refused) == 503
    assert b"too many connections" in refused


def test_t_srv_01_a_head_has_three_seconds_and_a_stop_five():
    assert (Limits().head_s, Limits().shutdown_s) == (3.0, 5.0)


def test_a_stop_lets_an_answer_under_way_end():
    async def run():
        server = WebServer(ADDRESS)
        table = routes(lambda: (b"x" * 65_536 for _ in range(200)))
        address = await server.start(table)
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        stopping = asyncio.create_task(server.aclose())
        rest = await reader.read()
        writer.close()
        await stopping
        return len(rest)

    assert asyncio.run(run()) == 200 * 65_536


def test_a_stop_does_not_wait_for_idle_connections():
    async def run():
        server = WebServer(ADDRESS)
        address = await server.start(routes())
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"ok\n")
        async with asyncio.timeout(4):  # what does not end costs 5 s
            await server.aclose()
        rest = await reader.read()
        writer.close()
        return rest, len(server._guests)

    assert asyncio.run(run()) == (b"", 0)


def test_a11_a_stop_ends_connections_before_it_waits_for_the_end_of_the_port(monkeypatch):
    """Python 3.12 and later wait there for every connection; so does this, on any version."""
    wait_closed = asyncio.Server.wait_closed

    async def run():
        server = WebServer(ADDRESS)
        address = await server.start(routes())

        async def patient(self):
            while len(server._guests):
                await asyncio.sleep(0.01)
            await wait_closed(self)

        monkeypatch.setattr(asyncio.Server, "wait_closed", patient)
        reader, writer = await connected(address.port, GET_HEALTH)
        await reader.readuntil(b"ok\n")
        silent = await connected(address.port)
        await asyncio.sleep(0.02)
        async with asyncio.timeout(4):
            await server.aclose()
        ends = [await reader.read(), await silent[0].read()]
        writer.close()
        silent[1].close()
        return ends

    assert asyncio.run(run()) == [b"", b""]


def test_a_stop_gives_up_on_a_peer_that_does_not_read_without_a_word(caplog):
    async def run():
        server = WebServer(ADDRESS, limits=Limits(shutdown_s=0.2))
        address = await server.start(routes(endless))
        reader, writer = await connected(address.port, b"GET /metrics HTTP/1.0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(4):
            await server.aclose()
        writer.transport.abort()
        return len(server._guests)

    assert asyncio.run(run()) == 0
    assert caplog.records == []


# ---- opening and closing ------------------------------------------------------------------------


def test_connections_wait_from_bind_until_start():
    """W-03: a probe finds the port open before anything else has begun."""

    async def run():
        server = WebServer(ADDRESS)
        address = server.bind()
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.start(routes())
        answer = await reader.readuntil(b"ok\n")
        writer.close()
        await server.aclose()
        return status_of(answer)

    assert asyncio.run(run()) == 200


def test_t_srv_03_07_the_server_says_whether_it_runs_and_where():
    async def run():
        server = WebServer(ADDRESS)
        before = server._server is not None
        address = await server.start(routes())
        during = server._server is not None
        await server.aclose()
        return before, during, server._server is not None, address

    before, during, after, address = asyncio.run(run())

    assert (before, during, after) == (False, True, False)
    assert address.port > 0
    assert str(address) == f"127.0.0.1:{address.port}"


def test_t_srv_04_05_starting_twice_and_stopping_what_never_ran_are_errors():
    async def run():
        server = WebServer(ADDRESS)
        with pytest.raises(FodcError, match="server is not started"):
            await server.aclose()
        await server.start(routes())
        with pytest.raises(FodcError, match="server is already started"):
            await server.start(routes())
        await server.aclose()

    asyncio.run(run())


def test_a_taken_port_is_told_with_the_flag_and_the_port():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = WebServer(Address("127.0.0.1", port), "--prometheus-listen-addr")
        with pytest.raises(ListenError) as caught:
            server.bind()

    assert str(caught.value) == (
        f"--prometheus-listen-addr 127.0.0.1:{port}: port {port} is taken by another program; "
        "choose another port"
    )


def test_a_foreign_address_is_told():
    with pytest.raises(ListenError, match=r"192\.0\.2\.1 is no address of this machine"):
        WebServer(Address("192.0.2.1", 0)).bind()


def test_an_empty_host_listens_for_ipv4_too():
    async def run():
        server = WebServer(Address("", 0))
        address = await server.start(routes())
        client = HttpClient()
        answer = await client.get(
            f"http://127.0.0.1:{address.port}/healthz", timeout_s=5, max_bytes=9
        )
        await client.aclose()
        await server.aclose()
        return answer.body

    assert asyncio.run(run()) == b"ok\n"


# ---- small parts --------------------------------------------------------------------------------


def test_small_pieces_are_joined_and_nothing_is_lost():
    joined = list(coalesced([b"ab"] * 40_000))

    assert b"".join(joined) == b"ab" * 40_000
    assert [len(piece) for piece in joined] == [32_768, 32_768, 14_464]


def test_http_dates_do_not_depend_on_the_locale():
    assert http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert http_date(1_733_011_199) == "Sat, 30 Nov 2024 23:59:59 GMT"
