# SPDX-License-Identifier: Apache-2.0
"""The manifests on a real API server: applied whole, restricted, and nobody may more than meant.

The one idea: permissions are tried, not read: each user sends the request and the server answers.
"""

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
    assert installed.api().create("/api/v1/namespaces", namespace).status == 201
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
    return installed, namespace


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
        for plural in ("fodcnodes", "diagnosticrequests")
    ]

    assert seen == [200, 200]
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
        for kind in ("fodcnodes", "diagnosticrequests")
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
