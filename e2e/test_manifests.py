# SPDX-License-Identifier: Apache-2.0
"""The manifests on a real API server: applied whole, restricted, and nobody may more than meant.

The one idea: permissions are tried, not read: each user sends the request and the server answers.
"""

import base64
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.controlplane.api import Answer
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import ROOT, collection, new_namespace, resource

MANIFESTS = ROOT / "manifests"
SYSTEM = "fodc-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:fodc-operator"
RBAC = "rbac.authorization.k8s.io"
GROUP = "fodc.banyandb.dev"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CONFIGURATION = f"{ADMISSION}/mutatingwebhookconfigurations/fodc-injection"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


def render(plane: ControlPlane, folder: str) -> list[dict[str, Any]]:
    """What kustomize makes of a folder."""
    text = plane.kubectl("kustomize", str(MANIFESTS / folder), check=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.fixture(scope="module")
def installed(control_plane: ControlPlane) -> ControlPlane:
    """The default overlay, applied for good; its policy is in force."""
    overlay = str(MANIFESTS / "overlays" / "default")
    control_plane.kubectl("apply", "--kustomize", overlay, check=True)
    namespace = new_namespace(control_plane)
    bind(control_plane, namespace, "profiler", "fodc-profiler")
    control_plane.wait_until(
        "the policy about captures is in force",
        lambda: create(control_plane, "profiler", namespace, "HeapSnapshot").status == 403,
    )
    return control_plane


def render_with(plane: ControlPlane, component: str, folder: Path) -> str:
    """What kustomize makes of the default overlay with a component."""
    base = Path(os.path.relpath(MANIFESTS, folder))
    whole = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(base / "overlays" / "default")],
        "components": [str(base / "components" / component)],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    return plane.kubectl("kustomize", str(folder), check=True).stdout


def bind(plane: ControlPlane, namespace: str, user: str, role: str) -> None:
    """Bind a ClusterRole to a user in a namespace and wait until the server knows."""
    body = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{user}-{role}"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }
    answer = plane.api().create(f"/apis/{RBAC}/v1/namespaces/{namespace}/rolebindings", body)
    assert answer.status == 201, answer.body
    path = collection(namespace, "fodcnodes")
    plane.wait_until(f"{user} may look", lambda: plane.api(user).get(path).status == 200)


def create(plane: ControlPlane, user: str, namespace: str, capture: str) -> Answer:
    """Ask for a capture as somebody; nothing is kept."""
    spec = {"target": {"all": True}, "captures": [{"type": capture}]}
    body = resource("DiagnosticRequest", "asked", spec=spec)
    path = collection(namespace, "diagnosticrequests")
    return plane.api(user).create(f"{path}?dryRun=All", body)


# ---- applying --------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", ["default", "ha"])
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


def test_the_ha_overlay_has_two_replicas_on_one_shared_claim(control_plane: ControlPlane) -> None:
    documents = render(control_plane, "overlays/ha")
    claims = [d for d in documents if d["kind"] == "PersistentVolumeClaim"]
    (deployment,) = (d for d in documents if d["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]

    assert [(c["metadata"]["name"], c["spec"]["accessModes"]) for c in claims] == [
        ("fodc-artifacts-shared", ["ReadWriteMany"])
    ]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["type"] == "RollingUpdate"
    assert pod["volumes"] == [
        {
            "name": "artifacts",
            "persistentVolumeClaim": {"claimName": "fodc-artifacts-shared"},
        },
        {"name": "tmp", "emptyDir": {"sizeLimit": "128Mi"}},
    ]


def test_the_monitoring_overlay_adds_three_objects_to_the_default(
    control_plane: ControlPlane,
) -> None:
    def names(overlay: str) -> set[tuple[str, str]]:
        return {(d["kind"], d["metadata"]["name"]) for d in render(control_plane, overlay)}

    assert names("overlays/monitoring") - names("overlays/default") == {
        ("ServiceMonitor", "fodc-proxy"),
        ("PrometheusRule", "fodc"),
        ("NetworkPolicy", "fodc-operator-monitoring"),
    }


def test_the_example_of_a_team_has_its_own_image_and_size(control_plane: ControlPlane) -> None:
    documents = render(control_plane, "examples/gitops")
    (deployment,) = (d for d in documents if d["kind"] == "Deployment")
    (claim,) = (d for d in documents if d["kind"] == "PersistentVolumeClaim")

    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "registry.example.com/banyandb-fodc-operator:0.1.0"
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"


def test_a_second_apply_leaves_the_bundle_that_the_operator_wrote(installed: ControlPlane) -> None:
    bundle = base64.b64encode(installed.ca_file.read_bytes()).decode()
    patch = [
        {"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": bundle}
        for at in range(2)
    ]
    written = installed.api().send("PATCH", CONFIGURATION, patch, "application/json-patch+json")
    assert written.status == 200, written.body

    installed.kubectl("apply", "--kustomize", str(MANIFESTS / "overlays/default"), check=True)

    kept = [
        one["clientConfig"]["caBundle"]
        for one in installed.api().get(CONFIGURATION).body["webhooks"]
    ]
    assert kept == [bundle, bundle]


def test_with_cert_manager_the_operator_reads_files_and_needs_no_secret(
    installed: ControlPlane, tmp_path: Path
) -> None:
    text = render_with(installed, "cert-manager", tmp_path)
    documents = {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(text)}
    foreign = [name for name in documents if name[0] in {"Issuer", "Certificate"}]
    pod = documents["Deployment", "fodc-operator"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    plain = {(d["kind"], d["metadata"]["name"]) for d in render(installed, "overlays/default")}
    assert set(documents) - plain == set(foreign)
    assert {name for _, name in plain - set(documents)} == {
        "fodc-operator-webhook",
        "fodc-operator-secret",
    }
    assert "secrets" not in {
        resource
        for d in documents.values()
        if d["kind"] in {"Role", "ClusterRole"}
        for rule in d["rules"]
        for resource in rule["resources"]
    }
    assert container["args"][-2:] == [
        "--webhook-cert-dir=/etc/fodc/webhook",
        "--webhook-config-name=",
    ]
    assert [m["mountPath"] for m in container["volumeMounts"] if m.get("readOnly")] == [
        "/etc/fodc/webhook"
    ]
    assert documents["MutatingWebhookConfiguration", "fodc-injection"]["metadata"][
        "annotations"
    ] == {"cert-manager.io/inject-ca-from": "fodc-system/fodc-webhook"}
    (served,) = (n for k, n in foreign if k == "Certificate" and n == "fodc-webhook")
    assert documents["Certificate", served]["spec"]["dnsNames"] == ["fodc-webhook.fodc-system.svc"]


@pytest.mark.parametrize("component", ["cert-manager", "remote-agent"])
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
ASKED = re.compile(r'apiserver_admission_webhook_fail_open_count\{name="([^"]+)".*\} (\d+)')


def asked(plane: ControlPlane) -> dict[str, int]:
    """How often each webhook was asked in vain: nobody answers on this control plane."""
    found: dict[str, int] = {}
    for name, count in ASKED.findall(str(plane.api().get("/metrics").body)):
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
    ("the pod out by annotation", "enabled", {"annotations": {LABEL: "disabled"}}, []),
    ("other annotations", "enabled", {"annotations": {"a": "b"}}, [BY_NAMESPACE]),
    (
        "injected before",
        "enabled",
        {"labels": {"fodc.banyandb.dev/injected-by": "a"}},
        [BY_NAMESPACE],
    ),
    ("a word that means nothing", "true", {"labels": {LABEL: "true"}}, []),
    ("mirror", "enabled", {"annotations": {"kubernetes.io/config.mirror": "a"}}, []),
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


def pod_of_the_deployment(plane: ControlPlane) -> dict[str, Any]:
    (deployment,) = (d for d in render(plane, "overlays/default") if d["kind"] == "Deployment")
    template = deployment["spec"]["template"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, **template} | {
        "metadata": {"name": "operator", "labels": template["metadata"]["labels"]}
    }


@pytest.fixture
def restricted(control_plane: ControlPlane) -> str:
    """A namespace of the strictest Pod Security level, with the operator's account."""
    namespace = new_namespace(control_plane, **{"pod-security.kubernetes.io/enforce": "restricted"})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "fodc-operator"}}
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    assert control_plane.api().create(accounts, account).status == 201
    return namespace


def test_the_pod_passes_the_restricted_level(control_plane: ControlPlane, restricted: str) -> None:
    pods = f"/api/v1/namespaces/{restricted}/pods"

    answer = control_plane.api().create(pods, pod_of_the_deployment(control_plane))

    assert (answer.status, answer.body.get("message")) == (201, None)


def test_the_restricted_level_is_in_force_where_that_was_tried(
    control_plane: ControlPlane, restricted: str
) -> None:
    pods = f"/api/v1/namespaces/{restricted}/pods"
    pod = pod_of_the_deployment(control_plane)
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True

    answer = control_plane.api().create(pods, pod)

    assert answer.status == 403
    assert 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation' in answer.message


def test_the_deployment_makes_a_pod_in_its_own_namespace(installed: ControlPlane) -> None:
    pods = f"/api/v1/namespaces/{SYSTEM}/pods?labelSelector=app.kubernetes.io/component=fodc-proxy"

    installed.wait_until("a pod", lambda: bool(installed.api().get(pods).body["items"]))

    (pod,) = installed.api().get(pods).body["items"]
    assert pod["spec"]["serviceAccountName"] == "fodc-operator"


# ---- who may what ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(installed: ControlPlane) -> tuple[ControlPlane, str]:
    """A namespace in which each user has the role of the same name."""
    namespace = new_namespace(installed)
    for user, role in (
        ("viewer", "fodc-viewer"),
        ("profiler", "fodc-profiler"),
        ("manager", "fodc-admin"),
    ):
        bind(installed, namespace, user, role)
    nodes, requests = (
        collection(namespace, "fodcnodes"),
        collection(namespace, "diagnosticrequests"),
    )
    node = resource("FodcNode", "node-0", spec={"podRef": {"name": "node-0"}})
    spec = {"target": {"all": True}, "captures": [{"type": "CPUProfile"}]}
    assert installed.api().create(nodes, node).status == 201
    request = resource("DiagnosticRequest", "old", spec=spec)
    assert installed.api().create(requests, request).status == 201
    injection = resource("FodcInjection", "banyandb", spec=SELECTING)
    injections = collection(namespace, "fodcinjections")
    assert installed.api().create(injections, injection).status == 201
    return installed, namespace


SELECTING = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "banyandb"}}}
PEOPLE = ("stranger", "viewer", "profiler", "manager")
ATTEMPTS: list[tuple[str, str, str, object, tuple[int, int, int, int]]] = [
    ("list nodes", "GET", "fodcnodes", None, (403, 200, 200, 200)),
    ("read a request", "GET", "diagnosticrequests/old", None, (403, 200, 200, 200)),
    (
        "cancel a request",
        "PATCH",
        "diagnosticrequests/old?dryRun=All",
        {"spec": {"cancel": "Stop"}},
        (403, 403, 200, 200),
    ),
    (
        "write a status",
        "PATCH",
        "diagnosticrequests/old/status?dryRun=All",
        {"status": {"phase": "Succeeded"}},
        (403, 403, 403, 403),
    ),
    (
        "send a node into maintenance",
        "PATCH",
        "fodcnodes/node-0?dryRun=All",
        {"spec": {"maintenance": True}},
        (403, 403, 403, 200),
    ),
    ("list injections", "GET", "fodcinjections", None, (403, 200, 200, 200)),
    (
        "pause an injection",
        "PATCH",
        "fodcinjections/banyandb?dryRun=All",
        {"spec": {"paused": True}},
        (403, 403, 403, 200),
    ),
    (
        "delete an injection",
        "DELETE",
        "fodcinjections/banyandb?dryRun=All",
        None,
        (403, 403, 403, 200),
    ),
    (
        "write the status of an injection",
        "PATCH",
        "fodcinjections/banyandb/status?dryRun=All",
        {"status": {"matched": 1}},
        (403, 403, 403, 403),
    ),
    (
        "delete a request",
        "DELETE",
        "diagnosticrequests/old?dryRun=All",
        None,
        (403, 403, 403, 200),
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [attempt[1:] for attempt in ATTEMPTS],
    ids=[attempt[0] for attempt in ATTEMPTS],
)
def test_each_role_may_what_it_is_for(
    shared: tuple[ControlPlane, str],
    method: str,
    path: str,
    body: object,
    expected: tuple[int, ...],
) -> None:
    plane, namespace = shared
    content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
    where = collection(namespace, path)

    found = [plane.api(user).send(method, where, body, content_type).status for user in PEOPLE]

    assert found == list(expected)


@pytest.mark.parametrize(
    ("capture", "expected"),
    [
        ("CPUProfile", (403, 403, 201, 201)),
        ("GoroutineDump", (403, 403, 201, 201)),
        ("BlockProfile", (403, 403, 201, 201)),
        ("MutexProfile", (403, 403, 201, 201)),
        ("ThreadCreateProfile", (403, 403, 201, 201)),
        ("HeapSnapshot", (403, 403, 403, 201)),
        ("AllocationProfile", (403, 403, 403, 201)),
        ("ExecutionTrace", (403, 403, 403, 201)),
    ],
)
def test_each_capture_is_for_the_roles_that_may_take_it(
    shared: tuple[ControlPlane, str], capture: str, expected: tuple[int, ...]
) -> None:
    plane, namespace = shared

    found = [create(plane, user, namespace, capture).status for user in PEOPLE]

    assert found == list(expected)


def test_a_refused_capture_names_the_missing_right_and_the_role(
    shared: tuple[ControlPlane, str],
) -> None:
    plane, namespace = shared

    answer = create(plane, "profiler", namespace, "HeapSnapshot")

    assert answer.message == (
        'diagnosticrequests.fodc.banyandb.dev "asked" is forbidden: ValidatingAdmissionPolicy '
        "'fodc-capture-rights' with binding 'fodc-capture-rights' denied request: profiler may not "
        f"take HeapSnapshot or AllocationProfile in namespace {namespace}: that needs create on "
        "diagnosticrequests/heapsnapshot (role fodc-admin)"
    )


def test_only_who_manages_decides_which_pods_get_an_agent(
    shared: tuple[ControlPlane, str],
) -> None:
    plane, namespace = shared
    path = collection(namespace, "fodcinjections?dryRun=All")
    body = resource("FodcInjection", "another", spec=SELECTING)

    assert [plane.api(user).create(path, body).status for user in PEOPLE] == [403, 403, 403, 201]


def test_a_right_in_one_namespace_is_none_in_another(
    shared: tuple[ControlPlane, str], namespace: str
) -> None:
    plane, _ = shared

    assert create(plane, "manager", namespace, "CPUProfile").status == 403


def test_whoever_may_view_a_namespace_sees_its_nodes_and_requests(
    installed: ControlPlane, namespace: str
) -> None:
    bind(installed, namespace, "stranger", "view")

    seen = [
        installed.api("stranger").get(collection(namespace, plural)).status
        for plural in ("fodcnodes", "diagnosticrequests", "fodcinjections")
    ]

    assert seen == [200, 200, 200]
    assert create(installed, "stranger", namespace, "CPUProfile").status == 403


def may(plane: ControlPlane, user: str, **attributes: str) -> bool:
    """Ask the server whether a user may do something."""
    spec = {"user": user, "resourceAttributes": attributes}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    return bool(plane.api().create(REVIEWS, body).body["status"]["allowed"])


@pytest.mark.parametrize(
    ("user", "expected"), [("viewer", False), ("profiler", True), ("manager", True)]
)
def test_artifacts_and_settings_are_a_right_of_their_own(
    shared: tuple[ControlPlane, str], user: str, *, expected: bool
) -> None:
    plane, namespace = shared
    asked = {"group": GROUP, "verb": "get", "namespace": namespace}

    artifacts = may(plane, user, resource="diagnosticrequests", subresource="artifacts", **asked)
    settings = may(plane, user, resource="fodcnodes", subresource="config", **asked)

    assert (artifacts, settings) == (expected, expected)


OPERATOR_MAY: list[dict[str, str]] = [
    *(
        {"group": GROUP, "resource": "fodcnodes", "verb": verb, "namespace": "any"}
        for verb in ("get", "list", "watch", "create", "patch", "delete")
    ),
    *(
        {"group": GROUP, "resource": "diagnosticrequests", "verb": verb, "namespace": "any"}
        for verb in ("get", "list", "watch", "patch", "delete")
    ),
    *(
        {
            "group": GROUP,
            "resource": kind,
            "subresource": "status",
            "verb": "patch",
            "namespace": "any",
        }
        for kind in ("fodcnodes", "diagnosticrequests", "fodcinjections")
    ),
    *(
        {"group": GROUP, "resource": "fodcinjections", "verb": verb, "namespace": "any"}
        for verb in ("get", "list", "watch")
    ),
    *({"resource": "namespaces", "verb": verb} for verb in ("get", "list", "watch")),
    {"resource": "pods", "subresource": "eviction", "verb": "create", "namespace": "any"},
    {"resource": "secrets", "verb": "create", "namespace": SYSTEM},
    *(
        {
            "resource": "secrets",
            "name": "fodc-webhook-certificate",
            "verb": verb,
            "namespace": SYSTEM,
        }
        for verb in ("get", "update", "patch")
    ),
    *(
        {
            "group": "admissionregistration.k8s.io",
            "resource": "mutatingwebhookconfigurations",
            "name": "fodc-injection",
            "verb": verb,
        }
        for verb in ("get", "patch")
    ),
    *({"resource": "pods", "verb": verb, "namespace": "any"} for verb in ("get", "list", "watch")),
    {"resource": "events", "verb": "create", "namespace": "any"},
    {"resource": "pods", "verb": "patch", "namespace": SYSTEM},
    {"group": "coordination.k8s.io", "resource": "leases", "verb": "create", "namespace": SYSTEM},
    *(
        {
            "group": "coordination.k8s.io",
            "resource": "leases",
            "name": "fodc-operator",
            "verb": verb,
            "namespace": SYSTEM,
        }
        for verb in ("get", "update", "patch")
    ),
    {"group": "apiextensions.k8s.io", "resource": "customresourcedefinitions", "verb": "list"},
]
OPERATOR_MAY_NOT: list[dict[str, str]] = [
    {"resource": "secrets", "verb": "get", "namespace": SYSTEM},
    {"resource": "secrets", "verb": "list", "namespace": SYSTEM},
    {"resource": "secrets", "verb": "delete", "namespace": SYSTEM},
    {"resource": "secrets", "verb": "create", "namespace": "any"},
    {
        "resource": "secrets",
        "name": "fodc-webhook-certificate",
        "verb": "get",
        "namespace": "any",
    },
    {
        "group": "admissionregistration.k8s.io",
        "resource": "mutatingwebhookconfigurations",
        "name": "other",
        "verb": "patch",
    },
    *(
        {"group": GROUP, "resource": "fodcinjections", "verb": verb, "namespace": "any"}
        for verb in ("create", "patch", "update", "delete")
    ),
    {"resource": "namespaces", "verb": "patch"},
    {"group": "apps", "resource": "deployments", "verb": "create", "namespace": "any"},
    {"resource": "configmaps", "verb": "create", "namespace": "any"},
    {"resource": "pods", "verb": "patch", "namespace": "any"},
    {"resource": "pods", "verb": "delete", "namespace": "any"},
    {"resource": "pods", "verb": "create", "namespace": SYSTEM},
    {"resource": "pods", "subresource": "exec", "verb": "create", "namespace": "any"},
    {"group": GROUP, "resource": "diagnosticrequests", "verb": "create", "namespace": "any"},
    {
        "group": "coordination.k8s.io",
        "resource": "leases",
        "name": "other",
        "verb": "update",
        "namespace": SYSTEM,
    },
    {"group": "coordination.k8s.io", "resource": "leases", "verb": "create", "namespace": "any"},
    {"group": "apiextensions.k8s.io", "resource": "customresourcedefinitions", "verb": "patch"},
    {"group": "apps", "resource": "statefulsets", "verb": "patch", "namespace": "any"},
]


def test_the_operator_may_what_it_does_and_nothing_else(installed: ControlPlane) -> None:
    refused = [asked for asked in OPERATOR_MAY if not may(installed, OPERATOR, **asked)]
    granted = [asked for asked in OPERATOR_MAY_NOT if may(installed, OPERATOR, **asked)]

    assert (refused, granted) == ([], [])


# ---- what the operator may create ------------------------------------------------------------


def in_force(plane: ControlPlane, policy: str) -> None:
    """Wait until the server has compiled a policy; it is asked from a moment later on."""
    path = f"{ADMISSION}/validatingadmissionpolicies/{policy}"
    plane.wait_until(
        f"{policy} is known", lambda: "typeChecking" in plane.api().get(path).body.get("status", {})
    )


def try_secret(plane: ControlPlane, name: str, kind: str = "Opaque") -> Answer:
    """Create a Secret as the operator; nothing is kept."""
    metadata = {"name": name, "annotations": {"kubernetes.io/service-account.name": "default"}}
    body = {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata}
    path = f"/api/v1/namespaces/{SYSTEM}/secrets?dryRun=All"
    return plane.api().impersonating(OPERATOR).create(path, body)


def test_the_operator_creates_no_secret_but_its_certificate(installed: ControlPlane) -> None:
    in_force(installed, "fodc-operator-secret")
    installed.wait_until(
        "the policy is in force", lambda: try_secret(installed, "another").status == 403
    )
    name = "fodc-webhook-certificate"

    token = try_secret(installed, name, "kubernetes.io/service-account-token")

    assert try_secret(installed, name).status == 201
    assert token.status == 403
    assert token.message.endswith(
        "denied request: the operator may create the Secret fodc-webhook-certificate only, with a "
        "certificate"
    )


RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def deployment(name: str = "fodc-remote-agent", **pod: Any) -> dict[str, Any]:
    container = {"name": "fodc-agent", "image": "agent", "securityContext": RESTRICTED}
    spec = {"automountServiceAccountToken": False, "containers": [container], **pod}
    labels = {"app": "fodc-remote-agent"}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


@pytest.fixture(scope="module")
def remote(
    installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Any], Answer]]:
    """With the component of the remote agent, create something as the operator; dry."""
    text = render_with(installed, "remote-agent", tmp_path_factory.mktemp("remote"))
    added = [d for d in yaml.safe_load_all(text) if "remote-agent" in d["metadata"]["name"]]
    assert len(added) == 4
    document = yaml.safe_dump_all(added)
    installed.kubectl("apply", "-f", "-", stdin=document, check=True)
    namespace, operator = new_namespace(installed), installed.api().impersonating(OPERATOR)
    paths = {"Deployment": "/apis/apps/v1", "ConfigMap": "/api/v1"}

    def create_as_operator(body: Any) -> Answer:
        plural = f"{body['kind'].lower()}s"
        path = f"{paths[body['kind']]}/namespaces/{namespace}/{plural}?dryRun=All"
        return operator.create(path, body)

    in_force(installed, "fodc-operator-remote-agent")
    installed.wait_until(
        "the policy is in force",
        lambda: "denied request" in str(create_as_operator(config_map("other")).body),
    )
    yield create_as_operator
    # Other tests want the operator without these rights.
    installed.kubectl("delete", "-f", "-", stdin=document, check=True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (deployment(), ""),
        (config_map("fodc-remote-agent"), ""),
        (deployment("other"), "with the name fodc-remote-agent only"),
        (deployment(automountServiceAccountToken=True), "must say automountServiceAccountToken"),
        (deployment(automountServiceAccountToken=None), "must say automountServiceAccountToken"),
        (deployment(hostNetwork=True), "must have neither hostNetwork"),
        (
            deployment(volumes=[{"name": "a", "hostPath": {"path": "/"}}]),
            "must have neither hostNetwork, hostPID nor hostPath",
        ),
        (
            deployment(containers=[{"name": "a", "image": "a"}]),
            "must say allowPrivilegeEscalation false",
        ),
    ],
    ids=[
        *("as meant", "its targets", "another name", "a token", "a token by default"),
        *("the machine's network", "the machine's files", "escalation"),
    ],
)
def test_the_operator_creates_no_deployment_but_the_harmless_remote_agent(
    remote: Callable[[Any], Answer], body: Any, words: str
) -> None:
    answer = remote(body)

    assert answer.status == (403 if words else 201), answer.body
    assert words in str(answer.body.get("message", ""))


def test_the_policies_about_the_operator_do_not_ask_about_others(
    remote: Callable[[Any], Answer], installed: ControlPlane, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"

    assert installed.api().create(path, config_map("other")).status == 201
