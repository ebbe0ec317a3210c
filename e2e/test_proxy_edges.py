# SPDX-License-Identifier: Apache-2.0
"""A proxy process under peers that misuse its port, and agents that lose it (P25, P26)."""

import contextlib
import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import pytest

from e2e import programs
from e2e.controlplane import processes
from tests.interop.fleet import PageNode, until

pytestmark = pytest.mark.timeout(120)
CALL = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/fodc.v1.AgentLink/Connect"),
    (":authority", "proxy"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


def living(proxy: programs.Program) -> int:
    """Count the agents that are not Offline."""
    with urllib.request.urlopen(f"{proxy.http}/cluster", timeout=10) as answer:  # loopback
        nodes = json.loads(answer.read())["nodes"]
    return sum(node["phase"] != "Offline" for node in nodes)


def reset_streams(address: str, number: int) -> None:
    """Open streams on one connection and reset each at once; raises OSError when it is closed."""
    host, _, port = address.rpartition(":")
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    with socket.create_connection((host, int(port)), timeout=30) as line:
        for place in range(number):
            stream = connection.get_next_available_stream_id()
            connection.send_headers(stream, CALL)
            connection.reset_stream(stream, 8)
            connection.streams.pop(stream)
            if place % 50 == 0:
                line.sendall(connection.data_to_send())
        line.sendall(connection.data_to_send())


def test_streams_that_are_reset_at_once_do_not_make_the_proxy_grow(tmp_path: Path) -> None:
    """P26: 72,000 of them took it from 63 to 444 MiB, for good."""
    with programs.running(programs.start_proxy(tmp_path)) as proxy:
        before_mib = proxy.resident_mib()
        with pytest.raises(ConnectionError):
            reset_streams(proxy.grpc, 20_000)
        with urllib.request.urlopen(f"{proxy.http}/healthz", timeout=10) as answer:  # loopback
            assert answer.status == 200
        grown_mib = proxy.resident_mib("VmHWM") - before_mib

    assert grown_mib < 32


@contextlib.contextmanager
def agents(folder: Path, proxy: str) -> Iterator[None]:
    """Four agents of our contract with the default pauses."""
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(PageNode("x 1\n").served())
        for number in range(4):
            agent = programs.start_agent(
                folder / str(number),
                pod_name=f"pod-{number}",
                proxy=proxy,
                metrics_port=node.port,
                pprof_port=node.port,
            )
            stack.enter_context(programs.running(agent))
        yield


def test_proxy_ends_quickly_and_its_agents_are_back_soon_after_a_kill(tmp_path: Path) -> None:
    """P25: SIGTERM took 2.2 s, and agents came back 10.3 s after a second kill."""
    (port,) = processes.free_ports(1)
    listen = f"--grpc-listen-addr=127.0.0.1:{port}"
    proxy = programs.start_proxy(tmp_path, listen)
    try:
        with agents(tmp_path, proxy.grpc):
            until("four agents", lambda: living(proxy) == 4)
            for life in range(2):
                proxy.kill()
                programs.end(proxy)
                proxy = programs.start_proxy(tmp_path, listen, name=f"proxy-{life}")
                until("all are back", lambda: living(proxy) == 4, deadline_s=8.0)  # noqa: B023 - asked at once
            took_s = proxy.stop()
    finally:
        programs.end(proxy)

    assert took_s <= 2.0
