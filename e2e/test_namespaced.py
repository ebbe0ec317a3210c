# SPDX-License-Identifier: Apache-2.0
"""The overlay for one namespace, on a server of its own that has nothing else of ours.

The one idea: the operator and the webhook do all of their work there with the rights of the overlay
and are refused nothing; what another namespace holds they neither see nor touch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e import operators, programs, webhooks
from e2e.applied import SYSTEM, render, rules_of
from e2e.controlplane import auditing, installing
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.cluster import control_plane as running_control_plane
from e2e.controlplane.installing import GROUP, ROOT, collection, resource
from e2e.operators import metric, start_operator, start_webhook, wait_for, wait_leads
from e2e.simulated import simulated_agents
from e2e.test_operator_rights import SELECTED, database, kubeconfig_of_the_operator, wait_granted
from e2e.test_rights_are_used import granted

OVERLAY = "overlays/namespaced"
WITHOUT_A_NAMESPACE = {
    ("authentication.k8s.io", "tokenreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("", "namespaces"),
    ("", "nodes"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
}


def test_the_overlay_grants_what_the_default_one_does_but_in_one_namespace(
    control_plane: ControlPlane,
) -> None:
    rendered = render(control_plane, OVERLAY)
    everywhere = {
        (group, one)
        for account in auditing.ACCOUNTS
        for namespace, rule in rules_of(rendered, account.rpartition(":")[2])
        if not namespace
        for group in rule["apiGroups"]
        for one in rule["resources"]
    }

    assert everywhere == WITHOUT_A_NAMESPACE
    assert set(granted(rendered)) == set(granted(render(control_plane, "overlays/default")))


def test_removing_the_overlay_leaves_the_namespace_of_the_databases(
    control_plane: ControlPlane,
) -> None:
    assert "Namespace" not in {one["kind"] for one in render(control_plane, OVERLAY)}


@pytest.mark.timeout(180)  # with a server of its own
def test_operator_and_webhook_work_in_their_namespace_and_see_no_other(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    del control_plane  # only to be skipped where there is none
    with running_control_plane(tmp_path / "run") as plane, installed(plane, tmp_path) as one:
        other = installing.new_namespace(plane)
        webhooks.opt_in(plane, SYSTEM)
        webhooks.opt_in(plane, other)
        for namespace in (SYSTEM, other):
            spec = {"podSelector": {"matchLabels": SELECTED}}
            ask(plane, namespace, "fodcinjections", resource("FodcInjection", "db", spec=spec))
        wait_for("the webhook in force", lambda: is_injected(plane, SYSTEM))
        with simulated_agents(one.grpc, SYSTEM, 2), simulated_agents(one.grpc, other, 1):
            wait_for("nodes", lambda: len(operators.phases(plane, SYSTEM)) == 2)
            for namespace in (SYSTEM, other):
                spec = {"target": {"all": True}, "captures": [{"type": "HeapSnapshot"}]}
                wanted = resource("DiagnosticRequest", "heaps", spec=spec)
                ask(plane, namespace, "diagnosticrequests", wanted)
            wait_for("targets", lambda: len(status(plane, SYSTEM).get("targets", ())) == 2)
            wait_for("the policy's status", lambda: policy(plane, SYSTEM).get("conditions"))

            assert not is_injected(plane, other)
            assert (operators.phases(plane, other), status(plane, other)) == ({}, {})
            assert policy(plane, other) == {}
        # Every event of a custom resource enters by kopf, in both programs.
        operator, webhook = auditing.ACCOUNTS
        ours = {one for one in auditing.watched(GROUP) if one[0] in auditing.ACCOUNTS}
        assert ours == {
            (operator, "diagnosticrequests", "kopf"),
            (operator, "fodcinjections", "kopf"),
            (operator, "fodcnodes", "kopf"),
            (webhook, "fodcinjections", "kopf"),
        }
        assert metric(one, 'fodc_operator_api_calls_total{code="403"') == 0
        assert metric(one, 'fodc_operator_api_calls_total{code="401"') == 0


@contextmanager
def installed(plane: ControlPlane, folder: Path) -> Iterator[programs.Program]:
    """Apply the overlay where it is already lived, and run both programs as their accounts."""
    installing.install_crds(plane)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
    assert plane.api().create("/api/v1/namespaces", namespace).status == 201
    plane.kubectl("apply", "--kustomize", str(ROOT / "manifests" / OVERLAY), check=True)
    rendered = render(plane, OVERLAY)
    for name in ("fodc-operator", "fodc-webhook"):
        wait_granted(plane, rendered, name)
    started = start_operator(
        folder,
        plane,
        SYSTEM,
        *told_by(rendered, "fodc-operator"),
        "--webhook-extra-sans=127.0.0.1",
        kubeconfig=kubeconfig_of_the_operator(plane, folder),
        keeps_certificate=True,
    )
    asked = start_webhook(
        folder,
        plane,
        SYSTEM,
        *told_by(rendered, "fodc-webhook"),
        kubeconfig=kubeconfig_of_the_operator(plane, folder, "fodc-webhook"),
    )
    with programs.running(started) as operator, programs.running(asked) as webhook:
        wait_leads(operator)
        webhooks.apply(plane, leading_to(rendered, webhook.addresses["webhook"]))
        wait_for("trust", lambda: all(webhooks.ca_bundles(plane, "fodc-injection")))
        wait_for("the webhook", lambda: webhooks.webhook_fault(webhook) == "")
        yield operator
        for program in (operator, webhook):
            program.stop()
            assert "forbidden" not in program.log.read_text().lower()


def told_by(rendered: list[dict[str, Any]], name: str) -> list[str]:
    """Flags for the variables that the overlay fills with the namespace of the pod."""
    (made,) = [d for d in rendered if (d["kind"], d["metadata"]["name"]) == ("Deployment", name)]
    (container,) = made["spec"]["template"]["spec"]["containers"]
    variable = f"{name.upper().replace('-', '_')}_NAMESPACE"
    (found,) = [one for one in container["env"] if one["name"] == variable]
    assert found["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    return [f"--namespace={SYSTEM}"]


def leading_to(rendered: list[dict[str, Any]], address: str) -> dict[str, Any]:
    """The configuration of the overlay, by URL instead of its Service."""
    (found,) = [d for d in rendered if d["kind"] == "MutatingWebhookConfiguration"]
    for entry in found["webhooks"]:
        path = entry["clientConfig"]["service"]["path"]
        entry["clientConfig"] = {"url": f"https://{address}{path}"}
    return found


def ask(plane: ControlPlane, namespace: str, plural: str, body: dict[str, Any]) -> None:
    """Make an object of ours as an administrator."""
    made = plane.api().create(collection(namespace, plural), body)
    assert made.status == 201, made.body


def is_injected(plane: ControlPlane, namespace: str) -> bool:
    """Whether a pod of a database would get its agent; the pod is not kept."""
    template = database()["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] = {**template["metadata"], "name": "tried"}
    made = plane.api().create(f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
    return "initContainers" in made.body.get("spec", {})


def status(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    """The status of the request of a namespace, empty without one."""
    path = f"{collection(namespace, 'diagnosticrequests')}/heaps"
    return dict(plane.api().get(path).body.get("status", {}))


def policy(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    """The status of the injection of a namespace, empty without one."""
    path = f"{collection(namespace, 'fodcinjections')}/db"
    return dict(plane.api().get(path).body.get("status", {}))
