# SPDX-License-Identifier: Apache-2.0
"""What a FodcInjection says of its pods, and when it stops giving agents, on a real API server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from e2e.applied import render_with
from e2e.controlplane.cluster import ControlPlane
from e2e.database_pods import Databases, image_missing, running
from e2e.operators import metric, start_operator, wait_for, wait_leads
from e2e.programs import running as running_program
from e2e.test_operator_rights import HOME, install_rights, kubeconfig_of_the_operator
from e2e.webhooks import Injecting


@pytest.fixture
def site(tmp_path: Path, databases: Databases) -> Iterator[Injecting]:
    with databases.operator(tmp_path) as found:
        yield found


def table(databases: Databases) -> list[list[str]]:
    """Return what kubectl prints of the policies."""
    arguments = ("-n", databases.namespace, "get", "fodcinjections", "-o", "wide")
    lines = databases.plane.kubectl(*arguments, check=True).stdout.splitlines()
    return [line.split() for line in lines]


def test_the_status_follows_its_pods(site: Injecting, databases: Databases) -> None:
    databases.create_policy(cluster="prod")
    wait_for("ready", lambda: databases.condition("Ready") == ("True", "InForce"))
    assert databases.counts() == (0, 0, 0, 0, 0)
    assert databases.condition("AgentsStart") == ("Unknown", "NoAgentYet")

    databases.create_stateful_set(3)
    databases.wait_counts(3, 3, 3, 0, 0)
    started = ("True", "AgentsStart")
    wait_for("the agents run", lambda: databases.condition("AgentsStart") == started)
    assert databases.condition("AllUpToDate") == ("True", "AllUpToDate")
    first = databases.status()
    assert "pods" not in first

    databases.change_policy(flavor="Process")
    databases.wait_counts(3, 3, 0, 0, 0)
    changed = databases.status()
    assert changed["revision"] != first["revision"]
    assert databases.condition("AllUpToDate") == ("False", "OutOfDate")
    assert [one["state"] for one in changed["pods"]] == ["OutOfDate"] * 3

    wait_for("the webhook knows", lambda: databases.given() == changed["revision"])
    databases.delete_pod("data-1")
    databases.wait_counts(3, 3, 1, 0, 0)
    databases.change_policy(paused=True)
    wait_for("paused", lambda: databases.condition("Ready") == ("False", "Paused"))
    head, line = table(databases)
    told = dict(zip(head, line, strict=True))
    names = ("CLUSTER", "FLAVOR", "MATCHED", "INJECTED", "UP-TO-DATE", "MISSING", "PAUSED")
    assert [told[name] for name in names] == ["prod", "Process", "3", "3", "1", "0", "true"]
    labels = f'namespace="{databases.namespace}",policy="banyandb"'
    pods = "fodc_operator_injection_pods{" + labels + ',state="OutOfDate"}'
    assert metric(site.operator, pods) == 2


@pytest.mark.usefixtures("site")
def test_a_status_without_news_is_not_written(databases: Databases) -> None:
    databases.create_policy()
    databases.create_stateful_set(2)
    databases.wait_counts(2, 2, 2, 0, 0)
    wait_for("all told", lambda: databases.condition("AgentsStart") == ("True", "AgentsStart"))
    policies = f"/apis/fodc.banyandb.dev/v1alpha1/namespaces/{databases.namespace}/fodcinjections"
    version = databases.plane.api().get(f"{policies}/banyandb").body["metadata"]["resourceVersion"]
    for _ in range(10):
        for one in databases.pods().values():
            patch = {"metadata": {"annotations": {"touched": str(time.monotonic_ns())}}}
            name = one["metadata"]["name"]
            databases.plane.api().merge(f"{databases.path('pods')}/{name}", patch)
        time.sleep(0.3)
    after = databases.plane.api().get(f"{policies}/banyandb").body["metadata"]["resourceVersion"]

    assert after == version


@pytest.mark.timeout(120)
def test_a_policy_whose_agents_do_not_start_is_suspended_until_one_does(
    site: Injecting, databases: Databases
) -> None:
    databases.create_policy(onAgentFailure="Wait")
    databases.create_stateful_set(2)
    databases.wait_counts(2, 2, 2, 0, 0)
    # The image is gone: the pod that is made next is held up by its agent.
    databases.teller = image_missing
    databases.delete_pod("data-1")
    databases.wait_counts(2, 1, 1, 1, 1)
    began = time.monotonic()
    assert databases.condition("AgentsStart") == ("True", "AgentsStart")
    suspended = ("False", "AgentImageUnavailable")
    wait_for("suspended", lambda: databases.condition("AgentsStart") == suspended, 45)
    took_s = time.monotonic() - began
    ready = databases.condition("Ready")
    event = wait_for("its event", lambda: databases.events().get("AgentImageUnavailable"))
    gauge = metric(site.operator, "fodc_operator_injection_suspended")

    # Made anew it comes up clean, and says why.
    databases.teller = running
    wait_for("the webhook knows", lambda: databases.given().startswith("Suspended: "))
    databases.delete_pod("data-1")
    databases.wait_counts(2, 1, 1, 1, 0)
    clean = databases.pods()["data-1"]["metadata"]["annotations"]
    missing = databases.status()["pods"][0]

    # The agent of the other pod is started anew, and that works: agents start again.
    databases.tell_of(databases.pods()["data-0"], running)
    again = ("True", "AgentsStartAgain")
    wait_for("again", lambda: databases.condition("AgentsStart") == again, 20)
    wait_for("the webhook knows", lambda: databases.given() == databases.status()["revision"])
    # One more pod gets its agent; data-1 has to be made anew for that.
    databases.scale(3)
    databases.wait_counts(3, 2, 2, 1, 0)

    assert databases.with_agent() == {"data-0", "data-2"}
    assert 25 < took_s < 40
    assert ready == suspended
    assert gauge == 1
    start = "no more pods get an agent: it does not start in data-1: the image banyandb-fodc-agent"
    assert event.startswith(start)
    said = clean["fodc.banyandb.dev/not-injected"]
    assert said.startswith("Suspended: FodcInjection banyandb gives no agents now: ")
    assert (missing["name"], missing["state"], missing["reason"]) == (
        "data-1",
        "Missing",
        "Suspended",
    )


@pytest.mark.timeout(120)
def test_a_pod_whose_agent_does_not_start_is_made_anew_without_it_and_a_new_spec_ends_that(
    site: Injecting, databases: Databases
) -> None:
    """K1: with the defaults."""
    databases.teller = image_missing
    databases.create_policy()
    databases.create_stateful_set(1)
    databases.wait_counts(1, 0, 0, 1, 1)
    stuck = databases.pods()["data-0"]["metadata"]["uid"]

    databases.teller = running
    wait_for("released", lambda: databases.successor("data-0", stuck), 60)
    databases.wait_counts(1, 0, 0, 1, 0)
    bare = databases.pods()["data-0"]["metadata"]["uid"]
    said = databases.pods()["data-0"]["metadata"]["annotations"]
    assert "data-0" not in databases.with_agent()
    assert said["fodc.banyandb.dev/not-injected"].startswith("Suspended: ")
    event = wait_for("its event", lambda: databases.events().get("Released"))
    assert "its agent does not start" in event
    time.sleep(3)
    # Its database runs: nothing ends it.
    assert databases.successor("data-0", bare) == ""

    databases.change_policy(agent={"image": "banyandb-fodc-agent:good"})
    wait_for("the webhook knows", lambda: databases.given() == databases.status()["revision"])
    databases.delete_pod("data-0")
    databases.wait_counts(1, 1, 1, 0, 0)
    again = ("True", "AgentsStartAgain")
    wait_for("again", lambda: databases.condition("AgentsStart") == again, 20)
    assert metric(site.operator, 'fodc_operator_injection_releases_total{outcome="released"}') == 1


def test_the_remote_agent_needs_its_component_of_the_manifests(
    tmp_path: Path, databases: Databases
) -> None:
    plane = databases.plane
    install_rights(plane)
    databases.create_stateful_set(1)
    databases.tell()
    started = start_operator(
        tmp_path,
        plane,
        HOME,
        f"--namespace={databases.namespace}",
        kubeconfig=kubeconfig_of_the_operator(plane, tmp_path),
    )
    with running_program(started) as one:
        wait_leads(one)
        databases.create_policy(attachRemotely=True)
        lacking = ("False", "NotInstalled")
        wait_for("refused", lambda: databases.condition("RemoteAttached") == lacking, 20)
        message = databases.message("RemoteAttached")
        with _component(plane, tmp_path):
            starting = ("Unknown", "Starting")
            wait_for("allowed", lambda: databases.condition("RemoteAttached") == starting, 30)
            path = f"/api/v1/namespaces/{HOME}/configmaps/fodc-remote-agent"
            assert '"pod_name": "data-0"' in plane.api().get(path).body["data"]["targets.json"]
        one.stop()

    assert message.startswith("add the component remote-agent of the manifests: ")


@contextmanager
def _component(plane: ControlPlane, folder: Path) -> Iterator[None]:
    """Own what the component adds; the server is other tests' too."""
    documents = yaml.safe_load_all(render_with(plane, "remote-agent", folder))
    found = [one for one in documents if one and "remote-agent" in one["metadata"]["name"]]
    text = yaml.safe_dump_all(found)
    plane.kubectl("apply", "-f", "-", stdin=text, check=True)
    try:
        yield
    finally:
        plane.kubectl("delete", "-f", "-", stdin=text, check=True)
