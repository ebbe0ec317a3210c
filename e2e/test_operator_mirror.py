# SPDX-License-Identifier: Apache-2.0
"""The fleet as FodcNodes on a real API server, by a real operator process, through real trouble."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import operators, programs
from e2e.controlplane.api import Api
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import collection, resource
from e2e.faults import Fault, FaultyServer, faulty
from e2e.operators import (
    leading_operator,
    metric,
    nodes,
    phases,
    start_operator,
    wait_for,
    wait_leads,
)
from e2e.simulated import simulated_agents

VISIBLE_S = 2.0
QUICK = ("--heartbeat-interval=1s", "--startup-grace=6s")


@pytest.fixture
def operator(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> Iterator[programs.Program]:
    """An operator that leads, with its lease in the test's own namespace."""
    with leading_operator(tmp_path, control_plane, namespace) as one:
        yield one


@pytest.fixture
def spoiled(control_plane: ControlPlane, tmp_path: Path) -> Iterator[FaultyServer]:
    """The API server behind a proxy that can spoil answers."""
    with faulty(control_plane, tmp_path / "faults") as server:
        yield server


def all_are(plane: ControlPlane, namespace: str, phase: str, count: int) -> bool:
    return list(phases(plane, namespace).values()) == [phase] * count


def seconds_until(plane: ControlPlane, namespace: str, phase: str, count: int) -> float:
    """How long it takes from now until the API server shows this."""
    began = time.monotonic()
    wait_for(f"{count} nodes {phase}", lambda: all_are(plane, namespace, phase, count))
    return time.monotonic() - began


def request_is_looked_at(plane: ControlPlane, namespace: str, name: str) -> float:
    """Make a request for a node that does not exist; how long until it has been answered."""
    spec = {"target": {"names": ["nobody"]}, "captures": [{"type": "HeapSnapshot"}]}
    path = collection(namespace, "diagnosticrequests")
    began = time.monotonic()
    made = plane.api().create(path, resource("DiagnosticRequest", name, spec=spec))
    assert made.status == 201, made.body
    wait_for(
        f"{name} has a phase",
        lambda: plane.api().get(f"{path}/{name}").body.get("status", {}).get("phase"),
        30,
    )
    return time.monotonic() - began


def test_kubectl_shows_role_tier_phase_and_age_of_the_heartbeat(
    control_plane: ControlPlane, namespace: str, operator: programs.Program
) -> None:
    with simulated_agents(operator.grpc, namespace, 2):
        wait_for("online", lambda: all_are(control_plane, namespace, "Online", 2))
        table = control_plane.kubectl("-n", namespace, "get", "fodcn", check=True).stdout
        selected = control_plane.kubectl(
            "-n", namespace, "get", "fodcn", "--field-selector=status.phase=Online", "-o", "name"
        ).stdout
        labelled = control_plane.kubectl(
            "-n", namespace, "get", "fodc", "-l", "fodc.banyandb.dev/tier=hot", "-o", "name"
        ).stdout

    head, first, second = (line.split() for line in table.splitlines())
    assert head == [
        "NAME",
        "ROLE",
        "TIER",
        "PHASE",
        "HEARTBEAT",
        "AGENT",
        "ACTIVE",
        "INCIDENT",
        "AGE",
    ]
    assert (first[:4], second[:4]) == (
        ["pod-0", "Data", "hot", "Online"],
        ["pod-1", "Data", "hot", "Online"],
    )
    names = [f"fodcnode.fodc.banyandb.dev/pod-{number}" for number in (0, 1)]
    assert (selected.split(), labelled.split()) == (names, names)


def test_a_transition_is_visible_within_two_seconds(
    control_plane: ControlPlane, namespace: str, operator: programs.Program
) -> None:
    with simulated_agents(operator.grpc, namespace, 10) as agents:
        came_s = seconds_until(control_plane, namespace, "Online", 10)
        agents.kill()
        went_s = seconds_until(control_plane, namespace, "Offline", 10)

    assert (came_s < VISIBLE_S, went_s < VISIBLE_S) == (True, True), (came_s, went_s)


def test_a_node_belongs_to_its_stateful_set_and_is_collected_with_it(
    control_plane: ControlPlane, namespace: str, operator: programs.Program
) -> None:
    api = control_plane.api()
    template = {
        "metadata": {"labels": {"app": "data"}},
        "spec": {"containers": [{"name": "banyandb", "image": "x"}]},
    }
    spec = {
        "serviceName": "data",
        "replicas": 1,
        "selector": {"matchLabels": {"app": "data"}},
        "template": template,
    }
    sets = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    whole = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "pod"}}
    made = api.create(sets, {**whole, "spec": spec})
    assert made.status == 201, made.body
    pod = f"/api/v1/namespaces/{namespace}/pods/pod-0"
    wait_for("pod-0", lambda: api.get(pod).status == 200)
    with simulated_agents(operator.grpc, namespace, 1):
        wait_for("online", lambda: all_are(control_plane, namespace, "Online", 1))
        found = nodes(control_plane, namespace)["pod-0"]
        assert found["metadata"]["ownerReferences"] == [
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "name": "pod",
                "uid": made.body["metadata"]["uid"],
            }
        ]
        assert found["status"]["podRef"]["uid"] == api.get(pod).body["metadata"]["uid"]
    wait_for("offline", lambda: all_are(control_plane, namespace, "Offline", 1))
    assert api.delete(f"{sets}/pod").status == 200
    wait_for("collected", lambda: nodes(control_plane, namespace) == {}, 30)


def test_maintenance_set_by_a_person_survives_every_write(
    control_plane: ControlPlane, namespace: str, operator: programs.Program
) -> None:
    with simulated_agents(operator.grpc, namespace, 1) as agents:
        wait_for("online", lambda: all_are(control_plane, namespace, "Online", 1))
        patch = '{"spec":{"maintenance":true}}'
        control_plane.kubectl(
            "-n", namespace, "patch", "fodcn", "pod-0", "--type=merge", "-p", patch, check=True
        )
        agents.kill()
        wait_for("offline", lambda: all_are(control_plane, namespace, "Offline", 1))

    assert nodes(control_plane, namespace)["pod-0"]["spec"]["maintenance"] is True


def test_a_person_removes_a_node_and_it_comes_back_while_it_lives(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    started = start_operator(tmp_path, control_plane, namespace, "--status-refresh=1s")
    with programs.running(started) as one:
        wait_leads(one)
        with simulated_agents(one.grpc, namespace, 1) as agents:
            wait_for("online", lambda: all_are(control_plane, namespace, "Online", 1))
            uid = nodes(control_plane, namespace)["pod-0"]["metadata"]["uid"]
            control_plane.kubectl("-n", namespace, "delete", "fodcn", "pod-0", check=True)
            agents.tell(do="beats", seconds=3, period_s=1)
            wait_for(
                "made anew",
                lambda: nodes(control_plane, namespace).get("pod-0", {}).get("status"),
            )

            assert nodes(control_plane, namespace)["pod-0"]["metadata"]["uid"] != uid


def test_a_new_operator_waits_before_it_calls_a_silent_node_offline(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    first = start_operator(tmp_path, control_plane, namespace, *QUICK)
    with programs.running(first) as one:
        wait_leads(one)
        with simulated_agents(one.grpc, namespace, 1):
            wait_for("online", lambda: all_are(control_plane, namespace, "Online", 1))
            one.stop()
    assert phases(control_plane, namespace) == {"pod-0": "Online"}
    second = start_operator(tmp_path, control_plane, namespace, *QUICK, name="second")
    with programs.running(second) as one:
        wait_leads(one)
        began = time.monotonic()
        wait_for("pending", lambda: phases(control_plane, namespace) == {"pod-0": "Pending"})
        wait_for("offline", lambda: phases(control_plane, namespace) == {"pod-0": "Offline"})

        assert time.monotonic() - began > 2.0


def test_a_node_that_left_is_lost_and_then_removed_after_the_retention(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    soon = ("--agent-heartbeat-timeout=3s", "--agent-cleanup-timeout=4s", "--retention=10s")
    started = start_operator(tmp_path, control_plane, namespace, *QUICK, *soon)
    with programs.running(started) as one:
        wait_leads(one)
        with simulated_agents(one.grpc, namespace, 1):
            wait_for("online", lambda: all_are(control_plane, namespace, "Online", 1))
        wait_for("lost", lambda: all_are(control_plane, namespace, "Lost", 1))

        wait_for("removed", lambda: not nodes(control_plane, namespace), 30)


def test_the_operator_stops_at_once_with_agents_attached(
    namespace: str, operator: programs.Program
) -> None:
    with simulated_agents(operator.grpc, namespace, 200):
        operators.wait_for("200 agents", lambda: metric(operator, "fodc_proxy_agents{") == 200)
        took_s = operator.stop()

    assert (operator.process.returncode, took_s < 10) == (0, True), operator.tail()


@pytest.mark.parametrize("after_s", [0.0, 0.03, 0.1])
def test_an_operator_that_leads_for_a_moment_only_stops_at_once_and_quietly(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, after_s: float
) -> None:
    """The handlers still scan the API then."""
    started = start_operator(tmp_path, control_plane, namespace)
    with programs.running(started) as one:
        wait_leads(one)
        time.sleep(after_s)
        took_s = one.stop()

        assert (one.process.returncode, took_s < 3) == (0, True), one.tail()
        loud = [line for line in one.tail(200).splitlines() if "level=info" not in line]
        assert loud == []


def test_kopf_says_nothing_in_the_log_of_a_start_and_of_events(
    control_plane: ControlPlane, namespace: str, operator: programs.Program
) -> None:
    api, path = control_plane.api(), collection(namespace, "diagnosticrequests")
    spec = {"target": {"all": True}, "captures": [{"type": "CPUProfile"}]}
    for at in range(3):
        api.create(path, resource("DiagnosticRequest", f"r-{at}", spec=spec))
    selector = {"podSelector": {"matchLabels": {"a": "b"}}}
    policies = collection(namespace, "fodcinjections")
    api.create(policies, resource("FodcInjection", "p", spec=selector))
    operators.wait_for(
        "the requests end", lambda: all(has_ended(api, f"{path}/r-{at}") for at in range(3))
    )

    told = [line for line in operator.tail(300).splitlines() if "logger=kopf" in line]

    # The server of a test may just have learnt the kinds, and says so.
    assert [line for line in told if "storage is (re)initializing" not in line] == []


def has_ended(api: Api, path: str) -> bool:
    status = api.get(path).body.get("status", {})
    return bool(status.get("completionTime"))


def test_objects_can_be_deleted_while_no_operator_runs(
    control_plane: ControlPlane, namespace: str, operator: programs.Program
) -> None:
    with simulated_agents(operator.grpc, namespace, 1):
        wait_for("online", lambda: all_are(control_plane, namespace, "Online", 1))
        request_is_looked_at(control_plane, namespace, "r-1")
    operator.stop()
    began = time.monotonic()
    for kind in ("fodcnodes", "diagnosticrequests"):
        control_plane.kubectl("-n", namespace, "delete", kind, "--all", "--timeout=9s", check=True)

    assert nodes(control_plane, namespace) == {}
    assert time.monotonic() - began < 12


# ---- trouble --------------------------------------------------------------------------------


CODES = (429, 500)


def test_refusals_of_a_loaded_server_cost_time_and_no_node(
    control_plane: ControlPlane, namespace: str, spoiled: FaultyServer, tmp_path: Path
) -> None:
    spoiled.faults += [
        Fault(429, "POST", "fodcnodes", times=3, headers={"Retry-After": "1"}),
        Fault(500, "PATCH", "fodcnodes", times=5),
        Fault(503, "GET", "fodcnodes", times=2),
        Fault(409, "PATCH", "fodcnodes", times=2),
        Fault(422, "PATCH", "fodcnodes", times=1),
    ]
    started = start_operator(tmp_path, control_plane, namespace, kubeconfig=spoiled.kubeconfig)
    with programs.running(started) as one:
        wait_leads(one)
        with simulated_agents(one.grpc, namespace, 5):
            wait_for("online", lambda: all_are(control_plane, namespace, "Online", 5), 30)

            # Which of them was the last of its call's attempts is chance, and so is whether the
            # mirror or kopf meets a refused list; that each write was tried again is not.
            seen = [metric(one, f'fodc_operator_api_calls_total{{code="{code}"') for code in CODES]
            assert seen == [3, 5]
            assert metric(one, "fodc_operator_api_retries_total") > 0
            wait_for("all faults met", lambda: not any(one.times for one in spoiled.faults), 30)
    assert [fault.times for fault in spoiled.faults] == [0] * 5


def test_a_restarted_api_server_is_caught_up_with(
    control_plane: ControlPlane, namespace: str, operator: programs.Program
) -> None:
    with simulated_agents(operator.grpc, namespace, 3) as agents:
        wait_for("online", lambda: all_are(control_plane, namespace, "Online", 3))
        control_plane.restart_apiserver()
        agents.kill()
        wait_for("offline", lambda: all_are(control_plane, namespace, "Offline", 3), 30)
        request_is_looked_at(control_plane, namespace, "after-restart")

        assert operators.leads(operator)


def test_what_happened_during_a_cut_watch_and_expired_history_is_seen(
    control_plane: ControlPlane, namespace: str, spoiled: FaultyServer, tmp_path: Path
) -> None:
    started = start_operator(tmp_path, control_plane, namespace, kubeconfig=spoiled.kubeconfig)
    with programs.running(started) as one:
        wait_leads(one)
        request_is_looked_at(control_plane, namespace, "before")
        spoiled.expired_watches = 2
        assert wait_for("a watch", spoiled.cut_watches) >= 1
        took_s = request_is_looked_at(control_plane, namespace, "after-the-cut")

        assert operators.leads(one), one.tail()
        assert took_s < 15
        wait_for("both expired", lambda: spoiled.expired_watches == 0)


def test_handlers_that_fail_are_told_and_begun_again(
    control_plane: ControlPlane, namespace: str, spoiled: FaultyServer, tmp_path: Path
) -> None:
    """K4: agents and pages go on meanwhile."""
    started = start_operator(tmp_path, control_plane, namespace, kubeconfig=spoiled.kubeconfig)
    with programs.running(started) as one:
        wait_leads(one)
        request_is_looked_at(control_plane, namespace, "before")
        fault = Fault(410, "GET", "diagnosticrequests", times=100)
        spoiled.faults.append(fault)
        # A watch that begins only now meets the fault by itself.
        wait_for("a watch", lambda: spoiled.cut_watches() or fault.times < 100)
        wait_for("the word", lambda: "handlers failed; again in" in one.tail(200), 30)
        assert operators.leads(one)
        spoiled.faults.remove(fault)

        request_is_looked_at(control_plane, namespace, "after")


@pytest.mark.timeout(120)
def test_a_thousand_agents_cause_at_most_twenty_writes_per_second(
    control_plane: ControlPlane, namespace: str, spoiled: FaultyServer, tmp_path: Path
) -> None:
    """Measured while all of them are new, which is when there is most to write."""
    started = start_operator(tmp_path, control_plane, namespace, kubeconfig=spoiled.kubeconfig)
    with programs.running(started) as one:
        wait_leads(one)
        with simulated_agents(one.grpc, namespace, 1000) as agents:
            agents.tell(do="beats", seconds=30, period_s=10)
            time.sleep(8)  # the burst that news may take is over
            before, began = len(spoiled.writes()), time.monotonic()
            time.sleep(20)
            writes, took_s = len(spoiled.writes()) - before, time.monotonic() - began
            acked = agents.answer()

    assert 200 <= writes <= 20 * took_s + 16, (writes, took_s)
    assert acked["missing"] <= 10, acked


def test_a_wrong_kubeconfig_and_a_taken_port_are_told_plainly(
    control_plane: ControlPlane, namespace: str, operator: programs.Program, tmp_path: Path
) -> None:
    with pytest.raises(programs.ProgramError, match=r"fodc-operator: --kubeconfig=.*missing"):
        start_operator(
            tmp_path, control_plane, namespace, name="a", kubeconfig=tmp_path / "missing"
        )
    port = operator.http.rpartition(":")[2]
    with pytest.raises(programs.ProgramError, match="address already in use"):
        start_operator(
            tmp_path, control_plane, namespace, f"--http-listen-addr=127.0.0.1:{port}", name="b"
        )
    assert operator.process.poll() is None
    operator.process.send_signal(signal.SIGINT)
    assert operator.process.wait(10) == 0
