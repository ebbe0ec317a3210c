# SPDX-License-Identifier: Apache-2.0
"""Volumes of a node for claims: folders of its own, as a provisioner of local disks gives them."""

from typing import Any

import yaml

from e2e.controlplane.cluster import ControlPlane
from e2e.kubelet import inside
from e2e.kubelet.node import NODE_NAME


def make_volumes(plane: ControlPlane) -> None:
    """Give the node's folders to claims, of whichever kind of access; raises ControlPlaneError."""
    volumes = [_volume(number, path) for number, path in enumerate(inside.VOLUMES)]
    text = yaml.safe_dump_all(volumes)
    plane.kubectl("apply", "--filename=-", stdin=text, check=True)


def _volume(number: int, path: str) -> dict[str, Any]:
    host = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"folder-{number}"},
        "spec": {
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}},
        },
    }
