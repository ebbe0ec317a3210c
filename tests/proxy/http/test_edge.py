# SPDX-License-Identifier: Apache-2.0
"""What the edge refuses, bounds and says, over real sockets."""

import asyncio
import contextlib
import json
import logging
import socket

import pytest

from fodc_proxy.http.edge import Edge
from fodc_proxy.http.hosts import AllowedHosts, is_pattern
from fodc_proxy.http.listener import Bounds, WebServer
from fodc_proxy.http.metrics import patience_s
from fodc_proxy.queries.results import TooManyWindowsError

from ..live import GoAgent, LinkAgent, fetch, running  # noqa: TID252 - one folder's tests
from ..served import app_of  # noqa: TID252 - one folder's tests


def serving(scene, *, edge=None, bounds=None, host="127.0.0.1", **told):
    async def run():
        server = WebServer(app_of(edge, **told), bounds)
        await server.start(host, 0)
        try:
            return await scene(server)
        finally:
            await server.stop()
            for writer in OPENED:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            OPENED.clear()

    return asyncio.run(run())


OPENED: list[asyncio.StreamWriter] = []


async def opened(server, host="127.0.0.1"):
    port = int(server.address.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(host, port)
    OPENED.append(writer)
    return reader, writer


async def said(server, text):
    """Send bytes and return status, headers and body of the first answer."""
    reader, writer = await opened(server)
    writer.write(text)
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("Content-Length", 0)))
    writer.close()
    return int(head[0].split()[1]), headers, body


def asking(path="/version", method="GET", host="localhost", **headers):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


# ---- hosts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("localhost:17913", True),
        ("127.0.0.1:17913", True),
        ("10.1.2.3:17913", True),
        ("[::1]:17913", True),
        ("[fe80::1%eth0]:17913", True),
        ("fodc-proxy-http:17913", True),
        ("fodc-proxy-http.fodc.svc:17913", True),
        ("fodc-proxy-http.fodc.svc.cluster.local.", True),
        ("FODC.FODC.SVC", True),
        ("attacker.example:17913", False),
        ("svc.attacker.example", False),
        ("127.0.0.1.attacker.example", False),
        ("localhost.attacker.example", False),
        ("a b", False),
        ("", False),
    ],
)
def test_only_names_that_no_foreign_site_can_have_are_answered(host, answered):
    """Defect P20's half: without a look at Host a site in a browser reads the whole fleet."""
    assert AllowedHosts().allow(host) is answered


def test_names_can_be_allowed():
    hosts = AllowedHosts(("fodc.example", "*.inside.example"))

    assert [hosts.allow(h) for h in ("fodc.example", "a.inside.example:1", "a.svc")] == [
        True,
        True,
        False,
    ]
    assert AllowedHosts(("*",)).allow("any.example")
    assert [is_pattern(text) for text in ("a.b", "*.a", "*", "a*", "")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_foreign_host_is_misdirected_and_told_the_option():
    async def scene(server):
        return await said(server, asking(host="attacker.example"))

    status, _, body = serving(scene)

    error = json.loads(body)["error"]
    assert (status, error["field"]) == (421, "Host")
    assert "--http-allowed-hosts" in error["message"]


# ---- as the RFCs say ------------------------------------------------------------------------


def test_wrong_method_says_which_are_allowed():
    """Defect P14."""

    async def scene(server):
        return [await said(server, asking(path, "PUT")) for path in ("/cluster", "/metrics")]

    (ours, our_headers, body), (existing, headers, text) = serving(scene)

    assert (ours, our_headers["Allow"]) == (405, "GET, HEAD")
    assert json.loads(body)["error"]["reason"] == "BadRequest"
    assert (existing, headers["Allow"], text) == (405, "GET", b"Method not allowed\n")


def test_replica_that_does_not_serve_says_when_to_come_back():
    """Defect P14."""

    async def scene(server):
        return await said(server, asking("/cluster"))

    status, headers, _ = serving(scene, edge=Edge(is_open=lambda: False))

    assert (status, headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("coding", ["deflate", "gzip"])
def test_body_that_is_not_what_its_encoding_says_is_400(coding):
    """Defect P24: such a body gave 500."""
    data = b"\x01\x02garbage that is nothing"

    async def scene(server):
        head = asking(
            "/diagnostics/requests",
            "POST",
            Content_Type="application/json",
            Content_Encoding=coding,
            Content_Length=len(data),
        )
        return await said(server, head + data)

    status, _, body = serving(scene)

    assert (status, json.loads(body)["error"]["field"]) == (400, "body")


# ---- bounds of connections --------------------------------------------------------------------


def test_reader_that_takes_nothing_is_disconnected_whatever_it_reads(caplog):
    """Defect P10: forty stalled downloads held their descriptors for ever."""

    async def scene(server):
        reader, writer = await opened(server)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader._transport.pause_reading()
        writer.write(asking("/openapi.json") * 20_000)
        async with asyncio.timeout(30):
            # It is counted first and gone a turn of the loop later.
            while not server.ended or server.connections:
                await asyncio.sleep(0.02)
        return await said(server, asking())

    with caplog.at_level(logging.WARNING):
        status, _, _ = serving(scene, bounds=Bounds(write_timeout_s=0.5))
    assert status == 200
    assert sum("took nothing" in line for line in caplog.messages) == 1


def test_connection_that_says_nothing_and_body_that_never_ends_are_closed():
    """Defect P10: three hundred half-sent bodies were never closed."""

    async def scene(server):
        silent, _ = await opened(server)
        slow, writer = await opened(server)
        writer.write(b"GET /version HTTP/1.1\r\nHost: local")
        assert await asyncio.wait_for(silent.read(), 20) == b""
        assert await asyncio.wait_for(slow.read(), 20) == b""
        return True

    assert serving(scene, bounds=Bounds(read_timeout_s=0.3))


def test_more_connections_than_there_may_be_cost_idle_ones_and_one_line(caplog):
    """Defect P10: 1,100 silent connections left no answer for anybody and 11,606 tracebacks."""

    async def scene(server):
        silent = [await opened(server) for _ in range(60)]
        status, _, _ = await said(server, asking())
        kept = server.connections
        for _, writer in silent:
            writer.close()
        return status, kept

    with caplog.at_level(logging.WARNING):
        status, kept = serving(scene, bounds=Bounds(max_connections=20))

    assert status == 200
    assert kept <= 20
    assert len(caplog.messages) == 1


def test_slow_requests_of_one_host_leave_room_for_a_probe_of_another():
    async def scene(server):
        for _ in range(20):
            _, writer = await opened(server)
            writer.write(b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        async with asyncio.timeout(10):
            while any(one.is_idle for one in server._watch._connections):
                await asyncio.sleep(0.01)
        host, port = server.address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, port, local_addr=("127.0.0.2", 0))
        writer.write(asking())
        OPENED.append(writer)
        return await reader.readline()

    assert b" 200 " in serving(scene, bounds=Bounds(max_connections=20))


# ---- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["::1", ""])
def test_listener_speaks_ipv6(host):
    """Defect P21."""

    async def scene(server):
        reader, writer = await opened(server, "::1")
        writer.write(asking(host="[::1]"))
        return (await reader.readline()).split()[1]

    assert serving(scene, host=host) == b"200"


# ---- one meaning of a filter ------------------------------------------------------------------


def test_every_form_of_a_role_means_the_same_on_every_route(tmp_path):
    """Defect P14: `role=data` was empty on some routes, `datanode-hot` on all of them."""
    forms = ["ROLE_DATA", "data", "Data", "data-hot", "datanode-hot", "DATANODE-HOT", "datanode"]

    async def run():
        found = {}
        async with running(tmp_path) as proxy, GoAgent(proxy, "pod-0") as go:
            await go.attached(proxy)
            async with LinkAgent(proxy, "pod-1", "ROLE_LIAISON"):
                for form in forms:
                    nodes = json.loads((await fetch(proxy, f"/cluster?role={form}")).text)["nodes"]
                    page = await fetch(proxy, f"/metrics?role={form}")
                    window = await fetch(proxy, f"/metrics-windows?role={form}")
                    settings = await fetch(proxy, f"/cluster/config?role={form}")
                    found[form] = (
                        [node["node_id"] for node in nodes],
                        page.headers["X-FODC-Asked"],
                        page.text.count("up{"),
                        window.headers["X-FODC-Asked"],
                        settings.headers["X-FODC-Asked"],
                    )
                wrong = [
                    (await fetch(proxy, path)).status
                    for path in (
                        "/cluster?role=nope",
                        "/metrics?role=nope",
                        "/metrics-windows?role=nope",
                        "/cluster/config?role=nope",
                        "/cluster?node_id=nope",
                        "/metrics?pod_name=nope",
                        "/metrics-windows?pod_name=nope",
                        "/cluster/config?node_id=nope",
                        "/artifacts?node_id=nope",
                        "/diagnostics/requests?node_id=nope",
                    )
                ]
        return found, wrong

    found, wrong = asyncio.run(run())

    assert found == dict.fromkeys(forms, (["pod-0"], "1", 1, "1", "1"))
    assert wrong == [400] * 4 + [404] * 6


# ---- windows for which there is no room ---------------------------------------------------------


class FullOfWindows:
    """Rounds that have no place for another window."""

    async def windows(self, selection, window):
        raise TooManyWindowsError


def test_window_without_a_place_is_told_when_to_come_back():
    async def scene(server):
        return await said(server, asking("/metrics-windows"))

    status, headers, body = serving(scene, rounds=FullOfWindows())

    assert (status, headers["Retry-After"]) == (503, "5")
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert body == (
        b"as many windows are being read as the proxy has memory for; ask again in 5 s\n"
    )


# ---- the scraper's time -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "patience"),
    [("10", 9.0), ("2", 1.5), ("0.1", 0.1), ("", None), ("x", None), ("nan", None), ("-1", None)],
)
def test_patience_leaves_time_for_the_page(told, patience):
    assert patience_s({"X-Prometheus-Scrape-Timeout-Seconds": told}) == patience
