# SPDX-License-Identifier: Apache-2.0
"""The transport of the existing Go agents, grpc-go, against the proxy's port."""

import base64
import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e import having, programs
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc

SERVICE = "/banyandb.fodc.v1.FODCService/"
DATA_STREAMS = (
    "StreamMetrics",
    "StreamClusterTopology",
    "StreamLifecycle",
    "StreamCrashDiagnostics",
    "StreamPressureProfiles",
    "StreamSchemaRegistry",
)
SERIES = 20_000

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Caller:
    """A process that does what it is told, one line after the other."""

    child: subprocess.Popen[str]

    def ask(self, do: str, name: str, **told: object) -> dict[str, object]:
        """Say one line and return the answer."""
        data = told.pop("data", b"")
        coded = base64.b64encode(data).decode()
        self.child.stdin.write(json.dumps({"do": do, "name": name, "data": coded, **told}) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def receive(self, name: str) -> bytes:
        """Return the next message of a stream."""
        got = self.ask("receive", name)
        assert "code" not in got, got
        return base64.b64decode(str(got.get("data", "")))

    def register(self, pod_name: str) -> str:
        """Register and open the six data streams; return the agent's id."""
        request = fodc.RegisterAgentRequest(
            node_role="ROLE_DATA", pod_name=pod_name, container_names=["data"]
        )
        self.ask("open", "register", method=SERVICE + "RegisterAgent")
        self.ask("send", "register", data=request.SerializeToString())
        reply = fodc.RegisterAgentResponse.FromString(self.receive("register"))
        assert reply.success
        for method in DATA_STREAMS:
            known = {"agent_id": reply.agent_id}
            opened = self.ask("open", method, method=SERVICE + method, metadata=known)
            assert "code" not in opened, opened
        return reply.agent_id


@contextlib.contextmanager
def caller(address: str) -> Iterator[Caller]:
    """Run a client on grpc-go; skips where it cannot be built."""
    program = having.had("NO PEER ON GRPC-GO", "grpc_caller")
    child = subprocess.Popen(
        [program, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Caller(child)
    finally:
        child.stdin.close()
        child.wait(10)
        child.stdout.close()


def get(proxy: programs.Program, path: str) -> str:
    with urllib.request.urlopen(f"{proxy.http}{path}", timeout=30) as answer:  # loopback
        return answer.read().decode()


def test_a_go_agent_registers_and_answers_a_scrape_of_some_megabytes(tmp_path: Path) -> None:
    metrics = [
        fodc.Metric(name="up", type=1, value=float(n), labels={"n": str(n), "pad": "x" * 40})
        for n in range(SERIES)
    ]
    page = fodc.StreamMetricsRequest(metrics=metrics).SerializeToString()
    assert len(page) > 1 << 20
    with (
        programs.running(programs.start_proxy(tmp_path)) as proxy,
        caller(proxy.grpc) as agent,
        ThreadPoolExecutor(1) as reader,
    ):
        agent.register("pod-0")
        for _ in range(3):
            asked = reader.submit(get, proxy, "/metrics")
            agent.receive("StreamMetrics")
            agent.ask("send", "StreamMetrics", data=page)
            assert asked.result().count("\nup{") == SERIES
        assert json.loads(get(proxy, "/cluster"))["nodes"][0]["phase"] == "Online"


def test_refusals_reach_a_go_client_with_code_and_words(tmp_path: Path) -> None:
    with programs.running(programs.start_proxy(tmp_path)) as proxy, caller(proxy.grpc) as agent:
        agent.ask("open", "a", method=SERVICE + "StreamMetrics")
        agent.ask("open", "b", method="/fodc.v1.AgentLink/Nothing")
        agent.ask("open", "c", method=SERVICE + "RegisterAgent")
        agent.ask("send", "c", size=2 << 20)
        told = [agent.ask("receive", name) for name in "abc"]

    assert [(one["code"], one["message"]) for one in told] == [
        ("Unauthenticated", "agent ID not found in context or peer address"),
        ("Unimplemented", "there is no method /fodc.v1.AgentLink/Nothing"),
        ("ResourceExhausted", "a message of 2097152 bytes, at most 1048576 are taken"),
    ]


def test_a_go_client_that_cancels_or_is_told_to_go_ends_cleanly(tmp_path: Path) -> None:
    with programs.running(programs.start_proxy(tmp_path)) as proxy, caller(proxy.grpc) as agent:
        agent.register("pod-0")
        agent.ask("cancel", "StreamLifecycle")
        assert agent.ask("receive", "StreamLifecycle")["code"] == "Canceled"
        agent.ask("end", "StreamSchemaRegistry")
        assert agent.ask("receive", "StreamSchemaRegistry")["message"] == "EOF"
        assert proxy.stop() < 2
        ended = agent.ask("receive", "register")

    assert (ended["code"], ended["message"]) == ("Unavailable", "the proxy stops")
