# SPDX-License-Identifier: Apache-2.0
"""What a user installs, on a real kubelet: images from a registry, shipped overlays, the main job.

Issue 9: nothing here runs from the source tree. The tests go on from each other, as a person does:
install, inject, profile, lose the operator's pod, change the overlay, uninstall.
"""

import base64
import hashlib
import json
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from e2e import operators, people, programs
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
INSTANCE = "banyandb"
MANIFESTS = ROOT / "manifests"
AUTHORITY = trustme.CA()
AUTHORITY_PEM = AUTHORITY.cert_pem.bytes().decode()
PART_OF = "app.kubernetes.io/part-of=banyandb-fodc"


@pytest.fixture(scope="module")
def machine(archives: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A node that has the sample node only, and an empty registry."""
    if reasons := installation.reasons_against():
        pytest.skip(f"NO INSTALLATION: {'; '.join(reasons)}")
    folder = tmp_path_factory.mktemp("installed")
    with (
        running_node(folder / "run", images.write_programs(folder / "images")) as one,
        installation.registry(folder, one) as name,
    ):
        made = Machine(one, name, folder)
        installation.make_tree(made.tree)
        make_volumes(one.plane)
        yield made


@pytest.fixture(scope="module")
def installed(machine: Machine) -> Machine:
    """What the lines of the README make."""
    began = time.monotonic()
    try:
        machine.shell(installation.lines_after("Install"))
    except CommandError as error:
        pytest.fail(str(error), pytrace=False)
    installation.timed("the lines of the README", began)
    return machine


def test_the_lines_of_the_readme_bring_an_operator_that_leads(installed: Machine) -> None:
    installed.operator_runs()
    (container,) = installed.leader()["spec"]["containers"]

    assert container["image"] == f"{installed.registry}/{wanted.OPERATOR.reference}"
    assert installed.leader()["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_lines_can_be_run_once_more(installed: Machine) -> None:
    before = (installed.tree / "build" / "deploy" / "kustomization.yaml").read_text()
    said = installed.shell(installation.lines_after("Install"))

    assert (installed.tree / "build" / "deploy" / "kustomization.yaml").read_text() == before
    assert "deployment.apps/fodc-operator unchanged" in said


def test_the_webhook_answers_and_a_database_gets_its_agent_from_the_registry(
    installed: Machine,
) -> None:
    labels = {"fodc.banyandb.dev/inject": "enabled", site.POD_SECURITY: "restricted"}
    installed.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    )
    block = installation.lines_after("The agent comes by itself")
    said = [installed.shell(line) for line in installation.typed(block)]
    assert in_one_line(said[2]).split(" banyandb ")[0] in in_one_line(block)
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
    installed: Machine,
) -> None:
    """No volume is shared: what one replica has stored the other one serves."""
    with S3Server(installed.node.place.host_ip) as bucket:
        bucket.make_bucket("artifacts")
        store = {"FODC_OPERATOR_ARTIFACT_STORE": "s3://artifacts/banyandb", **bucket.environment}
        installed.apply(secret("fodc-artifact-store", store))
        apply_overlay(installed, "ha")
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


def test_the_monitoring_overlay_becomes_ready(installed: Machine) -> None:
    installed.apply(
        foreign_kind("monitoring.coreos.com", "ServiceMonitor", "servicemonitors"),
        foreign_kind("monitoring.coreos.com", "PrometheusRule", "prometheusrules"),
        foreign_kind("monitoring.coreos.com", "PodMonitor", "podmonitors"),
    )
    established(installed)
    apply_overlay(installed, "monitoring")

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
    installed: Machine,
) -> None:
    """cert-manager itself is played: what it is asked for is read from the Certificate.

    Until it has come the replicas of before go on to answer.
    """
    installed.apply(
        foreign_kind("cert-manager.io", "Issuer", "issuers"),
        foreign_kind("cert-manager.io", "Certificate", "certificates"),
    )
    established(installed)
    installed.kubectl("apply", f"--kustomize={installed.overlay('default', 'cert-manager')}")
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


@pytest.fixture(scope="module")
def with_components(installed: Machine) -> Machine:
    """Four components that have nothing to do with each other, at once."""
    apply_overlay(
        installed, "default", "insecure-http", "pull-secrets", "dashboards", "remote-agent"
    )
    return installed


def test_with_insecure_http_the_page_is_read_and_probes_are_answered_in_the_clear(
    with_components: Machine,
) -> None:
    leader = with_components.leader()
    url = f"http://{leader['status']['podIP']}:{installation.HTTP_PORT}/metrics"
    token = people.admin_token(with_components.node.plane)
    with programs.opened(url, token=token, host=f"fodc-proxy-http.{SYSTEM}:17913") as answer:
        assert b"fodc_proxy_build_info" in answer.read()

    assert leader["status"]["containerStatuses"][0]["restartCount"] == 0
    still_works(with_components)


def test_with_pull_secrets_a_policy_tells_whether_its_secrets_are_there(
    with_components: Machine,
) -> None:
    policy = f"fodcinjection/{POLICY}"
    change_policy(with_components, agent={"imagePullSecrets": [{"name": "registry"}]})
    with_components.wait(policy, "condition=PullSecretsFound=False", NAMESPACE)
    with_components.kubectl(f"--namespace={NAMESPACE}", "create", "secret", "generic", "registry")
    with_components.wait(policy, "condition=PullSecretsFound", NAMESPACE)
    change_policy(with_components, agent=None)


def test_with_dashboards_grafana_finds_four_boards(with_components: Machine) -> None:
    selector = "--selector=grafana_dashboard=1"
    (found,) = with_components.read(f"--namespace={SYSTEM}", "configmaps", selector)["items"]
    boards = [json.loads(text) for text in found["data"].values()]

    assert [bool(one["panels"]) for one in boards] == [True] * 4


def test_the_component_of_remote_agents_reaches_a_pod_that_the_webhook_missed(
    with_components: Machine,
) -> None:
    installed = with_components
    installed.kubectl("label", "namespace", NAMESPACE, "fodc.banyandb.dev/inject-")
    install_database(installed, "missed")
    installed.kubectl("label", "namespace", NAMESPACE, "fodc.banyandb.dev/inject=enabled")
    change_policy(installed, attachRemotely=True)
    installed.system("rollout", "status", "deployment/fodc-remote-agent", "--timeout=120s")

    operators.wait_for("the node", lambda: "missed-0" in nodes(installed), 60)
    # Without process and cgroup in reach such a node is Degraded, and says why.
    installed.wait("fodcnode/missed-0", "jsonpath={.status.phase}=Degraded", NAMESPACE)
    installed.wait("fodcnode/missed-0", "condition=MetricsFresh", NAMESPACE)
    status = installed.read(f"--namespace={NAMESPACE}", "fodcnode", "missed-0")["status"]
    false = [(one["type"], one["reason"]) for one in status["conditions"] if is_false(one)]
    assert status["attachment"] == "Remote"
    assert false == [("Ready", "Remote"), ("AgentInPod", "Remote")]


def test_the_small_overlay_does_the_same_in_one_pod(installed: Machine) -> None:
    installed.system("delete", "deployment", "fodc-webhook")
    installed.kubectl("apply", f"--kustomize={installed.overlay('small')}")
    installed.operator_runs("fodc-operator")

    containers = {one["name"] for one in installed.leader()["spec"]["containers"]}
    assert containers == {"fodc-operator", "fodc-webhook"}
    still_works(installed)


# ---- out of the cluster -------------------------------------------------------------------------


def test_after_the_uninstallation_nothing_is_left_and_the_database_runs(
    installed: Machine,
) -> None:
    before = uid_of_database(installed)
    installed.kubectl(f"--namespace={NAMESPACE}", "delete", "fodcinjection", POLICY)
    for folder in sorted((installed.folder / "own").iterdir()):
        installed.kubectl("delete", "--ignore-not-found", f"--kustomize={folder}")

    assert left(installed) == []
    assert uid_of_database(installed) == before


# ---- one namespace, with nothing beside it -------------------------------------------------------


def test_the_namespaced_overlay_serves_its_namespace_and_may_look_into_no_other(
    installed: Machine,
) -> None:
    there = replace(installed, home=NAMESPACE)
    written = installation.lines_after("One namespace", MANIFESTS / "README.md")
    lines = written.replace("manifests/overlays/namespaced", str(there.overlay("namespaced")))
    there.shell(lines)
    there.operator_runs()
    there.kubectl(f"--namespace={NAMESPACE}", "apply", "--filename=crds/examples/inject-chart/")
    operators.wait_for("the webhook injects", lambda: agent_of_a_trial(there), 60)
    install_database(there, "beside")
    there.wait("fodcnode/beside-0", "jsonpath={.status.phase}=Online", NAMESPACE)

    assert may_list_pods(there, NAMESPACE) == "yes"
    assert may_list_pods(there, "default") == "no"
    there.shell(lines.replace("kubectl apply", "kubectl delete --ignore-not-found"))
    assert left(there) == []


def may_list_pods(machine: Machine, namespace: str) -> str:
    account = f"--as=system:serviceaccount:{NAMESPACE}:fodc-operator"
    plane = machine.node.plane
    asked = plane.kubectl("auth", "can-i", "list", "pods", f"--namespace={namespace}", account)
    return asked.stdout.strip()


def test_every_shipped_overlay_and_component_was_applied_by_the_tests_before(
    installed: Machine,
) -> None:
    overlays = {names[0] for names in installed.applied}
    components = {component for names in installed.applied for component in names[1:]}

    assert overlays == shipped("overlays")
    # The overlay is this component.
    assert components | {"monitoring"} == shipped("components")


def shipped(kind: str) -> set[str]:
    return {path.parent.name for path in MANIFESTS.glob(f"{kind}/*/kustomization.yaml")}


# ---- steps --------------------------------------------------------------------------------------


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def agent_of_a_trial(machine: Machine) -> bool:
    """Ask for a pod that is not made: webhook, policy and its cache must all be there."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All"
    answer = machine.node.plane.api().create(path, databases.trial_pod(INSTANCE))
    found = answer.body.get("spec", {}).get("initContainers", [])
    return site.AGENT in [one["name"] for one in found]


def told_authority(machine: Machine) -> str:
    """Return by whom people and agents are told to know the proxy."""
    told = machine.read(f"--namespace={SYSTEM}", "configmap", AUTHORITY_MAP)
    return str(told["data"]["ca.crt"])


def install_database(machine: Machine, name: str) -> None:
    """Make a StatefulSet of the sample node and wait until its pod is ready."""
    whole = databases.stateful_set(name, instance=INSTANCE)
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


def uid_of_database(machine: Machine) -> str:
    """Return which pod the database is, while it is ready."""
    pod = machine.read(f"--namespace={NAMESPACE}", "pod", POD)
    assert is_ready(pod)
    return str(pod["metadata"]["uid"])


def left(machine: Machine) -> list[str]:
    """Return what of ours is in the cluster: objects and kinds."""
    kinds = machine.kubectl("api-resources", "--verbs=list", "--output=name").split()
    objects = machine.kubectl(
        "get", ",".join(kinds), "--all-namespaces", f"--selector={PART_OF}", "--output=name",
        "--ignore-not-found",
    )  # fmt: skip
    return [*objects.split(), *(name for name in kinds if name.endswith("fodc.banyandb.dev"))]


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


def apply_overlay(machine: Machine, overlay: str, *components: str) -> None:
    """Apply a shipped overlay with the images of the registry and wait until it leads."""
    machine.kubectl("apply", f"--kustomize={machine.overlay(overlay, *components)}")
    machine.operator_runs()


def change_policy(machine: Machine, **spec: Any) -> None:
    where, patch = f"--namespace={NAMESPACE}", json.dumps({"spec": spec})
    machine.kubectl(where, "patch", "fodcinjection", POLICY, "--type=merge", f"--patch={patch}")


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
