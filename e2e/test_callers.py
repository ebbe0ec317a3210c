# SPDX-License-Identifier: Apache-2.0
"""ServiceAccounts of a real cluster, with the roles of the manifests, ask an operator over HTTP."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from e2e import applied, people, programs
from e2e.controlplane import installing
from e2e.controlplane.cluster import ControlPlane
from e2e.operators import start_operator, wait_for, wait_leads

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
def operator(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[programs.Program]:
    namespace = installing.new_namespace(control_plane)
    roles = str(applied.MANIFESTS / "base" / "user-roles.yaml")
    control_plane.kubectl("apply", "-f", roles, check=True)
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

    found = {path: asked(operator, path, token) for path in ASKED}

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

    got, text = asked(operator, "/diagnostics/requests", token, body)

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

    assert asked(operator, "/cluster", ours)[0] == 200
    for wrong in (foreign, ours[:-8] + "AAAAAAAA", "nonsense"):
        status, text = asked(operator, "/cluster", wrong)
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
