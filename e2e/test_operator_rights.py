# SPDX-License-Identifier: Apache-2.0
"""The operator with the rights of the manifests and no more: nothing that it does is forbidden."""

import base64
import itertools
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import operators, programs, webhooks
from e2e.applied import rules_of
from e2e.controlplane.api import Api
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import ROOT, collection, resource
from e2e.operators import metric, start_operator, start_webhook, wait_for, wait_leads
from e2e.simulated import simulated_agents
from e2e.test_operator_incidents import last_incident, make_pod, restarted

HOME = "fodc-system"
REVIEWS = "authorization.k8s.io"
RIGHTS = {
    *("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount", "Namespace"),
    # What a rule about create cannot say.
    *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
}


def install_rights(plane: ControlPlane) -> None:
    """Apply of the manifests what gives the operator its rights, and what limits them."""
    text = plane.kubectl("kustomize", str(ROOT / "manifests" / "base"), check=True).stdout
    found = [one for one in yaml.safe_load_all(text) if one and one["kind"] in RIGHTS]
    plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(found), check=True)
    for name in ("fodc-operator", "fodc-webhook"):
        wait_granted(plane, found, name)


def wait_granted(plane: ControlPlane, applied: Sequence[dict[str, Any]], name: str) -> None:
    """Wait until the API server grants a ServiceAccount all of its rules.

    It reads roles and bindings through caches of its own: a program that starts at once is
    refused for a moment, which says nothing about its rights.
    """
    for attributes in granted_to(applied, name):
        wait_for(f"the right {attributes}", partial(is_granted, plane.api(), name, attributes))


def is_granted(api: Api, name: str, attributes: dict[str, str]) -> bool:
    """Tell whether a ServiceAccount of the manifests may do one thing."""
    spec = {"user": f"system:serviceaccount:{HOME}:{name}", "resourceAttributes": attributes}
    review = {"apiVersion": f"{REVIEWS}/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = api.create(f"/apis/{REVIEWS}/v1/subjectaccessreviews", review)
    return bool(answer.body.get("status", {}).get("allowed"))


def granted_to(applied: Sequence[dict[str, Any]], name: str) -> Iterator[dict[str, str]]:
    """Yield what each rule bound to a ServiceAccount grants, as a review asks for it."""
    for namespace, rule in rules_of(applied, name):
        yield from _attributes(rule, namespace)


def _attributes(rule: dict[str, Any], namespace: str) -> Iterator[dict[str, str]]:
    names = rule.get("resourceNames", [""])
    for group, one, verb, name in itertools.product(
        rule["apiGroups"], rule["resources"], rule["verbs"], names
    ):
        resource, _, part = one.partition("/")
        asked = {"group": group, "resource": resource, "subresource": part, "verb": verb}
        yield asked | {"name": name, "namespace": namespace}


def kubeconfig_of_the_operator(
    plane: ControlPlane, folder: Path, name: str = "fodc-operator"
) -> Path:
    """Write a kubeconfig with a token of the operator's ServiceAccount, or the webhook's."""
    account: subprocess.CompletedProcess[str] = plane.kubectl(
        "-n", HOME, "create", "token", name, "--duration=10m", check=True
    )
    authority = base64.b64encode(plane.ca_file.read_bytes()).decode()
    cluster = {"server": plane.url, "certificate-authority-data": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "operator",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "operator", "user": {"token": account.stdout.strip()}}],
        "contexts": [{"name": "operator", "context": {"cluster": "test", "user": "operator"}}],
    }
    path = folder / f"kubeconfig-of-{name}"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(autouse=True, scope="module")
def no_policies_of_others(control_plane: ControlPlane) -> None:
    """Take out the policies that tests of their schema left: one of them names pull secrets.

    The operator would be refused to look for these, as it should be, and refusals are counted here.
    """
    delete = ("delete", "fodcinjections", "--all", "--all-namespaces", "--wait=true")
    control_plane.kubectl(*delete, check=True)


def test_the_operator_does_all_of_its_work_with_the_rights_of_the_manifests(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    install_rights(control_plane)
    api, pods = control_plane.api(), f"/api/v1/namespaces/{HOME}/pods"
    security = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec = {"containers": [{"name": "x", "image": "x", "securityContext": security}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "op-0"}, "spec": spec}
    wait_for("the pod", lambda: api.create(pods, pod).status in {201, 409})
    started = start_operator(
        tmp_path,
        control_plane,
        HOME,
        "--pod-name=op-0",
        kubeconfig=kubeconfig_of_the_operator(control_plane, tmp_path),
    )
    requests = collection(namespace, "diagnosticrequests")
    wanted = {"target": {"names": ["pod-0"]}, "captures": [{"type": "HeapSnapshot"}]}
    with programs.running(started) as one:
        wait_leads(one)
        with simulated_agents(one.grpc, namespace, 2):
            wait_for(
                "online",
                lambda: list(operators.phases(control_plane, namespace).values()) == ["Online"] * 2,
            )
            made = api.create(requests, resource("DiagnosticRequest", "r", spec=wanted))
            assert made.status == 201, made.body
            wait_for(
                "a phase", lambda: api.get(f"{requests}/r").body.get("status", {}).get("phase")
            )
            labels = api.get(f"{pods}/op-0").body["metadata"].get("labels", {})
            path = make_pod(control_plane, namespace, "pod-0")
            api.merge(f"{path}/status", {"status": restarted("OOMKilled", 137, 1)})
            # Its log is asked for too, which there is no kubelet to answer.
            wait_for("the incident", lambda: last_incident(control_plane, namespace, "pod-0"))

            assert labels == {"fodc.banyandb.dev/leader": "true"}
            assert metric(one, 'fodc_operator_api_calls_total{code="403"') == 0
            assert metric(one, 'fodc_operator_api_calls_total{code="401"') == 0
        one.stop()

    assert "forbidden" not in one.log.read_text().lower()


# ---- injection -------------------------------------------------------------------------------

SELECTED = {"app.kubernetes.io/name": "banyandb", "app.kubernetes.io/component": "data"}


def database() -> dict[str, Any]:
    """A StatefulSet of one data node."""
    port = {"name": "observability", "containerPort": 2121}
    container = {"name": "data", "image": "banyandb", "args": ["data"], "ports": [port]}
    template = {"metadata": {"labels": SELECTED}, "spec": {"containers": [container]}}
    spec = {"serviceName": "db", "selector": {"matchLabels": SELECTED}, "template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": spec,
    }


def let_it_run(plane: ControlPlane, pod: str) -> None:
    """Say of a pod what a kubelet would say of one that is ready."""
    now = "2026-11-21T09:00:00Z"
    running = {"state": {"running": {"startedAt": now}}, "ready": True, "started": True}
    same = {"image": "x", "imageID": "x", "restartCount": 0, **running}
    found = plane.api().get(pod).body["spec"]
    status = {
        "phase": "Running",
        "podIP": "10.1.2.3",
        "podIPs": [{"ip": "10.1.2.3"}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        "containerStatuses": [{"name": one["name"], **same} for one in found["containers"]],
        "initContainerStatuses": [
            {"name": one["name"], **same} for one in found.get("initContainers", [])
        ],
    }
    assert plane.api().merge(f"{pod}/status", {"status": status}).status == 200


@contextmanager
def injecting(
    plane: ControlPlane, namespace: str, folder: Path, *arguments: str
) -> Iterator[programs.Program]:
    """With the rights of the manifests, an operator that leads and whose webhook is trusted."""
    install_rights(plane)
    plane.api().delete(f"/api/v1/namespaces/{HOME}/secrets/fodc-webhook-certificate")
    started = start_operator(
        folder,
        plane,
        HOME,
        "--webhook-extra-sans=127.0.0.1",
        *arguments,
        kubeconfig=kubeconfig_of_the_operator(plane, folder),
        keeps_certificate=True,
    )
    asked = start_webhook(
        folder, plane, HOME, kubeconfig=kubeconfig_of_the_operator(plane, folder, "fodc-webhook")
    )
    with programs.running(started) as one, programs.running(asked) as webhook:
        wait_leads(one)
        address = webhook.addresses["webhook"]
        rendered = webhooks.rendered("fodc-injection", address, only_namespace=namespace)
        with webhooks.applied(plane, rendered) as name:
            wait_for("trust", lambda: all(webhooks.ca_bundles(plane, name)))
            wait_for("the webhook", lambda: webhooks.webhook_fault(webhook) == "")
            webhooks.opt_in(plane, namespace)
            yield one
        webhook.stop()
        assert "forbidden" not in webhook.log.read_text().lower()


class Databases:
    """A StatefulSet whose pod is older than everything, and a policy about it."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.pod = f"/api/v1/namespaces/{namespace}/pods/db-0"
        self.policies = collection(namespace, "fodcinjections")
        sets = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
        assert plane.api().create(sets, database()).status == 201
        wait_for("the pod", lambda: plane.api().get(self.pod).status == 200)
        let_it_run(plane, self.pod)

    def ask(self, **more: object) -> None:
        """Make the policy."""
        spec = {"podSelector": {"matchLabels": SELECTED}, **more}
        made = self.plane.api().create(self.policies, resource("FodcInjection", "db", spec=spec))
        assert made.status == 201, made.body

    def change(self, **more: object) -> None:
        """Change what the policy says."""
        patch = {"spec": more}
        assert self.plane.api().merge(f"{self.policies}/db", patch).status == 200

    def would_be_injected(self) -> bool:
        """Whether the server has read trust, label and policy: a pod that is not kept tells."""
        template = database()["spec"]["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"] = {**template["metadata"], "name": "tried"}
        path = self.pod.rpartition("/")[0]
        made = self.plane.api().create(f"{path}?dryRun=All", pod).body
        return "initContainers" in made.get("spec", {})

    def uid(self) -> str:
        """Which pod there is now, empty for none."""
        return str(self.plane.api().get(self.pod).body["metadata"].get("uid", ""))

    def condition(self, kind: str) -> dict[str, str]:
        """One condition of the policy, empty when it has none of the type."""
        found = self.plane.api().get(f"{self.policies}/db").body.get("status", {})
        return next((one for one in found.get("conditions", []) if one["type"] == kind), {})


@pytest.mark.timeout(120)
def test_both_inject_and_release_with_the_rights_of_the_manifests(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """Certificate, caBundle, statuses, Events and the deletion of a pod that does not start."""
    databases = Databases(control_plane, namespace)
    # Policies that other tests left may ask for the remote agent, which is not granted here.
    only = f"--namespace={namespace}"
    with injecting(control_plane, namespace, tmp_path, only) as one:
        databases.ask()
        wait_for("the webhook in force", databases.would_be_injected)
        old = databases.uid()
        control_plane.api().delete(databases.pod)
        wait_for("another pod", lambda: databases.uid() not in {"", old})
        new = control_plane.api().get(databases.pod).body["spec"]
        assert [container["name"] for container in new["initContainers"]] == ["fodc-agent"]
        stuck = databases.uid()
        keep_it_waiting(control_plane, databases.pod)
        wait_for("released", lambda: databases.uid() not in {"", stuck}, 60)

        assert "initContainers" not in control_plane.api().get(databases.pod).body["spec"]
        assert metric(one, 'fodc_operator_api_calls_total{code="403"') == 0
        one.stop()

    assert "forbidden" not in one.log.read_text().lower()


def test_agents_are_handed_the_authority_of_the_proxy_with_the_rights_of_the_manifests(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """In each namespace with a policy, beside the token; and nothing of it is secret."""
    api, databases = control_plane.api(), Databases(control_plane, namespace)
    secret = f"/api/v1/namespaces/{HOME}/secrets/fodc-webhook-certificate"
    handed = f"/api/v1/namespaces/{namespace}/configmaps/fodc-proxy-ca"

    def owners() -> list[str]:
        found = api.get(handed).body.get("metadata", {}).get("ownerReferences", [])
        return [one["name"] for one in found]

    with injecting(control_plane, namespace, tmp_path, f"--namespace={namespace}") as one:
        databases.ask()
        wait_for("the authority", lambda: owners() == ["db"])
        other = resource("FodcInjection", "an", spec={"podSelector": {"matchLabels": {"a": "b"}}})
        assert api.create(databases.policies, other).status == 201
        wait_for("another owner", lambda: owners() == ["an", "db"])
        wait_for("the webhook in force", databases.would_be_injected)
        api.delete(databases.pod)
        wait_for(
            "another pod", lambda: "initContainers" in api.get(databases.pod).body.get("spec", ())
        )
        pod = api.get(databases.pod).body["spec"]
        data = api.get(handed).body["data"]

        assert list(data) == ["ca.crt"]
        assert data["ca.crt"] == base64.b64decode(api.get(secret).body["data"]["ca.crt"]).decode()
        [volume] = [v for v in pod["volumes"] if v["name"] == "fodc-agent-token"]
        sources = volume["projected"]["sources"]
        assert [next(iter(source)) for source in sources] == ["serviceAccountToken", "configMap"]
        assert (sources[1]["configMap"]["name"], sources[1]["configMap"]["optional"]) == (
            "fodc-proxy-ca",
            True,
        )
        folder = "/var/run/secrets/kubernetes.io/serviceaccount"
        assert {
            f"--proxy-tls-ca={folder}/ca.crt",
            f"--proxy-token-file={folder}/token",
        } <= set(pod["initContainers"][0]["args"])
        one.stop()

    assert "forbidden" not in one.log.read_text().lower()


def keep_it_waiting(plane: ControlPlane, pod: str) -> None:
    """Say of a pod what a kubelet would say when the agent's image cannot be pulled."""
    same = {"image": "x", "imageID": "", "restartCount": 0, "ready": False}
    waits = {"waiting": {"reason": "PodInitializing"}}
    pulls = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    status = {
        "phase": "Pending",
        "containerStatuses": [{"name": "data", "state": waits, **same}],
        "initContainerStatuses": [{"name": "fodc-agent", "state": pulls, **same}],
    }
    assert plane.api().merge(f"{pod}/status", {"status": status}).status == 200


def test_pull_secrets_are_looked_for_with_their_component_and_not_without(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """When the policy is applied, before any pod waits for an image."""
    api, databases = control_plane.api(), Databases(control_plane, namespace)
    component = ROOT / "manifests" / "components" / "pull-secrets" / "permissions.yaml"

    def told() -> tuple[str, str]:
        said = databases.condition("PullSecretsFound")
        return said.get("status", ""), said.get("reason", "")

    def policy_asks_for(name: str) -> None:
        databases.change(agent={"imagePullSecrets": [{"name": name}]})

    with injecting(control_plane, namespace, tmp_path, f"--namespace={namespace}"):
        databases.ask(agent={"imagePullSecrets": [{"name": "registry"}]})
        wait_for("the refusal", lambda: told() == ("Unknown", "NotAllowed"))
        control_plane.kubectl("apply", f"--filename={component}", check=True)
        try:
            grant = {"group": "", "resource": "secrets", "verb": "get", "namespace": namespace}
            wait_for("the right", lambda: is_granted(api, "fodc-operator", grant))
            policy_asks_for("regsitry")
            wait_for("what is missing", lambda: told() == ("False", "PullSecretMissing"))
            assert databases.condition("Ready")["reason"] == "PullSecretMissing"
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "right"}}
            assert api.create(f"/api/v1/namespaces/{namespace}/secrets", secret).status == 201
            policy_asks_for("right")
            wait_for("what is there", lambda: told() == ("True", "Found"))
        finally:
            control_plane.kubectl("delete", f"--filename={component}", check=True)
