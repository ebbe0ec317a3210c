# SPDX-License-Identifier: Apache-2.0
"""ServiceAccounts of a real cluster, with the roles of the manifests, ask an operator over HTTP."""

import json
import os
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
import yaml

from e2e import applied, people, programs, webhooks
from e2e.controlplane import installing
from e2e.controlplane.cluster import ControlPlane
from e2e.operators import start_operator, wait_for, wait_leads
from fodc_webhook.inject.rendering import AUTHORITY, AUTHORITY_MAP

ROLES = ("fodc-scraper", "fodc-viewer", "fodc-profiler", "fodc-admin")
# A route that asks for the right and no more, with what it answers to who has it.
ASKED = {
    "/metrics": 200,
    "/cluster": 200,
    "/cluster/config": 200,
    "/artifacts": 200,
}
MAY = {
    "fodc-scraper": {"/metrics"},
    "fodc-viewer": {"/metrics", "/cluster"},
    "fodc-profiler": set(ASKED),
    "fodc-admin": set(ASKED),
}


@pytest.fixture(scope="module")
def roles(control_plane: ControlPlane) -> Path:
    """The roles of the manifests, applied."""
    path = applied.MANIFESTS / "base" / "user-roles.yaml"
    control_plane.kubectl("apply", "-f", str(path), check=True)
    return path


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, roles: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[programs.Program]:
    namespace = installing.new_namespace(control_plane)
    folder = tmp_path_factory.mktemp("operator")
    with programs.running(start_operator(folder, control_plane, namespace)) as one:
        wait_leads(one)
        yield one


def asked(
    operator: programs.Program, path: str, token: str, body: object = None
) -> tuple[int, str]:
    """Return status and text of an answer, a refusal's too."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{operator.http}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def answered(
    operator: programs.Program, path: str, token: str, body: object = None
) -> tuple[int, str]:
    """Ask again while the API server does not say in time who asks and what he may."""
    return wait_for(
        path,
        lambda: told if (told := asked(operator, path, token, body))[0] != 503 else None,
    )


def account(
    plane: ControlPlane, namespace: str, role: str, path: str, one: programs.Program
) -> str:
    """Return a token of a new ServiceAccount once the server knows its role."""
    people.bind(plane, role, role, namespace=namespace)
    token = people.token_of(plane, role, namespace=namespace)
    # A no is remembered for seconds, and the server itself learns of a binding a moment later.
    wait_for(f"{role} may ask {path}", lambda: asked(one, path, token)[0] == 200, 30)
    return token


@pytest.mark.parametrize("role", ROLES)
def test_a_service_account_may_what_its_role_says(
    control_plane: ControlPlane, namespace: str, operator: programs.Program, role: str
) -> None:
    token = account(control_plane, namespace, role, "/metrics", operator)

    found = {path: answered(operator, path, token) for path in ASKED}

    assert {path for path, (status, _) in found.items() if status == 200} == MAY[role], found
    assert {status for status, _ in found.values()} <= {200, 403}


@pytest.mark.parametrize(
    ("profile", "role", "status"),
    [
        ("cpu", "fodc-viewer", 403),
        ("cpu", "fodc-profiler", 201),
        ("heap", "fodc-profiler", 403),
        ("heap", "fodc-admin", 201),
        ("trace", "fodc-profiler", 403),
    ],
)
def test_a_capture_needs_what_kubectl_would_need(
    control_plane: ControlPlane,
    namespace: str,
    operator: programs.Program,
    profile: str,
    role: str,
    status: int,
) -> None:
    token = account(control_plane, namespace, role, "/cluster", operator)
    body = {"target": {"all": True}, "captures": [{"profile": profile}]}

    got, text = answered(operator, "/diagnostics/requests", token, body)

    assert got == status, text
    if status == 403:
        assert "an administrator of the cluster grants it by a ClusterRoleBinding of fodc-" in text
        assert f"system:serviceaccount:{namespace}:{role} lacks the right" in text


def test_strangers_are_told_why_and_a_token_of_ours_for_the_proxy_alone_is_enough(
    control_plane: ControlPlane, namespace: str, operator: programs.Program
) -> None:
    account(control_plane, namespace, "fodc-viewer", "/cluster", operator)
    ours = people.token_of(
        control_plane, "fodc-viewer", "--audience=fodc-proxy", namespace=namespace
    )
    foreign = people.token_of(
        control_plane, "fodc-viewer", "--audience=somebody-else", namespace=namespace
    )

    assert answered(operator, "/cluster", ours)[0] == 200
    for wrong in (foreign, ours[:-8] + "AAAAAAAA", "nonsense"):
        status, text = answered(operator, "/cluster", wrong)
        assert status == 401, text
        assert "the token is not accepted" in text
        assert wrong not in text


def test_the_token_of_a_deleted_account_is_void(
    control_plane: ControlPlane, namespace: str, operator: programs.Program
) -> None:
    token = account(control_plane, namespace, "fodc-viewer", "/cluster", operator)
    control_plane.kubectl(f"--namespace={namespace}", "delete", "sa", "fodc-viewer", check=True)

    # Known tokens are asked about again within seconds.
    wait_for("the token is void", lambda: asked(operator, "/cluster", token)[0] == 401, 40)


# ---- by TLS, as the manifests say -------------------------------------------------------------


def test_prometheus_knows_the_proxy_by_the_authority_that_the_leader_hands_out(
    control_plane: ControlPlane, namespace: str, roles: Path, tmp_path: Path
) -> None:
    """One certificate, which the leader keeps, for agents, webhook and people."""
    configuration = f"fodc-{namespace}"
    options = (f"--webhook-config-name={configuration}", "--http-tls")
    started = start_operator(tmp_path, control_plane, namespace, *options, keeps_certificate=True)
    made = webhooks.rendered(configuration, "127.0.0.1:9443", only_namespace=namespace)
    with programs.running(started) as one, webhooks.applied(control_plane, made):
        path = f"/api/v1/namespaces/{namespace}/configmaps/{AUTHORITY_MAP}"
        told = wait_for("the authority", lambda: authority_at(control_plane, path), 30)
        trust = programs.Trust(f"fodc-proxy-http.{namespace}.svc", told)
        short = programs.Trust(f"fodc-proxy-http.{namespace}", told)
        people.bind(control_plane, "prometheus", "fodc-scraper", namespace=namespace)
        token = people.token_of(control_plane, "prometheus", namespace=namespace)
        url = one.http.replace("http://", "https://")

        def scraped() -> str:
            with programs.opened(f"{url}/metrics", token=token, trust=trust) as answer:
                return str(answer.read().decode())

        page = wait_for("the page", lambda: unless_refused(scraped), 30)
        with programs.opened(f"{url}/readyz", trust=short) as answer:
            ready = json.load(answer)
        stranger = programs.Trust(trust.name, trustme.CA().cert_pem.bytes().decode())
        with pytest.raises(ssl.SSLCertVerificationError):
            programs.opened(f"{url}/healthz", trust=stranger)

    assert 'fodc_proxy_certificate_expiry_seconds{listener="http"}' in page
    (callers,) = (check["message"] for check in ready["checks"] if check["name"] == "callers")
    assert "WITHOUT TLS" not in callers


def authority_at(plane: ControlPlane, path: str) -> str:
    answer = plane.api().get(path)
    return str(answer.body["data"][AUTHORITY]) if answer.status == 200 else ""


def unless_refused(ask: Callable[[], str]) -> str:
    """Return the answer, empty while there is no certificate yet or the role is not known."""
    try:
        return ask()
    except OSError:
        return ""


# ---- through the API server -------------------------------------------------------------------


def own_address() -> str:
    """An address of this machine that the API server may pass on to: none of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


def behind_service(plane: ControlPlane, namespace: str, address: str, port: int) -> None:
    """Make the Service of the manifests with this machine behind it.

    API servers pass on to addresses of pods only, so there is one that says that this is its own.
    """
    where, name = f"--namespace={namespace}", {"name": "fodc-proxy-http"}
    pod = {"containers": [{"name": "a", "image": "a"}], "nodeName": "nowhere"}
    reference = {"kind": "Pod", "namespace": namespace, **name}
    subset = {
        "addresses": [{"ip": address, "targetRef": reference}],
        "ports": [{"name": "http", "port": port}],
    }
    ports = [{"name": "http", "port": 17913, "targetPort": port}]
    objects = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": dict(name), "spec": pod},
        {"apiVersion": "v1", "kind": "Service", "metadata": dict(name), "spec": {"ports": ports}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": dict(name), "subsets": [subset]},
    ]
    made = yaml.safe_dump_all(objects)
    wait_for(
        "pods may be made",
        lambda: plane.kubectl(where, "apply", "-f", "-", stdin=made).returncode == 0,
    )
    status = json.dumps({"status": {"podIP": address, "podIPs": [{"ip": address}]}})
    told = ("--subresource=status", "--type=merge", f"--patch={status}")
    plane.kubectl(where, "patch", "pod", name["name"], *told, check=True)


def kubeconfig_with(plane: ControlPlane, token: str, path: Path) -> Path:
    """Write the kubeconfig of somebody who has this token and nothing else."""
    told = yaml.safe_load(plane.kubeconfig.read_text())
    told["users"] = [{"name": one["name"], "user": {"token": token}} for one in told["users"]]
    path.write_text(yaml.safe_dump(told))
    return path


def certificate_in(folder: Path) -> list[str]:
    """Write what somebody else keeps, such as cert-manager; returns how the operator is told."""
    issued = trustme.CA().issue_cert("fodc-proxy-http.fodc-system.svc")
    issued.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    issued.private_key_pem.write_to_path(folder / "tls.key")
    return [f"--grpc-tls-cert-file={folder}/tls.crt", f"--grpc-tls-key-file={folder}/tls.key"]


def fodc(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fodc_client", *arguments]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FODC_")}
    return subprocess.run(command, capture_output=True, text=True, env=kept, check=False)


def test_the_command_reaches_the_proxy_through_the_api_server_without_a_forwarded_port(
    control_plane: ControlPlane, namespace: str, roles: Path, tmp_path: Path
) -> None:
    address = own_address()
    options = (f"--http-listen-addr={address}:0", "--http-tls", *certificate_in(tmp_path))
    with programs.running(start_operator(tmp_path, control_plane, namespace, *options)) as one:
        where = f"--namespace={namespace}"
        port = int(one.addresses["http"].rpartition(":")[2])
        behind_service(control_plane, namespace, address, port)
        people.bind(control_plane, "fodc-viewer", "fodc-viewer", namespace=namespace)
        token = people.token_of(control_plane, "fodc-viewer", namespace=namespace)
        kubeconfig = kubeconfig_with(control_plane, token, tmp_path / "kubeconfig")
        service = f"{namespace}/https:fodc-proxy-http"
        told = ("--kubeconfig", str(kubeconfig), "--service", service)

        refused = fodc("nodes", *told)
        kinds = yaml.safe_load_all(roles.read_text())
        (access,) = (one for one in kinds if one["metadata"]["name"] == "fodc-proxy-access")
        control_plane.kubectl(where, "apply", "-f", "-", stdin=yaml.safe_dump(access), check=True)
        subject = f"--serviceaccount={namespace}:fodc-viewer"
        role = ("--role=fodc-proxy-access", subject)
        control_plane.kubectl(where, "create", "rolebinding", "person", *role, check=True)
        wait_for("the command gets through", lambda: fodc("nodes", *told).returncode == 0, 30)
        seen = fodc("nodes", *told, "-o", "json")
        lacking = fodc("artifacts", "list", *told)
        in_the_clear = fodc("nodes", *told[:3], service.replace("https:", ""))

    assert (refused.returncode, "role fodc-proxy-access is needed" in refused.stderr) == (1, True)
    assert json.loads(seen.stdout)["nodes"] == []
    assert lacking.returncode == 1
    assert f"{namespace}:fodc-viewer lacks the right artifacts" in lacking.stderr
    # The role is for the sealed port alone.
    assert "role fodc-proxy-access is needed" in in_the_clear.stderr
    assert token not in refused.stderr + seen.stdout + seen.stderr + lacking.stderr
