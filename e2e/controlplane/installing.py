# SPDX-License-Identifier: Apache-2.0
"""Bring our kinds into a cluster and give tests a namespace of their own.

The one idea: what is installed is what people install, the same kustomize folders by kubectl.
"""

import secrets
from pathlib import Path
from typing import Any, Final

from e2e.controlplane.cluster import ControlPlane

ROOT: Final = Path(__file__).resolve().parents[2]
CRDS: Final = ROOT / "crds"
READ_BACK: Final = ROOT / "tests" / "manifests" / "read_back"
"""Objects with a status, as the server holds them; nothing to apply."""
GROUP: Final = "fodc.banyandb.dev"
VERSION: Final = "v1alpha1"


def install_crds(plane: ControlPlane) -> None:
    """Apply every CRD and wait until the server serves it; raises ControlPlaneError."""
    plane.kubectl("apply", "--kustomize", str(CRDS), check=True)
    plane.kubectl(
        "wait", "--for=condition=Established", "--timeout=30s", *_names(plane), check=True
    )


def _names(plane: ControlPlane) -> list[str]:
    answer = plane.kubectl("get", "--kustomize", str(CRDS), "--output=name", check=True)
    return answer.stdout.split()


def new_namespace(plane: ControlPlane, **labels: str) -> str:
    """Create a namespace with a fresh name and return the name; nobody waits for its end."""
    name = f"t-{secrets.token_hex(4)}"
    metadata = {"name": name, "labels": labels}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    answer = plane.api().create("/api/v1/namespaces", body)
    assert answer.status == 201, answer.body
    return name


def collection(namespace: str, plural: str) -> str:
    """Return the path of a collection of ours."""
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{plural}"


def resource(kind: str, name: str, **content: Any) -> dict[str, Any]:
    """Return a resource of ours with its top-level content, such as `spec`."""
    head = {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name}}
    return {**head, **content}
