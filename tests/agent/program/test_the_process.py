# SPDX-License-Identifier: Apache-2.0
"""The agent as a process of its own: real signals, real sockets, real restarts."""

import http.server
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from e2e.https_servers import QuietServer
from fodc_agent.recorder.journal import Journal
from fodc_agent.recorder.journal_records import JournaledRow
from fodc_wire.banyandb.database.v1 import database_pb2
from fodc_wire.banyandb.database.v1 import rpc_pb2 as database_rpc_pb2
from fodc_wire.banyandb.fodc.v1 import rpc_pb2
from fodc_wire.fodc.v1 import agent_link_pb2 as pb
from tests.interop.fleet import kept_port

PAGE = b'# TYPE up gauge\nup 1\n# TYPE writes counter\nwrites{group="a"} 7\n'


class Node(http.server.BaseHTTPRequestHandler):
    """A page, and a CPU profile that takes its time."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/debug/pprof/profile"):
            self.server.profiling.set()
            self.server.release.wait(20)
        while self.path == "/metrics" and self.server.silent.is_set():
            time.sleep(0.02)
        bodies = {"/metrics": PAGE, "/debug/pprof/cmdline": self.server.command}
        body = bodies.get(self.path, b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def node():
    server = QuietServer(("127.0.0.1", 0), Node)
    server.profiling, server.release = threading.Event(), threading.Event()
    server.silent = threading.Event()
    server.command = b""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.release.set()
    server.silent.clear()
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Proxy:
    """A proxy of either contract in threads of the test."""

    link: bool = True
    existing: bool = False
    answers: bool = True
    acknowledges: bool = True
    """Without, the agent hangs up after 0.6 s and comes again."""
    refusal: pb.Refusal | None = None
    frames: queue.Queue = field(default_factory=queue.Queue)
    outgoing: queue.Queue = field(default_factory=queue.Queue)

    def connect(self, requests, context):
        # A stream of its own, so that one which was lost takes no frame from the next.
        outgoing = self.outgoing = queue.Queue()

        def read():
            try:
                for frame in requests:
                    kind = frame.WhichOneof("frame")
                    if kind == "hello" and self.refusal is not None:
                        outgoing.put(pb.ProxyFrame(refusal=self.refusal))
                    elif kind == "hello" and self.answers:
                        # Three intervals are an agent's patience.
                        interval_ms = 1000 if self.acknowledges else 200
                        welcome = pb.Welcome(
                            protocol=1,
                            agent_id="id",
                            heartbeat_interval_ms=interval_ms,
                            chunk_bytes=1024,
                        )
                        outgoing.put(pb.ProxyFrame(welcome=welcome))
                    elif kind == "heartbeat" and self.acknowledges:
                        ack = pb.HeartbeatAck(sequence=frame.heartbeat.sequence)
                        outgoing.put(pb.ProxyFrame(heartbeat_ack=ack))
                    self.frames.put((kind, frame))
                self.frames.put(("half-closed", None))
            except grpc.RpcError:
                self.frames.put(("lost", None))
            outgoing.put(None)

        threading.Thread(target=read, daemon=True).start()
        while (frame := outgoing.get()) is not None:
            yield frame

    def register(self, requests, context):
        for request in requests:
            self.frames.put(("registration", request))
            yield rpc_pb2.RegisterAgentResponse(success=True, agent_id="old-id")
        self.frames.put(("half-closed", None))

    def hear(self, *kinds):
        """Return the next frame of these kinds; what comes before it is dropped."""
        deadline_s = time.monotonic() + 15
        while True:
            got, frame = self.frames.get(timeout=max(0.01, deadline_s - time.monotonic()))
            if got in kinds:
                return frame

    def ask_window(self, end_ms):
        """Return all parts of the history up to `end_ms`."""
        query = pb.WindowQuery(query_id=1, start_ms=0, end_ms=end_ms)
        self.outgoing.put(pb.ProxyFrame(window_query=query))
        parts = [self.hear("window_part").window_part]
        while not parts[-1].last:
            parts.append(self.hear("window_part").window_part)
        return parts


@contextmanager
def serving(proxy, port=0):
    server = grpc.server(futures.ThreadPoolExecutor(8), options=(("grpc.so_reuseport", 0),))
    if proxy.link:
        handler = grpc.stream_stream_rpc_method_handler(
            proxy.connect, pb.AgentFrame.FromString, pb.ProxyFrame.SerializeToString
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("fodc.v1.AgentLink", {"Connect": handler}),)
        )
    if proxy.existing:
        handler = grpc.stream_stream_rpc_method_handler(
            proxy.register,
            rpc_pb2.RegisterAgentRequest.FromString,
            rpc_pb2.RegisterAgentResponse.SerializeToString,
        )
        service = "banyandb.fodc.v1.FODCService"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"RegisterAgent": handler}),)
        )
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield port
    finally:
        proxy.outgoing.put(None)
        server.stop(0).wait(5)


class Agent:
    """A running agent."""

    def __init__(self, node, tmp_path, proxy_port=None, *flags):
        page = node.server_address[1]
        proxy = f"--proxy-addr=127.0.0.1:{proxy_port}" if proxy_port else "--proxy-addr="
        self.log_path = tmp_path / "agent.log"
        self.log = self.log_path.open("a")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FODC_")}
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "fodc_agent",
                f"--poll-metrics-ports={page}",
                f"--pprof-ports={page}",
                "--poll-metrics-interval=1s",
                "--prometheus-listen-addr=127.0.0.1:0",
                "--print-addresses",
                "--pod-name=data-0",
                "--node-role=data",
                f"--node-pid={os.getpid()}",
                f"--capture-dir={tmp_path / 'captures'}",
                "--reconnect-interval=100ms",
                proxy,
                *flags,
            ],
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=environment,
        )
        told = self.process.stdout.readline()
        assert told, self.log_path.read_text()
        self.address = json.loads(told)["http"]

    def get(self, path):
        url = f"http://{self.address}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_for(self, path, condition):
        deadline_s = time.monotonic() + 15
        while time.monotonic() < deadline_s:
            status, body = self.get(path)
            if condition(status, body):
                return body
            assert self.process.poll() is None, self.log_path.read_text()
            time.sleep(0.02)
        raise AssertionError(f"{path}: {status} {body}\n{self.log_path.read_text()}")

    def end(self, number=signal.SIGTERM):
        """Send a signal; return exit code and seconds, without those for which others ran."""
        begun_s, waited_s = time.monotonic(), self.waited_s()
        os.kill(self.process.pid, number)
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        took_s = time.monotonic() - begun_s - (self.waited_s() - waited_s)
        return self.process.wait(10), took_s

    def waited_s(self):
        """Return for how long its main thread could run and did not, as the scheduler says."""
        figures = Path(f"/proc/{self.process.pid}/schedstat").read_text().split()
        return int(figures[1]) / 1e9

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()
        self.log.close()


def is_ready(status, body):
    return status == 200 and json.loads(body)["ready"]


def test_the_agent_scrapes_links_and_says_so(node, tmp_path):
    proxy = Proxy()
    with serving(proxy) as port, Agent(node, tmp_path, port) as agent:
        hello = proxy.hear("hello").hello
        assert (hello.identity.pod_name, hello.state.node_role) == ("data-0", "ROLE_DATA")
        agent.wait_for("/readyz", is_ready)
        page = agent.wait_for("/metrics", lambda _, body: "writes{" in body)
        assert 'writes{group="a",node_role="ROLE_DATA",pod_name="data-0"} 7\n' in page


def test_a14_the_first_page_is_there_at_once_at_the_usual_interval(node, tmp_path):
    flags = ("--poll-metrics-interval=10s",)
    with Agent(node, tmp_path, None, *flags) as agent:
        agent.wait_for("/healthz", lambda status, _: status == 200)
        begun_s = time.monotonic()
        agent.wait_for("/readyz", is_ready)
        page = agent.get("/metrics")[1]
        assert time.monotonic() - begun_s < 8
    assert "writes{" in page


def test_a14_an_agent_without_a_first_page_says_so(node, tmp_path):
    node.silent.set()
    proxy = Proxy()
    with serving(proxy) as port, Agent(node, tmp_path, port) as agent:
        state = proxy.hear("hello").hello.state
        page = node.server_address[1]
        told = [one.message for one in state.conditions if one.type == "NodeScraped"]
        assert told == [f"metrics:{page}: no page has come yet"]
        proxy.outgoing.put(pb.ProxyFrame(metrics_query=pb.MetricsQuery(query_id=1)))
        assert len(proxy.hear("metrics_page").metrics_page.families) > 0  # the agent's own
        body = agent.get("/readyz")[1]
        assert f"metrics:{page}: no page has come yet" in body
        node.silent.clear()
        agent.wait_for("/readyz", is_ready)


def test_the_first_words_to_the_proxy_tell_what_the_agent_can_do(node, tmp_path):
    flags = ("--node-labels=type=hot", "--flavor=basic", "--pod-ip=10.0.0.7")
    proxy = Proxy()
    with serving(proxy) as port, Agent(node, tmp_path, port, *flags) as agent:
        hello = proxy.hear("hello").hello
        told = {one.kind: one.state for one in hello.state.capabilities}
        assert told["process"] == "Supported"
        assert {"cgroup", "pressure", "kernel", "config", "cpu"} <= set(told)
        assert len(told) <= 32  # what a FodcNode holds
        assert dict(hello.state.labels) == {"type": "hot"}
        assert {one.host for one in hello.identity.addresses} == {"10.0.0.7"}
        agent.wait_for("/healthz", lambda status, _: status == 200)
        checks = [line for line in agent.log_path.read_text().splitlines() if "self_check" in line]
    assert len(checks) == 1
    assert f"node_pid={os.getpid()}" in checks[0]
    assert "kernel=" in checks[0]


def sample_lines(page):
    return [line for line in page.splitlines() if line and not line.startswith("#")]


def without(label, page):
    return [line for line in sample_lines(page) if f'{label}"' not in line]


def test_t_wd_21_identity_labels_are_on_every_sample(node, tmp_path):
    """On those of the kernel and of the agent itself too, which belong to no container."""
    flags = ("--container-names=data", "--proxy-addr=")
    with Agent(node, tmp_path, None, *flags) as agent:
        page = agent.wait_for(
            "/metrics", lambda _, body: "writes{" in body and len(sample_lines(body)) > 10
        )
        assert without('node_role="ROLE_DATA', page) == []
        assert without('pod_name="data-0', page) == []
        assert [line for line in sample_lines(page) if "container_name=" in line] == [
            'up{container_name="data",node_role="ROLE_DATA",pod_name="data-0"} 1',
            'writes{container_name="data",group="a",node_role="ROLE_DATA",pod_name="data-0"} 7',
        ]


class NodeInfo:
    """The node's answer to who it is; `asked` counts the questions."""

    def __init__(self, *roles, **labels):
        self.asked = 0
        self.tell(*roles, **labels)

    def tell(self, *roles, **labels):
        self.answer = database_rpc_pb2.GetCurrentNodeResponse(
            node=database_pb2.Node(roles=roles, labels=labels)
        )

    def current(self, request, context):
        self.asked += 1
        return self.answer

    def wait_for_two_more_questions(self):
        """The second one was asked after the answer to the first one was taken."""
        until, deadline_s = self.asked + 2, time.monotonic() + 15
        while self.asked < until:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


@contextmanager
def telling(info):
    server = grpc.server(futures.ThreadPoolExecutor(2), options=(("grpc.so_reuseport", 0),))
    handler = grpc.unary_unary_rpc_method_handler(
        info.current,
        database_rpc_pb2.GetCurrentNodeRequest.FromString,
        database_rpc_pb2.GetCurrentNodeResponse.SerializeToString,
    )
    service = "banyandb.database.v1.NodeQueryService"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"GetCurrentNode": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield (
            "--node-role=",
            f"--cluster-state-ports={port}",
            "--cluster-state-poll-interval=50ms",
        )
    finally:
        server.stop(0).wait(5)


def test_t_wd_26_samples_are_recorded_at_once_and_get_the_role_when_it_is_known(node, tmp_path):
    """Upstream discards all samples until there is a role, or for five minutes.

    Here the role is no part of a stored series: what was recorded before carries it as well, and
    no series under the old role stays behind (the ghosts that upstream's gate is against).
    """
    info, proxy = NodeInfo(), Proxy()
    with (
        telling(info) as flags,
        serving(proxy) as port,
        Agent(node, tmp_path, port, *flags) as agent,
    ):
        agent.wait_for("/metrics", lambda _, body: "writes{" in body)
        early_ms = int(time.time() * 1000)
        checks = json.loads(agent.get("/readyz")[1])["checks"]
        assert ("role-known", False) in [(check["name"], check["ok"]) for check in checks]
        info.tell(database_pb2.ROLE_META, database_pb2.ROLE_DATA, type="hot")
        page = agent.wait_for("/metrics", lambda _, body: 'node_role="ROLE_DATA"' in body)
        assert without('node_role="ROLE_DATA', page) == []
        agent.wait_for("/readyz", is_ready)
        parts = proxy.ask_window(early_ms)
        (series,) = [one for part in parts for one in part.series if one.name == "writes"]
        assert dict(zip(series.labels[::2], series.labels[1::2], strict=True)) == {
            "group": "a",
            "node_role": "ROLE_DATA",
            "node_type": "hot",
            "pod_name": "data-0",
        }
        info.tell()
        info.wait_for_two_more_questions()
        assert without('node_role="ROLE_DATA', agent.get("/metrics")[1]) == []


def test_t_wd_26_without_a_provider_the_given_role_is_there_from_the_start(node, tmp_path):
    with Agent(node, tmp_path, None, "--proxy-addr=") as agent:
        page = agent.wait_for("/metrics", lambda _, body: sample_lines(body))
        assert without('node_role="ROLE_DATA', page) == []


def test_t_wd_27_a_role_stays_while_labels_are_refreshed(node, tmp_path):
    """Upstream keeps the first labels until it is restarted (W-15); ours follow a new tier."""
    info = NodeInfo(database_pb2.ROLE_DATA, type="warm")
    with telling(info) as flags, Agent(node, tmp_path, None, *flags) as agent:
        page = agent.wait_for(
            "/metrics", lambda _, body: "writes{" in body and 'node_type="warm"' in body
        )
        assert without('node_type="warm', page) == []
        info.tell(type="nothing")
        info.wait_for_two_more_questions()
        assert without('node_type="warm', agent.get("/metrics")[1]) == []
        info.tell(database_pb2.ROLE_DATA, type="hot")
        page = agent.wait_for("/metrics", lambda _, body: 'node_type="hot"' in body)
        assert without('node_type="hot', page) == []
        assert without('node_role="ROLE_DATA', page) == []


@pytest.mark.parametrize(
    ("role", "command", "labels"),
    [
        ("--node-role=", b"data", 'node_role="ROLE_DATA",node_type="hot",node_zone="a"'),
        ("--node-role=liaison", b"x", 'node_role="ROLE_LIAISON",node_type="hot",node_zone="a"'),
    ],
)
def test_labels_of_the_nodes_own_flag_are_taken_where_no_port_tells_them(
    node, tmp_path, role, command, labels
):
    """A role that was told wins over that of the command, and does not keep the labels away."""
    node.command = b"banyand\0" + command + b"\0--node-labels\0type=hot,zone=a"
    proxy = Proxy()
    with serving(proxy) as port, Agent(node, tmp_path, port, role) as agent:
        page = agent.wait_for("/metrics", lambda _, body: "node_type=" in body and "\nup{" in body)
        assert f'up{{{labels},pod_name="data-0"}} 1\n' in page
        told = {}
        while told != {"type": "hot", "zone": "a"}:
            frame = proxy.hear("hello", "heartbeat")
            told = dict(getattr(frame, frame.WhichOneof("frame")).state.labels) or told


def test_a22_a_restart_of_the_node_refreshes_its_configuration(node, tmp_path):
    node.command = b"/banyand\0data\0--grpc-port=1\0"
    proxy = Proxy()
    with serving(proxy) as port, Agent(node, tmp_path, port) as agent:
        agent.wait_for("/readyz", is_ready)
        first = configuration(proxy)
        # Its page is away for a moment, then a node with other flags is there.
        node.silent.set()
        node.command = b"/banyand\0data\0--grpc-port=2\0"
        agent.wait_for("/readyz", lambda status, body: status == 503 and "metrics:" in body)
        node.silent.clear()
        hashes = set()
        while len(hashes) < 2:  # a change is told with the next heartbeat
            frame = proxy.hear("hello", "heartbeat")
            hashes |= {getattr(frame, frame.WhichOneof("frame")).state.configuration_hash} - {""}
        second = configuration(proxy)
    assert (first["grpc-port"], second["grpc-port"]) == ("1", "2")


def configuration(proxy):
    query = pb.ConfigurationQuery(query_id=7)
    proxy.outgoing.put(pb.ProxyFrame(configuration_query=query))
    return {one.name: one.value for one in proxy.hear("configuration").configuration.entries}


def test_a_metrics_query_brings_the_node_and_the_agent_itself(node, tmp_path):
    """W-06: the agent's own figures reach the proxy too."""
    proxy = Proxy()
    with serving(proxy) as port, Agent(node, tmp_path, port) as agent:
        proxy.hear("hello")
        for awaited in ("fodc_agent_scrape_up", "fodc_agent_build_info"):
            agent.wait_for("/metrics", lambda _, body, name=awaited: name in body)
        agent.wait_for("/readyz", is_ready)
        proxy.outgoing.put(pb.ProxyFrame(metrics_query=pb.MetricsQuery(query_id=1)))
        page = proxy.hear("metrics_page").metrics_page
        names = {family.name for family in page.families}
        assert {"up", "writes", "fodc_agent_scrape_up", "fodc_agent_build_info"} <= names


def test_a_terminated_agent_is_gone_within_two_seconds_and_says_goodbye(node, tmp_path):
    """With a capture in progress and a proxy attached; the stream is half-closed, not cut."""
    proxy = Proxy()
    with serving(proxy) as port, Agent(node, tmp_path, port) as agent:
        proxy.hear("hello")
        agent.wait_for("/readyz", is_ready)
        command = pb.StartCapture(command_id="c-1", profile="cpu", duration_ms=20_000)
        proxy.outgoing.put(pb.ProxyFrame(start_capture=command))
        assert node.profiling.wait(10), list(proxy.frames.queue)
        code, took_s = agent.end()
        assert (code, took_s < 2.0) == (0, True)
        proxy.hear("half-closed")


def test_a_second_signal_ends_the_agent_at_once(node, tmp_path):
    with Agent(node, tmp_path) as agent:
        agent.wait_for("/healthz", lambda status, _: status == 200)
        agent.process.send_signal(signal.SIGINT)
        code, took_s = agent.end(signal.SIGINT)
        assert code in {0, 128 + signal.SIGINT}
        assert took_s < 2.0


def journaled(directory):
    """Return the rows that are on the disk now."""
    journal = Journal(directory, max_bytes=1 << 20)
    return [one for one in journal.replay(journal.earlier()) if isinstance(one, JournaledRow)]


def test_a_killed_agent_finds_its_window_again(node, tmp_path):
    flags = (f"--recorder-dir={tmp_path / 'journal'}",)
    with Agent(node, tmp_path, None, *flags) as agent:
        agent.wait_for("/metrics", lambda _, body: "writes{" in body)
        deadline_s = time.monotonic() + 10
        while not any(row.source.startswith("metrics:") for row in journaled(tmp_path / "journal")):
            assert time.monotonic() < deadline_s
        agent.end(signal.SIGKILL)
    proxy = Proxy()
    node.release.set()
    began_ms = int(time.time() * 1000)
    with serving(proxy) as port, Agent(node, tmp_path, port, *flags):
        proxy.hear("hello")
        parts = proxy.ask_window(began_ms)
        (part,) = [part for part in parts if "writes" in [series.name for series in part.series]]
        assert len(part.timestamps_ms) >= 1


def test_a_restarted_agent_answers_for_the_capture_that_it_lost(node, tmp_path):
    proxy = Proxy()
    with serving(proxy) as port:
        with Agent(node, tmp_path, port) as agent:
            proxy.hear("hello")
            command = pb.StartCapture(command_id="c-1", profile="cpu", duration_ms=20_000)
            proxy.outgoing.put(pb.ProxyFrame(start_capture=command))
            assert node.profiling.wait(10), list(proxy.frames.queue)
            agent.end(signal.SIGKILL)
        proxy.hear("lost", "half-closed")  # which of them is up to the server's library
        with Agent(node, tmp_path, port):
            hello = proxy.hear("hello").hello
            assert list(hello.held_command_ids) == ["c-1"]
            proxy.outgoing.put(pb.ProxyFrame(start_capture=command))
            update = proxy.hear("command_update").command_update
            assert (update.state, update.reason) == (
                pb.CommandUpdate.STATE_FAILED,
                "AgentRestarted",
            )


def test_a_proxy_without_the_link_gets_the_existing_contract(node, tmp_path):
    proxy = Proxy(link=False, existing=True)
    with serving(proxy) as port, Agent(node, tmp_path, port) as agent:
        registration = proxy.hear("registration")
        assert (registration.node_role, registration.pod_name) == ("ROLE_DATA", "data-0")
        agent.wait_for("/readyz", is_ready)
        code, took_s = agent.end()
        assert (code, took_s < 2.0) == (0, True)
        proxy.hear("half-closed")


def test_a_silent_proxy_is_noticed_and_named(node, tmp_path):
    """It welcomes and then acknowledges no heartbeat: half dead, which TCP cannot see."""
    proxy = Proxy(acknowledges=False)
    with serving(proxy) as port, Agent(node, tmp_path, port) as agent:
        proxy.hear("hello")
        proxy.hear("hello")
        assert "ProxySilent" in agent.log_path.read_text()


def test_a_refusal_is_shown(node, tmp_path):
    refusal = pb.Refusal(reason="ProtocolMismatch", message="update the agent")
    proxy = Proxy(refusal=refusal)
    with serving(proxy) as port, Agent(node, tmp_path, port) as agent:
        agent.wait_for(
            "/readyz",
            lambda status, body: status == 503 and "ProtocolMismatch: update the agent" in body,
        )


def test_an_agent_without_a_node_serves_its_port_and_says_what_is_missing(node, tmp_path):
    """W-03: the port is open from the first moment, whatever else is not there."""
    with (
        kept_port() as proxy,
        kept_port() as page,
        Agent(node, tmp_path, proxy, f"--poll-metrics-ports={page}") as agent,
    ):
        agent.wait_for("/healthz", lambda status, _: status == 200)
        body = agent.wait_for("/readyz", lambda status, body: "metrics:" in body)
        names = {check["name"]: check["ok"] for check in json.loads(body)["checks"]}
        assert names == {
            "node-scraped": False,
            "window": True,
            "role-known": True,
            "proxy-linked": False,
        }


def test_a_proxy_that_comes_late_is_found(node, tmp_path):
    with kept_port() as port, Agent(node, tmp_path, port) as agent:
        agent.wait_for("/readyz", lambda _, body: "Unreachable" in body)
        proxy = Proxy()
        with serving(proxy, port):
            proxy.hear("hello")


def run_agent(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "fodc_agent", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_bad_value_ends_with_2_and_one_line_that_names_the_flag():
    ended = run_agent("--poll-metrics-interval=0")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "fodc-agent: poll-metrics-interval must be greater than 0 (--poll-metrics-interval is '0')"
    ]


def test_a_taken_port_ends_with_1_and_names_the_flag(node):
    ended = run_agent(f"--prometheus-listen-addr=127.0.0.1:{node.server_address[1]}")
    assert ended.returncode == 1
    assert ended.stderr.startswith("fodc-agent: --prometheus-listen-addr")
    assert len(ended.stderr.splitlines()) == 1


def test_help_and_version_are_answered():
    assert run_agent("--help").stdout.startswith("Usage: fodc-agent")
    assert run_agent("--version").stdout == "fodc-agent 0.1.0\n"


def test_neither_openssl_nor_protobuf_is_loaded_without_need(node, tmp_path):
    """Memory beside a database: TLS is off and the proxy speaks the link."""
    proxy = Proxy()
    with serving(proxy) as port, Agent(node, tmp_path, port) as agent:
        proxy.hear("hello")
        agent.wait_for("/readyz", is_ready)
        mapped = Path(f"/proc/{agent.process.pid}/maps").read_text()
        assert [name for name in ("libssl", "libcrypto", "_upb") if name in mapped] == []
