# SPDX-License-Identifier: Apache-2.0
"""The operator with the rights of the manifests and no more: nothing that it does is forbidden."""

import base64
import subprocess
from pathlib import Path

import yaml

from e2e import operators, programs
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import ROOT, collection, resource
from e2e.operators import metric, start_operator, wait_for, wait_leads
from e2e.simulated import simulated_agents

HOME = "fodc-system"
RIGHTS = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount", "Namespace"}


def install_rights(plane: ControlPlane) -> None:
    """Apply of the manifests what gives the operator its rights."""
    text = plane.kubectl("kustomize", str(ROOT / "manifests" / "base"), check=True).stdout
    found = [one for one in yaml.safe_load_all(text) if one and one["kind"] in RIGHTS]
    plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(found), check=True)


def kubeconfig_of_the_operator(plane: ControlPlane, folder: Path) -> Path:
    """Write a kubeconfig with a token of the operator's ServiceAccount."""
    account: subprocess.CompletedProcess[str] = plane.kubectl(
        "-n", HOME, "create", "token", "fodc-operator", "--duration=10m", check=True
    )
    authority = base64.b64encode(plane.ca_file.read_bytes()).decode()
    cluster = {"server": plane.url, "certificate-authority-data": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "operator",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "operator", "user": {"token": account.stdout.strip()}}],
        "contexts": [{"name": "operator", "context": {"cluster": "test", "user": "operator"}}],
    }
    path = folder / "kubeconfig-of-the-operator"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_operator_does_all_of_its_work_with_the_rights_of_the_manifests(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    install_rights(control_plane)
    api, pods = control_plane.api(), f"/api/v1/namespaces/{HOME}/pods"
    security = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec = {"containers": [{"name": "x", "image": "x", "securityContext": security}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "op-0"}, "spec": spec}
    wait_for("the pod", lambda: api.create(pods, pod).status in {201, 409})
    started = start_operator(
        tmp_path,
        control_plane,
        HOME,
        "--pod-name=op-0",
        kubeconfig=kubeconfig_of_the_operator(control_plane, tmp_path),
    )
    requests = collection(namespace, "diagnosticrequests")
    wanted = {"target": {"names": ["pod-0"]}, "captures": [{"type": "HeapSnapshot"}]}
    with programs.running(started) as one:
        wait_leads(one)
        with simulated_agents(one.grpc, namespace, 2):
            wait_for(
                "online",
                lambda: list(operators.phases(control_plane, namespace).values()) == ["Online"] * 2,
            )
            made = api.create(requests, resource("DiagnosticRequest", "r", spec=wanted))
            assert made.status == 201, made.body
            wait_for(
                "a phase", lambda: api.get(f"{requests}/r").body.get("status", {}).get("phase")
            )
            labels = api.get(f"{pods}/op-0").body["metadata"].get("labels", {})

            assert labels == {"fodc.banyandb.dev/leader": "true"}
            assert metric(one, 'fodc_operator_api_calls_total{code="403"') == 0
            assert metric(one, 'fodc_operator_api_calls_total{code="401"') == 0
        one.stop()

    assert "forbidden" not in one.log.read_text().lower()
