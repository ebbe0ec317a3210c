# SPDX-License-Identifier: Apache-2.0
"""A container that ends, as a real API server tells it: in FodcNodes, Events and /incidents.

There is no kubelet here, so its log cannot be read; what a kubelet gives is tested with one.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e import programs
from e2e.controlplane.cluster import ControlPlane
from e2e.operators import leading_operator, nodes, phases, start_operator, wait_for, wait_leads
from e2e.simulated import simulated_agents

VISIBLE_S = 10.0
NOW = "%Y-%m-%dT%H:%M:%SZ"


@pytest.fixture
def operator(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> Iterator[programs.Program]:
    with leading_operator(tmp_path, control_plane, namespace) as one:
        yield one


def make_pod(plane: ControlPlane, namespace: str, name: str) -> str:
    """A pod on a machine that is none; returns its path."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    container = {"name": "banyandb", "image": "x"}
    spec = {"nodeName": "machine-1", "containers": [container], "serviceAccountName": "default"}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    wait_for("the pod", lambda: plane.api().create(path, body).status == 201, 30)
    return f"{path}/{name}"


def restarted(reason: str, code: int, restarts: int) -> dict[str, Any]:
    """The status of a pod whose container ended now and runs again."""
    now = time.strftime(NOW, time.gmtime())
    ended = {
        "reason": reason,
        "exitCode": code,
        "startedAt": now,
        "finishedAt": now,
        "containerID": f"fake://{restarts}",
    }
    return {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "banyandb",
                "image": "x",
                "imageID": "x",
                "ready": True,
                "restartCount": restarts,
                "state": {"running": {"startedAt": now}},
                "lastState": {"terminated": ended},
            }
        ],
    }


def tell(plane: ControlPlane, path: str, status: dict[str, Any]) -> None:
    """Be the kubelet that says how a pod is."""
    told = plane.api().merge(f"{path}/status", {"status": status})
    assert told.status == 200, told.body


def last_incident(plane: ControlPlane, namespace: str, name: str) -> dict[str, Any]:
    found = nodes(plane, namespace).get(name, {})
    return dict(found.get("status", {}).get("lastIncident", {}))


def read(operator: programs.Program, path: str) -> Any:
    with programs.opened(f"{operator.http}{path}") as answer:
        return json.load(answer)


def test_an_oom_kill_is_seen_in_the_cluster_and_stays_when_the_pod_has_gone(
    control_plane: ControlPlane, namespace: str, operator: programs.Program
) -> None:
    api = control_plane.api()
    with simulated_agents(operator.grpc, namespace, 1):
        wait_for("online", lambda: phases(control_plane, namespace) == {"pod-0": "Online"})
        path = make_pod(control_plane, namespace, "pod-0")
        began = time.monotonic()
        tell(control_plane, path, restarted("OOMKilled", 137, 1))
        seen = wait_for("the incident", lambda: last_incident(control_plane, namespace, "pod-0"))
        took_s = time.monotonic() - began
        tell(control_plane, path, restarted("OOMKilled", 137, 2))
        wait_for(
            "its second time",
            lambda: last_incident(control_plane, namespace, "pod-0").get("count") == 2,
        )
        api.delete(f"{path}?gracePeriodSeconds=0")
        table = control_plane.kubectl("-n", namespace, "get", "fodcn", check=True).stdout
    record = read(operator, f"/incidents/{seen['id']}")

    assert took_s < VISIBLE_S
    assert (seen["cause"], seen["phase"], seen["count"]) == ("OOMKilled", "Open", 1)
    assert "OOMKilled" in table.splitlines()[1]
    assert record["incident"]["count"] == 2
    assert record["container_end"]["exit_code"] == 137
    assert record["machine"] == "machine-1"
    # Asked for, and told that nobody has it: there is no kubelet.
    assert "its log cannot be read" in record["events"][0]["fields"]["log"]
    events = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    notes = [
        one["note"]
        for one in api.get(events).body["items"]
        if (one["reason"], one["regarding"]["kind"]) == ("OOMKilled", "FodcNode")
    ]
    assert len(notes) == 1
    assert notes[0].endswith(f"see: fodc incidents show {seen['id']}")


def test_a_new_leader_knows_what_was_told_and_tells_nothing_twice(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    started = start_operator(tmp_path, control_plane, namespace)
    with programs.running(started) as first:
        wait_leads(first)
        with simulated_agents(first.grpc, namespace, 1):
            wait_for("online", lambda: phases(control_plane, namespace) == {"pod-0": "Online"})
            path = make_pod(control_plane, namespace, "pod-0")
            tell(control_plane, path, restarted("Error", 137, 1))
            wait_for("the incident", lambda: last_incident(control_plane, namespace, "pod-0"))
        first.process.kill()
    again = start_operator(tmp_path, control_plane, namespace, name="again")
    with programs.running(again) as second:
        wait_leads(second)
        with simulated_agents(second.grpc, namespace, 1):
            wait_for("online", lambda: phases(control_plane, namespace) == {"pod-0": "Online"})
            tell(control_plane, path, restarted("Error", 137, 2))
            wait_for(
                "its second time",
                lambda: last_incident(control_plane, namespace, "pod-0").get("count") == 2,
            )
        (found,) = read(second, "/incidents")["incidents"]

    assert (found["cause"], found["count"]) == ("Killed", 2)


def test_what_ends_while_no_operator_runs_is_told_by_the_next_one_once(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Kill -9 before it could see anything; the kubelet tells only how it ended last."""
    started = start_operator(tmp_path, control_plane, namespace)
    with programs.running(started) as first:
        wait_leads(first)
        with simulated_agents(first.grpc, namespace, 1):
            wait_for("online", lambda: phases(control_plane, namespace) == {"pod-0": "Online"})
            path = make_pod(control_plane, namespace, "pod-0")
        first.process.kill()
    tell(control_plane, path, restarted("OOMKilled", 137, 1))
    again = start_operator(tmp_path, control_plane, namespace, name="again")
    with programs.running(again) as second:
        wait_leads(second)
        with simulated_agents(second.grpc, namespace, 1):
            wait_for("it", lambda: last_incident(control_plane, namespace, "pod-0").get("cause"))
        (found,) = read(second, "/incidents")["incidents"]

    assert (found["cause"], found["count"]) == ("OOMKilled", 1)
