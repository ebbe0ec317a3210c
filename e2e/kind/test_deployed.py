# SPDX-License-Identifier: Apache-2.0
"""The default overlay, deployed: injection, a profile and an outage, from images to a download."""

import hashlib
import json
from typing import Any

import pytest
import yaml

from e2e import programs
from e2e.applied import MANIFESTS, SYSTEM, trust_of
from e2e.controlplane.installing import new_namespace
from e2e.kind import sample
from e2e.kind.cluster import KindCluster
from fodc_protocol import pprof
from fodc_webhook.inject.rendering import AUTHORITY_MAP

pytestmark = pytest.mark.timeout(900)
PATIENCE = "--timeout=180s"
READY_TO_CREATE_S = 3.0
DEPLOYMENTS = {"fodc-operator": 1, "fodc-webhook": 2}


class Site:
    """One namespace that opted in, beside a deployed operator."""

    def __init__(self, cluster: KindCluster) -> None:
        self.cluster = cluster
        self.namespace = new_namespace(cluster, **sample.OPT_IN)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl in the namespace and return its output; it must succeed."""
        where = f"--namespace={self.namespace}"
        return self.cluster.kubectl(where, *arguments, stdin=stdin, check=True).stdout

    def apply(self, document: Any) -> None:
        """Apply one object."""
        self.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(document))

    def read(self, *what: str) -> Any:
        """Return an object or a list."""
        return json.loads(self.kubectl("get", *what, "--output=json"))

    def system(self, *arguments: str) -> str:
        """Run kubectl in the operator's namespace."""
        return self.cluster.kubectl(f"--namespace={SYSTEM}", *arguments, check=True).stdout

    def operator_runs(self) -> None:
        """Wait until the Deployments are complete and one pod leads."""
        for name in DEPLOYMENTS:
            self.system("rollout", "status", f"deployment/{name}", PATIENCE)
        label = "--selector=fodc.banyandb.dev/leader=true"
        self.system("wait", "pod", label, "--for=condition=Ready", PATIENCE)


@pytest.fixture(scope="module")
def site(control_plane: KindCluster) -> Site:
    """The operator leads, the webhook is trusted, and a database was started afterwards."""
    overlay = MANIFESTS / "overlays" / "default"
    control_plane.kubectl("apply", "--kustomize", str(overlay), check=True)
    made = Site(control_plane)
    made.operator_runs()
    made.apply(sample.injection())
    made.kubectl("wait", "--for=condition=Ready", f"fodcinjection/{sample.NAME}", PATIENCE)
    made.apply(sample.database())
    made.kubectl("rollout", "status", f"statefulset/{sample.NAME}", PATIENCE)
    return made


def test_the_database_has_an_agent_that_started_before_it(site: Site) -> None:
    pod = site.read("pod", f"{sample.NAME}-0")
    agent = pod["spec"]["initContainers"][-1]
    (status,) = (
        one for one in pod["status"]["initContainerStatuses"] if one["name"] == "fodc-agent"
    )
    (database,) = pod["status"]["containerStatuses"]

    assert (agent["name"], agent["restartPolicy"]) == ("fodc-agent", "Always")
    assert (status["started"], database["ready"]) == (True, True)
    started = [one["state"]["running"]["startedAt"] for one in (status, database)]
    assert started == sorted(started)
    assert pod["metadata"]["labels"]["fodc.banyandb.dev/injected-by"] == sample.NAME


def test_the_policy_counts_it(site: Site) -> None:
    site.kubectl("wait", "--for=condition=AllInjected", f"fodcinj/{sample.NAME}", PATIENCE)
    status = site.read("fodcinj", sample.NAME)["status"]

    assert (status["matched"], status["injected"], status["missing"]) == (1, 1, 0)


def test_a_profile_that_was_applied_is_downloaded_whole(site: Site) -> None:
    node = f"{sample.NAME}-0"
    site.kubectl("wait", "--for=jsonpath={.status.phase}=Online", f"fodcnode/{node}", PATIENCE)
    site.apply(sample.cpu_profile(node))
    site.kubectl("wait", "--for=condition=Succeeded", "diagnosticrequest/cpu", PATIENCE)
    (target,) = site.read("diagnosticrequest", "cpu")["status"]["targets"]
    (result,) = target["results"]

    trust = trust_of(json.loads(site.system("get", "configmap", AUTHORITY_MAP, "--output=json")))
    with sample.forwarded(site.cluster, SYSTEM, "service/fodc-proxy-http", 17913) as address:
        url = f"https://{address}{result['downloadPath']}"
        with programs.opened(url, token=site.cluster.token, trust=trust) as answer:
            body = answer.read()

    assert hashlib.sha256(body).hexdigest() == result["sha256"]
    assert pprof.inspect(body).samples == result["samples"] > 0


def test_without_an_operator_a_pod_is_created_as_it_came_and_reported_later(site: Site) -> None:
    for name in DEPLOYMENTS:
        site.system("scale", f"deployment/{name}", "--replicas=0")
    for component in ("fodc-proxy", "fodc-webhook"):
        site.system(
            *("wait", "pod", f"--selector=app.kubernetes.io/component={component}"),
            *("--for=delete", PATIENCE),
        )
    late = sample.database("late")
    pod = late["spec"]["template"] | {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] |= {"name": "late"}
    try:
        answer, took_s = sample.timed(
            lambda: site.cluster.api().create(f"/api/v1/namespaces/{site.namespace}/pods", pod)
        )
    finally:
        for name, replicas in DEPLOYMENTS.items():
            site.system("scale", f"deployment/{name}", f"--replicas={replicas}")

    assert answer.status == 201, answer.body
    assert "initContainers" not in answer.body["spec"]
    assert took_s < READY_TO_CREATE_S
    site.operator_runs()
    missing = "--for=jsonpath={.status.missing}=1"
    site.kubectl("wait", missing, f"fodcinj/{sample.NAME}", PATIENCE)
    site.kubectl("delete", "pod", "late", PATIENCE)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_neither_program_was_forbidden_anything(site: Site, name: str) -> None:
    log = site.system("logs", f"deployment/{name}", "--tail=-1")

    assert [line for line in log.splitlines() if "forbidden" in line.lower()] == []
