# SPDX-License-Identifier: Apache-2.0
"""What a user installs, on a real kubelet: images from a registry, shipped overlays, the main job.

Issue 9: nothing here runs from the source tree. The tests go on from each other, as a person does:
install, inject, profile, lose the operator's pod, change the overlay, uninstall.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from e2e import operators, people
from e2e.commands import CommandError
from e2e.controlplane.installing import ROOT, collection, resource
from e2e.images import wanted
from e2e.kubelet import databases, images, installation, site
from e2e.kubelet.installation import SYSTEM, Machine
from e2e.kubelet.node import node as running_node
from e2e.kubelet.volumes import make_volumes
from e2e.s3_server import S3Server
from fodc_webhook.inject.rendering import AUTHORITY_MAP

pytestmark = pytest.mark.timeout(600)
NAMESPACE = "banyandb"
POLICY = "banyandb"
DATABASE = "banyandb-data-hot"
POD = f"{DATABASE}-0"
DEPLOY = ROOT / "build" / "deploy"
AUTHORITY = trustme.CA()
AUTHORITY_PEM = AUTHORITY.cert_pem.bytes().decode()
PART_OF = "app.kubernetes.io/part-of=banyandb-fodc"


@pytest.fixture(scope="module")
def machine(archives: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A node that has the sample node only, and an empty registry."""
    folder = tmp_path_factory.mktemp("installed")
    with (
        running_node(folder / "run", images.write_programs(folder / "images")) as one,
        installation.registry(folder, one) as name,
    ):
        made = Machine(one, name, folder)
        make_volumes(one.plane)
        yield made


@pytest.fixture(scope="module")
def installed(machine: Machine) -> Iterator[Machine]:
    """What the lines of the README make."""
    shutil.rmtree(DEPLOY, ignore_errors=True)
    began = time.monotonic()
    try:
        machine.shell(installation.lines_after("Install"))
    except CommandError as error:
        pytest.fail(f"{error}\n{machine.words()}")
    installation.timed("the lines of the README", began)
    yield machine
    shutil.rmtree(DEPLOY, ignore_errors=True)


def test_the_lines_of_the_readme_bring_an_operator_that_leads(installed: Machine) -> None:
    installed.operator_runs()
    (container,) = installed.leader()["spec"]["containers"]

    assert container["image"] == f"{installed.registry}/{wanted.OPERATOR.reference}"
    assert installed.leader()["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_webhook_answers_and_a_database_gets_its_agent_from_the_registry(
    installed: Machine,
) -> None:
    labels = {"fodc.banyandb.dev/inject": "enabled", site.POD_SECURITY: "restricted"}
    installed.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    )
    selector = {"matchLabels": {"app.kubernetes.io/name": "banyandb"}}
    policy = resource("FodcInjection", POLICY, spec={"podSelector": selector, "cluster": "e2e"})
    policy["metadata"]["namespace"] = NAMESPACE
    installed.apply(policy)
    operators.wait_for("the webhook injects", lambda: agent_of_a_trial(installed), 60)
    install_database(installed, DATABASE)
    pod = installed.read(f"--namespace={NAMESPACE}", "pod", POD)
    (agent,) = (one for one in pod["spec"]["initContainers"] if one["name"] == site.AGENT)

    assert agent["image"] == f"{installed.registry}/{wanted.AGENT.reference}"
    assert container_of(pod, site.AGENT)["started"]
    installed.wait(f"fodcnode/{POD}", "jsonpath={.status.phase}=Online", NAMESPACE)


def test_a_request_ends_with_a_profile_that_go_reads(installed: Machine, tmp_path: Path) -> None:
    result = profile(installed, "cpu-of-data-hot-0")

    with installed.opened(result["downloadPath"]) as answer:
        body = answer.read()
    assert hashlib.sha256(body).hexdigest() == result["sha256"]
    path = tmp_path / "cpu.pb.gz"
    path.write_bytes(body)
    told = subprocess.run(
        ["go", "tool", "pprof", "-top", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "Type: cpu" in told.stdout
    assert "main." in told.stdout


def test_prometheus_finds_the_node_on_its_port(installed: Machine) -> None:
    lines = operators.wait_for("the node on the page", lambda: up_times(installed), 30)

    assert [f'pod_name="{POD}"' in line for line in lines] == [True]
    assert [f'namespace="{NAMESPACE}"' in line for line in lines] == [True]


def up_times(machine: Machine) -> list[str]:
    """Scrape by the name of the Service that the manifests tell people."""
    with machine.opened("/metrics", host=f"fodc-proxy-http.{SYSTEM}:17913") as answer:
        page = answer.read().decode()
    return [line for line in page.splitlines() if line.startswith("banyandb_system_up_time{")]


def test_the_operators_pod_is_killed_and_all_goes_on(installed: Machine) -> None:
    before = installed.leader()["metadata"]["name"]
    (earlier,) = results(installed, "cpu-of-data-hot-0")
    installed.system("delete", "pod", before, "--grace-period=0", "--force")
    installed.operator_runs()

    assert installed.leader()["metadata"]["name"] != before
    # What was collected before can be read after it.
    with installed.opened(earlier["downloadPath"]) as answer:
        assert hashlib.sha256(answer.read()).hexdigest() == earlier["sha256"]
    installed.wait(f"fodcnode/{POD}", "jsonpath={.status.phase}=Online", NAMESPACE)
    assert profile(installed, "after-the-kill")["samples"] > 0


# ---- every overlay and component ----------------------------------------------------------------


def test_two_replicas_of_the_ha_overlay_share_a_bucket_and_lose_nothing(
    installed: Machine, tmp_path: Path
) -> None:
    """No volume is shared: what one replica has stored the other one serves."""
    with S3Server(installed.node.place.host_ip) as bucket:
        bucket.make_bucket("artifacts")
        store = {"FODC_OPERATOR_ARTIFACT_STORE": "s3://artifacts/banyandb", **bucket.environment}
        installed.apply(secret("fodc-artifact-store", store))
        apply_overlay(installed, tmp_path / "own", "ha")
        pods = installed.read(f"--namespace={SYSTEM}", "pods", f"--selector={PART_OF}")["items"]
        there = [is_ready(pod) for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        # Two of the operator, two of the webhook.
        assert there == [True] * 4

        still_works(installed)
        earlier = profile(installed, "into-the-bucket")
        before = installed.leader()["metadata"]["name"]
        installed.system("delete", "pod", before, "--grace-period=0", "--force")
        installed.operator_runs()
        assert installed.leader()["metadata"]["name"] != before
        with installed.opened(earlier["downloadPath"]) as answer:
            assert hashlib.sha256(answer.read()).hexdigest() == earlier["sha256"]


def test_the_monitoring_overlay_becomes_ready(installed: Machine, tmp_path: Path) -> None:
    installed.apply(
        foreign_kind("monitoring.coreos.com", "ServiceMonitor", "servicemonitors"),
        foreign_kind("monitoring.coreos.com", "PrometheusRule", "prometheusrules"),
        foreign_kind("monitoring.coreos.com", "PodMonitor", "podmonitors"),
    )
    established(installed)
    apply_overlay(installed, tmp_path / "own", "monitoring")

    assert installed.system("get", "servicemonitors", "--output=name").split() == [
        "servicemonitor.monitoring.coreos.com/fodc-proxy"
    ]
    # A Prometheus there reads the page with its own token, and nothing else.
    plane = installed.node.plane
    plane.kubectl("create", "namespace", "monitoring")
    plane.kubectl("--namespace=monitoring", "create", "serviceaccount", "prometheus")
    token = people.token_of(plane, "prometheus", namespace="monitoring")
    with installed.opened("/metrics", token=token) as answer:
        assert b"fodc_proxy_build_info" in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        installed.opened("/cluster", token=token)
    still_works(installed)


def test_with_cert_managers_component_the_webhook_serves_its_certificate(
    installed: Machine, tmp_path: Path
) -> None:
    """cert-manager itself is played: what it is asked for is read from the Certificate.

    Until it has come the replicas of before go on to answer.
    """
    installed.apply(
        foreign_kind("cert-manager.io", "Issuer", "issuers"),
        foreign_kind("cert-manager.io", "Certificate", "certificates"),
    )
    established(installed)
    made = installation.own_overlay(tmp_path / "own", installed.registry, "default", "cert-manager")
    installed.kubectl("apply", f"--kustomize={made}")
    assert agent_of_a_trial(installed)
    asked = installed.read(f"--namespace={SYSTEM}", "certificate", "fodc-webhook")["spec"]
    issue(installed, asked["secretName"], asked["dnsNames"])
    # A Secret that came later would be mounted a minute later.
    installed.system("rollout", "restart", "deployment/fodc-webhook", "deployment/fodc-operator")
    installed.operator_runs()

    operators.wait_for("the webhook injects", lambda: agent_of_a_trial(installed), 90)
    # The same certificate serves people, who are told its authority.
    operators.wait_for("the authority is told", lambda: told_authority(installed) == AUTHORITY_PEM)
    with installed.opened("/metrics") as answer:
        assert b'fodc_proxy_certificate_expiry_seconds{listener="http"}' in answer.read()


def test_the_component_of_remote_agents_reaches_a_pod_that_the_webhook_missed(
    installed: Machine, tmp_path: Path
) -> None:
    apply_overlay(installed, tmp_path / "own", "default", "remote-agent")
    installed.kubectl("label", "namespace", NAMESPACE, "fodc.banyandb.dev/inject-")
    install_database(installed, "missed")
    installed.kubectl("label", "namespace", NAMESPACE, "fodc.banyandb.dev/inject=enabled")
    where = f"--namespace={NAMESPACE}"
    patch = json.dumps({"spec": {"attachRemotely": True}})
    installed.kubectl(where, "patch", "fodcinjection", POLICY, "--type=merge", f"--patch={patch}")
    installed.system("rollout", "status", "deployment/fodc-remote-agent", "--timeout=120s")

    operators.wait_for("the node", lambda: "missed-0" in nodes(installed), 60)
    # Without process and cgroup in reach such a node is Degraded, and says why.
    installed.wait("fodcnode/missed-0", "jsonpath={.status.phase}=Degraded", NAMESPACE)
    installed.wait("fodcnode/missed-0", "condition=MetricsFresh", NAMESPACE)
    status = installed.read(where, "fodcnode", "missed-0")["status"]
    false = [(one["type"], one["reason"]) for one in status["conditions"] if is_false(one)]
    assert status["attachment"] == "Remote"
    assert false == [("Ready", "Remote"), ("AgentInPod", "Remote")]


def test_the_small_overlay_does_the_same_in_one_pod(installed: Machine, tmp_path: Path) -> None:
    installed.system("delete", "deployment", "fodc-webhook")
    made = installation.own_overlay(tmp_path / "own", installed.registry, "small")
    installed.kubectl("apply", f"--kustomize={made}")
    installed.operator_runs("fodc-operator")

    containers = {one["name"] for one in installed.leader()["spec"]["containers"]}
    assert containers == {"fodc-operator", "fodc-webhook"}
    still_works(installed)


# ---- out of the cluster -------------------------------------------------------------------------


def test_after_the_uninstallation_nothing_is_left_and_the_database_runs(
    installed: Machine, tmp_path: Path
) -> None:
    before = installed.read(f"--namespace={NAMESPACE}", "pod", POD)["metadata"]["uid"]
    installed.kubectl(f"--namespace={NAMESPACE}", "delete", "fodcinjection", POLICY)
    for components in (("cert-manager",), ("remote-agent",), ("monitoring",)):
        folder = installation.own_overlay(
            tmp_path / components[0], installed.registry, "default", *components
        )
        installed.kubectl("delete", "--ignore-not-found", f"--kustomize={folder}")
    ha = installation.own_overlay(tmp_path / "ha", installed.registry, "ha")
    installed.kubectl("delete", "--ignore-not-found", f"--kustomize={ha}")

    kinds = installed.kubectl("api-resources", "--verbs=list", "--output=name").split()
    left = installed.kubectl(
        "get", ",".join(kinds), "--all-namespaces", f"--selector={PART_OF}", "--output=name",
        "--ignore-not-found",
    )  # fmt: skip
    ours = [name for name in kinds if name.endswith("fodc.banyandb.dev")]
    assert (left, ours) == ("", [])
    pod = installed.read(f"--namespace={NAMESPACE}", "pod", POD)
    assert (pod["metadata"]["uid"], is_ready(pod)) == (before, True)


# ---- steps --------------------------------------------------------------------------------------


def agent_of_a_trial(machine: Machine) -> bool:
    """Ask for a pod that is not made: webhook, policy and its cache must all be there."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All"
    answer = machine.node.plane.api().create(path, databases.trial_pod("trial"))
    found = answer.body.get("spec", {}).get("initContainers", [])
    return site.AGENT in [one["name"] for one in found]


def told_authority(machine: Machine) -> str:
    """Return by whom people and agents are told to know the proxy."""
    told = machine.read(f"--namespace={SYSTEM}", "configmap", AUTHORITY_MAP)
    return str(told["data"]["ca.crt"])


def install_database(machine: Machine, name: str) -> None:
    """Make a StatefulSet of the sample node and wait until its pod is ready."""
    whole = databases.stateful_set(name)
    whole["metadata"]["namespace"] = NAMESPACE
    machine.apply(whole)
    machine.kubectl(
        f"--namespace={NAMESPACE}", "rollout", "status", f"statefulset/{name}", "--timeout=120s"
    )


def container_of(pod: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (one for one in pod["status"]["initContainerStatuses"] if one["name"] == name)
    return dict(found)


def is_ready(pod: dict[str, Any]) -> bool:
    return any(
        one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"]
    )


def is_false(condition: dict[str, Any]) -> bool:
    return bool(condition["status"] == "False")


def secret(name: str, content: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": SYSTEM}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content}


def profile(machine: Machine, name: str) -> dict[str, Any]:
    """Ask for a CPU profile as the example does, wait for its end and return its result."""
    spec = {"target": {"names": [POD]}, "captures": [{"type": "CPUProfile", "durationSeconds": 2}]}
    body = resource("DiagnosticRequest", name, spec=spec)
    body["metadata"]["namespace"] = NAMESPACE
    machine.apply(body)
    machine.wait(f"diagnosticrequest/{name}", "condition=Succeeded", NAMESPACE)
    (result,) = results(machine, name)
    return result


def results(machine: Machine, name: str) -> list[dict[str, Any]]:
    found = machine.read(f"--namespace={NAMESPACE}", "diagnosticrequest", name)
    return [one for target in found["status"]["targets"] for one in target["results"]]


def apply_overlay(machine: Machine, folder: Path, overlay: str, *components: str) -> None:
    """Apply a shipped overlay with the images of the registry and wait until it leads."""
    made = installation.own_overlay(folder, machine.registry, overlay, *components)
    machine.kubectl("apply", f"--kustomize={made}")
    machine.operator_runs()


def still_works(machine: Machine) -> None:
    machine.wait(f"fodcnode/{POD}", "jsonpath={.status.phase}=Online", NAMESPACE)
    operators.wait_for("the webhook injects", lambda: agent_of_a_trial(machine), 60)


def nodes(machine: Machine) -> list[str]:
    answer = machine.node.plane.api().get(collection(NAMESPACE, "fodcnodes"))
    return [one["metadata"]["name"] for one in answer.body["items"]]


# ---- who else is in a cluster -------------------------------------------------------------------


def foreign_kind(group: str, kind: str, plural: str) -> dict[str, Any]:
    """A kind of somebody else that takes any content."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": anything},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


def established(machine: Machine) -> None:
    machine.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")


def issue(machine: Machine, secret: str, names: list[str]) -> None:
    """Do what cert-manager does: a Secret with the certificate, its CA in the configuration."""
    issued = AUTHORITY.issue_cert(*names)
    files = {
        "tls.crt": issued.cert_chain_pems[0].bytes(),
        "tls.key": issued.private_key_pem.bytes(),
        "ca.crt": AUTHORITY.cert_pem.bytes(),
    }
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    machine.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": secret, "namespace": SYSTEM},
            "data": data,
        }
    )
    patch = [
        {"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": data["ca.crt"]}
        for at in range(2)
    ]
    machine.kubectl(
        "patch", "mutatingwebhookconfiguration", "fodc-injection", "--type=json",
        f"--patch={json.dumps(patch)}",
    )  # fmt: skip
