# SPDX-License-Identifier: Apache-2.0
"""Who may what with the manifests on a real API server: people, and the operator itself.

The one idea: permissions are tried, not read: each user sends the request and the server answers.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import applied
from e2e.applied import ADMISSION, OPERATOR, SYSTEM, bind, create, render_with
from e2e.controlplane.api import Answer
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import GROUP, collection, new_namespace, resource

REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


@pytest.fixture(scope="module")
def installed(control_plane: ControlPlane) -> ControlPlane:
    """The default overlay, applied for good; its policies are in force."""
    applied.install(control_plane)
    return control_plane


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
    node = resource("FodcNode", "node-0", spec={})
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
        for verb in ("get", "list", "watch", "delete")
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
        for verb in ("list", "watch")
    ),
    *({"resource": "namespaces", "verb": verb} for verb in ("list", "watch")),
    {"resource": "nodes", "verb": "list"},
    {"resource": "secrets", "verb": "create", "namespace": SYSTEM},
    *(
        {
            "resource": "secrets",
            "name": "fodc-webhook-certificate",
            "verb": verb,
            "namespace": SYSTEM,
        }
        for verb in ("get", "patch")
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
    *(
        {"resource": "pods", "verb": verb, "namespace": "any"}
        for verb in ("get", "list", "watch", "delete")
    ),
    {"group": "events.k8s.io", "resource": "events", "verb": "create", "namespace": "any"},
    {"resource": "configmaps", "verb": "create", "namespace": "any"},
    *(
        {"resource": "configmaps", "name": "fodc-proxy-ca", "verb": verb, "namespace": "any"}
        for verb in ("get", "patch")
    ),
    {"group": "authentication.k8s.io", "resource": "tokenreviews", "verb": "create"},
    {"group": "authorization.k8s.io", "resource": "subjectaccessreviews", "verb": "create"},
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
        for verb in ("get", "update")
    ),
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
    {"resource": "nodes", "verb": "get"},
    {"resource": "nodes", "verb": "patch"},
    {"group": "apps", "resource": "deployments", "verb": "create", "namespace": "any"},
    {"resource": "configmaps", "verb": "list", "namespace": "any"},
    {"resource": "configmaps", "name": "other", "verb": "get", "namespace": "any"},
    {"resource": "pods", "verb": "patch", "namespace": "any"},
    {"resource": "pods", "verb": "create", "namespace": SYSTEM},
    {"resource": "pods", "subresource": "eviction", "verb": "create", "namespace": "any"},
    {"group": "apiextensions.k8s.io", "resource": "customresourcedefinitions", "verb": "list"},
    {"group": GROUP, "resource": "diagnosticrequests", "verb": "patch", "namespace": "any"},
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


WEBHOOK = "system:serviceaccount:fodc-system:fodc-webhook"


def test_the_webhook_reads_what_it_decides_by_and_nothing_else(installed: ControlPlane) -> None:
    secret = {"resource": "secrets", "namespace": SYSTEM, "name": "fodc-webhook-certificate"}
    asked = [
        *({"group": GROUP, "resource": "fodcinjections", "verb": v} for v in ("list", "watch")),
        *({"resource": "namespaces", "verb": verb} for verb in ("get", "list", "watch")),
        {"resource": "nodes", "verb": "list"},
        {"group": "events.k8s.io", "resource": "events", "verb": "create", "namespace": "any"},
        {**secret, "verb": "get"},
    ]
    not_asked = [
        {**secret, "verb": "patch"},
        {"resource": "secrets", "namespace": SYSTEM, "verb": "list"},
        {"group": GROUP, "resource": "fodcinjections", "verb": "patch", "namespace": "any"},
        *({"resource": "pods", "verb": verb, "namespace": "any"} for verb in ("get", "delete")),
        {"group": "coordination.k8s.io", "resource": "leases", "verb": "get", "namespace": SYSTEM},
    ]

    assert [one for one in asked if not may(installed, WEBHOOK, **one)] == []
    assert [one for one in not_asked if may(installed, WEBHOOK, **one)] == []


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

    # Where an operator has run it is there; the policy is asked first.
    assert try_secret(installed, name).status in {201, 409}
    assert token.status == 403
    assert token.message.endswith(
        "denied request: the operator may create the Secret fodc-webhook-certificate only, with a "
        "certificate"
    )


def test_the_operator_creates_no_config_map_but_the_authority_of_the_proxy(
    installed: ControlPlane, namespace: str
) -> None:
    in_force(installed, "fodc-operator-config-map")
    operator = installed.api().impersonating(OPERATOR)
    path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
    installed.wait_until(
        "the policy is in force", lambda: operator.create(path, config_map("other")).status == 403
    )

    refused = operator.create(path, config_map("other"))

    assert operator.create(path, config_map("fodc-proxy-ca")).status == 201
    assert refused.message.endswith(
        "denied request: the operator may create the ConfigMap fodc-proxy-ca only"
    )


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def test_the_policies_about_the_operator_do_not_ask_about_others(
    installed: ControlPlane, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"

    assert installed.api().create(path, config_map("other")).status == 201


def test_the_component_of_the_remote_agent_lets_the_operator_write_its_file_and_make_nothing(
    installed: ControlPlane, tmp_path: Path
) -> None:
    text = render_with(installed, "remote-agent", tmp_path)
    added = [d for d in yaml.safe_load_all(text) if "remote-agent" in d["metadata"]["name"]]
    operator, home = installed.api().impersonating(OPERATOR), "/api/v1/namespaces/fodc-system"
    deployments = "/apis/apps/v1/namespaces/fodc-system/deployments?dryRun=All"
    file, patch = f"{home}/configmaps/fodc-remote-agent", {"data": {"targets.json": "{}"}}

    before = operator.merge(file, patch).status
    installed.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(added), check=True)
    try:
        installed.wait_until("the right", lambda: operator.merge(file, patch).status == 200)
        # A file that is applied again keeps what the operator wrote.
        installed.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(added), check=True)
        kept = operator.get(file).body["data"]
        refused = operator.create(deployments, next(d for d in added if d["kind"] == "Deployment"))
    finally:
        # Other tests want the operator without these rights.
        installed.kubectl("delete", "-f", "-", stdin=yaml.safe_dump_all(added), check=True)

    assert {d["kind"] for d in added} == {"ConfigMap", "Deployment", "Role", "RoleBinding"}
    assert (before, kept, refused.status) == (403, patch["data"], 403)
