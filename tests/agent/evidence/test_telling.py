# SPDX-License-Identifier: Apache-2.0
"""What the agent tells of its node, asked of real gRPC servers: T-CL-05 to 13, T-LC."""

import asyncio

import grpc
import pytest

from fodc_agent.evidence.cluster import Seen, topology_message
from fodc_agent.evidence.reports import REPORT_BYTES, newest_reports
from fodc_agent.evidence.telling import Evidence
from fodc_agent.node_access import NodeAccess
from fodc_agent.settings import load
from fodc_agent.uplink.answers import NoAnswerError
from fodc_protocol.errors import Reason
from fodc_wire.banyandb.fodc.v1 import rpc_pb2 as pb

from .nodes import Node, current, groups, node, state


def seen(name, *registered, active=(), evictable=(), **told):
    tables = state(*map(node, registered), active=active, evictable=evictable)
    return Seen(node(name, **told).SerializeToString(), tables.SerializeToString())


def cluster(*told, pod_name=""):
    data = topology_message(told, pod_name, b"")
    return pb.StreamClusterTopologyRequest.FromString(data).topology


def names(topology):
    return [one.metadata.name for one in topology.nodes]


def calls(topology):
    return [one.id for one in topology.calls]


def test_t_cl_05_one_endpoint_and_the_node_that_it_knows():
    told = cluster(seen("node-1", "node-2"))

    assert sorted(names(told)) == ["node-1", "node-2"]
    (call,) = told.calls
    assert (call.id, call.source, call.target) == ("node-1-node-2", "node-1", "node-2")


def test_t_cl_06_t_cl_12_endpoints_are_one_cluster():
    told = cluster(
        seen("liaison-1", "data-hot-2", "data-warm-2"),
        seen("data-hot-1", "liaison-2"),
        seen("data-warm-1", "data-hot-2"),
    )

    assert len(told.nodes) == 6
    assert calls(told) == [
        "liaison-1-data-hot-2",
        "liaison-1-data-warm-2",
        "data-hot-1-liaison-2",
        "data-warm-1-data-hot-2",
    ]


def test_t_cl_07_t_cl_13_without_a_node_there_is_no_cluster():
    """T-CL-07: a state without a node; T-CL-13: nothing at all."""
    assert names(cluster(Seen(b"", state(node("a")).SerializeToString()))) == []
    assert names(cluster()) == []


def test_t_cl_08_odd_names_are_kept():
    told = cluster(seen("a", ":17914"))

    assert (sorted(names(told)), calls(told)) == ([":17914", "a"], ["a-:17914"])


def test_t_cl_09_t_cl_10_t_cl_11_own_node_alone_bears_the_pod_and_calls_not_itself():
    """T-CL-10: its labels stay; T-CL-11: no pod, no label; W-18: the copy of a table hid it."""
    own = seen("a", "a", "b", active=["a"], labels={"zone": "z1"})
    told = cluster(own, pod_name="p1")
    labels = {one.metadata.name: dict(one.labels) for one in told.nodes}

    assert labels["a"] == {"zone": "z1", "pod_name": "p1", "liveness": "active"}
    assert "pod_name" not in labels["b"]
    assert calls(told) == ["a-b"]
    assert all("pod_name" not in one.labels for one in cluster(own).nodes)


def test_w_19_node_that_is_dead_does_not_look_like_one_that_lives():
    told = cluster(seen("a", "b", "c", "d", active=["b"], evictable=["c"]))
    liveness = {one.metadata.name: one.labels["liveness"] for one in told.nodes}

    assert liveness["b"] == "active"
    assert liveness["c"] == "evictable"
    assert liveness["d"] == "registered"


def test_what_is_not_known_here_is_passed_on():
    own = node("a", grpc_address="a:1", property_schema_grpc_address="a:2", roles=[1, 2])
    told = cluster(Seen(own.SerializeToString()))

    assert told.nodes[0] == own


# ---- asked over real sockets --------------------------------------------------------------------


def scene(play, *flags, **answers):
    """Play with an agent of a node that answers so; `{port}` in flags is the node's."""

    async def run():
        async with Node(**answers).served() as served:
            argv = [flag.format(port=served.port) for flag in flags]
            now = [1000.0]
            told = Evidence(
                load(argv, {}),
                "p1",
                NodeAccess("127.0.0.1"),
                now_ns=lambda: 5,
                steady_s=lambda: now[0],
            )
            return await play(told, served, now)

    return asyncio.run(run())


async def refused(telling):
    with pytest.raises(NoAnswerError) as error:
        await telling
    return error.value.reason, str(error.value)


def test_topology_is_asked_of_the_node():
    async def play(told, _node, _now):
        return pb.StreamClusterTopologyRequest.FromString(await told.topology())

    answer = scene(
        play,
        "--cluster-state-ports={port}",
        GetCurrentNode=current(node("a")),
        GetClusterState=state(node("b"), active=["b"]),
    )

    assert sorted(names(answer.topology)) == ["a", "b"]
    assert answer.timestamp.nanos == 5


def test_sidecar_without_a_cluster_state_tells_of_itself():
    async def play(told, _node, _now):
        return pb.StreamClusterTopologyRequest.FromString(await told.topology())

    answer = scene(play, "--cluster-state-ports={port}", GetCurrentNode=current(node("a")))

    assert names(answer.topology) == ["a"]


def test_t_cl_17_node_that_cannot_be_asked_is_a_failure_with_its_reason():
    async def play(told, served, _now):
        return await refused(told.topology())

    reason, words = scene(play, "--cluster-state-ports=1,{port}")

    assert reason is Reason.NODE_UNREACHABLE
    assert "127.0.0.1:1" in words


@pytest.mark.parametrize("ask", ["topology", "lifecycle", "crashes"])
def test_what_no_flag_names_is_unsupported(ask):
    """T-CL-02: without a port nobody is asked, and it says so."""

    async def play(told, _node, _now):
        return await refused(getattr(told, ask)())

    reason, words = scene(play)

    assert reason is Reason.UNSUPPORTED
    assert words.startswith(("--", "neither --"))


def test_t_cl_16_each_port_is_asked_on_the_loopback_address_of_ipv4():
    async def play(told, _served, _now):
        return await refused(told.topology())

    _, words = scene(play, "--cluster-state-ports=1,2,3")

    assert [f"127.0.0.1:{port}" in words for port in (1, 2, 3)] == [True] * 3


def group_names(data):
    told = pb.StreamLifecycleRequest.FromString(data)
    return [one.name for one in told.lifecycle_data.groups]


def test_t_lc_02_t_lc_09_groups_are_told_from_the_cache_for_a_while():
    async def play(told, served, now):
        first = await told.lifecycle()
        served.answers["InspectAll"] = groups("g2")
        now[0] += 120
        second = await told.lifecycle()
        now[0] += 240
        return [group_names(one) for one in (first, second, await told.lifecycle())], served.asked

    flags = ("--lifecycle-port={port}", "--lifecycle-cache-ttl=5m")
    told, asked = scene(play, *flags, InspectAll=groups("g1"))

    assert told == [["g1"], ["g1"], ["g2"]]
    assert len(asked) == 2


def test_t_lc_07_node_without_groups_is_asked_again_later():
    """W-42: the existing agent latched that for its whole life, upgrades included."""

    async def play(told, served, now):
        first = group_names(await told.lifecycle())
        now[0] += 301
        return first, group_names(await told.lifecycle()), len(served.asked)

    flags = ("--lifecycle-port={port}", "--lifecycle-cache-ttl=5m")
    told = scene(play, *flags, InspectAll=grpc.StatusCode.UNIMPLEMENTED)

    assert told == ([], [], 2)


def test_t_lc_10_t_lc_11_t_lc_12_failure_is_told_and_never_kept():
    """T-LC-11: also after a success; T-LC-12: it does not move the time of that success."""

    async def play(told, served, now):
        failed = await refused(told.lifecycle())
        served.answers["InspectAll"] = groups("g1")
        first = group_names(await told.lifecycle())
        now[0] += 301
        served.answers["InspectAll"] = grpc.StatusCode.DEADLINE_EXCEEDED
        again = await refused(told.lifecycle())
        served.answers["InspectAll"] = groups("g2")
        return failed, first, again, group_names(await told.lifecycle()), len(served.asked)

    flags = ("--lifecycle-port={port}", "--lifecycle-cache-ttl=5m")
    told = scene(play, *flags, InspectAll=grpc.StatusCode.DEADLINE_EXCEEDED)

    assert (told[0][0], told[2][0]) == (Reason.NODE_UNREACHABLE, Reason.NODE_UNREACHABLE)
    assert (told[1], told[3], told[4]) == (["g1"], ["g2"], 4)


def test_t_lc_03_without_a_lifetime_groups_are_asked_for_each_time():
    async def play(told, served, _now):
        for _ in range(3):
            await told.lifecycle()
        return len(served.asked)

    flags = ("--lifecycle-port={port}", "--lifecycle-cache-ttl=0s")
    assert scene(play, *flags, InspectAll=groups("g1")) == 3


def test_t_lc_08_a_node_without_a_group_has_answered():
    async def play(told, _served, _now):
        return pb.StreamLifecycleRequest.FromString(await told.lifecycle())

    answer = scene(play, "--lifecycle-port={port}", InspectAll=groups())

    assert answer.HasField("lifecycle_data")
    assert list(answer.lifecycle_data.groups) == []


def test_callers_at_the_same_time_ask_the_node_once():
    async def play(told, served, _now):
        await asyncio.gather(*(told.lifecycle() for _ in range(4)))
        return len(served.asked)

    assert scene(play, "--lifecycle-port={port}", InspectAll=groups("g1")) == 1


# ---- reports ------------------------------------------------------------------------------------


def test_t_lc_01_folder_that_is_not_there_has_no_reports(tmp_path):
    assert newest_reports(tmp_path / "none") == []
    assert newest_reports(tmp_path) == []


def test_t_lc_04_t_lc_05_five_newest_reports_the_newest_first(tmp_path):
    """T-LC-05: what is no JSON by its name is passed over."""
    for day in range(1, 8):
        (tmp_path / f"2026112{day}_060000.json").write_text(f'{{"day":{day}}}')
    (tmp_path / "20261129.txt").write_text("no")

    told = newest_reports(tmp_path)

    assert [name for name, _ in told] == [f"2026112{day}_060000.json" for day in (7, 6, 5, 4, 3)]
    assert told[0][1] == '{"day":7}'


def test_t_lc_06_report_that_is_too_long_or_no_text_or_a_link_is_passed_over(tmp_path):
    (tmp_path / "long.json").write_bytes(b" " * (REPORT_BYTES + 1))
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    (tmp_path / "link.json").symlink_to("/etc/hostname")
    (tmp_path / "good.json").write_text("{}")

    assert newest_reports(tmp_path) == [("good.json", "{}")]


def test_reports_of_a_folder_are_told_with_the_pod(tmp_path):
    (tmp_path / "20261121_060000.json").write_text("{}")

    async def play(told, _node, _now):
        return pb.StreamLifecycleRequest.FromString(await told.lifecycle())

    answer = scene(play, f"--lifecycle-report-dir={tmp_path}")

    assert answer.pod_name == "p1"
    assert [one.filename for one in answer.lifecycle_data.reports] == ["20261121_060000.json"]


def test_answer_of_the_node_that_is_too_long_is_refused():
    async def play(told, _node, _now):
        return await refused(told.lifecycle())

    huge = groups("x" * (5 * 1024 * 1024))
    reason, words = scene(play, "--lifecycle-port={port}", InspectAll=huge)

    assert reason is Reason.NODE_UNREACHABLE
    assert "its kind may have" in words


class Garbage:
    """What is no answer of a node."""

    def SerializeToString(self):  # noqa: N802 - protobuf's name
        return b"\x0a\xff"


def test_answer_of_the_node_that_is_garbage_is_told():
    async def play(told, _node, _now):
        return await refused(told.topology())

    reason, words = scene(play, "--cluster-state-ports={port}", GetCurrentNode=Garbage())

    assert reason is Reason.NODE_UNREACHABLE
    assert "the data ends" in words
