# SPDX-License-Identifier: Apache-2.0
"""The manifests on a real API server: applied whole, restricted, and asked about the right pods."""

import base64
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import applied
from e2e.applied import CONFIGURATION, MANIFESTS, SYSTEM, render, render_with
from e2e.controlplane.api import Answer
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import new_namespace
from e2e.kubelet.installation import own_overlay
from manifests.chart import Variant, rendered, variants


@pytest.fixture(scope="module")
def installed(control_plane: ControlPlane) -> ControlPlane:
    """The default overlay, applied for good; its policies are in force."""
    applied.install(control_plane)
    return control_plane


# ---- applying --------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", ["default", "ha", "small", "namespaced"])
def test_the_server_accepts_an_overlay_whole(installed: ControlPlane, overlay: str) -> None:
    folder = str(MANIFESTS / "overlays" / overlay)

    answer = installed.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "--kustomize", folder
    )

    assert (answer.returncode, answer.stderr) == (0, "")
    assert "deployment.apps/fodc-operator " in answer.stdout


def test_the_server_accepts_the_example_of_a_team(installed: ControlPlane) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "banyandb"}}
    assert installed.api().create("/api/v1/namespaces", namespace).status in {201, 409}
    # The size of a claim that exists cannot change before it is bound, which here it never is.
    documents = [
        d for d in render(installed, "examples/gitops") if d["kind"] != "PersistentVolumeClaim"
    ]

    answer = installed.kubectl(
        "apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(documents)
    )

    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_second_apply_changes_nothing(installed: ControlPlane) -> None:
    overlay = str(MANIFESTS / "overlays" / "default")

    answer = installed.kubectl("diff", "--kustomize", overlay)

    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def one_of(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name))
    return found


def test_the_small_overlay_has_one_pod_that_the_webhook_answers_from(
    control_plane: ControlPlane,
) -> None:
    documents = render(control_plane, "overlays/small")
    (deployment,) = (d for d in documents if d["kind"] == "Deployment")
    template = deployment["spec"]["template"]
    selector = one_of(documents, "Service", "fodc-webhook")["spec"]["selector"]
    policy = one_of(documents, "NetworkPolicy", "fodc-webhook")["spec"]
    images = {one["image"] for one in template["spec"]["containers"]}

    assert {one["name"] for one in template["spec"]["containers"]} == {
        "fodc-operator",
        "fodc-webhook",
    }
    assert images == {"banyandb-fodc-operator:0.1.0"}
    assert selector.items() <= template["metadata"]["labels"].items()
    assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    accounts = {
        d["subjects"][0]["name"]
        for d in documents
        if d["kind"] in {"RoleBinding", "ClusterRoleBinding"} and d["metadata"]["name"] != ""
    }
    assert accounts == {"fodc-operator"}


def test_the_ha_overlay_has_two_replicas_on_a_bucket_and_shares_no_volume(
    control_plane: ControlPlane,
) -> None:
    documents = render(control_plane, "overlays/ha")
    deployment = one_of(documents, "Deployment", "fodc-operator")
    pod = deployment["spec"]["template"]["spec"]

    assert not [d for d in documents if d["kind"] == "PersistentVolumeClaim"]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["type"] == "RollingUpdate"
    assert pod["volumes"] == [
        {"name": "artifacts", "emptyDir": {"sizeLimit": "4Gi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "128Mi"}},
    ]
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "fodc-artifact-store"}}]


def test_the_monitoring_overlay_adds_its_objects_to_the_default(
    control_plane: ControlPlane,
) -> None:
    def names(overlay: str) -> set[tuple[str, str]]:
        return {(d["kind"], d["metadata"]["name"]) for d in render(control_plane, overlay)}

    assert names("overlays/monitoring") - names("overlays/default") == {
        ("ServiceMonitor", "fodc-proxy"),
        ("Service", "fodc-operator-replicas"),
        ("PodMonitor", "fodc-webhook"),
        ("PrometheusRule", "fodc"),
        ("ClusterRoleBinding", "fodc-scraper-monitoring"),
        ("NetworkPolicy", "fodc-operator-monitoring"),
        ("NetworkPolicy", "fodc-webhook-monitoring"),
    }


def test_the_example_of_a_team_has_its_own_images_and_size(control_plane: ControlPlane) -> None:
    documents = render(control_plane, "examples/gitops")
    deployment = one_of(documents, "Deployment", "fodc-operator")
    webhook = one_of(documents, "Deployment", "fodc-webhook")["spec"]["template"]["spec"]
    asked = {one["name"]: one.get("value") for one in webhook["containers"][0]["env"]}
    (claim,) = (d for d in documents if d["kind"] == "PersistentVolumeClaim")

    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one.get("value") for one in container["env"]}
    assert container["image"] == "registry.example.com/banyandb-fodc-operator:0.1.0"
    assert told["FODC_OPERATOR_AGENT_IMAGE"] == "registry.example.com/banyandb-fodc-agent:0.1.0"
    assert asked["FODC_WEBHOOK_AGENT_IMAGE"] == told["FODC_OPERATOR_AGENT_IMAGE"]
    assert webhook["containers"][0]["image"] == container["image"]
    assert told["FODC_OPERATOR_HTTP_TLS"] == "true"
    own = {"FODC_OPERATOR_AGENT_IMAGE", "FODC_OPERATOR_HTTP_TLS"}
    assert set(told) == {*own, "POD_NAME", "POD_NAMESPACE", "POD_UID"}
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"


@pytest.mark.parametrize("overlay", ["default", "ha", "small", "namespaced", "monitoring"])
def test_images_of_ones_own_reach_all_programs_and_what_goes_into_pods(
    control_plane: ControlPlane, tmp_path: Path, overlay: str
) -> None:
    """The agent's image stands in variables too, which `images:` alone does not reach."""
    folder = own_overlay(tmp_path / "own", "registry.example.com/fodc", overlay, "remote-agent")
    text = control_plane.kubectl("kustomize", str(folder), check=True).stdout
    deployments = [d for d in yaml.safe_load_all(text) if d["kind"] == "Deployment"]
    named = re.findall(r"\S*banyandb-fodc-(?:agent|operator):\S*", yaml.safe_dump(deployments))

    assert set(named) == {
        "registry.example.com/fodc/banyandb-fodc-agent:0.1.0",
        "registry.example.com/fodc/banyandb-fodc-operator:0.1.0",
    }
    # Two programs, each with the image that it puts into pods, and the remote agent.
    assert len(named) == 5


def test_a_second_apply_leaves_the_bundle_that_the_operator_wrote(installed: ControlPlane) -> None:
    bundle = base64.b64encode(installed.ca_file.read_bytes()).decode()
    patch = [
        {"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": bundle}
        for at in range(3)
    ]
    written = installed.api().send("PATCH", CONFIGURATION, patch, "application/json-patch+json")
    assert written.status == 200, written.body

    installed.kubectl("apply", "--kustomize", str(MANIFESTS / "overlays/default"), check=True)

    kept = [
        one["clientConfig"]["caBundle"]
        for one in installed.api().get(CONFIGURATION).body["webhooks"]
    ]
    assert kept == [bundle] * 3


def test_with_cert_manager_the_operator_reads_files_and_needs_no_secret(
    installed: ControlPlane, tmp_path: Path
) -> None:
    text = render_with(installed, "cert-manager", tmp_path)
    documents = {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(text)}
    foreign = [name for name in documents if name[0] in {"Issuer", "Certificate"}]
    (operator,) = documents["Deployment", "fodc-operator"]["spec"]["template"]["spec"]["containers"]
    (container,) = documents["Deployment", "fodc-webhook"]["spec"]["template"]["spec"]["containers"]

    plain = {(d["kind"], d["metadata"]["name"]) for d in render(installed, "overlays/default")}
    assert set(documents) - plain == set(foreign)
    assert {name for _, name in plain - set(documents)} == {
        "fodc-operator-webhook",
        "fodc-operator-secret",
        "fodc-webhook-certificate",
    }
    assert "secrets" not in {
        resource
        for d in documents.values()
        if d["kind"] in {"Role", "ClusterRole"}
        for rule in d["rules"]
        for resource in rule.get("resources", [])
    }
    assert container["args"][-1] == "--cert-dir=/etc/fodc/webhook"
    assert "--webhook-config-name=" in operator["args"]
    assert operator["args"][-1] == "--agent-ca-file=/etc/fodc/tls/ca.crt"
    assert [m["mountPath"] for m in container["volumeMounts"] if m.get("readOnly")] == [
        "/etc/fodc/webhook"
    ]
    assert documents["MutatingWebhookConfiguration", "fodc-injection"]["metadata"][
        "annotations"
    ] == {"cert-manager.io/inject-ca-from": "fodc-system/fodc-webhook"}
    (served,) = (n for k, n in foreign if k == "Certificate" and n == "fodc-webhook")
    assert documents["Certificate", served]["spec"]["dnsNames"] == [
        "fodc-webhook.fodc-system.svc",
        "fodc-proxy-grpc.fodc-system.svc",
        "fodc-proxy-http.fodc-system.svc",
        "fodc-webhook.fodc-system",
        "fodc-proxy-grpc.fodc-system",
        "fodc-proxy-http.fodc-system",
    ]


@pytest.mark.parametrize("component", ["cert-manager", "remote-agent", "insecure-http"])
def test_the_server_accepts_what_a_component_changes(
    installed: ControlPlane, tmp_path: Path, component: str
) -> None:
    text = render_with(installed, component, tmp_path)
    known = [d for d in yaml.safe_load_all(text) if d["kind"] not in {"Issuer", "Certificate"}]

    answer = installed.kubectl(
        *("apply", "--dry-run=server", "--validate=strict", "-f", "-"),
        stdin=yaml.safe_dump_all(known),
    )

    assert (answer.returncode, answer.stderr) == (0, "")


# ---- who is asked about ----------------------------------------------------------------------

BY_POD, BY_NAMESPACE = "pods.inject.fodc.banyandb.dev", "namespaces.inject.fodc.banyandb.dev"
LABEL = "fodc.banyandb.dev/inject"
ASKED = re.compile(r"apiserver_admission_webhook_request_total\{([^}]*)\} (\d+)")
NAME = re.compile(r'name="([^"]+)"')


def asked(plane: ControlPlane) -> dict[str, int]:
    """How often each webhook was asked, whether or not somebody answered."""
    found: dict[str, int] = {}
    for labels, count in ASKED.findall(str(plane.api().get("/metrics").body)):
        for name in NAME.findall(labels):
            found[name] = found.get(name, 0) + int(count)
    return found


@pytest.fixture(scope="module")
def asking(installed: ControlPlane) -> ControlPlane:
    """The webhook's configuration is in force."""
    namespace = new_namespace(installed, **{LABEL: "enabled"})

    def is_asked() -> bool:
        before = asked(installed)
        create_pod(installed, namespace)
        return asked(installed) != before

    installed.wait_until("the webhook is asked", is_asked)
    return installed


def create_pod(plane: ControlPlane, namespace: str, **metadata: Any) -> Answer:
    """Try a pod; nothing is kept."""
    spec = {"containers": [{"name": "x", "image": "x"}], "nodeName": "nowhere"}
    head = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", **metadata}}
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    return plane.api().create(path, {**head, "spec": spec})


OPTED: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("nobody opted in", "", {}, []),
    ("the namespace", "enabled", {}, [BY_NAMESPACE]),
    ("the pod", "", {"labels": {LABEL: "enabled"}}, [BY_POD]),
    ("both", "enabled", {"labels": {LABEL: "enabled"}}, [BY_POD]),
    ("the pod out", "enabled", {"labels": {LABEL: "disabled"}}, []),
    ("other annotations", "enabled", {"annotations": {"a": "b"}}, [BY_NAMESPACE]),
    (
        "injected before",
        "enabled",
        {"labels": {"fodc.banyandb.dev/injected-by": "a"}},
        [BY_NAMESPACE],
    ),
    ("a word that means nothing", "true", {"labels": {LABEL: "true"}}, []),
]


@pytest.mark.parametrize(
    ("label", "metadata", "expected"), [one[1:] for one in OPTED], ids=[one[0] for one in OPTED]
)
def test_the_webhook_is_asked_about_pods_that_somebody_opted_in(
    asking: ControlPlane, label: str, metadata: dict[str, Any], expected: list[str]
) -> None:
    namespace = new_namespace(asking, **({LABEL: label} if label else {}))
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    asking.wait_until("account", lambda: asking.api().get(account).status == 200)
    before = asked(asking)

    answer = create_pod(asking, namespace, **metadata)

    after = asked(asking)
    assert answer.status == 201, answer.body
    assert [name for name in after if after[name] != before.get(name, 0)] == expected


def test_the_webhook_is_never_asked_about_our_own_pods(asking: ControlPlane) -> None:
    before = asked(asking)

    for namespace in (SYSTEM, "kube-system"):
        create_pod(asking, namespace, labels={LABEL: "enabled"})

    assert asked(asking) == before


# ---- Pod Security ----------------------------------------------------------------------------


def pod_of_the_deployment(plane: ControlPlane, name: str) -> dict[str, Any]:
    deployment = one_of(render(plane, "overlays/default"), "Deployment", name)
    template = deployment["spec"]["template"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, **template} | {
        "metadata": {"name": "operator", "labels": template["metadata"]["labels"]}
    }


@pytest.fixture
def restricted(control_plane: ControlPlane) -> str:
    """A namespace of the strictest Pod Security level, with the operator's account."""
    namespace = new_namespace(control_plane, **{"pod-security.kubernetes.io/enforce": "restricted"})
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    for name in DEPLOYMENTS:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        assert control_plane.api().create(accounts, account).status == 201
    return namespace


DEPLOYMENTS = ("fodc-operator", "fodc-webhook")


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_pod_passes_the_restricted_level(
    control_plane: ControlPlane, restricted: str, name: str
) -> None:
    pods = f"/api/v1/namespaces/{restricted}/pods"

    answer = control_plane.api().create(pods, pod_of_the_deployment(control_plane, name))

    assert (answer.status, answer.body.get("message")) == (201, None)


def test_the_restricted_level_is_in_force_where_that_was_tried(
    control_plane: ControlPlane, restricted: str
) -> None:
    pods = f"/api/v1/namespaces/{restricted}/pods"
    pod = pod_of_the_deployment(control_plane, "fodc-operator")
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True

    answer = control_plane.api().create(pods, pod)

    assert answer.status == 403
    assert 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation' in answer.message


def test_the_deployment_makes_a_pod_in_its_own_namespace(installed: ControlPlane) -> None:
    pods = f"/api/v1/namespaces/{SYSTEM}/pods?labelSelector=app.kubernetes.io/component=fodc-proxy"

    installed.wait_until("a pod", lambda: bool(installed.api().get(pods).body["items"]))

    (pod,) = installed.api().get(pods).body["items"]
    assert pod["spec"]["serviceAccountName"] == "fodc-operator"


# ---- other versions of kubectl ------------------------------------------------------------------


@pytest.mark.parametrize(
    "variant", variants(), ids=lambda one: f"{one.mode}{sorted(one.components)}"
)
def test_the_kubectl_of_this_machine_renders_the_same(
    control_plane: ControlPlane, variant: Variant
) -> None:
    """Kubectl 1.32 panicked on several objects to delete in one file."""
    own = shutil.which("kubectl")
    if own is None:
        pytest.skip("NO OTHER KUBECTL: none is in PATH")
    built = [control_plane.binaries.path("kubectl"), "kustomize"]

    assert rendered(variant, [own, "kustomize"]) == rendered(variant, built)
