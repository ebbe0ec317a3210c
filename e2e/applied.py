# SPDX-License-Identifier: Apache-2.0
"""The manifests as tests render and apply them, and users with the roles that they bring.

The one idea: what is applied is what people apply, an overlay by kubectl's own kustomize.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from e2e import programs
from e2e.controlplane.api import Answer
from e2e.controlplane.cluster import ControlPlane
from e2e.controlplane.installing import ROOT, collection, new_namespace, resource
from fodc_webhook.inject.rendering import AUTHORITY

Resource: TypeAlias = dict[str, Any]
MANIFESTS: Final = ROOT / "manifests"
SYSTEM: Final = "fodc-system"
OPERATOR: Final = f"system:serviceaccount:{SYSTEM}:fodc-operator"
ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
CONFIGURATION: Final = f"{ADMISSION}/mutatingwebhookconfigurations/fodc-injection"
RBAC: Final = "rbac.authorization.k8s.io"


def render(plane: ControlPlane, folder: str) -> list[dict[str, Any]]:
    """What kustomize makes of a folder."""
    text = plane.kubectl("kustomize", str(MANIFESTS / folder), check=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def render_with(plane: ControlPlane, component: str, folder: Path) -> str:
    """What kustomize makes of the default overlay with a component."""
    base = Path(os.path.relpath(MANIFESTS, folder))
    whole = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(base / "overlays" / "default")],
        "components": [str(base / "components" / component)],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    return plane.kubectl("kustomize", str(folder), check=True).stdout


def trust_of(told: Resource) -> programs.Trust:
    """Return by what an installed proxy is known: name and authority, out of the ConfigMap."""
    return programs.Trust(f"fodc-proxy-http.{SYSTEM}.svc", told["data"][AUTHORITY])


def install(plane: ControlPlane) -> None:
    """Apply the default overlay for good and wait until its policy is in force."""
    overlay = str(MANIFESTS / "overlays" / "default")
    plane.kubectl("apply", "--kustomize", overlay, check=True)
    namespace = new_namespace(plane)
    bind(plane, namespace, "profiler", "fodc-profiler")
    plane.wait_until(
        "the policy about captures is in force",
        lambda: create(plane, "profiler", namespace, "HeapSnapshot").status == 403,
    )


def rules_of(documents: Iterable[Resource], account: str) -> Iterator[tuple[str, Resource]]:
    """Yield each rule that is bound to a ServiceAccount, behind its namespace, empty for all."""
    found = list(documents)
    roles = {(one["kind"], one["metadata"]["name"]): one for one in found}
    for binding in found:
        if account in {subject["name"] for subject in binding.get("subjects", ())}:
            role = roles.get((binding["roleRef"]["kind"], binding["roleRef"]["name"]), {})
            for rule in role.get("rules", ()):
                yield binding["metadata"].get("namespace", ""), rule


def bind(plane: ControlPlane, namespace: str, user: str, role: str) -> None:
    """Bind a ClusterRole to a user in a namespace and wait until the server knows."""
    body = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{user}-{role}"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "User", "name": user}],
    }
    answer = plane.api().create(f"/apis/{RBAC}/v1/namespaces/{namespace}/rolebindings", body)
    assert answer.status == 201, answer.body
    path = collection(namespace, "fodcnodes")
    plane.wait_until(f"{user} may look", lambda: plane.api(user).get(path).status == 200)


def create(plane: ControlPlane, user: str, namespace: str, capture: str) -> Answer:
    """Ask for a capture as somebody; nothing is kept."""
    spec = {"target": {"all": True}, "captures": [{"type": capture}]}
    body = resource("DiagnosticRequest", "asked", spec=spec)
    path = collection(namespace, "diagnosticrequests")
    return plane.api(user).create(f"{path}?dryRun=All", body)
