# SPDX-License-Identifier: Apache-2.0
"""The integration cases of the existing proxy, with our real processes, over both contracts."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from e2e import programs
from fodc_wire.banyandb.fodc.v1 import rpc_pb2
from tests.interop.fleet import Fleet, get, get_json, kept_port, nodes, phases, rfc3339, until

PAGE = """\
# HELP cpu_usage How busy.
# TYPE cpu_usage gauge
cpu_usage 42.5
# TYPE requests_total counter
requests_total{path="/"} 100
"""


@pytest.fixture(params=["link", "fodc"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, request.param) as started:
        yield started


def windows(proxy: programs.Program, **query: str) -> dict[str, list[float]]:
    """Values of each series by its name."""
    answer = get_json(f"{proxy.http}/metrics-windows", **query)
    return {one["name"]: [point["value"] for point in one["data"]] for one in answer}


def metrics(proxy: programs.Program, query: str = "") -> str:
    return get(f"{proxy.http}/metrics{query}").decode()


def online(proxy: programs.Program) -> list[str]:
    return sorted(pod for pod, phase in phases(proxy).items() if phase != "Offline")


def sample(page: str, name: str) -> dict[str, str]:
    """Labels of the first line of a series, its value under "value"; empty when there is none."""
    match = re.search(rf"^{name}(?:{{(.*)}})? (\S+)$", page, re.MULTILINE)
    if match is None:
        return {}
    return {**dict(re.findall(r'(\w+)="([^"]*)"', match[1] or "")), "value": match[2]}


def test_i01_registration_and_metrics(fleet: Fleet) -> None:
    """I01: an agent is online with its role, a window returns exact values and labels."""
    proxy = fleet.proxy()
    agent = fleet.agent(proxy.grpc, fleet.node(PAGE), "test", "ROLE_DATA", "--container-names=data")
    until("one agent online", lambda: online(proxy) == ["test"])
    assert [node["role"] for node in nodes(proxy)] == ["ROLE_DATA"]

    until("the series", lambda: "cpu_usage" in windows(proxy))
    series = {
        one["name"]: one for one in get_json(f"{proxy.http}/metrics-windows", pod_name="test")
    }

    assert {point["value"] for point in series["cpu_usage"]["data"]} == {42.5}
    assert {point["value"] for point in series["requests_total"]["data"]} == {100}
    assert series["cpu_usage"]["agent_id"] == nodes(proxy)[0]["agent_id"] != ""
    assert series["cpu_usage"]["pod_name"] == "test"
    assert series["requests_total"]["labels"] == {
        "path": "/",
        "node_role": "ROLE_DATA",
        "pod_name": "test",
        "container_name": "data",
    }

    agent.stop()
    until(
        "the agent counted as gone", lambda: get_json(f"{proxy.http}/health")["agents_online"] == 0
    )
    assert get_json(f"{proxy.http}/health")["agents_total"] == 1


def test_i02_time_window(fleet: Fleet) -> None:
    """I02: a window holds what was sampled inside it, with both ends, and nothing else."""
    proxy = fleet.proxy()
    node = fleet.node("level 10\n")
    fleet.agent(proxy.grpc, node, "pod-0", "ROLE_DATA")
    until("the first value", lambda: sample(metrics(proxy), "level").get("value") == "10")
    node.page = "level 20\n"
    until("the second value", lambda: sample(metrics(proxy), "level").get("value") == "20")
    time.sleep(1.1)  # the interface counts whole seconds: leave the second of the change behind
    start_s = time.time()
    time.sleep(1.1)
    node.page = "level 30\n"
    until("the third value", lambda: sample(metrics(proxy), "level").get("value") == "30")
    times = {"start_time": rfc3339(start_s), "end_time": rfc3339(time.time() + 1)}

    inside = windows(proxy, **times)["level"]
    assert inside == sorted(inside)
    assert set(inside) == {20, 30}
    whole = {"start_time": rfc3339(start_s - 60), "end_time": rfc3339(time.time() + 1)}
    assert set(windows(proxy, **whole)["level"]) == {10, 20, 30}
    future = {
        "start_time": rfc3339(time.time() + 3600),
        "end_time": rfc3339(time.time() + 7200),
    }
    assert get_json(f"{proxy.http}/metrics-windows", **future) == []


def test_i03_reconnection(fleet: Fleet) -> None:
    """I03: an agent that left is unconnected and silent; its return replaces the old entry.

    Differs on purpose: the existing proxy keeps both entries until clean-up, ours supersedes.
    """
    proxy = fleet.proxy()
    node = fleet.node("before 1\n")
    agent = fleet.agent(proxy.grpc, node, "pod-0", "ROLE_DATA")
    until("the metric", lambda: sample(metrics(proxy), "before"))
    first_id = nodes(proxy)[0]["agent_id"]
    agent.stop()
    until("offline", lambda: phases(proxy) == {"pod-0": "Offline"})
    assert sample(metrics(proxy), "before") == {}

    node.page = "after 99.9\n"
    fleet.agent(proxy.grpc, node, "pod-0", "ROLE_DATA")
    until("the new metric", lambda: sample(metrics(proxy), "after").get("value") == "99.9")

    until("online again", lambda: phases(proxy) == {"pod-0": "Online"})
    assert nodes(proxy)[0]["agent_id"] != first_id


def test_i04_roles(fleet: Fleet) -> None:
    """I04: role and pod filters give that role and that pod only."""
    proxy = fleet.proxy()
    for pod, role in (("hot", "ROLE_DATA"), ("front", "ROLE_LIAISON"), ("third", "ROLE_META")):
        fleet.agent(proxy.grpc, fleet.node(f"from_{pod} 1\n"), pod, role)
    until("three agents", lambda: online(proxy) == ["front", "hot", "third"])
    until("all pages", lambda: metrics(proxy).count("\nfrom_") == 3)

    assert len({node["agent_id"] for node in nodes(proxy)}) == 3
    by_role = metrics(proxy, "?role=ROLE_LIAISON")
    assert sample(by_role, "from_front")["node_role"] == "ROLE_LIAISON"
    assert "from_hot" not in by_role
    by_pod = metrics(proxy, "?pod_name=hot")
    assert sample(by_pod, "from_hot")["pod_name"] == "hot"
    assert "from_front" not in by_pod


def test_i05_full_workflow(fleet: Fleet) -> None:
    """I05: three agents that share a pod name but not a role are three nodes."""
    proxy = fleet.proxy()
    roles = ("ROLE_LIAISON", "ROLE_DATA", "ROLE_META")
    for role in roles:
        fleet.agent(proxy.grpc, fleet.node("up 1\n"), "demo", role)

    until("three ids", lambda: len({node["agent_id"] for node in nodes(proxy)}) == 3)
    until(
        "three roles on the page",
        lambda: set(re.findall(r'node_role="([^"]+)"', metrics(proxy))) >= set(roles),
    )
    assert {node["role"] for node in nodes(proxy)} == set(roles)


def test_i06_disconnection(fleet: Fleet) -> None:
    """I06: after everybody left, no round is left open."""
    proxy = fleet.proxy()
    agent = fleet.agent(proxy.grpc, fleet.node(PAGE), "pod-0", "ROLE_DATA")
    until("the page", lambda: sample(metrics(proxy), "cpu_usage"))
    agent.kill()

    until("offline", lambda: phases(proxy) == {"pod-0": "Offline"})
    assert float(sample(metrics(proxy), "fodc_proxy_rounds_active")["value"]) == 0


def test_i07_invalid_registration_is_refused_in_words(tmp_path: Path) -> None:
    """I07: success=false, the reason in the text, and an empty registry."""
    with Fleet(tmp_path, "fodc") as fleet:
        proxy = fleet.proxy()
        with grpc.insecure_channel(proxy.grpc) as channel:
            register = channel.stream_stream(
                "/banyandb.fodc.v1.FODCService/RegisterAgent",
                request_serializer=rpc_pb2.RegisterAgentRequest.SerializeToString,
                response_deserializer=rpc_pb2.RegisterAgentResponse.FromString,
            )
            answers = register(iter([rpc_pb2.RegisterAgentRequest(pod_name="pod-0")]), timeout=10)
            first = next(answers)
            with pytest.raises(grpc.RpcError) as ended:
                next(answers)

        assert (first.success, first.message) == (False, "node role cannot be empty")
        assert ended.value.code() is grpc.StatusCode.UNKNOWN
        assert nodes(proxy) == []


def test_i08_partition(fleet: Fleet) -> None:
    """I08: when one of two agents is cut off, exactly the other is online and on the page."""
    proxy = fleet.proxy(
        "--heartbeat-interval=1s", "--agent-heartbeat-timeout=2s", "--agent-cleanup-timeout=4s"
    )
    stays = fleet.agent(proxy.grpc, fleet.node("stays 1\n"), "stays", "ROLE_DATA")
    leaves = fleet.agent(proxy.grpc, fleet.node("leaves 1\n"), "leaves", "ROLE_DATA")
    until("both", lambda: online(proxy) == ["leaves", "stays"])
    leaves.kill()

    until("one online", lambda: online(proxy) == ["stays"], deadline_s=5)
    until("only its page", lambda: sample(metrics(proxy), "stays"))
    assert sample(metrics(proxy), "leaves") == {}
    assert stays.process.poll() is None


def test_i09_proxy_restart(fleet: Fleet) -> None:
    """I09: agents come back to a proxy that restarted, and their metrics with them."""
    with kept_port() as port:
        listen = f"--grpc-listen-addr=127.0.0.1:{port}"
        proxy = fleet.proxy(listen)
        node = fleet.node("before 1\n")
        fleet.agent(proxy.grpc, node, "pod-0", "ROLE_DATA")
        until("the metric", lambda: sample(metrics(proxy), "before"))
        proxy.stop()
        node.page = "after 2\n"

        again = fleet.proxy(listen, name="proxy-again")

        until("the agent is back", lambda: online(again) == ["pod-0"])
        until("the new metric", lambda: sample(metrics(again), "after").get("value") == "2")


def test_i10_prometheus(fleet: Fleet) -> None:
    """I10: five scrapes in a row take less than five seconds and carry all labels."""
    proxy = fleet.proxy()
    fleet.agent(proxy.grpc, fleet.node(PAGE), "pod-0", "ROLE_DATA")
    until("the page", lambda: sample(metrics(proxy), "requests_total"))

    began = time.monotonic()
    pages = [metrics(proxy) for _ in range(5)]
    assert time.monotonic() - began < 5

    for page in pages:
        labels = sample(page, "requests_total")
        assert (labels["node_role"], labels["path"]) == ("ROLE_DATA", "/")
        assert "# TYPE requests_total counter" in page
    assert float(sample(metrics(proxy), "fodc_proxy_rounds_active")["value"]) == 0
    answer = get_json(f"{proxy.http}/metrics-windows")
    assert {one["labels"]["node_role"] for one in answer if one["name"] == "cpu_usage"} == {
        "ROLE_DATA"
    }
