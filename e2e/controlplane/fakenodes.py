# SPDX-License-Identifier: Apache-2.0
"""Nodes that exist in the API only: kwok keeps them ready and lets their pods run at once.

The one idea: kwok's own "fast" stages, read from its Go module; its other set ends native sidecars
that should keep running.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from e2e.controlplane.build import MODULE_DIRECTORY
from e2e.controlplane.processes import ControlPlaneError

_STAGES: Final = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)
_ANNOTATION: Final = "kwok.x-k8s.io/node"


def flags(kubeconfig: Path, folder: Path) -> Sequence[str]:
    """Write the stages into `folder` and return the flags of kwok."""
    stages = folder / "kwok-stages.yaml"
    source = _module_folder() / "kustomize" / "stage"
    stages.write_text("\n---\n".join((source / name).read_text() for name in _STAGES))
    return (
        f"--kubeconfig={kubeconfig}",
        f"--manage-nodes-with-annotation-selector={_ANNOTATION}=fake",
        f"--config={stages}",
        "--cidr=10.200.0.1/16",
        "--node-ip=10.199.0.1",
    )


def node(name: str) -> dict[str, object]:
    """Return a Node that kwok takes for its own."""
    labels = {"type": "kwok", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name}
    annotations = {_ANNOTATION: "fake", "node.alpha.kubernetes.io/ttl": "0"}
    metadata = {"name": name, "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def _module_folder() -> Path:
    try:
        answer = (
            subprocess.run(  # reads the module cache, downloads the module when it is not there
                ["go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"],
                cwd=MODULE_DIRECTORY / "kwok",
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        )
    except FileNotFoundError:
        raise ControlPlaneError("kwok's stages are read from its Go module: no Go here") from None
    if answer.returncode != 0 or not answer.stdout.strip():
        raise ControlPlaneError(f"kwok's stages cannot be found: {answer.stderr.strip()}")
    return Path(answer.stdout.strip())
