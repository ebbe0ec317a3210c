# SPDX-License-Identifier: Apache-2.0
"""The webhook behind a real API server, in order and out of order.

The one idea: the pod is created every time, long before the API server's usual ten seconds, and one
that missed its agent is reported.
"""

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from e2e import https_servers, operators, programs, webhooks
from e2e.controlplane import installing, processes
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import collection, resource
from e2e.webhooks import Injecting
from fodc_webhook import certificates
from fodc_webhook.certificates import Rules, Step

CREATED_S = 6.0
"""The API server waits two of them for the webhook."""
AGENT = "fodc-agent"
NOT_INJECTED = "fodc.banyandb.dev/not-injected"
LABELS = {"app": "banyandb", "fodc.banyandb.dev/inject": "enabled"}
POLICY = {"podSelector": {"matchLabels": {"app": "banyandb"}}}


# ---- scenery ------------------------------------------------------------------------------------


def database_pod(name: str, **annotations: str) -> dict[str, Any]:
    port = {"name": "observability", "containerPort": 2121}
    container = {"name": "banyandb", "image": "apache/skywalking-banyandb:0.8.0", "ports": [port]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": LABELS, "annotations": annotations},
        "spec": {"containers": [{**container, "args": ["data"]}]},
    }


def new_namespace(plane: ControlPlane, *, policy: bool = True, **labels: str) -> str:
    """A namespace in which pods can be made, with a policy."""
    name = installing.new_namespace(plane, **labels)
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    operators.wait_for("service account", lambda: plane.api().get(account).status == 200)
    if policy:
        put_policy(plane, name)
    return name


def put_policy(plane: ControlPlane, namespace: str, **spec: Any) -> None:
    body = resource("FodcInjection", "db", spec={**POLICY, **spec})
    answer = plane.api().create(collection(namespace, "fodcinjections"), body)
    assert answer.status == 201, answer.body


def create(plane: ControlPlane, namespace: str, pod: dict[str, Any], query: str = "") -> Any:
    """Create a pod; it is there within seconds, whatever became of the webhook."""
    began = time.monotonic()
    answer = plane.api().create(f"/api/v1/namespaces/{namespace}/pods{query}", pod)
    assert answer.status == 201, answer.body
    assert time.monotonic() - began < CREATED_S
    return answer.body


def agents(pod: Any) -> int:
    spec = pod["spec"]
    return sum(
        one["name"] == AGENT for one in [*spec.get("initContainers", []), *spec["containers"]]
    )


def status_of(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    answer = plane.api().get(f"{collection(namespace, 'fodcinjections')}/db")
    return dict(answer.body.get("status", {}))


def wait_missed(plane: ControlPlane, namespace: str, pod: str) -> None:
    """Wait until the status of the policy says that this pod misses its agent."""

    def told() -> bool:
        pods = {one["name"]: one for one in status_of(plane, namespace).get("pods", [])}
        return pods.get(pod, {}).get("state") == "Missing"

    operators.wait_for(f"{pod} is reported", told)


def answered(operator: programs.Program, **labels: str) -> float:
    """How many reviews were answered so."""
    with_labels = [f'{name}="{value}"' for name, value in labels.items()]
    samples = operators.samples(operator, "fodc_webhook_requests_total")
    return sum(value for line, value in samples if all(one in line for one in with_labels))


def condition(plane: ControlPlane, namespace: str, name: str) -> dict[str, Any]:
    found = status_of(plane, namespace).get("conditions", [])
    return next((one for one in found if one["type"] == name), {})


def events(plane: ControlPlane, namespace: str) -> list[tuple[str, str]]:
    answer = plane.api().get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
    return [(one["reason"], one["regarding"]["kind"]) for one in answer.body["items"]]


@pytest.fixture(scope="module")
def injecting(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Injecting]:
    """An operator whose webhook works, for one namespace with a policy."""
    plane = control_plane
    home, namespace = new_namespace(plane, policy=False), new_namespace(plane)
    folder = tmp_path_factory.mktemp("injecting")
    with webhooks.injecting(folder, plane, home=home, namespace=namespace) as found:
        # Configurations count a moment after they were written.
        wait_injects(plane, namespace)
        yield found


def wait_injects(plane: ControlPlane, namespace: str) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"

    def injects() -> bool:
        answer = plane.api().create(pods, database_pod("probe"))
        return answer.status == 201 and agents(answer.body) == 1

    operators.wait_for("the webhook is asked", injects)


# ---- in order -----------------------------------------------------------------------------------


def test_policy_and_pod_of_one_file_meet(control_plane: ControlPlane, injecting: Injecting) -> None:
    """The policy is applied a moment before its pod, and the pod gets its agent."""
    plane, namespace = control_plane, injecting.namespace
    for number in range(5):
        labels = {"app": f"fresh-{number}", "fodc.banyandb.dev/inject": "enabled"}
        pod = database_pod(f"fresh-{number}")
        pod["metadata"]["labels"] = labels
        selector = {"podSelector": {"matchLabels": {"app": f"fresh-{number}"}}}
        policy = resource("FodcInjection", f"fresh-{number}", spec=selector)
        both = {"apiVersion": "v1", "kind": "List", "items": [policy, pod]}
        plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(both), check=True)
        made = plane.api().get(f"/api/v1/namespaces/{namespace}/pods/fresh-{number}").body
        plane.api().delete(f"{collection(namespace, 'fodcinjections')}/fresh-{number}")

        assert agents(made) == 1
        assert made["metadata"]["labels"]["fodc.banyandb.dev/injected-by"] == f"fresh-{number}"


def test_a_dry_run_shows_the_agent_and_leaves_nothing_behind(
    control_plane: ControlPlane, injecting: Injecting
) -> None:
    plane, namespace = control_plane, injecting.namespace
    before = events(plane, namespace)
    # Far more often than a pod may come back before it is taken for one that was refused.
    shown = [create(plane, namespace, database_pod("dry"), "?dryRun=All") for _ in range(6)]
    made = create(plane, namespace, database_pod("dry"))

    assert [agents(one) for one in shown] == [1] * 6
    assert agents(made) == 1
    assert events(plane, namespace) == before
    assert answered(injecting.webhook, outcome="Injected", dry_run="true") >= 6


def test_a_pod_that_a_mesh_changes_afterwards_has_one_agent(
    control_plane: ControlPlane, injecting: Injecting, tmp_path: Path
) -> None:
    """We are asked again (IfNeeded) about the pod with the mesh in it, and change nothing more."""
    plane, namespace = control_plane, injecting.namespace
    files = https_servers.write_certificates(tmp_path)
    with https_servers.foreign(files, https_servers.adds_a_proxy) as mesh:
        configuration = webhooks.rendered(
            f"zz-mesh-{namespace}", mesh.address, only_namespace=namespace, ca_bundle=files.ca
        )
        configuration["webhooks"] = configuration["webhooks"][:1]
        configuration["webhooks"][0] |= {"name": "mesh.example.com", "reinvocationPolicy": "Never"}
        with webhooks.applied(plane, configuration):
            operators.wait_for(
                "the mesh is asked",
                lambda: (
                    len(
                        create(plane, namespace, database_pod("probe"), "?dryRun=All")["spec"][
                            "containers"
                        ]
                    )
                    == 2
                ),
            )
            before = answered(injecting.webhook, dry_run="false")
            made = create(plane, namespace, database_pod("meshed"))

            assert answered(injecting.webhook, dry_run="false") - before == 2
            assert agents(made) == 1
            assert [one["name"] for one in made["spec"]["containers"]] == [
                "banyandb",
                "mesh-proxy",
            ]
            (asked,) = [
                one["request"]["object"]
                for one in mesh.asked
                if one["request"]["object"]["metadata"].get("name") == "meshed"
            ]
            assert agents(asked) == 1


def test_a_pod_that_cannot_have_an_agent_says_why_and_a_policy_may_refuse_it(
    control_plane: ControlPlane, injecting: Injecting
) -> None:
    plane, namespace = control_plane, injecting.namespace
    wrong = database_pod("wrong", **{"fodc.banyandb.dev/flavor": "everything"})
    made = create(plane, namespace, wrong)
    assert agents(made) == 0
    assert made["metadata"]["annotations"][NOT_INJECTED].startswith("BadAnnotation: ")

    path = f"{collection(namespace, 'fodcinjections')}/db"
    plane.api().merge(path, {"spec": {"onError": "Deny"}})
    try:
        wrong["metadata"]["name"] = "denied"
        pods = f"/api/v1/namespaces/{namespace}/pods"

        def refused() -> Any:
            answer = plane.api().create(f"{pods}?dryRun=All", wrong)
            return answer if answer.status == 403 else None

        answer = operators.wait_for("the policy refuses it", refused)
        assert "FodcInjection db (onError: Deny): " in answer.message
    finally:
        plane.api().merge(path, {"spec": {"onError": "Admit"}})


# ---- out of order -------------------------------------------------------------------------------


def missed(
    plane: ControlPlane, namespace: str, address: str, ca: bytes, *, asked: Callable[[], object]
) -> None:
    """Create a pod whose webhook is broken: it is there, and the operator says what it lacks."""
    name = f"broken-{namespace}"
    configuration = webhooks.rendered(name, address, only_namespace=namespace, ca_bundle=ca)
    with webhooks.applied(plane, configuration):
        number = 0
        before = failed_open(plane)
        while failed_open(plane) == before or not asked():
            number += 1
            made = create(plane, namespace, database_pod(f"data-{number}"))
            assert agents(made) == 0
            assert number < 200, "the API server never asked"
        wait_missed(plane, namespace, f"data-{number}")


def failed_open(plane: ControlPlane) -> float:
    """How many of our reviews the API server gave up on, by its own count."""
    lines = str(plane.api().get("/metrics").body).splitlines()
    start = "apiserver_admission_webhook_fail_open_count{"
    ours = [one for one in lines if one.startswith(start) and "inject.fodc" in one]
    return sum(float(one.rsplit(" ", 1)[1]) for one in ours)


def always() -> bool:
    return True


def test_a_webhook_that_is_down_costs_the_agent_and_not_the_pod(
    control_plane: ControlPlane, injecting: Injecting
) -> None:
    namespace = new_namespace(control_plane)
    (port,) = processes.free_ports(1)

    missed(control_plane, namespace, f"127.0.0.1:{port}", b"", asked=always)


def test_a_webhook_that_hangs_costs_two_seconds(
    control_plane: ControlPlane, injecting: Injecting, tmp_path: Path
) -> None:
    namespace = new_namespace(control_plane)
    files = https_servers.write_certificates(tmp_path)
    with https_servers.foreign(files, https_servers.hangs) as server:
        missed(control_plane, namespace, server.address, files.ca, asked=lambda: server.asked)


def test_a_webhook_that_is_stopped_dead_costs_two_seconds(
    control_plane: ControlPlane, injecting: Injecting, tmp_path: Path
) -> None:
    """The connection is taken by the kernel and nobody ever answers on it."""
    plane, namespace = control_plane, new_namespace(control_plane)
    home = new_namespace(plane, policy=False)
    with webhooks.injecting(
        tmp_path, plane, home=home, namespace=namespace, name="frozen"
    ) as frozen:
        wait_injects(plane, namespace)
        os.kill(frozen.webhook.pid, signal.SIGSTOP)
        try:
            made = create(plane, namespace, database_pod("data-0"))
            assert agents(made) == 0
        finally:
            os.kill(frozen.webhook.pid, signal.SIGCONT)
        wait_missed(plane, namespace, "data-0")


def test_a_webhook_that_answers_500_costs_the_agent(
    control_plane: ControlPlane, injecting: Injecting, tmp_path: Path
) -> None:
    namespace = new_namespace(control_plane)
    files = https_servers.write_certificates(tmp_path)
    with https_servers.foreign(files, https_servers.fails) as server:
        missed(control_plane, namespace, server.address, files.ca, asked=lambda: server.asked)


def test_a_ca_that_is_not_the_webhooks_costs_the_agent(
    control_plane: ControlPlane, injecting: Injecting, tmp_path: Path
) -> None:
    namespace = new_namespace(control_plane)
    other = https_servers.write_certificates(tmp_path)

    missed(control_plane, namespace, injecting.address, other.ca, asked=always)


def test_an_expired_certificate_costs_the_agent_and_is_told_before_and_after(
    control_plane: ControlPlane, injecting: Injecting, tmp_path: Path
) -> None:
    """By the metric and by /readyz."""
    plane, namespace = control_plane, new_namespace(control_plane)
    home = new_namespace(plane, policy=False)
    ago, life = datetime.now(UTC) - timedelta(days=2), timedelta(days=1)
    files = https_servers.write_certificates(tmp_path / "certificates", ago, leaf_life=life)
    operator = operators.start_operator(tmp_path, plane, home)
    started = operators.start_webhook(tmp_path, plane, home, f"--cert-dir={files.folder}")
    with programs.running(operator), programs.running(started) as webhook:
        operators.wait_leads(operator)
        address = webhook.addresses["webhook"]
        missed(plane, namespace, address, files.ca, asked=always)
        expiry = operators.metric(webhook, "fodc_webhook_certificate_expiry_seconds")

        assert expiry == int((ago + life).timestamp())
        assert "the certificate ended at " in webhooks.webhook_fault(webhook)
        # Renewed by whoever keeps the files: no restart.
        https_servers.write_certificates(files.folder)
        operators.wait_for("it is taken", lambda: webhooks.webhook_fault(webhook) == "")
        configuration = webhooks.rendered(
            f"mended-{namespace}", address, only_namespace=namespace, ca_bundle=files.ca
        )
        with webhooks.applied(plane, configuration):
            wait_injects(plane, namespace)


# ---- certificates -------------------------------------------------------------------------------


def parts_of(plane: ControlPlane, home: str) -> dict[str, bytes]:
    answer = plane.api().get(f"/api/v1/namespaces/{home}/secrets/fodc-webhook-certificate")
    return certificates.decoded(answer.body["data"])


def write_parts(plane: ControlPlane, home: str, parts: dict[str, bytes]) -> None:
    data = {name: base64.b64encode(part).decode("ascii") for name, part in parts.items()}
    path = f"/api/v1/namespaces/{home}/secrets/fodc-webhook-certificate"
    answer = plane.api().merge(path, {"data": data})
    assert answer.status == 200, answer.body


class Creating:
    """Pods made one after the other in a thread, to see whether any misses its agent."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace
        self.found: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._create, name="creating")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _create(self) -> None:
        while not self._ended.is_set():
            name = f"steady-{len(self.found)}"
            self.found.append(agents(create(self.plane, self.namespace, database_pod(name))))
            self._ended.wait(0.02)


def test_a_ca_is_rotated_without_a_pod_that_misses_its_agent(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Old and new are trusted together, then the leaf is of the new one, then the old is gone.

    The time between the steps is taken away by dating the new CA, and later the leaf, back.
    """
    plane = control_plane
    home, namespace = new_namespace(plane, policy=False), new_namespace(plane)
    # One certificate for all listeners of the operator and the webhook.
    services = ("fodc-webhook", "fodc-proxy-grpc", "fodc-proxy-http")
    names = [name for one in services for name in certificates.names_of(one, home, ("127.0.0.1",))]
    ago = datetime.now(UTC) - timedelta(hours=1)
    with webhooks.injecting(tmp_path, plane, home=home, namespace=namespace) as found:
        wait_injects(plane, namespace)
        old = certificates.read(parts_of(plane, home))
        with Creating(plane, namespace) as steady:
            both = certificates.carried_out(Step.ADD_CA, old, names, ago, Rules())
            write_parts(plane, home, both)

            def is_switched() -> bool:
                held = certificates.read(parts_of(plane, home))
                return len(held.authorities) == 2 and held.issuer == held.signer

            operators.wait_for("the leaf is of the new CA", is_switched, 20)
            assert set(webhooks.ca_bundles(plane, found.configuration)) == {both["ca.crt"]}
            served_by(found.address, both["ca.crt"])

            held = certificates.read(parts_of(plane, home))
            dated = certificates.carried_out(Step.ISSUE_LEAF, held, names, ago, Rules())
            write_parts(plane, home, dated)

            def is_alone() -> bool:
                held = certificates.read(parts_of(plane, home))
                return held.authorities == (held.signer,) and old.signer not in held.authorities

            operators.wait_for("the old CA is dropped", is_alone, 20)
            alone = parts_of(plane, home)["ca.crt"]
            operators.wait_for(
                "it is trusted no more",
                lambda: set(webhooks.ca_bundles(plane, found.configuration)) == {alone},
            )
            time.sleep(1)

    assert set(steady.found) == {1}
    assert len(steady.found) > 20


def served_by(address: str, bundle: bytes) -> None:
    """Wait until the listener shows a leaf of the first CA of the bundle."""
    first = certificates.read({"ca.crt": bundle}).authorities[0]

    def shown() -> bool:
        pem = https_servers.shown_certificate(address)
        leaf = certificates.read({"tls.crt": pem}).leaf
        return leaf is not None and leaf.issuer == first.subject

    operators.wait_for("the listener shows the new leaf", shown)


def test_a_ca_bundle_that_somebody_removed_is_put_back(
    control_plane: ControlPlane, injecting: Injecting
) -> None:
    plane, name = control_plane, injecting.configuration
    before = webhooks.ca_bundles(plane, name)
    assert before[0]
    wanted = webhooks.rendered(name, injecting.address, only_namespace=injecting.namespace)
    without = webhooks.apply(plane, wanted)
    assert webhooks.ca_bundles_in(without) == [b""] * len(before)

    operators.wait_for("it is back", lambda: webhooks.ca_bundles(plane, name) == before, 12)
    wait_injects(plane, injecting.namespace)


def test_no_key_is_in_the_log(control_plane: ControlPlane, injecting: Injecting) -> None:
    key = parts_of(control_plane, injecting.home)["tls.key"].decode()
    log = injecting.operator.log.read_text()

    assert "PRIVATE KEY" not in log
    assert not any(line in log for line in key.splitlines()[1:-1])


# ---- replicas -----------------------------------------------------------------------------------


def test_an_upgrade_interrupts_no_injection(control_plane: ControlPlane, tmp_path: Path) -> None:
    """K5: of the operator, which keeps the certificate, and of the webhook, replica by replica."""
    plane = control_plane
    home, namespace = new_namespace(plane, policy=False), new_namespace(plane)
    (port,) = processes.free_ports(1)
    drain = "5s"  # as the manifests say; API servers learn of changes within two or so
    with webhooks.injecting(tmp_path, plane, home=home, namespace=namespace, drain=drain) as found:
        wait_injects(plane, namespace)
        started = operators.start_webhook(
            tmp_path, plane, home, name="next", address=f"127.0.0.1:{port}"
        )
        with programs.running(started) as following, Creating(plane, namespace) as steady:
            operators.wait_for("some are made", lambda: len(steady.found) > 10)
            found.operator.stop()
            after = len(steady.found)
            operators.wait_for("more are made", lambda: len(steady.found) > after + 10)
            operators.wait_for("ready", lambda: webhooks.webhook_fault(following) == "")
            wanted = webhooks.rendered(
                found.configuration,
                following.addresses["webhook"],
                only_namespace=namespace,
                ca_bundle=webhooks.ca_bundles(plane, found.configuration)[0],
            )
            # What a Service does when a replica says that it leaves: a moment later.
            ending = threading.Thread(target=found.webhook.stop)
            ending.start()
            webhooks.apply(plane, wanted)
            ending.join()
            after = len(steady.found)
            operators.wait_for("more are made", lambda: len(steady.found) > after + 20)

    assert set(steady.found) == {1}
