# SPDX-License-Identifier: Apache-2.0
"""The existing contract against a fake of the Go proxy on a real socket (T-PX, §20)."""

import asyncio
from array import array
from dataclasses import dataclass, field

import grpc
import grpc.aio
import pytest

from fodc_agent.evidence.telling import Evidence
from fodc_agent.node_access import NodeAccess
from fodc_agent.occurrences.pressure_profiles import PressureProfiles
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.settings import load
from fodc_agent.uplink.existing import seven_streams
from fodc_agent.uplink.existing.metrics import MetricsAnswers
from fodc_agent.uplink.existing.seven_streams import SevenStreams
from fodc_agent.uplink.pace import Pace
from fodc_protocol.link import frames
from fodc_protocol.metrics.samples import ABSENT, MetricType, Sample, Series
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

STREAMS = {
    "RegisterAgent": pb.RegisterAgentRequest,
    "StreamMetrics": pb.StreamMetricsRequest,
    "StreamClusterTopology": pb.StreamClusterTopologyRequest,
    "StreamLifecycle": pb.StreamLifecycleRequest,
    "StreamCrashDiagnostics": pb.StreamCrashDiagnosticsRequest,
    "StreamPressureProfiles": pb.StreamPressureProfilesRequest,
    "StreamSchemaRegistry": pb.StreamSchemaRegistryRequest,
}


@dataclass
class GoProxy:
    """Answers like the recorded Go proxy; `unknown` streams are UNIMPLEMENTED."""

    unknown: frozenset[str] = frozenset()
    reply: pb.RegisterAgentResponse | None = None
    silent: bool = False
    opened: asyncio.Queue = field(default_factory=asyncio.Queue)
    messages: asyncio.Queue = field(default_factory=asyncio.Queue)
    half_closed: list[str] = field(default_factory=list)
    registrations: int = 0

    async def start(self):
        self.commands = {name: asyncio.Queue() for name in STREAMS}
        self.server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        handlers = {
            name: grpc.stream_stream_rpc_method_handler(
                self._handler(name),
                request_deserializer=message.FromString,
                response_serializer=lambda reply: reply.SerializeToString(),
            )
            for name, message in STREAMS.items()
            if name not in self.unknown
        }
        service = grpc.method_handlers_generic_handler("banyandb.fodc.v1.FODCService", handlers)
        self.server.add_generic_rpc_handlers((service,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()

    async def stop(self):
        await self.server.stop(0)

    def _handler(self, name):
        async def handle(requests, context):
            self.opened.put_nowait((name, dict(context.invocation_metadata())))
            reader = asyncio.create_task(self._read(name, requests))
            writer = asyncio.create_task(self._write(name, context))
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)

        return handle

    async def _read(self, name, requests):
        first = True
        async for message in requests:
            if name == "RegisterAgent" and first and not self.silent:
                self.registrations += 1
                self.commands[name].put_nowait(self.reply or self.accepted())
            first = False
            self.messages.put_nowait((name, message))
        self.half_closed.append(name)

    def accepted(self):
        return pb.RegisterAgentResponse(
            success=True,
            message="ok",
            heartbeat_interval_seconds=10,
            agent_id=f"id-{self.registrations}",
        )

    async def _write(self, name, context):
        while (command := await self.commands[name].get()) is not None:
            await context.write(command)

    async def hear(self, name):
        while True:
            async with asyncio.timeout(10):
                method, message = await self.messages.get()
            if method == name:
                return message

    async def opened_streams(self, count):
        async with asyncio.timeout(10):
            return [await self.opened.get() for _ in range(count)]


@dataclass
class FakeColumns:
    source: str
    series: tuple[Series, ...]
    timestamps_ms: array
    values: array


@dataclass
class FakeRecorder:
    samples: list[Sample] = field(default_factory=list)
    pieces: list[FakeColumns] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def latest_samples(self):
        return iter(self.samples)

    def window(self, start_ms, end_ms, names=None, max_points=None):
        self.asked.append((start_ms, end_ms))
        return iter(self.pieces)


UP = Series("up", (("node_role", "ROLE_DATA"), ("pod_name", "pod-data2")), MetricType.GAUGE, "Up")


class Agent:
    def __init__(self, recorder=None, pace=None, interval_s=10.0, limit_bytes=1 << 20):
        self.state = frames.NodeState("ROLE_DATA", {"type": "hot", "zone": "z2"})
        self.ids: asyncio.Queue = asyncio.Queue()
        self.metrics = MetricsAnswers(
            recorder or FakeRecorder(), lambda: 5_000, limit_bytes=limit_bytes
        )
        self.streams = SevenStreams(
            frames.Identity("pod-data2", container_names=("data",)),
            lambda: self.state,
            self.metrics,
            Evidence(load([], {}), "pod-data2", NodeAccess("127.0.0.1")),
            PressureProfiles(tuple, None, None, ""),
            interval_s=interval_s,
            now_ms=lambda: 5_000,
            on_registered=self.ids.put_nowait,
            pace=pace or Pace(base_s=0.01),
        )
        self.stop = asyncio.Event()

    async def start(self, proxy):
        self.channel = await RpcChannel.connect(Endpoint("127.0.0.1", proxy.port))
        self.task = asyncio.create_task(self.streams.run(self.channel, self.stop))

    async def close(self):
        self.stop.set()
        await asyncio.wait([self.task])
        self.channel.close()


async def registered(agent, **options):
    proxy = GoProxy(**options)
    await proxy.start()
    await agent.start(proxy)
    await asyncio.wait_for(agent.ids.get(), 10)
    return proxy


def test_the_registration_is_the_recorded_one_and_comes_first(run_async):
    """Message 0001 of the recorded conversation of a Go agent, byte for byte in meaning."""

    async def scenario():
        agent = Agent()
        proxy = await registered(agent)
        opened = await proxy.opened_streams(7)
        assert opened[0][0] == "RegisterAgent"
        assert {name for name, _ in opened} == set(STREAMS)
        assert all(meta["agent_id"] == "id-1" for name, meta in opened[1:])
        assert "agent_id" not in opened[0][1]
        message = await proxy.hear("RegisterAgent")
        assert message == pb.RegisterAgentRequest(
            node_role="ROLE_DATA",
            labels={"type": "hot", "zone": "z2"},
            pod_name="pod-data2",
            container_names=["data"],
        )
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_a_stop_half_closes_every_stream(run_async):
    async def scenario():
        agent = Agent()
        proxy = await registered(agent)
        await proxy.opened_streams(7)
        await agent.close()
        assert agent.task.result().reason == "Stopped"
        assert sorted(proxy.half_closed) == sorted(STREAMS)
        await proxy.stop()

    run_async(scenario)


def test_t_px_07_a_latest_command_is_answered_by_one_message_without_sample_times(run_async):
    async def scenario():
        agent = Agent(FakeRecorder([Sample(UP, 1.0), Sample(Series("idle", ()), 0.0)]))
        proxy = await registered(agent)
        proxy.commands["StreamMetrics"].put_nowait(pb.StreamMetricsResponse())
        message = await proxy.hear("StreamMetrics")
        assert message.timestamp.seconds == 5
        assert [(m.name, m.value, m.type, m.description) for m in message.metrics] == [
            ("up", 1.0, pb.METRIC_TYPE_GAUGE, "Up"),
            ("idle", 0.0, pb.METRIC_TYPE_UNSPECIFIED, ""),
        ]
        assert dict(message.metrics[0].labels) == {
            "node_role": "ROLE_DATA",
            "pod_name": "pod-data2",
        }
        assert not message.metrics[0].HasField("timestamp")
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_five_commands_are_answered_one_to_one_in_order(run_async):
    async def scenario():
        agent = Agent()
        proxy = await registered(agent)
        for _ in range(5):
            proxy.commands["StreamMetrics"].put_nowait(pb.StreamMetricsResponse())
        for _ in range(5):
            message = await proxy.hear("StreamMetrics")
            assert len(message.metrics) == 0
        assert proxy.messages.empty()
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_a_window_command_gets_each_sample_with_its_own_time(run_async):
    """W-12: value and time belong together; a cell without a sample is left out."""

    async def scenario():
        piece = FakeColumns(
            "node",
            (UP, Series("late", ())),
            array("q", [1000, 2500]),
            array("d", [1.0, 2.0, ABSENT, 4.0]),
        )
        agent = Agent(FakeRecorder(pieces=[piece]))
        proxy = await registered(agent)
        command = pb.StreamMetricsResponse()
        command.start_time.FromMilliseconds(500)
        proxy.commands["StreamMetrics"].put_nowait(command)
        message = await proxy.hear("StreamMetrics")
        assert [(m.name, m.value, m.timestamp.ToMilliseconds()) for m in message.metrics] == [
            ("up", 1.0, 1000),
            ("up", 2.0, 2500),
            ("late", 4.0, 2500),
        ]
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_a_window_that_starts_after_its_end_gets_one_empty_message(run_async):
    async def scenario():
        agent = Agent()
        proxy = await registered(agent)
        command = pb.StreamMetricsResponse()
        command.start_time.FromMilliseconds(500)
        command.end_time.FromMilliseconds(100)
        proxy.commands["StreamMetrics"].put_nowait(command)
        assert len((await proxy.hear("StreamMetrics")).metrics) == 0
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_w_56_a_window_beyond_the_limit_keeps_the_newest_rows(run_async):
    async def scenario():
        rows = 100
        piece = FakeColumns(
            "node", (UP,), array("q", range(rows)), array("d", [float(at) for at in range(rows)])
        )
        agent = Agent(FakeRecorder(pieces=[piece]), limit_bytes=1000)
        proxy = await registered(agent)
        command = pb.StreamMetricsResponse()
        command.start_time.FromMilliseconds(0)
        proxy.commands["StreamMetrics"].put_nowait(command)
        message = await proxy.hear("StreamMetrics")
        values = [metric.value for metric in message.metrics]
        assert 0 < len(values) < rows
        assert values == [float(at) for at in range(rows - len(values), rows)]
        assert message.ByteSize() <= 1000 + 20
        assert agent.metrics.trimmed == 1
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_the_other_streams_are_answered_honestly(run_async):
    async def scenario():
        agent = Agent()
        proxy = await registered(agent)
        commands = proxy.commands
        commands["StreamClusterTopology"].put_nowait(
            pb.StreamClusterTopologyResponse(request_topology=True)
        )
        topology = await proxy.hear("StreamClusterTopology")
        assert (topology.timestamp.seconds, len(topology.topology.nodes)) == (5, 0)
        commands["StreamLifecycle"].put_nowait(pb.StreamLifecycleResponse(request_lifecycle=True))
        lifecycle = await proxy.hear("StreamLifecycle")
        assert (lifecycle.pod_name, len(lifecycle.lifecycle_data.groups)) == ("pod-data2", 0)
        commands["StreamSchemaRegistry"].put_nowait(
            pb.StreamSchemaRegistryResponse(request_registry=True)
        )
        assert (await proxy.hear("StreamSchemaRegistry")).group.error
        assert (await proxy.hear("StreamSchemaRegistry")).done
        commands["StreamPressureProfiles"].put_nowait(
            pb.StreamPressureProfilesResponse(list_profiles=pb.ListProfiles(request_id="list-1"))
        )
        listed = await proxy.hear("StreamPressureProfiles")
        assert listed.list_complete.request_id == "list-1"
        wanted = pb.FetchPressureProfile(request_id="f-1", profile_id="p", type="heap")
        commands["StreamPressureProfiles"].put_nowait(
            pb.StreamPressureProfilesResponse(fetch_profile=wanted)
        )
        fetched = await proxy.hear("StreamPressureProfiles")
        assert (fetched.chunk.request_id, fetched.chunk.last) == ("f-1", True)
        assert fetched.chunk.error == "no pressure profile 'p' of kind 'heap' on this agent"
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_a_command_with_a_false_flag_is_ignored(run_async):
    async def scenario():
        agent = Agent()
        proxy = await registered(agent)
        proxy.commands["StreamLifecycle"].put_nowait(pb.StreamLifecycleResponse())
        proxy.commands["StreamLifecycle"].put_nowait(
            pb.StreamLifecycleResponse(request_lifecycle=True)
        )
        await proxy.hear("StreamLifecycle")
        assert proxy.messages.empty() or proxy.messages.get_nowait()[0] == "RegisterAgent"
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_w_51_an_unknown_stream_does_not_break_the_others(run_async):
    """The Go agent registers a hundred times a second here; ours registers once."""

    async def scenario():
        agent = Agent()
        proxy = await registered(agent, unknown=frozenset({"StreamSchemaRegistry"}))
        await proxy.opened_streams(6)
        proxy.commands["StreamMetrics"].put_nowait(pb.StreamMetricsResponse())
        await proxy.hear("StreamMetrics")
        assert (proxy.registrations, agent.task.done()) == (1, False)
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_a_stream_that_ends_is_opened_again_alone(run_async):
    async def scenario():
        agent = Agent()
        proxy = await registered(agent)
        await proxy.opened_streams(7)
        proxy.commands["StreamMetrics"].put_nowait(None)
        again = (await proxy.opened_streams(1))[0]
        assert (again[0], again[1]["agent_id"]) == ("StreamMetrics", "id-1")
        assert proxy.registrations == 1
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_t_px_11_heartbeats_repeat_the_registration_with_the_role_of_now(run_async):
    async def scenario():
        beats: asyncio.Queue = asyncio.Queue()
        asked = []

        async def sleep(delay_s):
            asked.append(delay_s)
            await (beats.get() if delay_s == 7 else asyncio.sleep(0.01))

        agent = Agent(pace=Pace(sleep=sleep), interval_s=7)
        reply = pb.RegisterAgentResponse(success=True, agent_id="a", heartbeat_interval_seconds=-5)
        proxy = await registered(agent, reply=reply)
        await proxy.hear("RegisterAgent")
        agent.state = frames.NodeState("ROLE_LIAISON")
        beats.put_nowait(None)
        beat = await proxy.hear("RegisterAgent")
        assert (beat.node_role, dict(beat.labels)) == ("ROLE_LIAISON", {})
        assert asked[0] == 7
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_an_announced_interval_overrides_the_own_one(run_async):
    async def scenario():
        asked = []

        async def sleep(delay_s):
            asked.append(delay_s)
            await asyncio.Event().wait()

        agent = Agent(pace=Pace(sleep=sleep))
        reply = pb.RegisterAgentResponse(success=True, agent_id="a", heartbeat_interval_seconds=3)
        proxy = await registered(agent, reply=reply)
        await proxy.opened_streams(7)
        assert asked == [3]
        await agent.close()
        await proxy.stop()

    run_async(scenario)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (pb.RegisterAgentResponse(message="no room"), "registration failed: no room"),
        (pb.RegisterAgentResponse(success=True), "registration response missing agent ID"),
    ],
)
def test_t_px_03_a_registration_that_is_not_accepted_says_why(run_async, reply, text):
    async def scenario():
        agent = Agent()
        proxy = GoProxy(reply=reply)
        await proxy.start()
        await agent.start(proxy)
        with pytest.raises(RpcError) as caught:
            await agent.task
        assert str(caught.value) == text
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_w_52_a_proxy_that_never_replies_is_given_up(run_async, monkeypatch):
    monkeypatch.setattr(seven_streams, "REPLY_TIMEOUT_S", 0.05)

    async def scenario():
        agent = Agent()
        proxy = GoProxy(silent=True)
        await proxy.start()
        await agent.start(proxy)
        with pytest.raises(RpcError) as caught:
            await agent.task
        assert caught.value.fault is RpcFault.LATE
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_t_px_09_the_end_of_the_registration_ends_the_session(run_async):
    async def scenario():
        agent = Agent()
        proxy = await registered(agent)
        proxy.commands["RegisterAgent"].put_nowait(None)
        hangup = await agent.task
        assert hangup.reason == "ProxyEnded"
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_an_answer_that_fails_is_an_empty_message(run_async):
    class Broken(FakeRecorder):
        def latest_samples(self):
            raise RuntimeError("broken")

    async def scenario():
        agent = Agent(Broken())
        proxy = await registered(agent)
        proxy.commands["StreamMetrics"].put_nowait(pb.StreamMetricsResponse())
        message = await proxy.hear("StreamMetrics")
        assert len(message.metrics) == 0
        await agent.close()
        await proxy.stop()

    run_async(scenario)
