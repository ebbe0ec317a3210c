# SPDX-License-Identifier: Apache-2.0
"""T-PX: the cases of the Go agent's proxy client, as what a proxy or a user sees (§13.6).

Methods that can be called in the wrong order there ("client not connected", "stream not
established") are one loop here: what has no connection has no stream either.
"""

import asyncio
import socket

import pytest

from fodc_agent.evidence.telling import Evidence
from fodc_agent.node_access import NodeAccess
from fodc_agent.node_uplink import build_uplink
from fodc_agent.occurrences.pressure_profiles import PressureProfiles
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.rpc.faults import RpcError, RpcFault
from fodc_agent.settings import load
from fodc_agent.uplink.answers import Answers
from fodc_agent.uplink.caller import LinePhase
from fodc_agent.uplink.existing import seven_streams
from fodc_agent.uplink.existing.metrics import MetricsAnswers
from fodc_agent.uplink.existing.seven_streams import SevenStreams
from fodc_agent.uplink.pace import Pace
from fodc_protocol.link import frames
from fodc_protocol.link.event_queue import EventQueue
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

IDENTITY = frames.Identity("pod-0", container_names=("data",))
STATE = frames.NodeState("ROLE_DATA", {"type": "hot"})
ACCEPTED = pb.RegisterAgentResponse(success=True, agent_id="id-1").SerializeToString()


def recorder_of(page=b"up 1\n") -> Recorder:
    made = Recorder(budget_bytes=1 << 20, interval_s=1)
    made.record_page("metrics:2121", page, 1_000)
    return made


class Program:
    """The uplink as the program builds it from its flags."""

    def __init__(self, port, *flags, recorder=None):
        flags = (f"--proxy-addr=127.0.0.1:{port}", "--contract=fodc", *flags)
        settings = load(["--reconnect-interval=20ms", *flags], {})
        recorder = recorder or recorder_of()
        self.uplink = build_uplink(
            settings,
            identity=IDENTITY,
            incarnation="aa",
            state=lambda: STATE,
            answers=Answers(recorder, None, tuple),
            evidence=Evidence(settings, "pod", NodeAccess("127.0.0.1")),
            pressures=PressureProfiles(tuple, None, None, ""),
            recorder=recorder,
            jobs=None,
            events=EventQueue("aa"),
            held=(),
        )
        self.phases = []
        self.changed = asyncio.Event()
        self.uplink.caller.on_change = self._on_change
        self.task = asyncio.create_task(self.uplink.caller.run())

    @property
    def status(self):
        return self.uplink.caller.status

    def _on_change(self, status):
        self.phases.append(status.phase)
        self.changed.set()

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition(self.status):
                self.changed.clear()
                await self.changed.wait()

    async def close(self):
        self.uplink.caller.stop.set()
        await asyncio.wait_for(self.task, 5)


def scene(run_async, bytes_proxy, play, *flags, recorder=None, **options):
    async def scenario():
        proxy = bytes_proxy(**{"reply": ACCEPTED, **options})
        await proxy.start()
        program = Program(proxy.port, *flags, recorder=recorder)
        try:
            await play(program, proxy)
            await program.close()
        finally:
            await proxy.stop()

    run_async(scenario)


def is_up(status):
    return status.up


def test_t_px_01_address_name_role_labels_and_interval_are_those_that_were_set(
    run_async, bytes_proxy
):
    async def play(program, proxy):
        await program.until(is_up)
        first, beat = [await proxy.hear("RegisterAgent") for _ in range(2)]
        assert pb.RegisterAgentRequest.FromString(first) == pb.RegisterAgentRequest(
            pod_name="pod-0",
            node_role="ROLE_DATA",
            labels={"type": "hot"},
            container_names=["data"],
        )
        assert beat == first
        assert program.status.endpoint == f"127.0.0.1:{proxy.port}"
        assert program.status.agent_id == "id-1"

    scene(run_async, bytes_proxy, play, "--heartbeat-interval=20ms")


def test_t_px_02_one_connection_is_enough_and_a_new_one_clears_the_loss(run_async, bytes_proxy):
    """Upstream: a second connect is a no-op, a reconnect clears the disconnected flag."""

    async def play(program, proxy):
        await program.until(is_up)
        assert (proxy.registrations, program.status.connects) == (1, 1)
        proxy.commands["RegisterAgent"].put_nowait(None)
        await program.until(lambda status: status.connects == 2 and status.up)
        assert (program.status.problem, program.status.failures) == ("", 1)
        assert proxy.registrations == 2

    scene(run_async, bytes_proxy, play)


def test_t_px_03_without_a_proxy_nothing_is_registered_and_the_reason_is_told(run_async):
    async def scenario():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
            program = Program(taken.getsockname()[1])
            await program.until(lambda status: status.failures >= 2)
            assert program.status.problem.startswith("Unreachable: 127.0.0.1:")
            assert (program.status.up, program.status.connects) == (False, 0)
            await program.close()

    run_async(scenario)


def test_t_px_04_no_stream_is_opened_before_there_is_an_id(run_async, bytes_proxy):
    """Upstream's texts are "client not connected" and "agent ID not available"."""

    async def play(program, proxy):
        assert [name for name, _ in await proxy.streams(1)] == ["RegisterAgent"]
        await proxy.hear("RegisterAgent")
        assert proxy.opened.empty()
        proxy.commands["RegisterAgent"].put_nowait(ACCEPTED)
        opened = await proxy.streams(6)
        assert all(("agent_id", "id-1") in metadata for _, metadata in opened)
        await program.until(is_up)

    scene(run_async, bytes_proxy, play, reply=b"")


@pytest.mark.parametrize("method", ["StreamMetrics", "StreamClusterTopology"])
def test_t_px_04_a_stream_that_cannot_be_opened_costs_that_stream(run_async, bytes_proxy, method):
    """Upstream fails as a whole ("failed to create metrics stream"), see W-51."""

    async def play(program, proxy):
        await proxy.streams(6)
        proxy.commands["StreamLifecycle"].put_nowait(b"\x08\x01")
        await proxy.hear("StreamLifecycle")
        assert (program.status.up, proxy.registrations) == (True, 1)

    scene(run_async, bytes_proxy, play, unknown=frozenset({method}))


# ---- a proxy that does not read ------------------------------------------------------------------


class Lines:
    """The seven streams alone, with so large a registration that few of them fill the line."""

    def __init__(self):
        self.beats = 0

    async def start(self, port):
        state = frames.NodeState("ROLE_DATA", {"filler": "x" * 60_000})
        self.streams = SevenStreams(
            IDENTITY,
            lambda: state,
            MetricsAnswers(recorder_of(), lambda: 1),
            Evidence(load([], {}), "pod", NodeAccess("127.0.0.1")),
            PressureProfiles(tuple, None, None, ""),
            interval_s=1.0,
            now_ms=lambda: 1,
            on_registered=lambda _: None,
            pace=Pace(sleep=self._sleep),
        )
        self.stop = asyncio.Event()
        self.channel = await RpcChannel.connect(Endpoint("127.0.0.1", port))
        self.task = asyncio.create_task(self.streams.run(self.channel, self.stop))

    async def _sleep(self, _):
        self.beats += 1
        await asyncio.sleep(0)

    async def blocked(self):
        """Wait until no further heartbeat is begun: the one under way does not come through."""
        seen = -1
        while seen != self.beats or seen < 2:
            seen = self.beats
            await asyncio.sleep(0.1)


def deaf_scene(run_async, bytes_proxy, play):
    async def scenario():
        proxy = bytes_proxy(reply=ACCEPTED, deaf=frozenset({"RegisterAgent"}))
        await proxy.start()
        lines = Lines()
        await lines.start(proxy.port)
        try:
            await play(lines)
        finally:
            lines.channel.close()
            await proxy.stop()

    run_async(scenario)


def test_t_px_06_a_heartbeat_that_cannot_be_sent_ends_the_line_with_its_reason(
    run_async, bytes_proxy, monkeypatch
):
    """Upstream logs "failed to send heartbeat" and goes on with a line that may be dead (W-53)."""
    monkeypatch.setattr(seven_streams, "_SEND_TIMEOUT_S", 0.3)

    async def play(lines):
        with pytest.raises(RpcError) as caught:
            await lines.task
        assert caught.value.fault is RpcFault.LATE
        assert str(caught.value) == "a heartbeat could not be sent within 0.3 s"

    deaf_scene(run_async, bytes_proxy, play)


def test_t_px_06_a_blocked_heartbeat_returns_when_it_is_cancelled(run_async, bytes_proxy):
    async def play(lines):
        await lines.blocked()
        lines.task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([lines.task])
        assert lines.task.cancelled()

    deaf_scene(run_async, bytes_proxy, play)


def test_t_px_12_15_leaving_waits_for_the_proxy_but_not_longer_than_a_moment(
    run_async, bytes_proxy, monkeypatch
):
    """A blocked heartbeat does not delay it; upstream allows 5 s and its wait helper 10 s."""
    monkeypatch.setattr(seven_streams, "_FAREWELL_S", 0.1)

    async def play(lines):
        await lines.blocked()
        lines.stop.set()
        async with asyncio.timeout(5):
            hangup = await lines.task
        assert hangup.reason == "Stopped"

    deaf_scene(run_async, bytes_proxy, play)


def test_t_px_15_leaving_is_immediate_when_the_proxy_answers_the_goodbye(
    run_async, bytes_proxy, monkeypatch
):
    monkeypatch.setattr(seven_streams, "_FAREWELL_S", 60.0)

    async def play(program, proxy):
        await proxy.streams(7)
        await program.close()  # within its own 5 s, far below the patience above
        assert program.status.phase is LinePhase.IDLE

    scene(run_async, bytes_proxy, play)


def test_t_px_12_a_proxy_that_restarts_is_found_again_with_a_heartbeat_under_way(
    run_async, bytes_proxy
):
    async def play(program, proxy):
        await proxy.hear("RegisterAgent")
        await proxy.hear("RegisterAgent")
        await program.until(is_up)
        await proxy.stop()
        await program.until(lambda status: not status.up)
        await proxy.start()
        async with asyncio.timeout(5):
            await program.until(is_up)
        assert program.status.connects == 2

    scene(run_async, bytes_proxy, play, "--heartbeat-interval=10ms")


# ---- the end -------------------------------------------------------------------------------------


def test_t_px_08_a_line_that_was_left_is_forgotten_and_may_be_left_again(run_async, bytes_proxy):
    async def play(program, proxy):
        await program.until(is_up)
        await program.close()
        await program.close()
        status = program.status
        assert (status.phase, status.agent_id, status.up) == (LinePhase.IDLE, "", False)
        channel = await RpcChannel.connect(Endpoint("127.0.0.1", proxy.port))
        channel.close()
        channel.close()

    scene(run_async, bytes_proxy, play)


def test_t_px_10_a_cancelled_loop_is_cancelled_and_a_stopped_one_just_ends(run_async, bytes_proxy):
    async def play(program, proxy):
        await program.until(is_up)
        program.task.cancel()
        await asyncio.wait([program.task])
        assert program.task.cancelled()
        stopped = Program(proxy.port)
        await stopped.until(is_up)
        stopped.uplink.caller.stop.set()
        assert await asyncio.wait_for(stopped.task, 5) is None
        program.task = stopped.task

    scene(run_async, bytes_proxy, play)


def test_t_px_16_a_loss_arms_one_return_and_a_stop_arms_none(run_async, bytes_proxy):
    async def play(program, proxy):
        await program.until(is_up)
        proxy.commands["RegisterAgent"].put_nowait(None)
        await program.until(lambda status: status.connects == 2)
        program.uplink.caller.stop.set()
        proxy.commands["RegisterAgent"].put_nowait(None)
        await asyncio.wait_for(program.task, 5)
        assert (proxy.registrations, program.status.connects) == (2, 2)

    scene(run_async, bytes_proxy, play)


# ---- what is said --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        (b"bare 1\n", {}),
        (b'two{a="1",b="2"} 1\n', {"a": "1", "b": "2"}),
        (b'commas{a="x,y=\\"z\\"}",b="{"} 1\n', {"a": 'x,y="z"}', "b": "{"}),
    ],
)
def test_t_px_13_names_and_labels_arrive_as_the_node_wrote_them(
    run_async, bytes_proxy, line, labels
):
    """Upstream parses its own keys back and splits values at commas (W-07); here are no keys."""

    async def play(_, proxy):
        proxy.commands["StreamMetrics"].put_nowait(b"")
        answer = pb.StreamMetricsRequest.FromString(await proxy.hear("StreamMetrics"))
        assert [dict(one.labels) for one in answer.metrics] == [labels]

    scene(run_async, bytes_proxy, play, recorder=recorder_of(line))


def test_t_px_13_lines_that_are_no_samples_never_become_keys(run_async, bytes_proxy):
    """Upstream: "invalid metric key format", and malformed labels are no error."""

    async def play(_, proxy):
        proxy.commands["StreamMetrics"].put_nowait(b"")
        answer = pb.StreamMetricsRequest.FromString(await proxy.hear("StreamMetrics"))
        assert [one.name for one in answer.metrics] == ["good"]

    scene(run_async, bytes_proxy, play, recorder=recorder_of(b'bad{a="1 1\n{} 2\ngood 3\n'))


def test_t_px_17_without_a_registry_a_schema_command_is_answered_by_the_reason(
    run_async, bytes_proxy
):
    """A group that failed has one message with the error only; this one stands for all groups."""

    async def play(_, proxy):
        for _ in range(2):
            proxy.commands["StreamSchemaRegistry"].put_nowait(b"\x08\x01")
            answers = [await proxy.hear("StreamSchemaRegistry") for _ in range(2)]
            problem, end = map(pb.StreamSchemaRegistryRequest.FromString, answers)
            assert problem.group.group == ""
            assert problem.group.error == "--schema-registry-port names no port to ask"
            assert end == pb.StreamSchemaRegistryRequest(done=True)

    scene(run_async, bytes_proxy, play)
