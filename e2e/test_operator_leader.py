# SPDX-License-Identifier: Apache-2.0
"""Two operators, one leader: who serves, how fast the other takes over, how a loser ends.

The one idea: both have the same gRPC address, as the Service of the leader has in a cluster; the
agent is a real one and finds whoever leads.
"""

import json
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import operators, programs
from e2e.controlplane import installing, processes
from e2e.controlplane.cluster import ControlPlane
from e2e.node import running
from e2e.operators import leads, metric, nodes, ready, start_operator, wait_for, wait_leads

FAILOVER_S = 20.0
AGENT_RETURNS_S = 20.0
"""An agent that found nobody waits up to ten seconds before it tries again."""


@pytest.fixture
def pair(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> Iterator[tuple[programs.Program, programs.Program]]:
    """A leader and its standby."""
    (port,) = processes.free_ports(1)
    first = start_operator(tmp_path, control_plane, namespace, name="first", grpc_port=port)
    with programs.running(first):
        wait_leads(first)
        second = start_operator(tmp_path, control_plane, namespace, name="second", grpc_port=port)
        with programs.running(second):
            yield first, second


@pytest.fixture
def agent(
    pair: tuple[programs.Program, programs.Program], namespace: str, tmp_path: Path
) -> Iterator[programs.Program]:
    """A real agent beside a sample node, connected to whoever leads."""
    with running.sample_node(load=2) as node:
        started = programs.start_agent(
            tmp_path,
            f"--node-pid={node.pid}",
            f"--pod-namespace={namespace}",
            pod_name="data-0",
            proxy=pair[0].grpc,
            metrics_port=node.metrics_port,
            pprof_port=node.pprof_port,
        )
        with programs.running(started) as one:
            yield one


def agent_id(plane: ControlPlane, namespace: str) -> str:
    """The registration of the living node, empty while there is none."""
    status = nodes(plane, namespace).get("data-0", {}).get("status", {})
    living = status.get("phase") in {"Online", "Degraded"}
    return str(status["agentID"]) if living else ""


def asked(operator: programs.Program, path: str) -> tuple[int, str]:
    try:
        with programs.opened(f"{operator.http}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_only_the_leader_serves_and_the_standby_says_who_leads(
    pair: tuple[programs.Program, programs.Program],
) -> None:
    first, second = pair
    wait_for(
        "the standby knows the leader",
        lambda: "leads" in ready(second).get("checks", [{}])[-1].get("message", ""),
    )
    (check,) = (one for one in ready(second)["checks"] if one["name"] == "leader")

    assert (leads(first), leads(second)) == (True, False)
    assert check["message"].startswith("stands by; ")
    assert asked(second, "/healthz")[0] == 200
    assert asked(second, "/readyz")[0] == 200
    status, body = asked(second, "/cluster")
    assert (status, json.loads(body)["error"]["reason"]) == (503, "Standby")
    assert asked(first, "/cluster")[0] == 200
    assert (metric(first, "fodc_operator_leader"), metric(second, "fodc_operator_leader")) == (1, 0)


@pytest.mark.timeout(150)
@pytest.mark.usefixtures("agent")
def test_a_standby_takes_over_at_once_when_the_leader_stops(
    control_plane: ControlPlane,
    namespace: str,
    pair: tuple[programs.Program, programs.Program],
) -> None:
    first, second = pair
    before = wait_for("mirrored", lambda: agent_id(control_plane, namespace))
    began = time.monotonic()
    assert first.stop() < 10
    wait_leads(second, FAILOVER_S)
    took_s = time.monotonic() - began
    wait_for(
        "the agent is with the new leader",
        lambda: agent_id(control_plane, namespace) not in {"", before},
        AGENT_RETURNS_S,
    )

    assert took_s < 8, took_s
    assert (first.process.returncode, second.process.poll()) == (0, None)


@pytest.mark.timeout(150)
@pytest.mark.usefixtures("agent")
def test_a_standby_takes_over_within_twenty_seconds_when_the_leader_is_killed(
    control_plane: ControlPlane,
    namespace: str,
    pair: tuple[programs.Program, programs.Program],
) -> None:
    first, second = pair
    before = wait_for("mirrored", lambda: agent_id(control_plane, namespace))
    began = time.monotonic()
    first.kill()
    wait_leads(second, FAILOVER_S)
    took_s = time.monotonic() - began
    wait_for(
        "the agent is with the new leader",
        lambda: agent_id(control_plane, namespace) not in {"", before},
        AGENT_RETURNS_S,
    )

    assert took_s < FAILOVER_S, took_s


@pytest.mark.timeout(200)
def test_a_capture_is_neither_lost_nor_doubled_when_its_leader_is_killed(
    control_plane: ControlPlane,
    namespace: str,
    pair: tuple[programs.Program, programs.Program],
    agent: programs.Program,
) -> None:
    """Both replicas see the same data, as on a claim that both mount."""
    first, second = pair
    wait_for("mirrored", lambda: agent_id(control_plane, namespace))
    spec = {
        "target": {"names": ["data-0"]},
        "captures": [{"type": "CPUProfile", "durationSeconds": 8}],
    }
    request = installing.resource("DiagnosticRequest", "survivor", spec=spec)
    told = ("--namespace", namespace)
    control_plane.kubectl(*told, "apply", "--filename=-", stdin=json.dumps(request))

    def status() -> dict[str, Any]:
        found = control_plane.kubectl(*told, "get", "diag", "survivor", "--output=json")
        return dict(json.loads(found.stdout).get("status", {}))

    wait_for("the capture runs", lambda: status().get("phase") == "Running")
    wait_for("the agent records", lambda: holds_a_capture(agent))
    first.kill()
    wait_leads(second, FAILOVER_S)
    done = wait_for(
        "the request has ended",
        lambda: status() if status().get("completionTime") else None,
        AGENT_RETURNS_S + 30,
    )

    (target,) = done["targets"]
    (result,) = target["results"]
    assert (done["phase"], target["attempts"]) == ("Succeeded", 1), done
    listed = json.loads(asked(second, "/artifacts")[1])["artifacts"]
    # What nodes were told is kept as well.
    assert [one["sha256"] for one in listed if one["profile"] == "cpu"] == [result["sha256"]]
    assert result["samples"] > 0


def holds_a_capture(agent: programs.Program) -> bool:
    """Say whether there is an order in the agent's spool."""
    return any((agent.log.parent / "data-0" / "captures").glob("*.fodc-state"))


def test_a_leader_that_loses_its_lease_ends_with_a_reason(
    control_plane: ControlPlane,
    namespace: str,
    pair: tuple[programs.Program, programs.Program],
) -> None:
    first, second = pair
    second.stop()
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/fodc-operator"
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    spec = {"holderIdentity": "somebody-else", "leaseDurationSeconds": 3600, "renewTime": now}
    assert control_plane.api().merge(path, {"spec": spec}).status == 200
    first.process.wait(FAILOVER_S)

    assert first.process.returncode == 1
    assert "the operator ends: lease fodc-operator was lost" in first.tail(60)


def test_the_pod_of_the_leader_is_labelled_until_it_stops(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    api = control_plane.api()
    containers = [{"name": "operator", "image": "x"}]
    labels = {"fodc.banyandb.dev/leader": "true", "app": "fodc"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "op-0", "labels": labels},
        "spec": {"containers": containers},
    }
    pods = f"/api/v1/namespaces/{namespace}/pods"
    wait_for("the pod", lambda: api.create(pods, body).status in {201, 409})

    def label() -> object:
        return api.get(f"{pods}/op-0").body["metadata"]["labels"]

    started = start_operator(tmp_path, control_plane, namespace, "--pod-name=op-0")
    with programs.running(started) as one:
        wait_leads(one)
        wait_for("labelled", lambda: label() == labels)
        one.stop()

    assert label() == {"app": "fodc"}


def test_a_taken_grpc_port_ends_a_leader_and_gives_the_lease_back(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    (other := tmp_path / "other").mkdir()
    holder = start_operator(other, control_plane, namespace, "--lease-name=other", name="holder")
    with programs.running(holder):
        wait_leads(holder)
        port = int(holder.grpc.rpartition(":")[2])
        started = start_operator(tmp_path, control_plane, namespace, name="b", grpc_port=port)
        with programs.running(started) as one:
            assert one.process.wait(60) == 1
            assert "cannot listen on" in one.tail()
        after = start_operator(tmp_path, control_plane, namespace, name="after")
        with programs.running(after) as one:
            wait_leads(one, 8)
            assert operators.leads(one)
