# SPDX-License-Identifier: Apache-2.0
"""`/cluster/topology` over real sockets: upstream-proxy §6.6, §8; H01 to H04, C01 to C05, I11."""

import asyncio
import json

import pytest

from fodc_proxy.evidence import parts, views
from fodc_proxy.evidence.remembered import Remembered
from fodc_proxy.evidence.topology import merged
from fodc_proxy.hosting import Host
from fodc_proxy.runtime import Proxy
from fodc_proxy.settings import Settings
from fodc_proxy.wire.bounds import WireError
from fodc_proxy.wire.existing.evidence import MOST_NODES, decode_topology
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as fodc

from ..evident import (  # noqa: TID252 - one folder's tests
    DATA,
    TOPOLOGY,
    EvidentAgent,
    always,
    node,
    recorded,
    silence,
    topology,
)
from ..live import ANYWHERE, GoAgent, LinkAgent, fetch, running, until  # noqa: TID252 - as above

PATH = "/cluster/topology"
RECORDED = json.loads((DATA / "proxy-http" / "topology.json").read_text())


def scene(tmp_path, play, **told):
    async def run():
        async with running(tmp_path, **told) as proxy:
            return await play(proxy)

    return asyncio.run(run())


def test_h01_c03_two_agents_are_one_cluster(tmp_path):
    """C03: parts merge; H01: nodes and calls with their ids."""
    first = topology([node("a"), node("b")], ("a", "b"))
    second = topology([node("b"), node("c")], ("a", "b"))

    async def play(proxy):
        async with (
            EvidentAgent(proxy, "p1", **{TOPOLOGY: always(first)}),
            EvidentAgent(proxy, "p2", **{TOPOLOGY: always(second)}),
        ):
            return await fetch(proxy, PATH)

    told = scene(tmp_path, play)

    assert (told.status, told.headers["Content-Type"]) == (200, "application/json")
    body = json.loads(told.text)
    assert [one["metadata"] for one in body["nodes"]] == [{"name": n} for n in "abc"]
    assert body["calls"] == [{"id": "a-b", "target": "b", "source": "a"}]
    assert (told.headers["X-FODC-Asked"], told.headers["X-FODC-Answered"]) == ("2", "2")


def test_recorded_frame_gives_the_recorded_nodes_field_by_field(tmp_path):
    async def play(proxy):
        told = always(recorded("0006-A2P-StreamClusterTopology"))
        async with EvidentAgent(proxy, "pod-data2", **{TOPOLOGY: told}):
            return (await fetch(proxy, PATH)).text

    text = scene(tmp_path, play)

    names = {"127.0.0.1:27912", "127.0.0.1:37912"}
    wanted = [one for one in RECORDED["nodes"] if one["metadata"]["name"] in names]
    calls = [one for one in RECORDED["calls"] if one["source"] == "127.0.0.1:27912"]
    body = {"nodes": wanted, "calls": calls}
    assert text == json.dumps(body, separators=(",", ":")) + "\n"


def test_c04_only_a_node_whose_pod_is_an_agents_has_a_status(tmp_path):
    """The order of fields is the recorded one."""
    nodes = [node("a", labels={"pod_name": "p1"}), node("b", labels={"pod_name": "nobody"})]

    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{TOPOLOGY: always(topology(nodes))}) as agent:
            beat = proxy.registry.get(agent.agent_id).last_heartbeat_ms
            return json.loads((await fetch(proxy, PATH)).text)["nodes"], beat

    (first, second), beat_ms = scene(tmp_path, play)

    assert first["status"] == "online"
    assert first["last_heartbeat"].endswith("Z")
    assert beat_ms > 0
    assert list(first) == ["metadata", "labels", "status", "last_heartbeat", "roles"]
    assert second == {"metadata": {"name": "b"}, "labels": {"pod_name": "nobody"}, "roles": []}


def test_c05_node_of_an_agent_that_is_gone_is_shown_as_unconnected_with_its_age(
    tmp_path, monkeypatch
):
    """What it told last stands in for it, and a header says so."""
    now_ms = [1_000_000]
    monkeypatch.setattr(views, "steady_ms", lambda: now_ms[0])

    async def play(proxy):
        told = always(topology([node("a", labels={"pod_name": "p1"})]))
        async with EvidentAgent(proxy, "p1", **{TOPOLOGY: told}):
            await fetch(proxy, PATH)
        await until(lambda: not proxy.registry.find("p1").is_living)
        now_ms[0] += 3_000
        return await fetch(proxy, PATH)

    told = scene(tmp_path, play)

    assert json.loads(told.text)["nodes"][0]["status"] == "unconnected"
    assert told.headers["X-FODC-Missing"] == "p1"
    assert told.headers["X-FODC-Stale"] == "p1=3s"


def test_h02_a_replica_that_does_not_serve_answers_503(tmp_path):
    """No collector is ever missing here; what comes nearest is a replica that stands by."""

    async def run():
        settings = Settings(ANYWHERE, ANYWHERE, data_dir=str(tmp_path / "data"))
        proxy = Proxy(settings, Host(stands_by=lambda: True))
        await proxy.listen()
        told = await fetch(proxy, PATH)
        await proxy.stop()
        return told

    assert asyncio.run(run()).status == 503


def test_h03_agents_that_cannot_be_asked_cost_themselves_only(tmp_path):
    """Neither one without the stream nor one of our contract makes it an error."""

    async def play(proxy):
        async with GoAgent(proxy, "p1"), LinkAgent(proxy, "p2"):
            return await fetch(proxy, PATH)

    told = scene(tmp_path, play)

    assert (told.status, told.text) == (200, '{"nodes":[],"calls":[]}\n')
    assert set(told.headers["X-FODC-Missing"].split(",")) == {"p1", "p2"}


def test_h04_the_views_stop_before_they_start_and_twice(tmp_path):
    async def run():
        proxy = Proxy(Settings(ANYWHERE, ANYWHERE, data_dir=str(tmp_path / "data")))
        await proxy.views.stop()
        await proxy.start()
        await proxy.stop()
        await proxy.stop()

    asyncio.run(run())


def test_no_agents_are_no_nodes(tmp_path):
    told = scene(tmp_path, lambda proxy: fetch(proxy, PATH + "?address=passed-over"))

    assert (told.status, told.text) == (200, '{"nodes":[],"calls":[]}\n')


@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
def test_other_methods_are_refused_as_recorded(tmp_path, method):
    told = scene(tmp_path, lambda proxy: fetch(proxy, PATH, method))

    assert told.status == 405
    assert told.text == ("" if method == "HEAD" else "Method not allowed\n")


def test_c01_an_answer_that_nobody_asked_for_is_harmless(tmp_path):
    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{TOPOLOGY: silence}) as agent:
            await agent.say(TOPOLOGY, topology([node("a")]))
            await until(lambda: proxy.rounds.unasked_answers == 1)
            agent.gives[TOPOLOGY] = always(topology([node("b")]))
            return json.loads((await fetch(proxy, PATH)).text)

    body = scene(tmp_path, play)

    assert [one["metadata"]["name"] for one in body["nodes"]] == ["b"]


def test_c02_an_agent_that_goes_while_it_is_asked_is_missing_at_once(tmp_path):
    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{TOPOLOGY: silence}) as agent:
            asking = asyncio.create_task(fetch(proxy, PATH))
            await agent.asked(TOPOLOGY)
            agent.streams[TOPOLOGY].cancel()
            async with asyncio.timeout(5):
                return await asking

    told = scene(tmp_path, play, collection_timeout_s=30.0)

    assert (told.status, told.headers["X-FODC-Missing"]) == (200, "p1")


def test_silent_agent_costs_the_deadline_once_and_callers_share_a_round(tmp_path):
    async def play(proxy):
        async with (
            EvidentAgent(proxy, "p1", **{TOPOLOGY: silence}) as agent,
            EvidentAgent(proxy, "p2", **{TOPOLOGY: always(topology([node("a")]))}),
        ):
            both = await asyncio.gather(fetch(proxy, PATH), fetch(proxy, PATH))
            again = await fetch(proxy, PATH)
            return [*both, again], len(agent.heard)

    told, commands = scene(tmp_path, play, collection_timeout_s=3.0)

    assert {one.headers["X-FODC-Missing"] for one in told} == {"p1"}
    assert {len(json.loads(one.text)["nodes"]) for one in told} == {1}
    assert commands == 1


def test_i11_both_nodes_are_there_by_name(tmp_path):
    async def play(proxy):
        async with (
            EvidentAgent(proxy, "p1", **{TOPOLOGY: always(topology([node("node-1")]))}),
            EvidentAgent(proxy, "p2", **{TOPOLOGY: always(topology([node("node-2")]))}),
        ):
            async with asyncio.timeout(5):
                return json.loads((await fetch(proxy, PATH)).text)

    names = {one["metadata"]["name"] for one in scene(tmp_path, play)["nodes"]}

    assert names == {"node-1", "node-2"}


# ---- what an agent may tell ---------------------------------------------------------------------


def too_many():
    return topology([node(f"n{number}") for number in range(MOST_NODES + 1)])


def with_time(seconds, nanos):
    made = node("a")
    made.created_at.seconds, made.created_at.nanos = seconds, nanos
    return topology([made])


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (topology([node("a\nb")]), "node.metadata.name"),
        (topology([node("a" * 400)]), "node.metadata.name"),
        (topology([node("a", grpc_address="\x00")]), "node.grpc_address"),
        (topology([node("a", labels={"x" * 400: ""})]), "node.labels"),
        (topology([node("a", roles=[1] * 17)]), "node.roles"),
        (topology([node("a")], ("a", "b" * 400)), "call."),
        (with_time(2**62, 0), "node.created_at"),
        (with_time(0, -1), "node.created_at"),
        (too_many(), "topology.nodes"),
    ],
)
def test_what_breaks_a_bound_is_refused_with_the_name_of_its_field(message, field):
    with pytest.raises(WireError, match=field.replace(".", r"\.")):
        decode_topology(message.SerializeToString())


def test_garbage_costs_its_agent_its_part_and_is_counted(tmp_path):
    async def play(proxy):
        async with EvidentAgent(proxy, "p1", **{TOPOLOGY: always(b"\xff\xff")}):
            told = await fetch(proxy, PATH)
            return told, proxy.fodc.evidence.garbage

    told, garbage = scene(tmp_path, play)

    assert (told.status, told.headers["X-FODC-Missing"], garbage) == (200, "p1", 1)


def test_role_without_a_name_is_told_by_its_number():
    told = decode_topology(topology([node("a", roles=[3, 9])]).SerializeToString())

    assert told.nodes[0].roles == ("ROLE_LIAISON", "UNKNOWN_ROLE_9")


def test_zero_time_of_go_is_a_time():
    told = decode_topology(with_time(-62_135_596_800, 0).SerializeToString())

    assert told.nodes[0].created_at.seconds == -62_135_596_800


# ---- merging ------------------------------------------------------------------------------------


def part(*nodes):
    return decode_topology(topology(nodes).SerializeToString())


def test_copy_that_names_its_pod_wins_over_later_ones():
    """W-18: a copy out of a route table has no pod, and hid the node's agent."""
    own = node("a", labels={"pod_name": "p1", "type": "hot"})

    told = merged([part(own), part(node("a", labels={"type": "hot"}))], lambda _: None)

    assert [one.labels for one in told.nodes] == [{"pod_name": "p1", "type": "hot"}]


def test_nodes_without_a_name_and_calls_without_an_id_are_passed_over():
    told = fodc.StreamClusterTopologyRequest()
    told.topology.nodes.add()
    told.topology.calls.add(source="a")

    whole = merged([decode_topology(told.SerializeToString())], lambda _: None)

    assert (whole.nodes, whole.calls) == ((), ())


def test_what_is_remembered_is_bounded_by_its_bytes():
    class Member:
        def __init__(self, address):
            self.address = self.pod_name = address

    class Result:
        def __init__(self, answers, missing):
            self.answers, self.missing = answers, missing

    class Of:
        def __init__(self, address, value=None):
            self.member, self.value = Member(address), value

    kept = Remembered(most_bytes=150)
    kept.note(Result([Of(one, parts.Topology((), (), 100)) for one in "ab"], []), 1000)
    aged = kept.note(Result([], [Of("a"), Of("b")]), 3500)

    assert [(one.member.address, one.age_ms) for one in aged] == [("b", 2500)]
    kept.keep_only(["a"])
    assert kept.note(Result([], [Of("b")]), 4000) == ()
