# SPDX-License-Identifier: Apache-2.0
"""Whether the suite can run on kind here, and with which commands; nothing is run in this module.

The one idea: everything that can be wrong with a machine is a sentence that says what to do, and
every command is a value, so that both are tested where no container can start.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.images import wanted

OPERATOR_IMAGE: Final = wanted.OPERATOR.reference
AGENT_IMAGE: Final = wanted.AGENT.reference
IMAGES: Final = {one.reference: one for one in wanted.IMAGES}
"""Our images by name and tag."""
NODE_IMAGE: Final = "kindest/node:v1.34.0"
NODE_IMAGE_VARIABLE: Final = "FODC_KIND_NODE_IMAGE"
EXISTING_VARIABLE: Final = "FODC_KIND_KUBECONFIG"
PREPARE: Final = "python -m e2e.kind"
_OWN_NAME: Final = re.compile(r"fodc-test-[0-9a-f]{8}")

CONFIGURATION: Final = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  apiServerAddress: 127.0.0.1
nodes:
  - role: control-plane
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is here.

    `daemon_fault` is empty when Docker answers; only then it is known which images there are.
    """

    has_docker: bool
    has_kind: bool
    has_kubectl: bool
    daemon_fault: str = ""
    missing_images: tuple[str, ...] = ()
    node_image: str = NODE_IMAGE
    has_node_image: bool = True


def reason_to_skip(machine: Machine) -> str:
    """Return everything that is missing and how to get it; empty when the suite can run."""
    reasons = list(_of_docker(machine))
    if not machine.has_kind:
        reasons.append("no kind on PATH (https://kind.sigs.k8s.io)")
    if not machine.has_kubectl:
        reasons.append("no kubectl on PATH")
    return "; ".join(reasons)


def _of_docker(machine: Machine) -> Sequence[str]:
    if not machine.has_docker:
        return ["no docker on PATH"]
    if machine.daemon_fault:
        return [f"docker has no daemon ({machine.daemon_fault})"]
    reasons = []
    if machine.missing_images:
        reasons.append(f"not built: {', '.join(machine.missing_images)} ({PREPARE} builds them)")
    if not machine.has_node_image:
        reasons.append(
            f"no image {machine.node_image} for the node ({PREPARE} pulls it, "
            f"{NODE_IMAGE_VARIABLE} names another)"
        )
    return reasons


# ---- commands --------------------------------------------------------------------------------


def create(name: str, node_image: str, configuration: Path, kubeconfig: Path) -> list[str]:
    """Make a cluster; its kubeconfig is a file of ours, the person's own is not touched."""
    return [
        *("kind", "create", "cluster", f"--name={name}", f"--image={node_image}"),
        *(f"--config={configuration}", f"--kubeconfig={kubeconfig}", "--wait=180s"),
    ]


def load_images(name: str) -> list[str]:
    """Bring our images from Docker into the node."""
    return ["kind", "load", "docker-image", f"--name={name}", *IMAGES]


def load_archive(name: str, archive: Path) -> list[str]:
    """Bring an image from a file into the node."""
    return ["kind", "load", "image-archive", f"--name={name}", str(archive)]


def delete(name: str, kubeconfig: Path) -> list[str]:
    """Remove a cluster of ours; raises ValueError for a name that no test has made."""
    if not _OWN_NAME.fullmatch(name):
        raise ValueError(f"{name} is no cluster of these tests; it is not deleted")
    return ["kind", "delete", "cluster", f"--name={name}", f"--kubeconfig={kubeconfig}"]


def cluster_name(random_hex: str) -> str:
    """Return the name for a new cluster; `random_hex` are eight digits."""
    return f"fodc-test-{random_hex}"


def pull(node_image: str) -> list[str]:
    """Get the image of the node."""
    return ["docker", "pull", "--quiet", node_image]
