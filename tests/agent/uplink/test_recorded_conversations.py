# SPDX-License-Identifier: Apache-2.0
"""What a proxy once said to a Go agent, said to ours: recorded bytes over a real socket (§20).

`tests/data/grpc/data.events.jsonl` is a conversation with the agent of a data node, the other
three are the same agent when the proxy closes a stream, the registration, or lacks a method.
"""

import asyncio
import itertools
import json
from pathlib import Path

import pytest

from fodc_agent.evidence.telling import Evidence
from fodc_agent.node_access import NodeAccess
from fodc_agent.occurrences.pressure_profiles import PressureProfiles
from fodc_agent.recorder.recorder import Recorder
from fodc_agent.rpc.channel import RpcChannel
from fodc_agent.rpc.dialing import Endpoint
from fodc_agent.settings import load
from fodc_agent.uplink.caller import Caller, Contract, LinePhase
from fodc_agent.uplink.existing.metrics import MetricsAnswers
from fodc_agent.uplink.existing.seven_streams import SevenStreams
from fodc_agent.uplink.pace import Pace
from fodc_protocol.link import frames
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

RECORDED = Path(__file__).parents[2] / "data" / "grpc"
NOW_MS = 1_795_245_010_000
IDENTITY = frames.Identity("pod-data2", container_names=("data",))
STATE = frames.NodeState("ROLE_DATA", {"type": "hot", "zone": "z2"})
PAGE = b"# HELP up Up\n# TYPE up gauge\nup 1\n# TYPE idle gauge\nidle 0\n"


def events(name):
    lines = (RECORDED / f"{name}.events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def recorded(name):
    return bytes.fromhex((RECORDED / f"{name}.hex").read_text())


def recorder() -> Recorder:
    made = Recorder(budget_bytes=1 << 20, interval_s=2)
    made.set_identity(None, (("node_role", "ROLE_DATA"), ("pod_name", "pod-data2")))
    for at_ms in range(NOW_MS - 8_000, NOW_MS, 2_000):
        made.record_page("metrics:2121", PAGE, at_ms)
    return made


class Pauses:
    """Sleeps of a pace, written down: heartbeats and probes wait for ever, retries do not."""

    def __init__(self, chances=(0.25, 0.5, 0.75)) -> None:
        self.retries: list[float] = []
        self.probes: list[float] = []
        self._chances = chances
        self._drawn = 0

    def pace(self) -> Pace:
        return Pace(base_s=5.0, chance=self._chance, sleep=self._sleep)

    def _chance(self) -> float:
        self._drawn += 1
        return self._chances[self._drawn % len(self._chances)]

    async def _sleep(self, delay_s: float) -> None:
        if delay_s == 10:
            await asyncio.Event().wait()
        if delay_s >= 150:
            self.probes.append(delay_s)
            await asyncio.Event().wait()
        self.retries.append(delay_s)
        await asyncio.sleep(0)


class Agent:
    """Caller and existing streams as the program joins them."""

    def __init__(self, port: int, pauses: Pauses) -> None:
        self.ids: asyncio.Queue = asyncio.Queue()
        pace = pauses.pace()
        answers = MetricsAnswers(recorder(), lambda: NOW_MS)

        def streams() -> SevenStreams:
            return SevenStreams(
                IDENTITY,
                lambda: STATE,
                answers,
                Evidence(load([], {}), "pod-data2", NodeAccess("127.0.0.1")),
                PressureProfiles(tuple, None, None, ""),
                interval_s=10.0,
                now_ms=lambda: NOW_MS,
                on_registered=self._registered,
                pace=pace,
            )

        self.caller = Caller(
            endpoints=(Endpoint("127.0.0.1", port),),
            contract=Contract.FODC,
            link=None,
            make_existing=streams,
            dial=RpcChannel.connect,
            pace=pace,
        )
        self.task = asyncio.create_task(self.caller.run())

    def _registered(self, agent_id: str) -> None:
        self.caller.connected(LinePhase.REGISTERED, agent_id)
        self.ids.put_nowait(agent_id)

    async def close(self) -> None:
        self.caller.stop.set()
        await asyncio.wait_for(self.task, 5)


def scene(run_async, bytes_proxy, play, pauses=None, **options):
    """Play against a proxy whose reply to the registration is the recorded one."""

    async def scenario():
        proxy = bytes_proxy(reply=recorded("0002-P2A-RegisterAgent"), **options)
        await proxy.start()
        agent = Agent(proxy.port, pauses or Pauses())
        await asyncio.wait_for(agent.ids.get(), 10)
        await play(agent, proxy)
        await agent.close()
        await proxy.stop()

    run_async(scenario)


def test_the_registration_is_the_recorded_one_byte_for_byte(run_async, bytes_proxy):
    async def play(_, proxy):
        message = pb.RegisterAgentRequest.FromString(await proxy.hear("RegisterAgent"))
        assert message == pb.RegisterAgentRequest.FromString(recorded("0001-A2P-RegisterAgent"))
        assert message.ByteSize() == events("data")[0]["bytes"]

    scene(run_async, bytes_proxy, play)


def test_t_px_04_streams_open_after_the_reply_and_carry_its_id_exactly_once(run_async, bytes_proxy):
    """Recorded too: RegisterAgent arrives first, the other six in varying order with metadata.

    Upstream has texts for a stream without connection or id; here neither can be asked for.
    """

    async def play(_, proxy):
        opened = await proxy.streams(7)
        assert opened[0][0] == "RegisterAgent"
        ids = [[value for key, value in meta if key == "agent_id"] for _, meta in opened]
        assert ids == [[], *[["3291ddba-bd03-4afc-b6cc-466ab10a1346"]] * 6]

    scene(run_async, bytes_proxy, play)


def commands():
    """Each recorded command with the number of messages that the Go agent answered."""
    found = []
    for event in events("data"):
        if event["dir"] == "proxy->agent" and event["method"] != "RegisterAgent":
            found.append([event, 0])
        elif event["dir"] == "agent->proxy" and event["method"] != "RegisterAgent":
            own = next(one for one in reversed(found) if one[0]["method"] == event["method"])
            own[1] += 1
    return [(event, answers) for event, answers in found if "hex" in event]


# There are no crash records here; no registry either, as of the recorded data node.
ANSWERS_OF_OURS = {9: 0}


def test_t_px_05_07_recorded_commands_get_as_many_messages_as_from_the_go_agent(
    run_async, bytes_proxy
):
    """One per metrics and topology command, none for a command whose flag is false (§20.4, .5)."""

    async def play(_, proxy):
        await proxy.streams(7)
        counted = []
        for event, _ in commands():
            proxy.commands[event["method"]].put_nowait(bytes.fromhex(event["hex"]))
        for event, answers in commands():
            expected = ANSWERS_OF_OURS.get(event["seq"], answers)
            messages = [await proxy.hear(event["method"]) for _ in range(expected)]
            counted.append((event["method"], len(messages)))
        assert counted.count(("StreamMetrics", 1)) == 2
        # The streams are in order, so a further answer shows when one more command is answered.
        proxy.commands["StreamMetrics"].put_nowait(b"")
        await proxy.hear("StreamMetrics")
        assert {name: left.qsize() for name, left in proxy.heard.items()} == {
            **dict.fromkeys(proxy.heard, 0),
            "RegisterAgent": 1,
        }

    scene(run_async, bytes_proxy, play)


def test_t_px_05_a_recorded_topology_command_gets_one_snapshot_of_now(run_async, bytes_proxy):
    async def play(_, proxy):
        proxy.commands["StreamClusterTopology"].put_nowait(bytes.fromhex("0801"))
        data = await proxy.hear("StreamClusterTopology")
        answer = pb.StreamClusterTopologyRequest.FromString(data)
        assert (answer.timestamp.ToMilliseconds(), answer.HasField("topology")) == (NOW_MS, True)

    scene(run_async, bytes_proxy, play)


def test_t_px_07_the_recorded_latest_command_gets_values_without_times(run_async, bytes_proxy):
    """A value of 0 that was really seen is sent; the Go agent leaves it out."""

    async def play(_, proxy):
        proxy.commands["StreamMetrics"].put_nowait(b"")
        answer = pb.StreamMetricsRequest.FromString(await proxy.hear("StreamMetrics"))
        assert answer.timestamp.ToMilliseconds() == NOW_MS
        assert [(one.name, one.value) for one in answer.metrics] == [("up", 1.0), ("idle", 0.0)]
        assert not any(one.HasField("timestamp") for one in answer.metrics)
        assert dict(answer.metrics[0].labels) == {
            "node_role": "ROLE_DATA",
            "pod_name": "pod-data2",
        }

    scene(run_async, bytes_proxy, play)


@pytest.mark.parametrize(
    ("start_s", "end_s", "seqs", "times_s"),
    [
        (2, 4, (34, 41, 43), [2, 4]),
        (4, None, (36, 38), [4, 6]),
        (None, 2, (36, 38), [0, 2]),
        (100, 200, (34, 41, 43), []),
        (4, 2, (34, 41, 43), []),
    ],
)
def test_t_px_07_windows_of_the_recorded_forms_get_one_message(
    run_async, bytes_proxy, start_s, end_s, seqs, times_s
):
    """Both bounds (16 bytes recorded), one alone (8), one in the future, both the wrong way."""
    begin_s = NOW_MS // 1000 - 8
    command = pb.StreamMetricsResponse()
    if start_s is not None:
        command.start_time.seconds = begin_s + start_s
    if end_s is not None:
        command.end_time.seconds = begin_s + end_s
    sizes = {event["seq"]: event["bytes"] for event in events("data")}
    assert {sizes[seq] for seq in seqs} == {command.ByteSize()}

    async def play(_, proxy):
        proxy.commands["StreamMetrics"].put_nowait(command.SerializeToString())
        answer = pb.StreamMetricsRequest.FromString(await proxy.hear("StreamMetrics"))
        times = [one.timestamp.ToSeconds() for one in answer.metrics if one.name == "up"]
        assert times == [begin_s + at_s for at_s in times_s]

    scene(run_async, bytes_proxy, play)


@pytest.mark.parametrize("method", ["StreamMetrics", "StreamClusterTopology", "StreamLifecycle"])
def test_bytes_that_are_no_command_cost_neither_the_stream_nor_the_line(
    run_async, bytes_proxy, method
):
    async def play(_, proxy):
        proxy.commands[method].put_nowait(b"\xff\xff\xff")
        proxy.commands[method].put_nowait(b"" if method == "StreamMetrics" else b"\x08\x01")
        assert await proxy.hear(method)
        assert proxy.registrations == 1

    scene(run_async, bytes_proxy, play)


# ---- what the Go agent turns into a storm of registrations ---------------------------------------


def opened_by_go(name):
    return sum(event["ev"] == "stream-open" for event in events(name))


def closings(name):
    return sum(event["ev"] == "closing" for event in events(name))


def test_a_proxy_that_closes_the_metrics_stream_again_and_again_gets_that_stream_again(
    run_async, bytes_proxy
):
    """Recorded: the Go agent registers anew each time, 8 times for 8 closings."""
    assert (opened_by_go("close-metrics"), closings("close-metrics")) == (9, 8)
    pauses = Pauses()

    async def play(agent, proxy):
        await proxy.streams(7)
        for _ in range(closings("close-metrics")):
            proxy.commands["StreamMetrics"].put_nowait(None)
            assert [name for name, _ in await proxy.streams(1)] == ["StreamMetrics"]
        assert (proxy.registrations, agent.caller.status.phase) == (1, LinePhase.REGISTERED)

    scene(run_async, bytes_proxy, play, pauses)
    assert len(pauses.retries) == 8
    assert len(set(pauses.retries)) > 1
    assert all(0 < delay_s <= 60 for delay_s in pauses.retries)


def test_a_proxy_that_ends_the_registration_gets_it_again_after_a_random_pause(
    run_async, bytes_proxy
):
    """Recorded: the Go agent is back after 4 to 16 ms each time, so a whole cluster is (W-54)."""
    recording = events("close-reg")
    returns = [
        after["t"] - before["t"]
        for before, after in itertools.pairwise(recording)
        if (before["ev"], after["ev"]) == ("closing", "stream-open")
    ]
    assert max(returns) < 0.02
    pauses = Pauses()

    async def play(agent, proxy):
        await proxy.streams(7)
        for _ in range(closings("close-reg")):
            proxy.commands["RegisterAgent"].put_nowait(None)
            await asyncio.wait_for(agent.ids.get(), 10)
        assert proxy.registrations == closings("close-reg") + 1
        assert agent.caller.status.failures == closings("close-reg")

    scene(run_async, bytes_proxy, play, pauses)
    # One pause before each return; a success starts the row anew, so chance alone differs.
    assert set(pauses.retries) == {1.0, 2.0, 3.0}
    assert len(pauses.retries) == closings("close-reg")


def test_w_51_a_proxy_without_the_schema_stream_is_registered_with_once(run_async, bytes_proxy):
    """Recorded: 49 registrations, a hundred a second while it lasts."""
    assert opened_by_go("unimpl-schema") == 49
    pauses = Pauses()

    async def play(agent, proxy):
        assert len(await proxy.streams(6)) == 6
        proxy.commands["StreamMetrics"].put_nowait(b"")
        await proxy.hear("StreamMetrics")
        while not pauses.probes:
            await asyncio.sleep(0.005)
        assert (proxy.registrations, agent.caller.status.phase) == (1, LinePhase.REGISTERED)

    scene(run_async, bytes_proxy, play, pauses, unknown=frozenset({"StreamSchemaRegistry"}))
    assert (pauses.retries, len(pauses.probes)) == ([], 1)
