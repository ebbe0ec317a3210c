# SPDX-License-Identifier: Apache-2.0
"""Pods that run without their agent: reported within seconds, or reached over the network.

The one idea: the real API server, its StatefulSet and disruption controllers and the real webhook;
only what kubelets would tell is told by the test.
"""

import json
import time
from pathlib import Path

import pytest

from e2e import webhooks
from e2e.controlplane import installing, processes
from e2e.database_pods import Databases
from e2e.operators import metric, wait_for
from e2e.simulated import simulated_agents


def limit_containers_to_64_mib(databases: Databases) -> None:
    """Refuse containers of the agent's size, and wait until that is in force."""
    limit = {"type": "Container", "max": {"memory": "64Mi"}}
    body = {"metadata": {"name": "small"}, "spec": {"limits": [limit]}}
    made = databases.plane.api().create(databases.path("limitranges"), body)
    assert made.status == 201, made.body
    container = {"name": "x", "image": "x", "resources": {"limits": {"memory": "96Mi"}}}
    large = {"metadata": {"name": "large"}, "spec": {"containers": [container]}}
    path = f"{databases.path('pods')}?dryRun=All"
    wait_for("the limit", lambda: databases.plane.api().create(path, large).status == 403)


def test_a_database_whose_agent_is_refused_comes_up_without_it_at_once(
    tmp_path: Path, databases: Databases
) -> None:
    with databases.operator(tmp_path) as site:
        databases.create_policy()
        limit_containers_to_64_mib(databases)
        began_s = time.monotonic()
        databases.create_stateful_set(1)
        took_s = time.monotonic() - began_s
        databases.wait_counts(1, 0, 0, 1, 0)
        first, (told,) = databases.pods()["data-0"], databases.status()["pods"]
        # Whoever deletes it does not wait for its agent to be refused again.
        databases.delete_pod("data-0")
        second = databases.pods()["data-0"]
        refused = metric(
            site.webhook, 'fodc_webhook_requests_total{dry_run="false",outcome="Injected"'
        )
        databases.plane.api().delete(f"{databases.path('limitranges')}/small")

    # With its agent the pod was tried twice.
    assert refused == 2
    assert took_s < 8
    for pod in (first, second):
        assert "initContainers" not in pod["spec"]
        said = pod["metadata"]["annotations"]["fodc.banyandb.dev/not-injected"]
        assert said.startswith("RefusedAfterInjection: ")
    assert (told["name"], told["reason"]) == ("data-0", "RefusedAfterInjection")


def test_pods_missed_while_the_webhook_was_down_are_reported_within_seconds(
    tmp_path: Path, databases: Databases
) -> None:
    with databases.operator(tmp_path) as site:
        databases.create_policy()
        databases.create_stateful_set(2)
        databases.wait_counts(2, 2, 2, 0, 0)
        assert databases.condition("AllInjected") == ("True", "AllInjected")
        # Nobody listens there.
        port = processes.free_ports(1)[0]
        nowhere = webhooks.rendered(
            site.configuration, f"127.0.0.1:{port}", only_namespace=databases.namespace
        )
        webhooks.apply(databases.plane, nowhere)
        wait_for("a pod without an agent", lambda: _without(databases, "data-1"), 20)
        began = time.monotonic()
        databases.wait_counts(2, 1, 1, 1, 0)
        took_s = time.monotonic() - began
        status = databases.status()

    assert took_s < 5
    assert [(one["name"], one["state"], one["reason"]) for one in status["pods"]] == [
        ("data-1", "Missing", "WebhookMissed")
    ]
    said = databases.message("AllInjected")
    assert said.startswith("1 pod (data-1) of 2 runs without a working agent: the webhook did not")
    told = databases.events()["Missed"]
    assert told.startswith("without a working agent: data-1: the webhook did not")


def _without(databases: Databases, name: str) -> bool:
    """Make a pod anew until it comes without an agent: the server learns of changes in time."""
    databases.delete_pod(name)
    return name not in databases.with_agent()


# ---- over the network --------------------------------------------------------------------------

REMOTE = "fodc-remote-agent"


@pytest.fixture
def home(databases: Databases) -> str:
    """The operator's own namespace, with the file that the component brings."""
    found = installing.new_namespace(databases.plane)
    body = {"metadata": {"name": REMOTE}}
    made = databases.plane.api().create(f"/api/v1/namespaces/{found}/configmaps", body)
    assert made.status == 201, made.body
    return found


def test_missed_pods_are_told_to_the_remote_agent_until_all_have_their_own(
    tmp_path: Path, databases: Databases, home: str
) -> None:
    databases.create_stateful_set(2)
    databases.tell()
    with databases.operator(tmp_path, home) as site:
        databases.create_policy(attachRemotely=True)
        wait_for("targets", lambda: _targets(databases, home) == ["data-0", "data-1"], 20)
        wait_for("said", lambda: databases.condition("RemoteAttached") == ("Unknown", "Starting"))
        before = [one["state"] for one in databases.status()["pods"]]
        # The remote agent reaches them.
        with simulated_agents(site.operator.grpc, databases.namespace, 2, prefix="data"):
            attached = ("True", "Attached")
            wait_for("attached", lambda: databases.condition("RemoteAttached") == attached, 40)
            states = [one["state"] for one in databases.status()["pods"]]
        databases.delete_pod("data-0")
        databases.tell()
        wait_for("one target", lambda: _targets(databases, home) == ["data-1"], 20)
        databases.delete_pod("data-1")
        databases.tell()
        wait_for("no target", lambda: _targets(databases, home) == [], 20)
        idle = ("True", "NothingToAttach")
        wait_for("said", lambda: databases.condition("RemoteAttached") == idle)

    assert (before, states) == (["Missing", "Missing"], ["Remote", "Remote"])


def _targets(databases: Databases, home: str) -> list[str]:
    answer = databases.plane.api().get(f"/api/v1/namespaces/{home}/configmaps/{REMOTE}")
    data = answer.body.get("data") or {"targets.json": '{"targets": []}'}
    return [one["pod_name"] for one in json.loads(data["targets.json"])["targets"]]


def test_no_pod_is_told_to_the_remote_agent_without_a_policy_that_asks(
    tmp_path: Path, databases: Databases, home: str
) -> None:
    databases.create_stateful_set(1)
    databases.tell()
    api = databases.plane.api()
    with databases.operator(tmp_path, home):
        databases.create_policy(attachRemotely=True)
        wait_for("targets", lambda: _targets(databases, home) == ["data-0"], 20)
        databases.change_policy(attachRemotely=False)
        wait_for("no targets", lambda: _targets(databases, home) == [], 20)
        wait_for("no word", lambda: databases.condition("RemoteAttached") == ("False", "NotAsked"))
        databases.change_policy(attachRemotely=True)
        wait_for("targets", lambda: _targets(databases, home) == ["data-0"], 20)
        policies = f"/apis/fodc.banyandb.dev/v1alpha1/namespaces/{databases.namespace}"
        api.delete(f"{policies}/fodcinjections/banyandb")
        wait_for("no targets", lambda: _targets(databases, home) == [], 30)
