# SPDX-License-Identifier: Apache-2.0
"""The seven existing streams over real sockets: upstream-proxy §5, G01 to G17."""

import asyncio
import contextlib
import time
from collections import Counter
from pathlib import Path

import grpc
import pytest

from fodc_protocol.addresses import Address
from fodc_proxy.fleet.limits import Limits
from fodc_proxy.fleet.membership import Phase
from fodc_proxy.queries.plan import Latest, Settings, Window
from fodc_proxy.settings import AgentAccess
from fodc_proxy.wire.existing import codec, service
from fodc_proxy.wire.existing.service import NO_AGENT_ID, STREAM_NAMES, CommandError
from fodc_proxy.wire.rpc.status import StreamOverError
from fodc_proxy.wire.server import GrpcServer
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc

from ..live import SERVICE, GoAgent, fetch, running, until  # noqa: TID252 - one folder's tests

RECORDED = Path(__file__).parents[2] / "data" / "grpc"


def scene(tmp_path, play, **told):
    async def run():
        async with running(tmp_path, **told) as proxy:
            return await play(proxy)

    return asyncio.run(run())


def recorded(name):
    return bytes.fromhex((RECORDED / f"{name}.hex").read_text())


def test_g01_registration_is_confirmed_with_id_and_interval(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "pod-0") as agent:
            return agent.reply, proxy.registry.find("pod-0"), proxy.fodc.count

    reply, member, count = scene(tmp_path, play, heartbeat_interval_s=7.9)

    assert (reply.success, reply.message) == (True, "Agent registered successfully")
    assert (reply.heartbeat_interval_seconds, reply.agent_id) == (7, member.agent_id)
    assert member.identity.container_names == ("data",)
    assert count == 1


@pytest.mark.parametrize(
    ("pod_name", "role", "message"),
    [("pod", "", "node role cannot be empty"), ("", "ROLE_DATA", "pod name cannot be empty")],
)
def test_g02_i07_refused_registration_says_why_and_ends_unknown(tmp_path, pod_name, role, message):
    async def play(proxy):
        async with GoAgent(proxy, pod_name, role) as agent:
            code, details = await agent.registration.code(), await agent.registration.details()
            return agent.reply, code, details, proxy.registry.members()

    reply, code, details, members = scene(tmp_path, play)

    assert (reply.success, reply.message) == (False, message)
    assert (code, details) == (grpc.StatusCode.UNKNOWN, message)
    assert members == ()


def test_g02_limit_of_agents_is_refused_with_the_text(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "a"), GoAgent(proxy, "b") as second:
            return second.reply.message

    # The two may come within the same millisecond.
    paced = AgentAccess(registrations_per_s=1_000_000.0)
    told = scene(tmp_path, play, limits=Limits(max_agents=1), agents=paced)

    assert told == "maximum number of agents (1) reached"


def test_g03_agent_that_cannot_be_answered_is_no_member(tmp_path):
    class Broken:
        """A stream that gives one message and takes none."""

        metadata: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
        certificate_names = ()
        is_tls = False
        peer = Address("127.0.0.1", 1)

        async def read(self, most_bytes=0):
            return fodc.RegisterAgentRequest(node_role="R", pod_name="p").SerializeToString()

        async def write(self, message):
            raise StreamOverError("gone")

    async def play(proxy):
        await proxy.fodc.register_agent(None, Broken())
        return proxy.registry.members()

    assert scene(tmp_path, play) == ()


def test_g04_g05_later_messages_are_heartbeats_without_a_reply(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "pod-0", "ROLE_UNSPECIFIED") as agent:
            before = proxy.registry.find("pod-0").last_heartbeat_ms
            agent.role = "ROLE_DATA"
            await asyncio.sleep(0.01)
            await agent.beat()
            await until(lambda: proxy.registry.find("pod-0").role == "ROLE_DATA")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await agent.registration.read()
            return before, proxy.registry.find("pod-0").last_heartbeat_ms

    before, after = scene(tmp_path, play)

    assert after > before


def test_heartbeats_that_repeat_the_registration_do_not_wake_the_reader(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(service._Beats, "heard", lambda _beats, data: read.append(data))

    async def play(proxy):
        async with GoAgent(proxy, "pod-0", "ROLE_DATA") as agent:
            before = proxy.registry.find("pod-0").last_heartbeat_ms
            await until(lambda: time.time_ns() // 1_000_000 > before)
            await agent.beat()
            await until(lambda: proxy.registry.find("pod-0").last_heartbeat_ms > before)
            agent.role = "ROLE_LIAISON"
            await agent.beat()
            await until(lambda: read)

    scene(tmp_path, play)

    assert [fodc.RegisterAgentRequest.FromString(one).node_role for one in read] == ["ROLE_LIAISON"]


def test_heartbeat_of_a_removed_agent_ends_unknown_with_the_text(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "pod-0") as agent:
            proxy.registry.unregister(agent.agent_id)
            await agent.beat()
            code = await agent.registration.code()
            return code, await agent.registration.details(), agent.agent_id

    code, details, agent_id = scene(tmp_path, play)

    assert (code, details) == (grpc.StatusCode.UNKNOWN, f"agent {agent_id} not found")


def test_half_closed_registration_ends_well_and_the_agent_is_offline(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "pod-0") as agent:
            await agent.registration.done_writing()
            code = await agent.registration.code()
            await until(lambda: not proxy.registry.find("pod-0").is_living)
            return code, proxy.registry.find("pod-0").phase

    assert scene(tmp_path, play) == (grpc.StatusCode.OK, Phase.OFFLINE)


def test_g06_g13_g16_stream_is_known_by_the_id_in_its_metadata(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "pod-0") as agent:
            before = proxy.fodc.has_stream(agent.agent_id, "StreamLifecycle")
            call = agent.call(SERVICE + "StreamLifecycle", agent_id=agent.agent_id)
            await until(lambda: proxy.fodc.has_stream(agent.agent_id, "StreamLifecycle"))
            call.cancel()
            return before

    assert scene(tmp_path, play) is False


def test_g07_g14_agent_of_old_is_known_by_its_address(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "127.0.0.1") as agent:
            call = agent.call(SERVICE + "StreamClusterTopology")
            await until(lambda: proxy.fodc.has_stream(agent.agent_id, "StreamClusterTopology"))
            call.cancel()

    scene(tmp_path, play)


@pytest.mark.parametrize("method", list(STREAM_NAMES))
def test_g08_stream_without_an_id_is_unauthenticated(tmp_path, method):
    async def play(proxy):
        agent = GoAgent(proxy, "pod-0")
        call = agent.call(SERVICE + method)
        told = await call.code(), await call.details()
        await agent.close()
        return told

    assert scene(tmp_path, play) == (grpc.StatusCode.UNAUTHENTICATED, NO_AGENT_ID)


def test_stream_of_an_unknown_id_stays_open_and_is_dropped(tmp_path):
    """An ended stream would make a Go agent register anew at once, again and again."""

    async def play(proxy):
        agent = GoAgent(proxy, "pod-0")
        call = agent.call(SERVICE + "StreamMetrics", agent_id="nobody")
        await call.write(b"")
        await until(lambda: proxy.fodc.dropped.unknown_agent == 1)
        still_open = not call.done()
        await agent.close()
        return still_open

    assert scene(tmp_path, play) is True


def test_g09_g10_cancelled_data_stream_leaves_the_agent_connected(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "pod-0") as agent:
            await agent.attached(proxy)
            agent.metrics.cancel()
            await until(lambda: not proxy.fodc.has_stream(agent.agent_id, "StreamMetrics"))
            with pytest.raises(CommandError) as error:
                proxy.fodc.command(agent.agent_id, "StreamMetrics", b"")
            return agent.agent_id, error.value.message, proxy.registry.find("pod-0").is_living

    agent_id, message, is_living = scene(tmp_path, play)

    assert message == f"metrics stream not established for agent ID: {agent_id}"
    assert is_living


def test_g11_m14_window_command_carries_both_times_and_latest_none(tmp_path):
    async def play(proxy):
        async with GoAgent(proxy, "pod-0") as agent:
            await agent.attached(proxy)
            assert proxy.fodc.ask(agent.agent_id, 1, Latest()) == ""
            assert proxy.fodc.ask(agent.agent_id, 2, Window(1_000, 2_500)) == ""
            await until(lambda: len(agent.commands) == 2)
            return agent.commands

    latest, window = scene(tmp_path, play)

    assert not latest.HasField("start_time")
    assert (window.start_time.ToMilliseconds(), window.end_time.ToMilliseconds()) == (1000, 2500)


def test_g12_commands_without_connection_or_stream_say_so(tmp_path):
    async def play(proxy):
        told = [proxy.fodc.ask("nobody", 1, Latest()), proxy.fodc.ask("nobody", 1, Settings())]
        async with GoAgent(proxy, "pod-0") as agent:
            for method in ("StreamClusterTopology", "StreamLifecycle"):
                with pytest.raises(CommandError) as error:
                    proxy.fodc.command(agent.agent_id, method, b"")
                told.append(error.value.message.replace(agent.agent_id, "X"))
        return told

    assert scene(tmp_path, play) == [
        "agent connection not found for agent ID: nobody",
        "the existing contract has no query for the configuration",
        "cluster state stream not established for agent ID: X",
        "lifecycle stream not established for agent ID: X",
    ]


def test_g15_end_of_unknown_agents_is_harmless(tmp_path):
    async def play(proxy):
        proxy.registry.disconnected("")
        proxy.registry.disconnected("nobody")
        proxy.rounds.gone("nobody")

    scene(tmp_path, play)


def test_g17_invalid_address_is_an_error_and_a_stop_before_the_start_harmless():
    async def run():
        server = GrpcServer({}, max_message_bytes=1024)
        await server.stop()
        with pytest.raises(OSError, match="cannot listen on"):
            await GrpcServer({}, max_message_bytes=1024).start("256.0.0.1", 1)

    asyncio.run(run())


def test_recorded_registration_reads_as_the_go_agent_meant_it():
    request = codec.decode_register_request(recorded("0001-A2P-RegisterAgent"))

    assert request.pod_name
    assert request.node_role.startswith("ROLE_")
    reply = fodc.RegisterAgentResponse.FromString(recorded("0002-P2A-RegisterAgent"))
    again = codec.encode_register_reply(
        success=reply.success,
        message=reply.message,
        heartbeat_interval_s=reply.heartbeat_interval_seconds,
        agent_id=reply.agent_id,
    )
    assert again == recorded("0002-P2A-RegisterAgent")


def test_two_living_go_agents_of_one_name_are_a_conflict_that_shows_and_the_newer_stays(
    tmp_path, caplog
):
    """P28: the older one is not sent away, because it would come back and take the pod again."""

    async def play(proxy):
        async with GoAgent(proxy, "pod-0") as older, GoAgent(proxy, "pod-0") as newer:
            for beats in range(3):
                await older.beat()
                await newer.beat()
                await until(lambda n=beats: proxy.registry.conflicts > 0 or n < 0)
            await until(lambda: proxy.registry.find("pod-0").phase is Phase.DEGRADED)
            member = proxy.registry.find("pod-0")
            page = await fetch(proxy, "/metrics")
            stays = not older.registration.done()
            return stays, member, newer.agent_id, page.text, older

    with caplog.at_level("INFO"):
        stays, member, newer_id, page, _ = scene(tmp_path, play)

    assert stays
    assert member.agent_id == newer_id
    assert [one.type for one in member.conditions] == ["PodConflict"]
    assert "fodc_proxy_conflicts_total 1.0\n" in page
    assert sum("agent phase" in line and "Degraded" in line for line in caplog.messages) == 1


def test_superseded_agent_is_told_once_its_successor_is_gone(tmp_path):
    """The text is the existing proxy's for a removed agent; the agent then registers anew."""

    async def play(proxy):
        async with GoAgent(proxy, "pod-0") as older:
            async with GoAgent(proxy, "pod-0") as newer:
                pass
            await until(lambda: not proxy.registry.find("pod-0").is_living)
            await older.beat()
            return await older.registration.details(), older.agent_id, newer

    details, older_id, _ = scene(tmp_path, play)

    assert details == f"agent {older_id} not found"


def test_large_and_small_pages_that_come_at_once_are_each_their_agents(tmp_path):
    """A page is rendered in steps: what another agent sends in between must not be mixed in."""

    class Many(GoAgent):
        async def answer(self):
            name = self.pod_name
            count = 1000 if name < "pod-4" else 1
            labels = [
                {"pod_name": name, "node_role": self.role, "own": name, "n": str(n)}
                for n in range(count)
            ]
            metrics = [fodc.Metric(name="up", type=1, value=1, labels=one) for one in labels]
            await self.metrics.write(fodc.StreamMetricsRequest(metrics=metrics).SerializeToString())

    async def play(proxy):
        async with contextlib.AsyncExitStack() as stack:
            for number in range(8):
                agent = await stack.enter_async_context(Many(proxy, f"pod-{number}"))
                await agent.attached(proxy)
            return [(await fetch(proxy, "/metrics")).text for _ in range(2)]

    for page in scene(tmp_path, play):
        lines = [line for line in page.splitlines() if line.startswith("up{")]
        owners = Counter(
            (line.split('own="')[1].split('"')[0], line.split('pod_name="')[1].split('"')[0])
            for line in lines
        )
        expected = {(f"pod-{n}", f"pod-{n}"): 1000 if n < 4 else 1 for n in range(8)}
        assert owners == expected
