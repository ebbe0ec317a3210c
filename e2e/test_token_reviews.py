# SPDX-License-Identifier: Apache-2.0
"""Tokens of ServiceAccounts on a real API server: whose they are, and which are refused."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

from e2e.controlplane.cluster import ControlPlane
from fodc_kube.access import api_client
from fodc_kube.client import Cluster
from fodc_operator.access.token_reviews import ClusterTokenReviews
from fodc_proxy.access.answers import Denied
from fodc_proxy.access.token_reviews import Review, Reviewed

AUDIENCE = "fodc-proxy"
POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"


def pod(plane: ControlPlane, namespace: str, name: str) -> str:
    """Create a pod that never runs; return its uid."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    spec = {
        "serviceAccountName": "default",
        "nodeName": "nowhere",
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "a", "image": "a"}],
    }
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": spec,
    }
    answers: list[Any] = []

    def created() -> bool:
        answers.append(plane.api().create(path, body))
        return bool(answers[-1].status == 201)

    plane.wait_until("the pod is there", created)
    return str(answers[-1].body["metadata"]["uid"])


def token_of(plane: ControlPlane, namespace: str, *more: str, audience: str = AUDIENCE) -> str:
    """Return a token as a kubelet would mount it."""
    made: subprocess.CompletedProcess[str] = plane.kubectl(
        *("-n", namespace, "create", "token", "default", f"--audience={audience}", *more),
        check=True,
    )
    return made.stdout.strip()


def bound_to(name: str, uid: str) -> tuple[str, ...]:
    return (
        "--bound-object-kind=Pod",
        f"--bound-object-name={name}",
        f"--bound-object-uid={uid}",
    )


def review(kubeconfig: Path, token: str) -> Review:
    async def within() -> Review:
        async with api_client(str(kubeconfig)) as client:
            return await ClusterTokenReviews(Cluster(client)).review(token, (AUDIENCE,))

    return asyncio.run(within())


def test_a_token_bound_to_a_pod_names_it_until_the_pod_is_gone(
    control_plane: ControlPlane, namespace: str
) -> None:
    uid = pod(control_plane, namespace, "data-0")
    token = token_of(control_plane, namespace, *bound_to("data-0", uid))

    found = review(control_plane.kubeconfig, token)

    assert isinstance(found, Reviewed)
    assert found.name == f"system:serviceaccount:{namespace}:default"
    assert (found.extra[POD_NAME], found.extra[POD_UID]) == (("data-0",), (uid,))
    assert found.audiences == (AUDIENCE,)
    assert found.expires_ms > 1_600_000_000_000

    path = f"/api/v1/namespaces/{namespace}/pods/data-0"
    control_plane.api().send("DELETE", path, {"gracePeriodSeconds": 0})
    control_plane.wait_until(
        "the token of the deleted pod is void",
        lambda: isinstance(review(control_plane.kubeconfig, token), Denied),
    )


def test_tokens_for_others_and_tokens_of_nobody_are_refused_without_being_repeated(
    control_plane: ControlPlane, namespace: str
) -> None:
    elsewhere = token_of(control_plane, namespace, audience="somebody-else")
    altered = token_of(control_plane, namespace)[:-8] + "AAAAAAAA"
    wrong = [elsewhere, altered, "nonsense"]

    found = [review(control_plane.kubeconfig, token) for token in wrong]

    assert all(isinstance(one, Denied) for one in found), found
    assert not any(token in str(one) for one in found for token in wrong)
