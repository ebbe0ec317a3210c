# SPDX-License-Identifier: Apache-2.0
"""DiagnosticRequests on a real API server, by a real operator, agents and sample nodes.

What people do with kubectl is done with kubectl; what they download is downloaded and measured.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e import operators, programs
from e2e.controlplane import installing
from e2e.controlplane.cluster import ControlPlane
from e2e.sites import ENDED, Site, conditions
from fodc_protocol import pprof
from fodc_protocol.times import parse_rfc3339_ms


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, control_plane: ControlPlane) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("diagnostics"), control_plane)
    with made.stack:
        yield made


@pytest.fixture(scope="module", autouse=True)
def short_lived(site: Site) -> dict[str, Any]:
    """Status of a request with the shortest time to live: a minute, which passes meanwhile."""
    site.apply("short-lived", ttlSecondsAfterFinished=60)
    site.wait("short-lived", "Succeeded")
    return site.status("short-lived")


# ---- done -------------------------------------------------------------------------------------


def test_a_profile_that_was_applied_is_downloaded_whole(site: Site) -> None:
    site.apply("cpu", captures=[{"type": "CPUProfile", "durationSeconds": 2}], purpose="a test")
    site.wait("cpu", "Succeeded")
    status = site.status("cpu")
    (target,) = status["targets"]
    (result,) = target["results"]
    body = site.download(result)

    assert status["phase"] == "Succeeded"
    assert status["progress"] == "1/1"
    assert status["captures"] == "CPUProfile"
    assert status["artifacts"] == {"count": 1, "bytes": len(body)}
    assert (target["nodeName"], target["role"], target["phase"]) == ("pod-0", "Data", "Succeeded")
    assert result["captureName"] == "cpu"
    assert result["sizeBytes"] == len(body)
    assert result["sha256"] == hashlib.sha256(body).hexdigest()
    assert result["samples"] == pprof.inspect(body).samples > 0
    assert conditions(status) == {
        "Accepted": ("True", "Valid"),
        "TargetsResolved": ("True", "Resolved"),
        "Started": ("True", "Captures"),
        "Succeeded": ("True", "Succeeded"),
        "Finished": ("True", "Succeeded"),
    }
    operators.wait_for("its events", lambda: len(site.events("cpu")) == 3)
    assert site.events("cpu") == ["Accepted", "Started", "Succeeded"]
    assert "finalizers" not in site.read("cpu")["metadata"]
    assert "kopf" not in json.dumps(site.read("cpu"))


def test_the_table_of_requests_tells_what_matters(site: Site) -> None:
    site.apply("table", target={"all": True}, captures=[{"type": "GoroutineDump"}])
    site.wait("table", "Succeeded")
    head, row = site.kubectl("get", "diag", "table").splitlines()
    assert head.split()[:4] == ["NAME", "CAPTURES", "PROGRESS", "PHASE"]
    assert row.split()[:4] == ["table", "GoroutineDump", "2/2", "Succeeded"]


def test_a_selector_chooses_by_labels_of_the_fodcnode(site: Site) -> None:
    site.kubectl("label", "--overwrite", "fodcnode", "pod-1", "example.org/shift=night")
    selector = {"matchLabels": {"example.org/shift": "night"}}
    site.apply("labels", target={"selector": selector})
    site.wait("labels", "Succeeded")
    assert [one["nodeName"] for one in site.status("labels")["targets"]] == ["pod-1"]


def test_a_named_node_that_the_selector_excludes_is_reported(site: Site) -> None:
    selector = {"matchLabels": {"example.org/shift": "never"}}
    site.apply("excluded", target={"names": ["pod-0"], "selector": selector})
    status = site.ended("excluded")
    (target,) = status["targets"]
    assert (status["phase"], status["reason"]) == ("Failed", "NoTargets")
    assert target["phase"] == "Skipped"
    assert target["message"] == "its labels do not fit the selector"


def test_roles_and_several_captures_give_one_result_each(site: Site) -> None:
    captures = [{"type": "HeapSnapshot"}, {"type": "HeapSnapshot", "heap": {"gc": True}}]
    site.apply("heaps", target={"roles": ["Data"]}, captures=captures)
    site.wait("heaps", "Succeeded")
    status = site.status("heaps")
    names = [[one["captureName"] for one in target["results"]] for target in status["targets"]]
    assert names == [["heap", "heap-2"], ["heap", "heap-2"]]
    assert status["artifacts"]["count"] == 4


# ---- not done ---------------------------------------------------------------------------------


def test_a_name_that_is_not_there_fails_and_says_so(site: Site) -> None:
    site.apply("nobody", target={"names": ["pod-9"]})
    status = site.ended("nobody")
    assert (status["phase"], status["reason"]) == ("Failed", "NoTargets")
    assert status["message"] == "none of the named nodes is there: pod-9"
    assert conditions(status)["Finished"] == ("True", "Failed")
    assert conditions(status)["Succeeded"] == ("False", "NoTargets")


def test_a_request_never_reaches_into_another_namespace(site: Site) -> None:
    elsewhere = installing.new_namespace(site.plane)
    agent_id = operators.nodes(site.plane, site.namespace)["pod-0"]["status"]["agentID"]
    wanted = {"names": ["pod-0", agent_id]}
    spec = {"target": wanted, "captures": [{"type": "HeapSnapshot"}]}
    request = installing.resource("DiagnosticRequest", "thief", spec=spec)
    path = installing.collection(elsewhere, "diagnosticrequests")
    assert site.plane.api().create(path, request).status == 201

    def status() -> Any:
        return site.plane.api().get(f"{path}/thief").body.get("status", {})

    operators.wait_for("it ends", lambda: status().get("phase") in ENDED)
    assert (status()["phase"], status()["reason"]) == ("Failed", "NoTargets")


def test_pods_of_one_name_in_two_namespaces_are_captured_at_the_same_time(site: Site) -> None:
    """Both requests mean `pod-0` and each gets that of its own namespace, the profiler and all."""
    elsewhere = installing.new_namespace(site.plane)
    twin = site.start_agent("pod-0", elsewhere)
    operators.wait_for(
        "the twin is Online",
        lambda: operators.phases(site.plane, elsewhere) == {"pod-0": "Online"},
    )
    captures = [{"type": "CPUProfile", "durationSeconds": 3}]
    spec = {"target": {"names": ["pod-0"]}, "captures": captures}
    path = installing.collection(elsewhere, "diagnosticrequests")
    made = site.plane.api().create(
        path, installing.resource("DiagnosticRequest", "twins", spec=spec)
    )
    assert made.status == 201, made.body
    site.apply("twins", captures=captures)

    def status() -> Any:
        return site.plane.api().get(f"{path}/twins").body.get("status", {})

    here = site.until("twins", lambda one: one.get("phase") == "Running")
    there = operators.wait_for("it runs", lambda: status().get("phase") == "Running" and status())
    (node,) = (one for one in site.ask("/cluster")["nodes"] if one["namespace"] == elsewhere)
    assert node["node_id"] == f"{elsewhere}/pod-0"
    operators.wait_for("the twin's ends", lambda: status().get("phase") in ENDED)
    here, there = site.ended("twins"), status()
    assert (here["phase"], there["phase"]) == ("Succeeded", "Succeeded")
    assert [one["targets"][0]["nodeName"] for one in (here, there)] == ["pod-0", "pod-0"]
    for namespace, told in ((site.namespace, here), (elsewhere, there)):
        (result,) = told["targets"][0]["results"]
        assert hashlib.sha256(site.download(result)).hexdigest() == result["sha256"]
        found = site.ask(f"/artifacts?node_id={namespace}/pod-0&request_id={told['requestID']}")
        assert [one["artifact_id"] for one in found["artifacts"]] == [result["artifactID"]]
    programs.end(twin)


@pytest.mark.parametrize(
    ("mode", "reason"), [("Stop", "Cancelled"), ("Abort", "Aborted")], ids=["stop", "abort"]
)
def test_a_running_capture_is_cancelled(site: Site, mode: str, reason: str) -> None:
    name = f"cancel-{mode.lower()}"
    site.apply(name, captures=[{"type": "CPUProfile", "durationSeconds": 60}])
    site.until(name, lambda status: status.get("phase") == "Running")
    began = time.monotonic()
    patch = json.dumps({"spec": {"cancel": mode}})
    site.kubectl("patch", "diagnosticrequest", name, "--type=merge", f"--patch={patch}")
    site.wait(name, "Finished")
    status = site.ended(name)
    assert (status["phase"], status["reason"]) == ("Cancelled", reason)
    assert conditions(status)["Finished"] == ("True", "Cancelled")
    assert conditions(status)["Succeeded"] == ("False", mode)
    assert status["observedGeneration"] == 2
    assert time.monotonic() - began < 25


def test_deleting_a_running_request_aborts_it(site: Site) -> None:
    site.apply("deleted", captures=[{"type": "CPUProfile", "durationSeconds": 60}])
    identifier = site.until("deleted", lambda one: one.get("phase") == "Running")["requestID"]
    site.kubectl("delete", "diagnosticrequest", "deleted", "--timeout=5s")

    def phase() -> bool:
        return bool(site.ask(f"/diagnostics/requests/{identifier}")["phase"] == "Cancelled")

    operators.wait_for("the proxy's request is cancelled", phase, 20)


# ---- killed -----------------------------------------------------------------------------------


def test_a_killed_operator_goes_on_and_captures_once(site: Site) -> None:
    site.apply("killed", captures=[{"type": "CPUProfile", "durationSeconds": 6}])
    site.until("killed", lambda status: status.get("phase") == "Running")
    site.kill_operator()
    site.wait("killed", "Succeeded")
    status = site.status("killed")
    (target,) = status["targets"]
    (result,) = target["results"]
    assert (status["phase"], target["attempts"]) == ("Succeeded", 1)
    assert hashlib.sha256(site.download(result)).hexdigest() == result["sha256"]
    manifests = site.ask(f"/artifacts?request_id={status['requestID']}")["artifacts"]
    assert [one["artifact_id"] for one in manifests] == [result["artifactID"]]
    # None when the kill came between the status and its Event.
    assert site.events("killed").count("Started") <= 1


def test_a_request_that_was_deleted_while_no_operator_ran_is_aborted(site: Site) -> None:
    site.apply("orphan", captures=[{"type": "CPUProfile", "durationSeconds": 60}])
    identifier = site.until("orphan", lambda one: one.get("phase") == "Running")["requestID"]
    port = int(site.operator.grpc.rsplit(":", 1)[1])
    site.operator.kill()
    site.kubectl("delete", "diagnosticrequest", "orphan", "--timeout=5s")
    site.operator = site.start_operator(port)

    def phase() -> bool:
        return bool(site.ask(f"/diagnostics/requests/{identifier}")["phase"] == "Cancelled")

    operators.wait_for("the proxy's request is cancelled", phase, 20)


def test_a_request_made_while_no_operator_ran_is_done(site: Site) -> None:
    """The agents need a moment to come back; the request waits for them."""
    port = int(site.operator.grpc.rsplit(":", 1)[1])
    site.operator.kill()
    site.apply("early", target={"all": True})
    site.operator = site.start_operator(port)
    site.wait("early", "Succeeded")
    status = site.status("early")
    assert (status["phase"], status["progress"]) == ("Succeeded", "2/2")


def test_a_restart_of_the_api_server_changes_nothing(site: Site) -> None:
    """Every watch is cut and for a moment nothing can be written.

    On a slow machine the restart outlasts the lease: then the operator ends and is started again.
    """
    site.apply("restarted", captures=[{"type": "CPUProfile", "durationSeconds": 3}])
    site.until("restarted", lambda status: status.get("phase") == "Running")
    site.plane.restart_apiserver()

    def has_ended() -> bool:
        site.revive_operator()
        return site.phase("restarted") in ENDED

    operators.wait_for("it ends", has_ended, 40)
    site.wait("restarted", "Succeeded")
    site.apply("after", target={"names": ["pod-1"]})
    site.wait("after", "Succeeded")
    assert site.status("restarted")["targets"][0]["attempts"] == 1


@pytest.mark.timeout(120)
def test_an_ended_request_goes_when_its_time_is_over_and_its_artifact_stays(
    site: Site, short_lived: dict[str, Any]
) -> None:
    """Artifacts have a retention of their own; the operator was killed in between."""
    (result,) = short_lived["targets"][0]["results"]
    ended_ms, expires_ms = (
        parse_rfc3339_ms(short_lived[at]) for at in ("completionTime", "expirationTime")
    )
    assert expires_ms - ended_ms == 60_000
    left_s = expires_ms / 1000 - time.time()
    if left_s > 2:
        time.sleep(left_s - 2)
        assert "short-lived" in site.names()
    operators.wait_for("it is deleted", lambda: "short-lived" not in site.names(), 10)

    found = site.ask(f"/artifacts?request_id={short_lived['requestID']}")["artifacts"]
    assert [one["artifact_id"] for one in found] == [result["artifactID"]]
    assert hashlib.sha256(site.download(result)).hexdigest() == result["sha256"]


def test_lost_data_is_told_as_it_is(site: Site) -> None:
    site.apply("lost", captures=[{"type": "CPUProfile", "durationSeconds": 10}])
    site.until("lost", lambda status: status.get("phase") == "Running")
    site.kill_operator(lose_data=True)
    status = site.ended("lost")
    assert (status["phase"], status["reason"]) == ("Failed", "ProxyRestarted")
    assert conditions(status)["Started"] == ("True", "Captures")
    assert conditions(status)["Succeeded"] == ("False", "ProxyRestarted")
    assert [(one["phase"], one["reason"]) for one in status["targets"]] == [
        ("Failed", "ProxyRestarted")
    ]
    assert status["progress"] == "1/1"


def test_the_operator_counts_what_it_did(site: Site) -> None:
    site.apply("counted")
    site.wait("counted", "Succeeded")
    # It is counted once the status is written, which kubectl may see first.
    heaps = 'fodc_operator_capture_bytes_total{profile="heap"'
    operators.wait_for("it is counted", lambda: operators.metric(site.operator, heaps) > 0)
    assert operators.metric(site.operator, "fodc_operator_requests_ended_total{") >= 1
    assert operators.metric(site.operator, "fodc_operator_requests_waiting ") == 0
