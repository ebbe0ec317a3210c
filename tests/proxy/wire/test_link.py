# SPDX-License-Identifier: Apache-2.0
"""AgentLink over real sockets: opening, life, commands, and two agents that claim one pod."""

import asyncio

import grpc

from fodc_protocol.addresses import Address
from fodc_protocol.grpc_status import Status
from fodc_protocol.link import frames
from fodc_proxy.fleet.limits import Limits
from fodc_proxy.fleet.membership import Phase
from fodc_proxy.queries.results import Selection
from fodc_proxy.wire.rpc.status import AbortedError
from fodc_wire.fodc.v1 import agent_link_pb2 as link

from ..live import LinkAgent, running, until  # noqa: TID252 - one folder's tests


def scene(tmp_path, play, **told):
    async def run():
        async with running(tmp_path, **told) as proxy:
            return await play(proxy)

    return asyncio.run(run())


def test_agent_is_welcomed_and_its_heartbeats_are_acknowledged(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as agent:
            state = link.NodeState(node_role="ROLE_DATA", labels={"type": "cold"})
            await agent.say(heartbeat=link.Heartbeat(sequence=7, state=state))
            await until(lambda: agent.last is not None)
            return agent.welcome.welcome, agent.last, proxy.registry.find("pod-0")

    welcome, last, member = scene(tmp_path, play, heartbeat_interval_s=5.0)

    assert (welcome.protocol, welcome.heartbeat_interval_ms) == (1, 5000)
    assert last.heartbeat_ack.sequence == 7
    assert (member.agent_id, member.phase) == (welcome.agent_id, Phase.ONLINE)
    assert (member.labels, member.namespace) == ({"type": "cold"}, "banyandb")


def test_agent_that_speaks_only_a_later_protocol_is_refused_with_the_reason(tmp_path):
    async def play(proxy):
        agent = LinkAgent(proxy, "pod-0")
        hello = agent.hello()
        hello.protocol_min = hello.protocol_max = 9
        stream = agent.call("/fodc.v1.AgentLink/Connect")
        await stream.write(link.AgentFrame(hello=hello).SerializeToString())
        refusal = link.ProxyFrame.FromString(await stream.read()).refusal
        ended = await stream.read()
        await agent.close()
        return refusal, ended, proxy.registry.members()

    refusal, ended, members = scene(tmp_path, play)

    assert refusal.reason == "ProtocolMismatch"
    assert ended is grpc.aio.EOF
    assert members == ()


def test_r05_agent_without_a_role_is_refused_with_the_text(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0", role="") as agent:
            return agent.welcome.refusal

    assert scene(tmp_path, play).message == "node role cannot be empty"


def test_stream_that_does_not_begin_with_hello_is_ended(tmp_path):
    async def play(proxy):
        agent = LinkAgent(proxy, "pod-0")
        agent.stream = agent.call("/fodc.v1.AgentLink/Connect")
        await agent.say(heartbeat=link.Heartbeat(sequence=1))
        code = await agent.stream.code()
        await agent.close()
        return code

    assert scene(tmp_path, play) is grpc.StatusCode.INVALID_ARGUMENT


def test_frames_of_a_later_version_are_skipped(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as agent:
            await agent.write(b"\xfa\x01\x00")  # field 31, unknown here
            await agent.say(heartbeat=link.Heartbeat(sequence=2))
            await until(lambda: agent.last is not None)
            return agent.last.heartbeat_ack.sequence

    assert scene(tmp_path, play) == 2


def test_disconnected_agent_is_offline_at_once(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"):
            await until(lambda: proxy.link.is_linked("banyandb/pod-0"))
        await until(lambda: not proxy.link.is_linked("banyandb/pod-0"))
        return proxy.registry.find("pod-0").phase

    assert scene(tmp_path, play) is Phase.OFFLINE


def test_newest_of_two_agents_of_one_pod_wins_and_the_older_is_told(tmp_path):
    async def play(proxy):
        async with (
            LinkAgent(proxy, "pod-0", incarnation="a") as older,
            LinkAgent(proxy, "pod-0", incarnation="b") as newer,
        ):
            code = await older.stream.code()
            await until(lambda: older.last is not None)
            member = proxy.registry.find("pod-0")
            await until(lambda: proxy.link.is_linked("banyandb/pod-0"))
            return older.last.refusal, code, member, newer.agent_id

    refusal, code, member, newest = scene(tmp_path, play)

    assert (refusal.reason, refusal.retry_after_ms) == ("Superseded", 30_000)
    assert code is grpc.StatusCode.ABORTED
    assert member.agent_id == newest
    assert [c.type for c in member.conditions] == ["PodConflict"]


class Slow:
    """A stream whose first write ends when it is let go; it takes no second one meanwhile."""

    metadata: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    certificate_names = ()
    is_tls = False
    peer = Address("127.0.0.1", 1)

    def __init__(self, *frames_in: bytes) -> None:
        self.frames_in = list(frames_in)
        self.written: list[bytes] = []
        self.writes = asyncio.Event()
        self.let_go = asyncio.Event()
        self.is_broken = False
        self.status = None

    async def read(self, most_bytes: int = 0) -> bytes:
        if not self.frames_in:
            await asyncio.Event().wait()
        return self.frames_in.pop()

    def hear(self, taker) -> None:
        """Give everything to the reader."""

    def write_now(self, message: bytes) -> bool:
        return False

    async def write(self, message: bytes) -> None:
        assert not self.is_broken, "gRPC takes nothing after a write that was cancelled"
        self.writes.set()
        self.is_broken = True
        await self.let_go.wait()
        self.is_broken = False
        self.written.append(message)

    async def abort(self, status: Status, message: str) -> None:
        assert not self.is_broken, "gRPC takes nothing after a write that was cancelled"
        self.status = status
        raise AbortedError(status, message)


def test_an_agent_that_is_superseded_while_it_is_welcomed_is_told(tmp_path):
    """Seen under load: the write was cancelled, no status could be sent, the peer hung."""

    async def play(proxy):
        agent = LinkAgent(proxy, "pod-0", incarnation="a")
        hello = link.AgentFrame(hello=agent.hello()).SerializeToString()
        older = Slow(hello)
        serving = asyncio.create_task(proxy.link.connect(None, older))
        await older.writes.wait()
        async with LinkAgent(proxy, "pod-0", incarnation="b"):
            older.let_go.set()
            await asyncio.wait([serving], timeout=10)
        await agent.close()
        return older, serving

    older, serving = scene(tmp_path, play)
    *_, last = (link.ProxyFrame.FromString(one) for one in older.written)

    assert isinstance(serving.exception(), AbortedError)
    assert last.refusal.reason == "Superseded"
    assert older.status is Status.ABORTED


def test_frames_of_commands_go_to_the_listener_and_back_by_the_port(tmp_path):
    heard = []

    class Listener:
        def linked(self, pod_name, hello):
            heard.append(("linked", pod_name, hello.incarnation))

        def unlinked(self, pod_name):
            heard.append(("unlinked", pod_name))

        def heard(self, pod_name, frame):
            heard.append((pod_name, frame))

    async def play(proxy):
        proxy.listeners.add(Listener())
        async with LinkAgent(proxy, "pod-0") as agent:
            update = link.CommandUpdate(command_id="c", state=link.CommandUpdate.STATE_RUNNING)
            await agent.say(command_update=update)
            await agent.say(artifact_chunk=link.ArtifactChunk(command_id="c", data=b"x", crc32=1))
            await until(lambda: len(heard) == 3)
            assert proxy.link.send("banyandb/pod-0", frames.EventAck(4))
            await until(lambda: "event_ack" in agent.heard)
        await until(lambda: len(heard) == 4)
        assert not proxy.link.send("banyandb/pod-0", frames.EventAck(5))

    scene(tmp_path, play)

    running_state = frames.CommandState.RUNNING
    assert heard == [
        ("linked", "banyandb/pod-0", "i1"),
        ("banyandb/pod-0", frames.CommandUpdate("c", running_state)),
        ("banyandb/pod-0", frames.ArtifactChunk("c", 0, b"x", 1)),
        ("unlinked", "banyandb/pod-0"),
    ]


def test_agent_that_is_removed_is_sent_to_register_anew(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0") as agent:
            # A write that finds the call ended makes grpcio's client forget the status.
            await agent.has_answered.wait()
            proxy.registry.unregister(agent.agent_id)
            return await agent.stream.code(), proxy.registry.members()

    code, members = scene(tmp_path, play)

    assert code is grpc.StatusCode.ABORTED
    assert members == ()


def test_configuration_is_collected_and_the_existing_contract_is_reported_as_unable(tmp_path):
    async def play(proxy):
        async with LinkAgent(proxy, "pod-0"):
            return await proxy.rounds.configuration(Selection(), 5)

    result = scene(tmp_path, play)

    assert [(a.member.pod_name, a.value.epoch) for a in result.answers] == [("pod-0", 3)]


def test_storm_of_three_hundred_agents_loses_none(tmp_path):
    async def play(proxy):
        agents = [LinkAgent(proxy, f"pod-{n}") for n in range(300)]
        await asyncio.gather(*(agent.start() for agent in agents))
        living = sum(member.is_living for member in proxy.registry.members())
        await asyncio.gather(*(agent.close() for agent in agents))
        return living

    assert scene(tmp_path, play, limits=Limits(max_agents=300)) == 300


def test_agents_of_one_pod_name_in_two_namespaces_have_a_link_each(tmp_path):
    async def play(proxy):
        async with (
            LinkAgent(proxy, "pod-0", namespace="a") as one,
            LinkAgent(proxy, "pod-0", namespace="b") as other,
        ):
            # A stream counts before its welcome is on its way; frames are taken from then on.
            await until(lambda: all(proxy.link.is_linked(f"{one}/pod-0") for one in "ab"))
            assert proxy.link.send("b/pod-0", frames.EventAck(7))
            await until(lambda: "event_ack" in other.heard)
            return "event_ack" not in one.heard

    assert scene(tmp_path, play)
