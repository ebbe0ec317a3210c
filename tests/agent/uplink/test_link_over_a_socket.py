# SPDX-License-Identifier: Apache-2.0
"""Our link against a real grpc.aio peer over loopback."""

import asyncio
import hashlib
import zlib
from array import array
from dataclasses import dataclass, field

import pytest

from fodc_agent.clocks import SteadyClock
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.uplink.agent_link import AgentLink
from fodc_agent.uplink.answers import Answers, NoAnswerError
from fodc_protocol.errors import BadRequestError
from fodc_protocol.link import frames
from fodc_protocol.link.agent_side import AgentSession
from fodc_protocol.metrics.families import FamilyBlock
from fodc_protocol.metrics.samples import MetricType, Series
from fodc_wire.fodc.v1 import agent_link_pb2 as pb

IDENTITY = frames.Identity("data-hot-0", "prod", "uid-1", "node-a", "west", ("data",))
STATE = frames.NodeState("ROLE_DATA", {"type": "hot"})


@dataclass
class FakeLatest:
    blocks: list[FamilyBlock]
    at_ms: int


@dataclass
class FakeColumns:
    source: str
    series: tuple[Series, ...]
    timestamps_ms: array
    values: array


@dataclass
class FakeHistory:
    blocks: list[FamilyBlock] = field(default_factory=list)
    pieces: list[FakeColumns] = field(default_factory=list)

    def latest(self):
        return FakeLatest(self.blocks, 1_700_000_000_000)

    def window(self, start_ms, end_ms, names=None, max_points=None):
        return iter(self.pieces)


class FakeJobs:
    """Captures whose end the test decides."""

    def __init__(self, data=b""):
        self.data = data
        self.running: dict[str, int] = {}
        self.forgotten: list[str] = []
        self.notes = None

    def begin(self, command):
        if command.profile == "nonsense":
            raise BadRequestError("profile 'nonsense' is not known")
        self.running[command.command_id] = 0

    def finish(self, command_id, profile="heap"):
        del self.running[command_id]
        digest = hashlib.sha256(self.data).hexdigest()
        artifact = frames.Artifact(profile, "pprof", len(self.data), digest, 7, 1, 2)
        captured = frames.CommandState.CAPTURED
        self.notes.noted(frames.CommandUpdate(command_id, captured, artifact=artifact))

    def cancel(self, command_id, mode):
        if command_id not in self.running:
            return False
        del self.running[command_id]
        cancelled = frames.CommandState.CANCELLED
        self.notes.noted(frames.CommandUpdate(command_id, cancelled, "Aborted", "discarded"))
        return True

    def active(self):
        return list(self.running.items())

    async def read(self, command_id, offset, length_bytes):
        if not self.data:
            raise OSError("gone")
        return self.data[offset : offset + length_bytes]

    async def forget(self, command_id):
        self.forgotten.append(command_id)


async def no_configuration(query_id):
    raise NoAnswerError("Unsupported", "no configuration source")


class Agent:
    """The link with its session and one connection to the peer."""

    def __init__(self, history=None, jobs=None, heartbeat_ms=10_000):
        self.history = history or FakeHistory()
        self.jobs = jobs or FakeJobs()
        self.session = AgentSession(
            identity=IDENTITY,
            state=STATE,
            agent_version="1.2.3",
            incarnation="inc-1",
            heartbeat_interval_ms=heartbeat_ms,
        )
        self.linked: asyncio.Queue = asyncio.Queue()
        self.link = AgentLink(
            self.session,
            Answers(self.history, no_configuration),
            self.jobs,
            now_ms=SteadyClock(),
            on_linked=self.linked.put_nowait,
        )
        self.jobs.notes = self.link
        self.stop = asyncio.Event()

    async def connect(self, peer):
        self.channel = await RpcChannel.connect(Endpoint("127.0.0.1", peer.port))
        self.task = asyncio.create_task(self.link.run(self.channel, self.stop))

    async def close(self):
        self.stop.set()
        await asyncio.wait([self.task])
        await self.link.transfers.close()
        self.channel.close()


async def linked(link_peer, agent, **peer_options):
    peer = link_peer(**peer_options)
    await peer.start()
    await agent.connect(peer)
    await asyncio.wait_for(agent.linked.get(), 10)
    return peer


def test_hello_says_who_the_agent_is_and_welcome_links_it(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent)
        hello = await peer.hear("hello")
        assert hello.identity.pod_name == "data-hot-0"
        assert hello.identity.container_names == ["data"]
        assert hello.state.node_role == "ROLE_DATA"
        assert dict(hello.state.labels) == {"type": "hot"}
        assert hello.incarnation == "inc-1"
        assert agent.session.agent_id == "agent-1"
        await agent.close()
        assert peer.half_closed == 1
        await peer.stop()

    run_async(scenario)


def test_heartbeats_follow_the_announced_interval(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent, heartbeat_interval_ms=500)
        first = await peer.hear("heartbeat")
        second = await peer.hear("heartbeat")
        assert (first.sequence, second.sequence) == (1, 2)
        assert not second.HasField("state")
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_changed_role_is_told_at_once(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent)
        agent.link.state_changed(frames.NodeState("ROLE_LIAISON"))
        beat = await peer.hear("heartbeat")
        assert beat.state.node_role == "ROLE_LIAISON"
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_metrics_query_is_answered_with_one_page(link_peer, run_async):
    async def scenario():
        block = FamilyBlock("up", MetricType.GAUGE, "Up", b'up{a="b"} 1\n', 1)
        agent = Agent(FakeHistory([block]))
        peer = await linked(link_peer, agent)
        peer.say(metrics_query=pb.MetricsQuery(query_id=42))
        page = await peer.hear("metrics_page")
        assert (page.query_id, page.last, page.collected_at_ms) == (42, True, 1_700_000_000_000)
        assert [(f.name, f.text, f.type) for f in page.families] == [("up", b'up{a="b"} 1\n', 1)]
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_an_empty_recorder_still_answers_with_a_last_page(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent)
        peer.say(metrics_query=pb.MetricsQuery(query_id=1))
        page = await peer.hear("metrics_page")
        assert (page.last, len(page.families)) == (True, 0)
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_window_travels_as_columns_of_doubles(link_peer, run_async):
    async def scenario():
        series = (Series("up", (("a", "b"),), MetricType.GAUGE, "Up"), Series("down", ()))
        piece = FakeColumns("node", series, array("q", [1, 2]), array("d", [1.0, 2.0, 3.0, 4.0]))
        agent = Agent(FakeHistory(pieces=[piece]))
        peer = await linked(link_peer, agent)
        peer.say(window_query=pb.WindowQuery(query_id=9, start_ms=0, end_ms=10))
        part = await peer.hear("window_part")
        last = await peer.hear("window_part")
        assert [(s.name, list(s.labels)) for s in part.series] == [("up", ["a", "b"]), ("down", [])]
        assert list(part.timestamps_ms) == [1, 2]
        assert array("d", part.values).tolist() == [1.0, 2.0, 3.0, 4.0]
        assert (part.last, last.last) == (False, True)
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_window_that_ends_before_it_starts_is_refused_with_a_reason(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent)
        peer.say(window_query=pb.WindowQuery(query_id=9, start_ms=10, end_ms=1))
        failed = await peer.hear("query_failed")
        assert (failed.query_id, failed.reason) == (9, "BadRequest")
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_missing_configuration_is_answered_with_its_reason(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent)
        peer.say(configuration_query=pb.ConfigurationQuery(query_id=3))
        failed = await peer.hear("query_failed")
        assert (failed.query_id, failed.reason) == (3, "Unsupported")
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a10_a_configuration_that_hangs_holds_no_other_answer(link_peer, run_async):
    async def work():
        asked, release = asyncio.Event(), asyncio.Event()

        async def hung(query_id):
            asked.set()
            await release.wait()
            return frames.Configuration(query_id, 1, "h", 1, (), ())

        history = FakeHistory([FamilyBlock("up", MetricType.GAUGE, "", b"up 1\n", 1)])
        agent = Agent(history)
        agent.link._answers = Answers(history, hung)
        peer = await linked(link_peer, agent)
        peer.say(configuration_query=pb.ConfigurationQuery(query_id=1))
        async with asyncio.timeout(5):
            await asked.wait()
            for number in range(2, 12):
                peer.say(metrics_query=pb.MetricsQuery(query_id=number))
                assert (await peer.hear("metrics_page")).query_id == number
            peer.say(window_query=pb.WindowQuery(query_id=20, start_ms=0, end_ms=9))
            assert (await peer.hear("window_part")).query_id == 20
        release.set()
        assert (await peer.hear("configuration")).query_id == 1
        await agent.close()
        await peer.stop()

    run_async(work)


def test_a_capture_is_accepted_reported_and_sent_in_chunks_within_credit(link_peer, run_async):
    async def scenario():
        data = bytes(range(256)) * 10
        agent = Agent(jobs=FakeJobs(data))
        peer = await linked(link_peer, agent)
        peer.say(start_capture=pb.StartCapture(command_id="c1", profile="heap", timeout_ms=9000))
        accepted = await peer.hear("command_update")
        assert accepted.state == pb.CommandUpdate.STATE_ACCEPTED
        running = await peer.hear("command_update")
        assert running.state == pb.CommandUpdate.STATE_RUNNING
        agent.jobs.finish("c1")
        captured = await peer.hear("command_update")
        assert captured.artifact.size_bytes == len(data)
        peer.say(artifact_ack=pb.ArtifactAck(command_id="c1", received_bytes=0, credit_bytes=2048))
        got = b""
        for offset in (0, 1024):
            chunk = await peer.hear("artifact_chunk")
            assert (chunk.offset, chunk.crc32) == (offset, zlib.crc32(chunk.data))
            got += chunk.data
        peer.say(
            artifact_ack=pb.ArtifactAck(command_id="c1", received_bytes=2048, credit_bytes=2048)
        )
        got += (await peer.hear("artifact_chunk")).data
        assert got == data
        peer.say(artifact_ack=pb.ArtifactAck(command_id="c1", done=True))
        while not agent.jobs.forgotten:
            await asyncio.sleep(0.005)
        assert agent.jobs.forgotten == ["c1"]
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_capture_that_cannot_be_started_fails_with_its_reason(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent)
        peer.say(start_capture=pb.StartCapture(command_id="c1", profile="nonsense"))
        while (update := await peer.hear("command_update")).state < 4:
            pass
        assert (update.reason, update.message) == (
            "BadRequest",
            "profile 'nonsense' is not known",
        )
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_bytes_that_the_spool_lost_fail_the_capture(link_peer, run_async):
    async def scenario():
        agent = Agent(jobs=FakeJobs(b"x"))
        peer = await linked(link_peer, agent)
        peer.say(start_capture=pb.StartCapture(command_id="c1", profile="heap"))
        await peer.hear("command_update")
        agent.jobs.finish("c1")
        agent.jobs.data = b""
        peer.say(artifact_ack=pb.ArtifactAck(command_id="c1", credit_bytes=100))
        while (update := await peer.hear("command_update")).state < 4:
            pass
        assert (update.reason, update.message) == (
            "StorageFailed",
            "the spool lost the artifact: gone",
        )
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_an_aborted_capture_is_cancelled_and_discarded(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent)
        peer.say(start_capture=pb.StartCapture(command_id="c1", profile="cpu"))
        await peer.hear("command_update")
        peer.say(cancel_capture=pb.CancelCapture(command_id="c1", mode=2))
        while (update := await peer.hear("command_update")).state < 4:
            pass
        assert (update.state, update.reason) == (pb.CommandUpdate.STATE_CANCELLED, "Aborted")
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_capture_goes_on_while_the_line_is_cut(link_peer, run_async):
    async def scenario():
        agent = Agent(jobs=FakeJobs(b"profile"))
        peer = await linked(link_peer, agent)
        peer.say(start_capture=pb.StartCapture(command_id="c1", profile="cpu"))
        await peer.hear("command_update")
        peer.cut.set()
        await asyncio.wait([agent.task])
        agent.jobs.finish("c1", "cpu")
        agent.channel.close()
        await agent.connect(peer)
        await asyncio.wait_for(agent.linked.get(), 10)
        hello = await peer.hear("hello")
        assert list(hello.held_command_ids) == ["c1"]
        peer.say(start_capture=pb.StartCapture(command_id="c1", profile="cpu"))
        captured = await peer.hear("command_update")
        assert captured.state == pb.CommandUpdate.STATE_CAPTURED
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_refusal_ends_the_connection_with_its_reason(link_peer, run_async):
    async def scenario():
        refusal = pb.Refusal(reason="ProtocolMismatch", message="update", retry_after_ms=1500)
        agent = Agent()
        peer = link_peer(greeting=pb.ProxyFrame(refusal=refusal))
        await peer.start()
        await agent.connect(peer)
        hangup = await agent.task
        assert (hangup.reason, hangup.message, hangup.retry_after_ms) == (
            "ProtocolMismatch",
            "update",
            1500,
        )
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_silent_proxy_is_noticed(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent, ack_heartbeats=False, heartbeat_interval_ms=30)
        hangup = await asyncio.wait_for(agent.task, 10)
        assert hangup.reason == "ProxySilent"
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_frame_of_a_newer_proxy_is_ignored_and_counted(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent)
        peer.outgoing.put_nowait(b"\xca\x0c\x02hi")
        peer.say(metrics_query=pb.MetricsQuery(query_id=1))
        await peer.hear("metrics_page")
        assert agent.link.unknown_frames == 1
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_proxy_that_ends_the_stream_is_a_named_end(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent)
        peer.cut.set()
        hangup = await agent.task
        assert hangup.reason == "ProxyEnded"
        await agent.close()
        await peer.stop()

    run_async(scenario)


def test_a_proxy_that_vanishes_is_a_cut(link_peer, run_async):
    async def scenario():
        agent = Agent()
        peer = await linked(link_peer, agent)
        agent.channel._line._transport.abort()
        with pytest.raises(RpcError) as caught:
            await agent.task
        assert caught.value.fault is RpcFault.CUT
        agent.channel.close()
        await peer.stop()

    run_async(scenario)


def test_a_closed_port_is_unreachable(run_async):
    async def scenario():
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        with pytest.raises(RpcError) as caught:
            await RpcChannel.connect(Endpoint("127.0.0.1", port))
        assert caught.value.fault is RpcFault.UNREACHABLE

    run_async(scenario)
