# SPDX-License-Identifier: Apache-2.0
"""Every shape of pod through the real webhook on the real API server: stored as it is written.

The one idea: what the server stores of a pod that the webhook changed is what it makes of the
literal pod of the unit tests, which it is given with the webhook out of the way; so validation,
defaults, Pod Security and the plugins for ServiceAccounts all have their say on both sides.
"""

import base64
import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from e2e import https_servers, operators, webhooks
from e2e.controlplane import installing
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import ROOT, collection, resource
from e2e.https_servers import Foreign, Review
from e2e.webhooks import Injecting
from fodc_webhook.inject.inject import inject
from fodc_webhook.inject.patch import json_patch
from fodc_webhook.inject.revision import revision_of
from tests.webhook.pods import DEFAULTS, policy

AGENT = "fodc-agent"
OPT_IN = "fodc.banyandb.dev/inject"
REVISION = "fodc.banyandb.dev/revision"
SERVER = (1, 34)
ENFORCE = "pod-security.kubernetes.io/enforce"
DATA = ROOT / "tests" / "webhook" / "data"
HARDENED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def _shapes() -> dict[str, dict[str, Any]]:
    """The shapes that are about servers that know native sidecars, as the one of the tests."""
    found = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(DATA.glob("*.yaml"))}
    return {name: one for name, one in found.items() if tuple(one["server"]) >= (1, 29)}


SHAPES = _shapes()
INJECTED = [name for name, one in SHAPES.items() if one["expected"]["outcome"] == "Injected"]
SKIPPED = sorted(SHAPES.keys() - set(INJECTED))
OF_STATEFUL_SETS = [name for name in SHAPES if name != "job"]


# ---- pods ---------------------------------------------------------------------------------------


def hardened(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod with what a restricted namespace demands of containers that are not ours."""
    for place in ("initContainers", "containers"):
        for one in pod["spec"].get(place, []):
            if one["name"] != AGENT:
                one["securityContext"] = {**HARDENED, **one.get("securityContext", {})}
    return pod


def pod_of(shape: Mapping[str, Any], pod: Mapping[str, Any], word: str) -> dict[str, Any]:
    """A pod of a shape for its namespace, opted in or out."""
    made = copy.deepcopy({"apiVersion": "v1", "kind": "Pod", **pod})
    made["metadata"].pop("namespace", None)
    owners = made["metadata"].pop("ownerReferences", [])
    if any(one["kind"] == "Job" for one in owners):
        made["metadata"]["ownerReferences"] = owners
    made["metadata"].setdefault("labels", {})[OPT_IN] = word
    is_restricted = shape["namespace"].get(ENFORCE) == "restricted"
    return hardened(made) if is_restricted else made


def named(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Volumes or mounts in the order of their names, those with a random end without it."""
    start = "kube-api-access"
    plain = [
        {**one, "name": start} if one["name"].startswith(f"{start}-") else one for one in entries
    ]
    return sorted(plain, key=lambda one: (one["name"], one.get("mountPath", "")))


def spec_of(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The spec as far as it does not depend on chance."""
    spec = copy.deepcopy(dict(pod["spec"]))
    spec["volumes"] = named(spec.get("volumes", []))
    for place in ("initContainers", "containers"):
        for one in spec.get(place, []):
            one["volumeMounts"] = named(one.get("volumeMounts", []))
    return spec


def marks_of(pod: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations but for the word that opts in or out."""
    labels = {k: v for k, v in pod["metadata"]["labels"].items() if k != OPT_IN}
    return labels, dict(pod["metadata"].get("annotations", {}))


def agents_of(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The agent's container, wherever it is."""
    spec = spec_of(pod)
    both = [*spec.get("initContainers", []), *spec["containers"]]
    return [one for one in both if one["name"] == AGENT]


def names_of(pod: Mapping[str, Any]) -> list[str]:
    """Names of the containers that are no init containers."""
    return [one["name"] for one in pod["spec"]["containers"]]


# ---- scenery ------------------------------------------------------------------------------------


@dataclass
class Site:
    """A namespace for each shape, and an operator that injects into all of them."""

    plane: ControlPlane
    namespaces: Mapping[str, str]
    injecting: Injecting
    _expected: dict[str, dict[str, Any]] = field(default_factory=dict)

    def pods(self, shape: str) -> str:
        """The path of the pods of a shape."""
        return f"/api/v1/namespaces/{self.namespaces[shape]}/pods"

    def create(self, shape: str, pod: Mapping[str, Any], query: str = "") -> dict[str, Any]:
        """Create a pod; the server accepts it."""
        answer = self.plane.api().create(f"{self.pods(shape)}{query}", pod)
        assert answer.status == 201, answer.body
        return dict(answer.body)

    def given(self, shape: str) -> dict[str, Any]:
        """The pod of a shape as people send it."""
        return pod_of(SHAPES[shape], SHAPES[shape]["given"], "enabled")

    def expected(self, shape: str) -> dict[str, Any]:
        """What the server makes of the literal that is expected, the webhook out of the way."""
        if shape not in self._expected:
            literal = pod_of(SHAPES[shape], SHAPES[shape]["expected"]["pod"], "disabled")
            annotations = literal["metadata"].get("annotations", {})
            if REVISION in annotations:
                annotations[REVISION] = revision_of(policy(**SHAPES[shape]["spec"]))
            self._expected[shape] = self.create(shape, literal, "?dryRun=All")
        return self._expected[shape]

    def reviews(self) -> float:
        """How often the webhook was asked by way of trial."""
        found = operators.samples(self.injecting.webhook, "fodc_webhook_requests_total")
        return sum(value for series, value in found if 'dry_run="true"' in series)


def _new_namespace(plane: ControlPlane, shape: Mapping[str, Any]) -> str:
    name = installing.new_namespace(plane, **shape["namespace"])
    selector = {"podSelector": {"matchLabels": {OPT_IN: "enabled"}}}
    body = resource("FodcInjection", "banyandb", spec={**selector, **shape["spec"]})
    answer = plane.api().create(collection(name, "fodcinjections"), body)
    assert answer.status == 201, answer.body
    return name


def _make_accounts(plane: ControlPlane, name: str, shape: Mapping[str, Any]) -> None:
    accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
    operators.wait_for("default", lambda: plane.api().get(f"{accounts}/default").status == 200)
    account = shape["given"]["spec"].get("serviceAccountName", "default")
    if account != "default":
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}
        assert plane.api().create(accounts, body).status == 201


def _widen(plane: ControlPlane, configuration: str, namespaces: list[str]) -> None:
    """Let the webhook be asked about all of these namespaces."""
    found = webhooks.configuration_of(plane, configuration)
    for entry in found["webhooks"]:
        for one in entry["namespaceSelector"]["matchExpressions"]:
            if one["key"] == webhooks.NAME_LABEL and one["operator"] == "In":
                one["values"] = namespaces
    webhooks.apply(plane, {**found, "metadata": {"name": configuration}})


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    plane = control_plane
    namespaces = {name: _new_namespace(plane, shape) for name, shape in SHAPES.items()}
    for name, shape in SHAPES.items():
        _make_accounts(plane, namespaces[name], shape)
    with webhooks.injecting(
        tmp_path_factory.mktemp("shapes"),
        plane,
        home=installing.new_namespace(plane),
        namespace=next(iter(namespaces.values())),
        both=(
            f"--agent-image={DEFAULTS.image}",
            f"--agent-proxy-addr={DEFAULTS.proxy_address}",
            # What the literals show; the kubelet's tests have agents with TLS and token.
            "--insecure-agents",
        ),
    ) as found:
        _widen(plane, found.configuration, list(namespaces.values()))
        made = Site(plane, namespaces, found)
        for shape in ("guaranteed", list(SHAPES)[-1]):
            given = made.given(shape)
            operators.wait_for(
                f"{shape} is asked about",
                lambda shape=shape, given=given: agents_of(  # type: ignore[misc]  # its type is told
                    made.create(shape, given, "?dryRun=All")
                ),
            )
        yield made


# ---- one pod of each ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pod_is_stored_as_it_is_written_and_shown_before(site: Site, shape: str) -> None:
    given, expected = site.given(shape), site.expected(shape)
    shown = site.create(shape, given, "?dryRun=All")
    stored = site.create(shape, given)

    assert spec_of(stored) == spec_of(expected)
    assert marks_of(stored) == marks_of(expected)
    assert (spec_of(shown), marks_of(shown)) == (spec_of(stored), marks_of(stored))
    assert len(agents_of(stored)) == len(agents_of(SHAPES[shape]["expected"]["pod"]))
    name = stored["metadata"]["name"]
    site.plane.api().delete(f"{site.pods(shape)}/{name}?gracePeriodSeconds=0")


@pytest.mark.parametrize("shape", INJECTED)
def test_a_stored_pod_is_as_the_pure_function_leaves_it(site: Site, shape: str) -> None:
    """Asked again about what the server has made of it, with all defaults, nothing changes."""
    shown = site.create(shape, site.given(shape), "?dryRun=All")
    meant = policy(**SHAPES[shape]["spec"])
    again = inject(shown, meant, SERVER, SHAPES[shape]["namespace"])

    assert json_patch(shown, again.pod) == []


def test_kubectl_creates_and_shows_the_same(site: Site) -> None:
    shape = "chart-data"
    text = json.dumps(site.given(shape))
    namespace = f"--namespace={site.namespaces[shape]}"
    told = site.plane.kubectl(
        namespace, "create", "--dry-run=server", "-o", "json", "-f", "-", stdin=text, check=True
    )

    assert spec_of(json.loads(told.stdout)) == spec_of(site.expected(shape))


# ---- by controllers -----------------------------------------------------------------------------


def template_of(pod: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in pod["metadata"].items() if k in {"labels", "annotations"}}
    return {"metadata": metadata, "spec": pod["spec"]}


@pytest.mark.parametrize("shape", OF_STATEFUL_SETS)
def test_a_stateful_set_of_the_shape_comes_up_with_the_agent(site: Site, shape: str) -> None:
    given, expected = site.given(shape), site.expected(shape)
    given["metadata"]["labels"]["shape"] = shape
    # A pod that comes too often under one name is taken for one that somebody refuses.
    name = "set-" + given["metadata"].get("name", f"{shape}-0").removesuffix("-0")
    api, namespace = site.plane.api(), site.namespaces[shape]
    spec = {
        "serviceName": name,
        "replicas": 1,
        "selector": {"matchLabels": {"shape": shape}},
        "template": template_of(given),
    }
    whole = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}}
    sets = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    made = api.create(sets, {**whole, "spec": spec})
    assert made.status == 201, made.body
    pod = f"{site.pods(shape)}/{name}-0"

    def of_the_set() -> Any:
        answer = api.get(pod)
        owners = answer.body.get("metadata", {}).get("ownerReferences", [])
        return answer.body if answer.status == 200 and owners else None

    found = operators.wait_for("its pod", of_the_set)
    assert agents_of(found) == agents_of(expected)
    assert marks_of(found)[1] == marks_of(expected)[1]
    assert names_of(found) == names_of(expected)


def test_a_pod_that_a_job_makes_has_no_agent_and_says_why(site: Site) -> None:
    api, namespace = site.plane.api(), site.namespaces["job"]
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "backup"},
        "spec": {"template": template_of(site.given("job"))},
    }
    made = api.create(f"/apis/batch/v1/namespaces/{namespace}/jobs", body)
    assert made.status == 201, made.body
    query = f"{site.pods('job')}?labelSelector=batch.kubernetes.io/job-name=backup"
    (pod,) = operators.wait_for("its pod", lambda: api.get(query).body["items"])

    assert agents_of(pod) == []
    assert marks_of(pod)[1] == marks_of(site.expected("job"))[1]


# ---- with others --------------------------------------------------------------------------------


def adds_a_hardened_proxy(_: Foreign, review: Review) -> tuple[int, dict[str, Any]]:
    """Do what a service mesh does, in a way that every namespace admits."""
    request = review["request"]
    answer = {"uid": request["uid"], "allowed": True}
    if all(one["name"] != "mesh-proxy" for one in request["object"]["spec"]["containers"]):
        security = {**HARDENED, "runAsUser": 1337}
        container = {"name": "mesh-proxy", "image": "mesh/proxy:1", "securityContext": security}
        steps = [{"op": "add", "path": "/spec/containers/-", "value": container}]
        patch = base64.b64encode(json.dumps(steps).encode()).decode("ascii")
        answer |= {"patchType": "JSONPatch", "patch": patch}
    head = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    return 200, {**head, "response": answer}


# The mesh is there from its first test to the end of the module: these tests come last.
@pytest.fixture(scope="module")
def mesh(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    """Another webhook that is asked after ours about the same namespaces."""
    files = https_servers.write_certificates(tmp_path_factory.mktemp("mesh"))
    first = next(iter(site.namespaces.values()))
    with https_servers.foreign(files, adds_a_hardened_proxy) as found:
        name = f"zz-mesh-{first}"
        wanted = webhooks.rendered(name, found.address, only_namespace=first, ca_bundle=files.ca)
        wanted["webhooks"] = wanted["webhooks"][:1]
        wanted["webhooks"][0] |= {"name": "mesh.example.com", "reinvocationPolicy": "Never"}
        with webhooks.applied(site.plane, wanted):
            _widen(site.plane, name, list(site.namespaces.values()))
            last = list(SHAPES)[-1]
            operators.wait_for(
                "the mesh is asked",
                lambda: (
                    "mesh-proxy" in names_of(site.create(last, site.given(last), "?dryRun=All"))
                ),
            )
            yield found


@pytest.mark.parametrize("shape", [one for one in SHAPES if one != "windows"])
def test_a_pod_that_a_mesh_changes_after_us_is_asked_about_again(
    site: Site, mesh: Foreign, shape: str
) -> None:
    """Windows pods admit no mesh of this kind."""
    before = site.reviews()
    made = site.create(shape, site.given(shape), "?dryRun=All")

    assert site.reviews() - before == 2
    assert names_of(made) == [*names_of(site.expected(shape)), "mesh-proxy"]
    assert len(agents_of(made)) == len(agents_of(site.expected(shape)))
    again = inject(made, policy(**SHAPES[shape]["spec"]), SERVER, SHAPES[shape]["namespace"])
    assert json_patch(made, again.pod) == []
